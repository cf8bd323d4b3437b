"""What a case stands on: one adapter of its own, a tap on its line, the sandbox's desk if any.

The stand plays the gateway's part: it makes calls under fresh keys, waits where the provider takes
its time, reads webhooks through the adapter, and compares with the provider's own books.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from paygate_actors.card import SealedCard
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Outcome, Pending, Unknown
from paygate_actors.providers.base import (
    Capabilities,
    ChargeCall,
    FollowUpCall,
    Instrument,
    Provider,
)
from paygate_actors.providers.trial import TrialAccount
from paygate_engine.clock import Clock
from paygate_engine.ids import Ids
from paygate_http.kit.desk import Desk, Effect
from paygate_http.kit.ear import HEARD_S, Ear
from paygate_http.kit.tap import Spoil, Tap
from paygate_http.kit.verdicts import NotApplicable, Skipped, expect
from paygate_http.kit.wording import Verb, outcome_of, told

SUM: Final = 10_00
"""What is charged where nothing else is said, in minor units: over every provider's least."""

# A provider that takes longer for what it said it would do soon is not one to try at.
SETTLE_S: Final = HEARD_S
_LOOK_S: Final = 0.05
# Look-ups may lag as long as the adapter says, and the machine may be busy.
_GRACE_S: Final = 5.0

RETURN_URL: Final = "http://127.0.0.1/paid"
"""Where payers come back to: nobody is there."""


class Stand:
    """One case's world. `rehearsed`: how many requests each verb takes at this provider.

    `build` makes the adapter for an address: that of the tap, unless `url` is another.
    `settled_url`: an end where every charge is settled at once, if there is one.
    """

    def __init__(
        self,
        *,
        trial: TrialAccount,
        build: Callable[[str], Provider],
        tap: Tap,
        desk: Desk | None,
        ids: Ids,
        clock: Clock,
        rehearsed: dict[Verb, int],
        settled_url: str | None = None,
        url: str | None = None,
    ) -> None:
        self.trial = trial
        self.tap = tap
        self.clock = clock
        self.build = build
        self.provider = build(tap.url if url is None else url)
        self.rehearsed = rehearsed
        self.outcomes: list[object] = []
        self._desk = desk
        self.ear = Ear(self.provider, tap=tap, desk=desk, clock=clock)
        self._ids = ids
        self._is_warm = False
        self._settled_url = settled_url
        self._others: list[Provider] = []

    async def close(self) -> None:
        """Close the adapters of the case."""
        for each in (self.provider, *self._others):
            await each.close()

    def where_all_is_settled(self) -> "Stand":
        """Give a stand at an end whose void window is over at once. Raises `Skipped`.

        It has no desk, and its line no tap.
        """
        if self._settled_url is None:
            raise Skipped("needs an end where charges are settled already")
        other = Stand(
            trial=self.trial,
            build=self.build,
            tap=self.tap,
            desk=None,
            ids=self._ids,
            clock=self.clock,
            rehearsed=self.rehearsed,
            url=self._settled_url,
        )
        self._others.append(other.provider)
        return other

    @property
    def capabilities(self) -> Capabilities:
        """What the adapter says that it can do."""
        return self.provider.capabilities

    @property
    def desk(self) -> Desk:
        """The sandbox's desk. Raises `Skipped` at an end that has none."""
        if self._desk is None:
            raise Skipped("needs a sandbox's control desk")
        return self._desk

    @property
    def has_desk(self) -> bool:
        """Whether the end is a sandbox."""
        return self._desk is not None

    def needs(self, there: bool, otherwise: str) -> None:  # noqa: FBT001 - it reads as a guard does
        """Go on where the provider has what the case tries. Raises `NotApplicable`."""
        if not there:
            raise NotApplicable(otherwise)

    @property
    def currency(self) -> str:
        """What is charged in: US dollars, else euros, else whatever comes first."""
        taken = self.capabilities.currencies
        for each in ("USD", "EUR"):
            if taken is None or each in taken:
                return each
        assert taken is not None, "all currencies hold these two"
        return min(taken)

    def money(self, minor: int = SUM) -> Money:
        """Give that much in the stand's currency."""
        return Money(minor, self.currency)

    def key(self) -> str:
        """Make a key as the gateway would."""
        return f"{self._ids.new('txn')}-1"

    def call(
        self,
        *,
        key: str | None = None,
        amount: Money | None = None,
        card: str | None = None,
        cvv: str | None = "123",
        capture: bool = True,
    ) -> ChargeCall:
        """Make a charge by card: the approved one, where no other is named."""
        sealed = SealedCard(card or self.trial.approved, cvv)
        return ChargeCall(
            key=key or self.key(),
            amount=amount or self.money(),
            instrument=Instrument(
                kind="card",
                card=sealed,
                expiry_month=12,
                expiry_year=2040,
                holder_name="Ada Example",
            ),
            capture=capture,
            return_url=RETURN_URL,
        )

    def follow(self, charged: Approved, minor: int, *, key: str | None = None) -> FollowUpCall:
        """Make a follow-up of that much of a charge."""
        return FollowUpCall(
            key=key or self.key(),
            provider_txn_id=charged.provider_txn_id,
            amount=Money(minor, charged.amount.currency),
        )

    async def do(self, verb: Verb, call: ChargeCall | FollowUpCall) -> Outcome:
        """Make the call once, and give what comes of it when the provider has decided."""
        outcome = await self.once(verb, call)
        return await self.settled(verb, call, outcome)

    async def once(self, verb: Verb, call: ChargeCall | FollowUpCall) -> Outcome:
        """Make the call once, and give the answer as it comes."""
        outcome = await self._make(verb, call)
        self.outcomes.append(outcome)
        return outcome

    async def done(self, verb: Verb, call: ChargeCall | FollowUpCall) -> Approved:
        """Make the call, and expect that it is done for exactly what was asked."""
        outcome = await self.do(verb, call)
        expect(isinstance(outcome, Approved), f"the {verb} was answered {told(outcome)}")
        assert isinstance(outcome, Approved), "looked at above"
        expect(
            outcome.amount == call.amount,
            f"the {verb} of {call.amount} was answered {told(outcome)}",
        )
        return outcome

    async def charged(self, **more: Any) -> tuple[ChargeCall, Approved]:
        """Charge the approved card."""
        call = self.call(**more)
        return call, await self.done("charge" if call.capture else "authorize", call)

    async def warm(self) -> None:
        """Let the adapter get what it needs once: a connection, a token."""
        if not self._is_warm:
            self._is_warm = True
            await self.charged()

    async def plan(self, fault: str, **more: Any) -> None:
        """Let the sandbox spoil the account's next call. Raises `Skipped` where there is none."""
        desk = self.desk
        await self.warm()
        await desk.plan(fault, **more)

    async def spoil_last(self, verb: Verb, spoil: Spoil) -> None:
        """Spoil the request of the next such call that moves money, which is its last."""
        await self.warm()
        self.tap.spoil_next(spoil, skips=self.rehearsed.get(verb, 1) - 1)

    async def settled(
        self, verb: Verb, call: ChargeCall | FollowUpCall, outcome: Outcome
    ) -> Outcome:
        """Wait where the provider said that it takes its time, as the gateway would."""
        if not isinstance(outcome, Pending):
            return outcome
        try:
            async with asyncio.timeout(SETTLE_S):
                while isinstance(outcome, Pending | Unknown):
                    await asyncio.sleep(_LOOK_S)
                    outcome = await self._asked(verb, call) or outcome
        except TimeoutError:
            return outcome
        self.outcomes.append(outcome)
        return outcome

    async def found(self, key: str, is_it: Callable[[Outcome], bool]) -> Outcome:
        """Look a key up until it is there, or should have been: the lag and some grace."""
        outcome: Outcome = await self.provider.find(key)
        try:
            async with asyncio.timeout(self.capabilities.find_lag_s + _GRACE_S):
                while not is_it(outcome):
                    await asyncio.sleep(_LOOK_S)
                    outcome = await self.provider.find(key)
        except TimeoutError:
            pass
        self.outcomes.append(outcome)
        return outcome

    async def effects(self, *keys: str) -> list[Effect]:
        """What the provider's books have under these keys."""
        return await self.desk.effects(*keys)

    async def expect_effects(self, calls: list[ChargeCall | FollowUpCall], *wanted: str) -> None:
        """Expect these operations in the books, and no others, under the calls' keys.

        At an end without books nothing can be compared, and the outcomes alone have to do.
        """
        if self._desk is None:
            return
        effects = await self.effects(*(call.key for call in calls))
        made = [effect.operation for effect in effects]
        expect(made == list(wanted), f"the provider's books have {made}, not {list(wanted)}")

    async def _asked(self, verb: Verb, call: ChargeCall | FollowUpCall) -> Outcome | None:
        if (event := self.ear.told_of(call.key)) is not None:
            return outcome_of(event, verb, call)
        terms = self.capabilities.terms(verb)
        if terms.finds:
            return await self.provider.find(call.key)
        if terms.key_window_s is not None:
            # Where nothing is found, the same key sent again counts as asking.
            return await self._make(verb, call)
        return None

    def _make(self, verb: Verb, call: ChargeCall | FollowUpCall) -> Awaitable[Outcome]:
        if isinstance(call, ChargeCall):
            return self.provider.charge(call)
        if verb == "capture":
            return self.provider.capture(call)
        if verb == "void":
            return self.provider.void(call)
        return self.provider.refund(call)
