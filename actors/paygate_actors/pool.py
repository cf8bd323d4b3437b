"""A pool for each provider: so many calls at a time, the others wait, none is waited for blindly.

A payment hands over what is to be done and goes on; the outcome comes back to it as a message.
The pool knows how to reach the provider and how the provider does; what an outcome means is the
payment's business. A sick provider fills its own pool and nobody else's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, assert_never

import structlog
from msgspec import Struct

from paygate_actors.breaker import Breaker
from paygate_actors.card import SealedCard
from paygate_actors.events import Verb
from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument, Provider
from paygate_engine.actor import LATER, LoopActor, handles
from paygate_engine.future import LoopFuture
from paygate_engine.system import ActorSystem

# Adapters keep their own deadline; this much later the pool stops believing in it.
GRACE_S: Final = 1.0
# A payer has given up by then; the call never left, so nothing is in doubt.
QUEUE_WAIT_S: Final = 30.0

NO_PERMIT: Final = Declined(
    code="not_sent",
    message="The provider's pool is full; the call never left.",
    retryable=True,
    conclusive=False,
)
# The same for a look-up, which proves nothing about the call that it asks about.
NOT_ASKED: Final = Unknown(reason="reset", detail="The provider's pool is full; nobody asked.")
NO_CARD: Final = Declined(
    code="card_not_in_vault",
    message="The vault does not hold this card any more.",
    conclusive=False,  # this request did not leave; an earlier one with its key may have
)

_log = structlog.get_logger("paygate.pool")


class Charge(Struct, frozen=True, kw_only=True):
    """Everything that a charge or a hold needs. `card` is at hand only while its process lives."""

    method_kind: str
    merchant: str
    capture: bool
    card: SealedCard | None = None
    token: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None
    wallet_id: str | None = None
    description: str | None = None
    return_url: str | None = None
    customer_ip: str | None = None


class Perform(Struct, frozen=True, kw_only=True):
    """Do `verb` at the provider under `key`, and tell the payment. `target`: what it is done to."""

    payment_id: str
    key: str
    verb: Verb
    amount: Money
    target: str | None = None
    charge: Charge | None = None


class LookUp(Struct, frozen=True, kw_only=True):
    """Ask what became of `key`, and tell the payment (empty: answer the ask)."""

    key: str
    payment_id: str = ""


class Answered(Struct, frozen=True, kw_only=True):
    """The outcome of a call, or what a look-up found, on its way to the payment."""

    key: str
    outcome: Outcome
    source: Literal["call", "look_up"]


class _Waiting(Struct, frozen=True):
    job: Perform | LookUp
    asker: LoopFuture[Any] | None
    until_s: float


class ProviderPool(LoopActor):
    """One provider's calls: at most `concurrency` at a time, at most `queue_max` waiting.

    `open_card` reads a card out of the vault: (token, merchant) -> card or None.
    `report` carries an answer to its payment. `idle` is set while no call is out.
    """

    __slots__ = (
        "_calls",
        "_concurrency",
        "_open_card",
        "_queue",
        "_queue_max",
        "_report",
        "breaker",
        "idle",
        "provider",
    )

    def __init__(
        self,
        system: ActorSystem,
        key: str,
        *,
        provider: Provider,
        concurrency: int,
        queue_max: int,
        open_card: Callable[[str, str], Awaitable[SealedCard | None]],
        report: Callable[[str, Answered], None],
        breaker: Breaker,
        parent: object = None,
    ) -> None:
        super().__init__(system, key, parent)
        self.provider = provider
        self.breaker = breaker
        # Of this life of the pool: what an earlier one sent still comes home, and is not counted.
        self._calls: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._concurrency = concurrency
        self._queue_max = queue_max
        self._queue: deque[_Waiting] = deque()
        self._open_card = open_card
        self._report = report

    @property
    def running(self) -> int:
        """How many calls are out."""
        return len(self._calls)

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return len(self._queue)

    @handles(Perform, LookUp)
    def take(self, job: Perform | LookUp) -> object:
        """Start the call, or let it wait; where too many wait already, it never leaves."""
        asker = self.asker()
        if self.running < self._concurrency:
            self._start(job, asker)
        elif len(self._queue) >= self._queue_max:
            self._answer(job, asker, unsent(job))
        else:
            until_s = self.system.clock.monotonic_s() + QUEUE_WAIT_S
            self._queue.append(_Waiting(job, asker, until_s))
        return LATER

    def _start(self, job: Perform | LookUp, asker: LoopFuture[Any] | None) -> None:
        self.idle.clear()
        self._calls.add(self.system.spawn_task(self._run(job, asker)))

    async def _run(self, job: Perform | LookUp, asker: LoopFuture[Any] | None) -> None:
        clock = self.system.clock
        started_s = clock.monotonic_s()
        try:
            outcome = await self._outcome(job)
        finally:
            self._calls.difference_update((asyncio.current_task(),))
            if not self._calls and not self._queue:
                self.idle.set()
        self.breaker.record(well=_well(outcome), seconds=clock.monotonic_s() - started_s)
        self._answer(job, asker, outcome)
        self._next()

    async def _outcome(self, job: Perform | LookUp) -> Outcome:
        try:
            async with asyncio.timeout(self.provider.capabilities.deadline_s + GRACE_S):
                outcome = await self._call(job)
        except TimeoutError:
            return Unknown(reason="timeout", detail="the adapter overran its deadline")
        except Exception as error:  # noqa: BLE001  # an adapter's bug must not lose a payment
            # What it did before it failed is not known. No traceback: its frames hold the card.
            _log.error("adapter_failed", provider=self.provider.id, error=type(error).__name__)
            return Unknown(reason="reset", detail="the adapter failed")
        # An adapter may be somebody else's, and untyped.
        if isinstance(outcome, Outcome):  # pyright: ignore[reportUnnecessaryIsInstance]
            return outcome
        _log.error("adapter_answers_nonsense", provider=self.provider.id)
        return Unknown(reason="garbage", detail="the adapter gave no outcome")

    def _next(self) -> None:
        now_s = self.system.clock.monotonic_s()
        while self._queue and self.running < self._concurrency:
            waiting = self._queue.popleft()
            if waiting.until_s < now_s:
                self._answer(waiting.job, waiting.asker, unsent(waiting.job))
            else:
                self._start(waiting.job, waiting.asker)
        if not self._calls:
            self.idle.set()

    def _answer(
        self, job: Perform | LookUp, asker: LoopFuture[Any] | None, outcome: Outcome
    ) -> None:
        if asker is not None:
            asker.set(outcome)
        if job.payment_id:
            source = "look_up" if isinstance(job, LookUp) else "call"
            self._report(job.payment_id, Answered(key=job.key, outcome=outcome, source=source))

    async def _call(self, job: Perform | LookUp) -> Outcome:
        if isinstance(job, LookUp):
            return await self.provider.find(job.key)
        if job.charge is not None:
            instrument = await self._instrument(job.charge)
            if instrument is None:
                return NO_CARD
            return await self.provider.charge(_charge_call(job, job.charge, instrument))
        assert job.target is not None, "a follow-up names what it follows"
        call = FollowUpCall(key=job.key, provider_txn_id=job.target, amount=job.amount)
        match job.verb:
            case "capture":
                return await self.provider.capture(call)
            case "void":
                return await self.provider.void(call)
            case "refund":
                return await self.provider.refund(call)
            case "charge" | "authorize":
                raise TypeError("a charge without its particulars")

    async def _instrument(self, charge: Charge) -> Instrument | None:
        card = charge.card
        if card is None and charge.token is not None:
            card = await self._open_card(charge.token, charge.merchant)
            if card is None:
                return None
        return Instrument(
            kind=charge.method_kind,
            card=card,
            expiry_month=charge.expiry_month,
            expiry_year=charge.expiry_year,
            holder_name=charge.holder_name,
            wallet_id=charge.wallet_id,
        )


def unsent(job: Perform | LookUp) -> Outcome:
    """What to say of a job that never left."""
    return NOT_ASKED if isinstance(job, LookUp) else NO_PERMIT


def _charge_call(job: Perform, charge: Charge, instrument: Instrument) -> ChargeCall:
    return ChargeCall(
        key=job.key,
        amount=job.amount,
        instrument=instrument,
        capture=charge.capture,
        description=charge.description,
        return_url=charge.return_url,
        customer_ip=charge.customer_ip,
    )


def _well(outcome: Outcome) -> bool:
    # A decline is a good answer, and so is any refusal in the provider's own words; silence,
    # noise, "too many" and what never got there are none.
    match outcome:
        case Unknown():
            return outcome.reason in ("not_visible", "key_known", "in_progress")
        case Declined():
            return outcome.conclusive or outcome.code not in ("not_sent", "too_many_requests")
        case Approved() | ActionRequired() | Pending():
            return True
        case _:
            assert_never(outcome)
