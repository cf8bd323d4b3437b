"""The payment at the desk: what operators ask of it, and what they may say about it.

Every word of theirs is committed with the key that it came under before it has any effect.
"""

from typing import Final

import msgspec

from paygate_actors import correcting, facts
from paygate_actors.desk import desk_entry, doubtful_charge, open_calls
from paygate_actors.desk_messages import DeskAction, DeskEntry, OpenCall
from paygate_actors.draft import Draft
from paygate_actors.giving_back import give_back
from paygate_actors.messages import Refusal
from paygate_actors.payment_core import PaymentCore, as_decided
from paygate_actors.payment_messages import (
    AskNow,
    AtDesk,
    DoubtfulCharge,
    GivenBack,
    NotCharged,
    Seen,
    Watched,
)
from paygate_actors.projection import Cause
from paygate_actors.record import Call
from paygate_actors.sums import unresolved
from paygate_engine.actor import handles

NOTHING_OPEN: Final = Refusal(
    code="not_in_doubt", detail="The provider has settled everything of this payment."
)


class PaymentAtDesk(PaymentCore):
    """The handlers of the desk's messages."""

    __slots__ = ()

    @handles(AtDesk)
    def on_at_desk(self, message: AtDesk) -> DeskEntry:
        """Say how the payment stands on the desk, and how its calls are pursued."""
        return self._entry()

    @handles(Watched)
    def on_watched(self, message: Watched) -> tuple[OpenCall, ...]:
        """Say which calls are not settled, and how they are pursued."""
        return self._shown(open_calls(self._known()))

    @handles(AskNow)
    def on_ask_now(self, message: AskNow) -> object:
        """Hand out what may be asked about now; that it was is on record first."""
        payment = self._known()
        if not unresolved(payment):
            return NOTHING_OPEN
        draft, _ = self._draft()
        if self._pursuer is None:
            self._follow(payment, ())
        pursuer = self._pursuer
        calls = () if pursuer is None else pursuer.may_ask(payment)
        if pursuer is None or not calls:
            return calls

        def asked() -> tuple[Call, ...]:
            for call in calls:
                pursuer.asked_aside(call)
            return calls

        self._house.counts["desk", "ask_again"] += 1
        return self._commit(draft, Cause(who=f"key:{message.by}", what="ask again"), reply=asked)

    @handles(DoubtfulCharge)
    def on_doubtful_charge(self, message: DoubtfulCharge) -> Call | None:
        """The charge that an operator may hold for not made."""
        return doubtful_charge(self._known())

    @handles(NotCharged)
    def on_not_charged(self, message: NotCharged) -> object:
        """Set a charge as not made where it can be; what the provider said is booked anyway."""
        draft, ctx = self._draft()
        charge = doubtful_charge(draft.payment)
        can = None if charge is None else self._house.providers.capabilities(charge.provider)
        refusal = correcting.not_charged(draft, message, ctx, can)
        facts.patience(draft, ctx)
        command = message.command
        cause = Cause(
            who=f"key:{command.caller.key_id}", what="mark not charged", why=command.reason
        )
        return self._noted("mark_not_charged", draft, refusal, cause)

    @handles(GivenBack)
    def on_given_back(self, message: GivenBack) -> object:
        """Repeat the reverse that failed, where what it was for is still kept."""
        command = message.command
        draft, _ = self._draft()
        refusal = give_back(draft, command)
        cause = Cause(
            who=f"key:{command.caller.key_id}", what="give back again", why=command.reason
        )
        return self._noted("give_back", draft, refusal, cause)

    @handles(Seen)
    def on_seen(self, message: Seen) -> object:
        """Take what a person has looked at off the desk."""
        command = message.command
        draft, ctx = self._draft()
        facts.patience(draft, ctx)
        refusal = correcting.seen(draft, command)
        cause = Cause(who=f"key:{command.caller.key_id}", what="seen", why=command.note)
        return self._noted("seen", draft, refusal, cause)

    def _entry(self) -> DeskEntry:
        entry = desk_entry(self._known())
        return msgspec.structs.replace(entry, calls=self._shown(entry.calls))

    def _shown(self, calls: tuple[OpenCall, ...]) -> tuple[OpenCall, ...]:
        if self._pursuer is None:
            return calls
        payment = self._known()
        return tuple(self._pursuer.shown(payment, call) for call in calls)

    def _noted(
        self, action: DeskAction, draft: Draft, refusal: Refusal | None, cause: Cause
    ) -> object:
        self._house.counts["desk", action] += refusal is None
        if not draft.events:
            return refusal or self._entry()
        cause = as_decided(cause, refusal)
        return self._commit(draft, cause, reply=lambda: refusal or self._entry())
