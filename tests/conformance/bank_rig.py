"""A whole gateway in this process, on a clock that is moved by hand, and a bank that obeys.

    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = None              # it hears the call and never answers
        payment_id = await rig.pay()
        await rig.crash()                           # nothing is written from here on
        await rig.start()                           # the same store, another process in effect

What is written survives a crash, what is in memory does not. Nothing passes but by `advance`.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from paygate_actors.card import SealedCard
from paygate_actors.config import Config, Fraud, Limits, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import (
    Caller,
    CapturePayment,
    PaymentReply,
    PaymentView,
    ProcessPayment,
    RefundPayment,
    SetTransactionStatus,
    TransactionReply,
    TransactionView,
)
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Outcome, Unknown
from paygate_actors.payment_methods import CardMethod
from paygate_actors.projection import KINDS
from paygate_actors.providers.base import (
    BodyInvalid,
    Capabilities,
    ChargeCall,
    FollowUpCall,
    ProviderEvent,
    SignatureInvalid,
)
from paygate_actors.webhooks_out import OVER_HTTP, WayOut
from paygate_engine.clock import ManualClock
from paygate_engine.errors import Corrupt, StoreFailed, StoreFull
from paygate_engine.stores.base import AuditRow, Conflict, Event, Item, Kind, Unit
from paygate_engine.stores.memory import MemoryStore

MERCHANT: Final = Caller(role="merchant", merchant="m", key_id="key_m")
OPERATOR: Final = Caller(role="operator", merchant="", key_id="key_o")
AMOUNT: Final = Money(10_000, "USD")
KEY_WINDOW_S: Final = 24 * 3_600.0
# What happens here takes milliseconds of real time.
PATIENCE_S: Final = 10.0

NOT_VISIBLE: Final = Unknown(reason="not_visible")
Says = Outcome | Callable[[str], Outcome] | None


class Heard(NamedTuple):
    """One call as the bank heard it; `cvv` of charges by card."""

    verb: str
    key: str
    cvv: str | None = None


class Bank:
    """A provider that says what it is told to say. `says[verb]` None: it never answers."""

    id = "bank"
    name = "Bank"
    kind = "bank"
    capabilities = Capabilities(
        deadline_s=60.0, key_window_s=KEY_WINDOW_S, find_lag_s=2.0, ask_first_s=1.0, ask_max_s=5.0
    )

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.says: dict[str, Says] = {
            "charge": done,
            "capture": done,
            "void": done,
            "refund": done,
            "find": NOT_VISIBLE,
        }
        self._silent: list[asyncio.Future[Outcome]] = []

    def of(self, *verbs: str) -> list[Heard]:
        """What was heard of these verbs."""
        return [call for call in self.heard if call.verb in verbs]

    def verbs(self) -> list[str]:
        """What was heard, in order."""
        return [call.verb for call in self.heard]

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold."""
        assert call.instrument.card is not None
        cvv = call.instrument.card.reveal()[1]
        said = await self._take(Heard("charge", call.key, cvv))
        # What was only held is not captured, whoever says it.
        if isinstance(said, Approved):
            return msgspec.structs.replace(said, captured=call.capture)
        return said

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Capture."""
        return await self._take(Heard("capture", call.key))

    async def void(self, call: FollowUpCall) -> Outcome:
        """Void."""
        return await self._take(Heard("void", call.key))

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Refund."""
        return await self._take(Heard("refund", call.key))

    async def find(self, key: str) -> Outcome:
        """Look up."""
        return await self._take(Heard("find", key))

    async def _take(self, call: Heard) -> Outcome:
        self.heard.append(call)
        say = self.says[call.verb]
        if say is None:
            self._silent.append(silence := asyncio.get_running_loop().create_future())
            return await silence
        return say(call.key) if callable(say) else say

    def hang_up(self) -> None:
        """Cut every call that waits for an answer."""
        self.answer(Unknown(reason="reset"))

    def answer(self, outcome: Outcome) -> None:
        """Answer every call that waits."""
        for silence in self._silent:
            if not silence.done():
                silence.set_result(outcome)
        self._silent.clear()

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """It sends no webhooks."""
        raise SignatureInvalid("the bank sends no webhooks")

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """It sends no webhooks."""
        raise BodyInvalid("the bank sends no webhooks")

    def redacted_config(self) -> dict[str, str]:
        """Nothing to show."""
        return {}

    async def close(self) -> None:
        """Nothing to give back."""
        self.hang_up()


class MortalStore(MemoryStore):
    """A store that a crash cuts off: what was committed before stays, nothing comes after.

    While it is `full` it has no room, and says so; while it does not `flow` commits hang. Items and
    streams in `spoilt` are read as damaged.
    """

    dead = False
    full = False

    def __init__(self, kinds: Sequence[Kind]) -> None:
        super().__init__(kinds)
        self.spoilt: set[str] = set()
        self.flow = asyncio.Event()
        self.flow.set()

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items that wait, the spoilt ones as damaged."""
        found = await super().waiting(queue, after_id=after_id, limit=limit)
        return [
            msgspec.structs.replace(each, sound=False) if each.id in self.spoilt else each
            for each in found
        ]

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream. Raises `Corrupt` for a spoilt one."""
        if stream in self.spoilt:
            raise Corrupt(f"{stream} is damaged")
        return await super().read_stream(stream, after_seq=after_seq)

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Commit, or fail once the process is dead."""
        await self.flow.wait()
        if self.dead:
            raise StoreFailed("the process is dead")
        if self.full:
            raise StoreFull("no room")
        return await super().commit(units, audit)


class BankRig:
    """The gateway that runs now, and short words for what tests ask of it."""

    def __init__(
        self,
        folder: Path,
        *,
        fraud: Fraud,
        limits: Limits,
        bank: Bank | None = None,
        way_out: WayOut = OVER_HTTP,
    ) -> None:
        self.way_out = way_out
        self.clock = ManualClock()
        self.bank = bank or Bank()
        self.store = MortalStore(KINDS)
        self.config = Config(
            data_dir=str(folder),
            sandbox=Sandbox(enabled=True),
            providers=(ProviderConfig(id="bank", kind="bank", url="http://bank.invalid"),),
            fraud=fraud,
            limits=limits,
        )
        self.fatal: list[BaseException] = []
        self._gateway: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The gateway; there is none between a crash and the next start."""
        assert self._gateway is not None
        return self._gateway

    async def start(self) -> None:
        """Start and recover."""
        await self.open()
        await self.gateway.recover()

    async def open(self) -> None:
        """Start, and recover nothing: as commands do that change something in a folder."""
        self.store.dead = False
        self.fatal.clear()
        self._gateway = await Gateway.start(
            self.config,
            loop=asyncio.get_running_loop(),
            on_fatal=self.fatal.append,
            clock=self.clock,
            rng=random.Random(len(self.bank.heard)),
            store=self.store,
            adapters={"bank": self.bank},
            way_out=self.way_out,
        )

    async def crash(self) -> None:
        """End it so that nothing more is written; calls that are out are never heard of."""
        self.store.dead = True
        self.bank.hang_up()
        await self.gateway.stop()
        self._gateway = None
        # A process has a clock of its own: the timers of a dead one never fire again.
        self.clock = ManualClock(self.clock.now_us())

    async def stop(self) -> None:
        """End it in order, where it runs."""
        if self._gateway is not None:
            self.bank.hang_up()
            await self._gateway.stop()
            self._gateway = None

    async def pay(self, *, manual: bool = False) -> str:
        """Pay by a card with a CVV; its id."""
        reply = await self.gateway.front.process(
            ProcessPayment(
                caller=MERCHANT,
                amount=AMOUNT,
                method=CardMethod(
                    kind="card",
                    card=SealedCard("4242424242424242", "123"),
                    expiry_month=12,
                    expiry_year=2099,
                ),
                capture_method="manual" if manual else "automatic",
            )
        )
        assert isinstance(reply, PaymentReply), reply
        return reply.payment.id

    async def refund(self, payment_id: str, minor: int) -> TransactionView:
        """Refund a part."""
        command = RefundPayment(caller=MERCHANT, payment_id=payment_id, amount_minor=minor)
        reply = await self.gateway.front.refund(command)
        assert isinstance(reply, TransactionReply), reply
        return reply.transaction

    async def capture(self, payment_id: str) -> TransactionView:
        """Capture all that is held."""
        command = CapturePayment(caller=MERCHANT, payment_id=payment_id)
        reply = await self.gateway.front.capture(command)
        assert isinstance(reply, TransactionReply), reply
        return reply.transaction

    async def switch(self, *, is_active: bool) -> None:
        """Turn the bank on or off."""
        await self.gateway.front.switch_provider(
            OPERATOR, "bank", is_active=is_active, accepts_charges=True
        )

    async def assert_failed(self, transaction_id: str) -> None:
        """Set a transaction to failed against the bank's word."""
        reply = await self.gateway.front.set_status(
            SetTransactionStatus(
                caller=OPERATOR,
                transaction_id=transaction_id,
                status="failed",
                reason="The bank said so by telephone.",
                force=True,
            )
        )
        assert isinstance(reply, TransactionReply), reply

    async def view(self, payment_id: str) -> PaymentView:
        """The payment as committed."""
        found = await self.gateway.front.payment(MERCHANT, payment_id)
        assert isinstance(found, PaymentView), found
        return found

    async def until_status(self, payment_id: str, status: str) -> PaymentView:
        """Wait until the payment is so."""
        async with asyncio.timeout(PATIENCE_S):
            while (view := await self.view(payment_id)).status != status:  # noqa: ASYNC110  # each look is a question
                await asyncio.sleep(0)
        return view

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the gateway run until it is so; no time passes."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110  # nobody would set an event
                await asyncio.sleep(0)

    async def until_asked(self, times: int = 1) -> None:
        """Let time pass, second by second, until the bank was asked that many times more."""
        for _ in range(times):
            before = len(self.bank.of("find"))
            for _ in range(120):
                self.clock.advance(1)
                if await self._quietly(lambda: len(self.bank.of("find")) > before):  # noqa: B023
                    break
            else:
                raise AssertionError(f"not asked for two minutes; heard: {self.bank.heard}")

    async def pass_time(self, seconds: float, *, step_s: float = 10.0) -> None:
        """Let time pass, with everything that comes due on the way."""
        left_s = seconds
        while left_s > 0:
            self.clock.advance(min(step_s, left_s))
            left_s -= step_s
            await self._quietly(lambda: False)

    async def _quietly(self, is_so: Callable[[], bool]) -> bool:
        """Let what is due run its course: a timer, a call and its commit take a few turns each."""
        for _ in range(60):
            if is_so():
                return True
            await asyncio.sleep(0)
        return is_so()

    def gauge(self, name: str) -> float:
        """A number of the metrics page."""
        return self.gateway.front.gauges()[name]

    async def reasons(self, payment_id: str) -> list[Any]:
        """Why calls of the payment were in doubt, in order."""
        events = await self.gateway.front.events(MERCHANT, payment_id)
        assert isinstance(events, tuple)
        return [event.data["reason"] for event in events if event.type == "call_in_doubt"]


def done(key: str) -> Outcome:
    """The bank did all of it."""
    return Approved(provider_txn_id=f"ch_{key}", amount=AMOUNT, captured=True)


@asynccontextmanager
async def bank_rig(
    folder: Path,
    *,
    fraud: Fraud | None = None,
    limits: Limits | None = None,
    bank: Bank | None = None,
    way_out: WayOut = OVER_HTTP,
) -> AsyncGenerator[BankRig]:
    """Start a gateway with its bank; end it with the test."""
    rig = BankRig(
        folder, fraud=fraud or Fraud(), limits=limits or Limits(), bank=bank, way_out=way_out
    )
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()
