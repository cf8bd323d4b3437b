"""A hundred thousand payments that are all in flight at once, and how they come down.

A sandbox and a gateway, each a real process. The sandbox answers each charge `pending` at once and
keeps it so until all are in the air: filling takes longer than 30 s on a small machine, so that a
delay of 5 to 30 s would land the first before the last has left. Then it is told to end them all
by webhooks from 5 s on, evenly over 25 s; how long the gateway takes for those is the drain.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from callers import Lines, Said, beats, paying
from gc_witness import pauses
from ledger_match import disagreements
from msgspec import Struct
from process_rig import GatewayClient, ProcessRig, Settled, command, process_rig
from progress import PROGRESS
from vitals import Vitals, Watch, port_of, watched

HERE: Final = Path(__file__).resolve().parent
# An hour: the most that the sandbox takes. It is told when to end them.
HOLD_MS: Final = 3_600_000
# A bank's answer that comes later than this after it was due has been lost.
DRAIN_S_MAX: Final = 1_200.0
# A closed loop: so many callers at a time fill, each of whom waits for his answer.
CALLERS: Final = 64
RETRY_S: Final = 1.0
LOOK_S: Final = 1.0
SETTLED: Final = 'paygate_payments_moved_total{fact="captured"}'
WAITING: Final = 'paygate_provider_calls_waiting{provider="sandbox"}'
RUNNING: Final = 'paygate_provider_calls_running{provider="sandbox"}'


class Plan(Struct, frozen=True, kw_only=True):
    """How many are in the air, and the open loop that is measured before and while they are.

    All end from `after_s` on, once that is wanted, evenly over `within_s`.
    """

    payments: int
    rate: float
    probe_s: float
    after_s: float = 5.0
    within_s: float = 25.0
    prove: bool = True


class Flight(Struct, kw_only=True):
    """What was seen; moments by `perf_counter`, `marks` by the name of what began then."""

    plan: Plan
    marks: dict[str, float]
    said: dict[str, list[Said]]
    seen: list[Vitals] = []
    pauses: list[tuple[float, int, float]] = []
    wrong: list[str] = []
    proved: str = ""

    def between(self, begin: str, end: str) -> list[Vitals]:
        """What was seen from the one mark to the other."""
        return [each for each in self.seen if self.marks[begin] <= each.at_s <= self.marks[end]]

    def cpu_s(self, begin: str, end: str) -> float:
        """The gateway's CPU seconds from the one mark to the other, as near as was looked."""
        first, *_, last = self.between(begin, end)
        return last.cpu_s - first.cpu_s

    def seconds(self, phase: str) -> list[float]:
        """The latencies of what was accepted in a phase."""
        return [each.seconds for each in self.said[phase] if each.status == 201]


@asynccontextmanager
async def airport(folder: Path, ledger: Path) -> AsyncGenerator[tuple[ProcessRig, GatewayClient]]:
    """A sandbox that keeps every charge pending, and a gateway whose collector is watched."""
    async with process_rig(folder, latency_ms=0) as rig:
        await rig.sandbox.fault("pending", operation="charge", count=1_000_000, delayMs=HOLD_MS)
        witness = (sys.executable, str(HERE / "gc_witness.py"), str(ledger))
        yield rig, await rig.serve(prefix=witness)


async def fly(folder: Path, plan: Plan) -> Flight:
    """Fill, hold, drain, and hold the gateway's word against the sandbox's books."""
    flight = Flight(plan=plan, marks={}, said={"empty": [], "filling": [], "full": []})
    ledger = folder / "pauses"
    async with airport(folder, ledger) as (rig, gateway):
        ids: set[str] = set()
        async with Lines(port_of(gateway)) as lines, watched(gateway, LOOK_S) as watch:
            pilot = _Pilot(flight, lines, ids, watch)
            await pilot.up()
            await pilot.down(rig)
            flight.seen = watch.seen
        PROGRESS.note("reading the books")
        flight.wrong = await reconciled(rig, gateway, ids)
        flight.proved = await _proved(rig, gateway) if plan.prove else ""
    flight.pauses = pauses(ledger)
    PROGRESS.end()
    return flight


class _Pilot:
    def __init__(self, flight: Flight, lines: Lines, ids: set[str], watch: Watch) -> None:
        self._flight = flight
        self._lines = lines
        self._ids = ids
        self._numbers = itertools.count()
        self._watch = watch

    async def up(self) -> None:
        """Accept until as many are live as are planned, then more at a steady rate."""
        plan = self._flight.plan
        await self._mark("empty")
        await self._probe("empty")
        await self._mark("filling")
        room = iter(range(plan.payments - len(self._ids)))
        await asyncio.gather(*(self._fill(room) for _ in range(CALLERS)))
        await self._mark("filled")
        await self._sent()
        await self._mark("full")
        await self._probe("full")

    async def down(self, rig: ProcessRig) -> None:
        """End them all, and wait until the last of them has."""
        await self._sent()
        await self._mark("ending")
        plan = self._flight.plan
        body = {"afterMs": round(1e3 * plan.after_s), "withinMs": round(1e3 * plan.within_s)}
        ending: int = (await rig.sandbox.ask("POST", "/pending/end", body)).made()["ending"]
        assert ending == len(self._ids), f"{ending} are pending of {len(self._ids)}"
        await self._until(lambda seen: seen.gauges.get(SETTLED, 0) >= ending)
        await self._mark("drained")
        # What lingers in memory, and what is freed after the last one.
        await asyncio.sleep(3 * LOOK_S)
        await self._mark("end")

    async def _mark(self, name: str) -> None:
        """A phase begins: looked at just before and just after."""
        await self._watch.look()
        self._flight.marks[name] = time.perf_counter()
        await self._watch.look()

    async def _fill(self, room: Iterator[int]) -> None:
        for _place in room:
            PROGRESS.note(f"filling: {len(self._ids)} of {self._flight.plan.payments}")
            await self._pay("filling", time.perf_counter())

    async def _probe(self, phase: str) -> None:
        PROGRESS.note(f"an open loop while {len(self._ids)} are live")
        plan = self._flight.plan
        async with asyncio.TaskGroup() as group:
            async for due_s in beats(plan.rate, plan.probe_s):
                group.create_task(self._pay(phase, due_s))

    async def _pay(self, phase: str, due_s: float) -> None:
        request = paying(next(self._numbers), "flight")
        while True:
            status, body = await self._lines.ask(request)
            seconds = time.perf_counter() - due_s
            self._flight.said[phase].append(Said(at_s=due_s, seconds=seconds, status=status))
            if status == 201:
                self._ids.add(msgspec.json.decode(body, type=_Reply).id)
                return
            assert status == 503, (status, body)  # refused early, and nothing was done
            await asyncio.sleep(RETRY_S)

    async def _sent(self) -> None:
        """Wait until every charge is known to be pending: none is on its way to the sandbox."""
        await self._until(
            lambda seen: not seen.gauges.get(WAITING) and not seen.gauges.get(RUNNING)
        )

    async def _until(self, is_so: Callable[[Vitals], bool]) -> None:
        async with asyncio.timeout(DRAIN_S_MAX):
            while not is_so(seen := await self._watch.look()):
                ended = seen.gauges.get(SETTLED, 0)
                PROGRESS.note(f"{seen.live} in flight, {ended:.0f} of {len(self._ids)} have ended")
                # Another process is looked at: there is nothing here to be woken by.
                await asyncio.sleep(LOOK_S)


class _Reply(Struct):
    id: str


async def reconciled(rig: ProcessRig, gateway: GatewayClient, ids: set[str]) -> list[str]:
    """Each payment that was acknowledged is there and charged once, and nothing else is."""
    seen = Settled(
        payments=await gateway.every("payments"), transactions=await gateway.every("transactions")
    )
    found = disagreements(seen, await rig.sandbox.ledger())
    there = Counter(row["id"] for row in seen.payments)
    found += [f"{id_} was acknowledged and is not there" for id_ in ids - there.keys()]
    found += [f"{id_} was never acknowledged" for id_ in there.keys() - ids]
    found += [
        f"{row['id']} is {row['status']}" for row in seen.payments if row["status"] != "success"
    ]
    return found


async def _proved(rig: ProcessRig, gateway: GatewayClient) -> str:
    """What `paygate prove` says of the folder and the books; the gateway is ended for it."""
    books = rig.folder / "books.json"
    books.write_bytes(msgspec.json.encode({"data": await rig.sandbox.ledger()}))
    assert await gateway.stop() == 0
    PROGRESS.note("paygate prove --all")
    code, said = await command("prove", "--all", "--books", books, "--data", rig.data)
    return f"exit code {code}: {said.strip().splitlines()[-1]}"
