"""What merchants do all day, begun at a steady rate: pay, capture, refund, ask twice, read.

An open loop: a journey begins when it is due, however slow the others are. Each money operation is
followed until it is over for its caller, and how long that took is kept, from when it was due or,
for what follows a payment, from when it was asked for.
"""

import asyncio
import random
import time
from collections import Counter
from typing import Final

import msgspec
from callers import Lines, asking, beats, paying
from msgspec import Struct
from progress import PROGRESS

# What the edge waits at most before it answers with how things stand.
WAIT_S: Final = 30
# What is not over by then is not waited for any longer: it counts as that late, and as open.
PATIENCE_S: Final = 120.0
POLL_S: Final = 0.25
RETRY_S: Final = 1.0
OPEN: Final = frozenset({"pending", "processing"})
# Of a hundred journeys.
MIX: Final = {"pay": 55, "hold": 15, "refund": 10, "repeat": 5, "read": 10, "list": 5}
KEPT_MAX: Final = 1_000


class View(Struct, rename={"payment_id": "paymentID", "transaction_id": "transactionID"}):
    """What is read of a payment or a transaction; `inDoubt` is a payment's alone."""

    id: str
    status: str
    payment_id: str
    transaction_id: str = ""
    in_doubt: bool = msgspec.field(default=False, name="inDoubt")

    @property
    def over(self) -> bool:
        """Whether nothing more is to come by itself."""
        return self.status not in OPEN and not self.in_doubt


class Ending(Struct, frozen=True, kw_only=True):
    """A money operation that is over, or was given up waiting for (`over` is False then)."""

    kind: str
    transaction_id: str
    seconds: float
    status: str
    over: bool = True


class Journeys:
    """Journeys at one gateway. `reads`: seconds of each; `wrong`: sentences."""

    def __init__(self, lines: Lines, rng: random.Random) -> None:
        self._lines = lines
        self._rng = rng
        self._known: list[str] = []
        self._number = 0
        self.begun: Counter[str] = Counter()
        self.endings: list[Ending] = []
        self.reads: dict[str, list[float]] = {"read": [], "list": []}
        self.refused: Counter[int] = Counter()
        self.wrong: list[str] = []

    async def run(self, *, rate: float, seconds: float) -> None:
        """Begin so many a second, and follow each to its end."""
        whole = round(rate * seconds)
        kinds = list(MIX)
        async with asyncio.TaskGroup() as group:
            async for due_s in beats(rate, seconds):
                kind = self._rng.choices(kinds, weights=list(MIX.values()))[0]
                kind = kind if self._known else "pay"
                self.begun[kind] += 1
                PROGRESS.note(f"{self.begun.total()} of {whole} begun, {len(self.endings)} over")
                group.create_task(self._journey(kind, due_s))

    async def _journey(self, kind: str, due_s: float) -> None:
        match kind:
            case "read":
                path = f"/api/payments/{self._rng.choice(self._known)}"
                await self._read(kind, path, due_s)
            case "list":
                await self._read(kind, "/api/payments?limit=20", due_s)
            case _:
                await self._money(kind, due_s)

    async def _money(self, kind: str, due_s: float) -> None:
        self._number += 1
        number, cents = self._number, self._rng.randrange(100, 50_000)
        manual = kind == "hold"
        request = paying(number, "day", cents=cents, manual=manual, wait_s=WAIT_S)
        paid = await self._followed("payment", request, due_s)
        if paid is None:
            return
        self._remember(paid.id)
        if kind == "hold" and paid.status == "authorized":
            await self._follow_up("capture", paid, cents - self._rng.randrange(cents))
        elif kind == "refund" and paid.status == "success":
            await self._follow_up("refund", paid, 1 + self._rng.randrange(cents // 2))
        elif kind == "repeat":
            status, body = await self._asked(request)
            if not 200 <= status < 300 or msgspec.json.decode(body, type=View).id != paid.id:
                self.wrong.append(f"{paid.id} was asked for again, and the answer was {status}")

    async def _follow_up(self, verb: str, paid: View, cents: int) -> None:
        body = f'{{"amount":{cents // 100}.{cents % 100:02d}}}'
        path = f"/api/payments/{paid.id}/{verb}"
        request = asking("POST", path, body, key=f"{verb}-{paid.id}", wait_s=WAIT_S)
        await self._followed(verb, request, time.perf_counter())

    async def _followed(self, kind: str, request: bytes, due_s: float) -> View | None:
        """Ask, and look until it is over; None where it was refused for good."""
        status, body = await self._asked(request)
        if not 200 <= status < 300:
            self.refused[status] += 1
            return None
        view = msgspec.json.decode(body, type=View)
        noun = "payments" if kind == "payment" else "transactions"
        while not view.over and time.perf_counter() - due_s < PATIENCE_S:
            await asyncio.sleep(POLL_S)
            _, body = await self._asked(asking("GET", f"/api/{noun}/{view.id}"))
            view = msgspec.json.decode(body, type=View)
        self.endings.append(
            Ending(
                kind=kind,
                transaction_id=view.transaction_id or view.id,
                seconds=time.perf_counter() - due_s,
                status=view.status,
                over=view.over,
            )
        )
        return view

    async def _read(self, kind: str, path: str, due_s: float) -> None:
        status, _ = await self._asked(asking("GET", path))
        if status != 200:
            self.wrong.append(f"GET {path} was answered {status}")
        self.reads[kind].append(time.perf_counter() - due_s)

    async def _asked(self, request: bytes) -> tuple[int, bytes]:
        """Ask until it is not refused early; bounded by the patience for one operation."""
        began_s = time.perf_counter()
        while True:
            status, body = await self._lines.ask(request)
            if status != 503 or time.perf_counter() - began_s > PATIENCE_S:
                return status, body
            self.refused[status] += 1
            await asyncio.sleep(RETRY_S)

    def _remember(self, payment_id: str) -> None:
        if len(self._known) < KEPT_MAX:
            self._known.append(payment_id)
        else:
            self._known[self._rng.randrange(KEPT_MAX)] = payment_id
