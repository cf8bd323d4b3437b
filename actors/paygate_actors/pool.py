"""A pool for each provider: so many calls at a time, the others wait, none is waited for blindly.

A payment hands over what is to be done and goes on; the outcome comes back to it as a message.
The pool knows how to reach the provider and how the provider does; what an outcome means is the
payment's business. A sick provider fills its own pool and nobody else's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from msgspec import Struct

from paygate_actors.card import SealedCard
from paygate_actors.credentials import SealedToken
from paygate_actors.health import Health
from paygate_actors.outcomes import Declined, Outcome, Prepared, Unknown
from paygate_actors.pool_messages import Answered, Charge, GoOn, LookUp, Perform, answered, unsent
from paygate_actors.providers.base import (
    FollowUpCall,
    Instrument,
    Provider,
    TwoStepProvider,
)
from paygate_actors.providers.last_look import only_while
from paygate_engine.actor import LATER, LoopActor, handles
from paygate_engine.future import LoopFuture
from paygate_engine.system import ActorSystem

# Adapters keep their own deadline; this much later the pool stops believing in it.
GRACE_S: Final = 1.0
# A payer has given up by then; the call never left, so nothing is in doubt.
QUEUE_WAIT_S: Final = 30.0
# What a provider turned away at its door is sent again so often; then its payment hears of it.
REPEATS_MAX: Final = 3
# How long to wait where the provider does not say, doubling; jitter on top keeps calls apart.
REPEAT_S: Final = 0.5
JITTER: Final = 0.5
# A node that may not act is told when it may again (`GoOn`), but not of a pause that was over
# before anybody noticed it.
MAY_ACT_S: Final = 0.5
# A payer waits for a charge: where the provider wants a longer pause, it is for others to try.
CHARGE_PAUSE_S_MAX: Final = 5.0

NO_CARD: Final = Declined(
    code="card_not_in_vault",
    message="The vault does not hold this card any more.",
    conclusive=False,  # this request did not leave; an earlier one with its key may have
)

_log = structlog.get_logger("paygate.pool")


class _Waiting(Struct, frozen=True):
    job: Perform | LookUp
    asker: LoopFuture[Any] | None
    until_s: float
    repeats: int = 0


class ProviderPool(LoopActor):
    """One provider's calls: at most `health.concurrency` at a time, at most `queue_max` waiting.

    While the provider wants to be left alone, all wait. What it turned away at its door is sent
    again under the same key, within the budget; a charge is not: it may go elsewhere at once.
    Nothing is ever sent twice at the same time. While `may_act` says no, all wait too, and what a
    call that is out has still to send does not leave (`last_look`).

    `open_kept` reads a card or a provider's token out of the vault, for (token, merchant); None:
    there is none. `report` carries an answer to its payment. `idle` is set while no call is out.
    """

    __slots__ = (
        "_calls",
        "_may_act",
        "_open_kept",
        "_queue",
        "_queue_max",
        "_report",
        "_waking",
        "health",
        "idle",
        "provider",
    )

    def __init__(
        self,
        system: ActorSystem,
        key: str,
        *,
        provider: Provider,
        queue_max: int,
        open_kept: Callable[[str, str], Awaitable[SealedCard | SealedToken | None]],
        report: Callable[[str, Answered], None],
        health: Health,
        may_act: Callable[[], bool] = lambda: True,
        parent: object = None,
    ) -> None:
        super().__init__(system, key, parent)
        self.provider = provider
        self.health = health
        self._may_act = may_act
        self._waking = False
        # Of this life of the pool: what an earlier one sent still comes home, and is not counted.
        self._calls: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._queue_max = queue_max
        self._queue: deque[_Waiting] = deque()
        self._open_kept = open_kept
        self._report = report
        self._count()

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
        until_s = self.system.clock.monotonic_s() + QUEUE_WAIT_S
        waiting = _Waiting(job, self.asker(), until_s)
        charges = isinstance(job, Perform) and job.charge is not None
        if self._may_start():
            self._start(waiting)
        elif len(self._queue) >= self._queue_max or (
            charges and self.health.quiet_s > CHARGE_PAUSE_S_MAX
        ):
            self._answer(waiting.job, waiting.asker, unsent(job))
        else:
            self._queue.append(waiting)
            self._count()
            self._wake()
        return LATER

    @handles(GoOn)
    def go_on(self, message: GoOn) -> None:
        """Start what waits: the node may act again."""
        self._next()

    def _may_start(self) -> bool:
        free = self.running < self.health.concurrency and not self.health.quiet_s
        return free and self._may_act()

    def _start(self, waiting: _Waiting) -> None:
        if not waiting.repeats:
            self.health.budget.earn()
        self.idle.clear()
        self._calls.add(self.system.spawn_task(self._run(waiting)))
        self._count()

    async def _run(self, waiting: _Waiting) -> None:
        clock = self.system.clock
        started_s = clock.monotonic_s()
        job = waiting.job
        try:
            outcome = await self._outcome(job)
        finally:
            self._calls.difference_update((asyncio.current_task(),))
            self._count()
            if not self._calls and not self._queue:
                self.idle.set()
        seconds = clock.monotonic_s() - started_s
        operation = job.operation
        self.health.record(operation, outcome, seconds=seconds)
        if isinstance(outcome, Unknown) and outcome.reason == "garbage":
            # Not its detail: an adapter of somebody else's may quote a card there.
            about = {"operation": operation, "payment_id": job.payment_id}
            _log.warning("provider_garbage", provider=self.provider.id, **about)
        if not self._repeats(waiting, outcome):
            self._answer(job, waiting.asker, outcome)
        self._next()

    def _repeats(self, waiting: _Waiting, outcome: Outcome | Prepared) -> bool:
        """Have it sent again later, where the provider only turned it away at its door."""
        job = waiting.job
        turned_away = isinstance(outcome, Declined) and outcome.code == "too_many_requests"
        if not turned_away or isinstance(job, LookUp) or job.charge is not None:
            return False
        delay_s = max(REPEAT_S * 2**waiting.repeats, self.health.quiet_s)
        delay_s *= 1 + JITTER * self.system.rng.random()
        late = self.system.clock.monotonic_s() + delay_s > waiting.until_s
        if late or waiting.repeats >= REPEATS_MAX or not self.health.budget.spend():
            return False
        again = _Waiting(job, waiting.asker, waiting.until_s, waiting.repeats + 1)
        self.system.after(delay_s, self._repeat, again)
        return True

    def _repeat(self, waiting: _Waiting) -> None:
        self._queue.appendleft(waiting)
        self._count()
        self._next()

    def _wake(self) -> None:
        """Go on when the provider has had its pause, and the node may act."""
        wait_s = self.health.quiet_s or (0.0 if self._may_act() else MAY_ACT_S)
        if wait_s and not self._waking:
            self._waking = True
            self.system.after(wait_s, self._woken, None)

    def _woken(self, _: None) -> None:
        self._waking = False
        self._next()

    def _count(self) -> None:
        self.health.running = len(self._calls)
        self.health.waiting = len(self._queue)

    async def _outcome(self, job: Perform | LookUp) -> Outcome | Prepared:
        try:
            async with asyncio.timeout(self.provider.capabilities.deadline_s + GRACE_S):
                with only_while(self._may_act):
                    outcome = await self._call(job)
        except TimeoutError:
            return Unknown(reason="timeout", detail="the adapter overran its deadline")
        except Exception as error:  # noqa: BLE001  # an adapter's bug must not lose a payment
            # What it did before it failed is not known. No traceback: its frames hold the card.
            _log.error("adapter_failed", provider=self.provider.id, error=type(error).__name__)
            return Unknown(reason="reset", detail="the adapter failed")
        # An adapter may be somebody else's, and untyped.
        if isinstance(outcome, Outcome | Prepared):  # pyright: ignore[reportUnnecessaryIsInstance]
            return outcome
        _log.error("adapter_answers_nonsense", provider=self.provider.id)
        return Unknown(reason="garbage", detail="the adapter gave no outcome")

    def _next(self) -> None:
        now_s = self.system.clock.monotonic_s()
        while self._queue and self._may_start():
            waiting = self._queue.popleft()
            if waiting.until_s < now_s:
                self._answer(waiting.job, waiting.asker, unsent(waiting.job))
            else:
                self._start(waiting)
        self._count()
        if self._queue:
            self._wake()
        if not self._calls:
            self.idle.set()

    def _answer(
        self, job: Perform | LookUp, asker: LoopFuture[Any] | None, outcome: Outcome | Prepared
    ) -> None:
        if asker is not None:
            asker.set(outcome)
        if job.payment_id:
            self._report(job.payment_id, answered(job, outcome))

    async def _call(self, job: Perform | LookUp) -> Outcome | Prepared:
        if isinstance(job, LookUp):
            return await self._find(job)
        if job.charge is not None:
            instrument = await self._instrument(job.charge)
            if instrument is None:
                return NO_CARD
            call = job.charge.call(job, instrument)
            if job.prepare:
                return await cast("TwoStepProvider", self.provider).prepare(call)
            return await self.provider.charge(call)
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

    async def _find(self, job: LookUp) -> Outcome:
        if self.provider.capabilities.steps == 1 or job.named is None:
            return await self.provider.find(job.key)
        return await cast("TwoStepProvider", self.provider).find(job.key, job.named)

    async def _instrument(self, charge: Charge) -> Instrument | None:
        kept: SealedCard | SealedToken | None = charge.card
        if kept is None and charge.token is not None:
            kept = await self._open_kept(charge.token, charge.merchant)
            if kept is None:
                return None
        return Instrument(
            kind=charge.method_kind,
            card=kept if isinstance(kept, SealedCard) else None,
            provider_token=kept.reveal() if isinstance(kept, SealedToken) else None,
            expiry_month=charge.expiry_month,
            expiry_year=charge.expiry_year,
            holder_name=charge.holder_name,
            wallet_id=charge.wallet_id,
        )


async def settled(pools: Iterable[ProviderPool | None], within_s: float) -> None:
    """Let calls that are out come home: what is cut off is in doubt until the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for pool in pools:
                if pool is not None:
                    await pool.idle.wait()
