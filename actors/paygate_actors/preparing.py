"""Charges of two steps: an object is made, its id is written down, then it is confirmed. Pure.

These rules license every conclusion here:

* What moves money, the confirmation, leaves only after `CallPrepared` is durable. A call without
  that event has moved nothing; and whoever records its end in its place forbids the confirmation
  for good, to this process and to any other, because an event's number is taken once. So giving
  it up is a definite non-charge, whatever became of the first step; and the first step may be
  repeated without end, also when the provider has forgotten its key: of all the objects that this
  may make, the one that is written down is confirmed, and no other ever.
* Where a payer has to do their part first, what they did only makes it ready: the same call is made
  again then, with the object's id, and under the same key.
* What is written down may be confirmed by a request that is still on its way. It is looked at by
  its id; while the provider has it unconfirmed, it is confirmed again under the same key or
  cancelled there. That it *is* cancelled there, in the provider's own words, is a definite
  non-charge: whatever arrives later finds nothing to confirm. Nothing else is.
"""

from typing import Final, assert_never

from paygate_actors import events as e
from paygate_actors.charging import HOLD_GONE, NOT_CONFIRMED, SETTLED, charge_said, gone_at_provider
from paygate_actors.doubting import doubt
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import Failure
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.record import Call, Payment
from paygate_actors.sums import asserted, open_txn, release_of
from paygate_actors.undoing import undoable_minor

REVERSED: Final = Declined(
    code="cancelled", message="Reversed before it was confirmed at the provider."
)


def prepared(draft: Draft, call: Call, said: Prepared) -> None:
    """Record the object, once; the object of an attempt that is over is nobody's business."""
    if call.unprepared:
        draft.add(e.CallPrepared(key=call.key, provider_txn_id=said.provider_txn_id))


def reverse_unconfirmed(draft: Draft, charge: Call, ctx: Context) -> None:
    """End an attempt that has no object, for the sake of the reverse that is open."""
    assert charge.unprepared, "an object has to be cancelled at its provider"
    charge_said(draft, charge, REVERSED, ctx)


def give_up(draft: Draft, call: Call, ctx: Context) -> None:
    """End an attempt: at once where it has no object, else by cancelling that at its provider."""
    if call.unprepared:
        charge_said(draft, call, NOT_CONFIRMED, ctx)
    elif call.confirming and release_of(draft.payment, call) is None:
        draft.start_call(
            draft.payment.txns[0].id,
            "void",
            provider=call.provider,
            amount_minor=undoable_minor(draft.payment, call),
            target=call.prepared_id,
        )


def released(draft: Draft, void: Call, outcome: Outcome, ctx: Context) -> None:
    """What became of the void by which an attempt's object is given up."""
    match outcome:
        case Approved():
            _cancelled_there(draft, void, outcome, ctx)
        case Declined():
            _not_cancelled(draft, void, outcome, ctx)
        case Pending():
            if void.state == "open":
                draft.add(e.CallPending(key=void.key, expected_by_us=outcome.expected_by_us))
        case Unknown():
            doubt(draft, void, outcome.reason)
        case ActionRequired():
            doubt(draft, void, "garbage")  # no payer is asked about a void
        case _:
            assert_never(outcome)


def is_unconfirmed(call: Call, outcome: Outcome | Prepared) -> bool:
    """Whether the provider says that the call's object is there and nobody has confirmed it."""
    return (
        call.confirming
        and isinstance(outcome, Unknown)
        and outcome.reason == "not_visible"
        and outcome.provider_txn_id == call.prepared_id
    )


def payer_is_done(call: Call, outcome: Outcome | Prepared) -> bool:
    """Whether the payer was asked, and the object waits for us again: he approved it, or went away.

    So it is where an approval moves no money: the same call, sent again, takes it or says no.
    """
    return (
        call.state == "action"
        and call.prepared_id is not None
        and isinstance(outcome, Unknown)
        and outcome.reason == "not_visible"
        and outcome.provider_txn_id == call.prepared_id
    )


def unanswered(draft: Draft, call: Call, said: Unknown) -> None:
    """Record that money was asked for after the payer came back, and that nobody knows the end."""
    if call.state == "action" and call.prepared_id is not None and not call.in_doubt:
        draft.add(e.CallInDoubt(key=call.key, reason=said.reason))


def may_confirm(payment: Payment, call: Call) -> bool:
    """Whether the money is still wanted: nobody undoes it, gave it up, or said how it ended."""
    return (
        open_txn(payment, "reverse") is None
        and release_of(payment, call) is None
        and not asserted(payment, call)
    )


def may_give_up(payment: Payment, call: Call) -> bool:
    """Whether it is ours to cancel: nobody undoes it already, or said that it has succeeded."""
    return (
        (call.unprepared or call.confirming)
        and open_txn(payment, "reverse") is None
        and release_of(payment, call) is None
        and payment.txns[0].asserted in (None, "failed", "cancelled")
    )


def _cancelled_there(draft: Draft, void: Call, said: Approved, ctx: Context) -> None:
    if void.state == "approved":
        return
    charge = _charge_of(draft.payment, void)
    draft.approve(
        void,
        provider_txn_id=said.provider_txn_id,
        minor=said.amount.minor,
        currency=said.amount.currency,
    )
    _conclude(draft, charge, ctx)


def _not_cancelled(draft: Draft, void: Call, said: Declined, ctx: Context) -> None:
    if not void.unresolved or not said.conclusive:
        return  # what was not looked at is sent again under the same key
    failure = Failure(code=said.code, message=said.message, decline_code=said.decline_code)
    charge = _charge_of(draft.payment, void)
    draft.add(e.CallDeclined(key=void.key, failure=failure, provider_txn_id=said.provider_txn_id))
    if said.code in HOLD_GONE:
        _conclude(draft, charge, ctx)  # it was cancelled before, and that is what was wanted
    elif said.code not in SETTLED and charge.unresolved:
        draft.attend("release_failed", void.key)


def _conclude(draft: Draft, charge: Call, ctx: Context) -> None:
    if charge.unresolved:
        charge_said(draft, charge, NOT_CONFIRMED, ctx)
    elif charge.state == "approved":
        # Its confirmation came through just before: what was taken has been given back.
        gone_at_provider(draft, charge)


def _charge_of(payment: Payment, void: Call) -> Call:
    place = (void.provider, void.target)
    charges = (call for call in payment.calls if call.charges)
    return next(call for call in charges if (call.provider, call.prepared_id) == place)
