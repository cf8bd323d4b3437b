"""Giving back again what could not be given back: an operator repeats a reverse that failed. Pure.

It is for money that nobody is to keep and no other command moves: of a payment that is over, of
one that never was a success, of a stray. How it ends is the business of `following` and
`refused_reverses`, as of any reverse.
"""

from typing import Final

from paygate_actors.desk_messages import GiveBack
from paygate_actors.draft import Draft
from paygate_actors.messages import Refusal
from paygate_actors.record import Call, Payment, Txn
from paygate_actors.sums import (
    booked_as_stray,
    captured_ever,
    charge_of,
    disputed,
    left_of_stray,
    left_to_refund,
    refunded,
    returned,
    took_otherwise,
)

AGAIN: Final = "given_back_again"
NOTHING_KEPT: Final = Refusal(
    code="payment_not_reversible",
    detail="No reverse of it has failed, or what it was for has gone back, or is under dispute.",
)


def owed(payment: Payment) -> Txn | None:
    """The newest reverse that failed and that can be repeated, of money that is still kept."""
    for reverse in reversed(payment.txns):
        if (reverse.type, reverse.status) == ("reverse", "failed") and _kept(payment, reverse):
            return reverse
    return None


def give_back(draft: Draft, command: GiveBack) -> Refusal | None:
    """Repeat it; None: so it is, now or already, under way or done."""
    payment = draft.payment
    failed = owed(payment)
    if failed is None:
        again = (txn for txn in payment.txns if (txn.origin, txn.reason) == ("operator", AGAIN))
        done = any(txn.status in ("pending", "success") for txn in again)
        return None if done else NOTHING_KEPT
    last = _calls(payment, failed)[-1]
    minor = _minor(payment, failed)
    reverse_id = draft.open_transaction(
        "reverse",
        origin="operator",
        by=command.caller.key_id,
        amount_minor=minor,
        reason=AGAIN,  # the operator's own words are for the audit log
        or_refund=True,
        stray_id=failed.stray_id,
    )
    # What was refused as a refund had settled before; a void says by its refusal that it has.
    draft.start_call(
        reverse_id, last.verb, provider=last.provider, amount_minor=minor, target=last.target
    )
    return None


def _kept(payment: Payment, failed: Txn) -> bool:
    about = [
        txn for txn in payment.txns if (txn.type, txn.stray_id) == ("reverse", failed.stray_id)
    ]
    if any(txn.status in ("pending", "success") for txn in about):
        return False
    calls = _calls(payment, failed)
    if not calls or any(call.unresolved for txn in about for call in _calls(payment, txn)):
        return False
    if any(call.unresolved and _voids_the_same(call, calls[-1]) for call in payment.calls):
        return False  # of a reverse that is over: what became of its void is not known
    if disputed(payment, about=failed.stray_id):
        return False  # while the payer's bank has it, or has had it, nothing is given back beside
    return _minor(payment, failed) > 0


def _minor(payment: Payment, failed: Txn) -> int:
    """What is left to give back of what the reverse was for; in minor units."""
    if failed.stray_id is not None:
        stray = payment.txn(failed.stray_id)
        return 0 if stray is None else left_of_stray(payment, stray)
    charge = charge_of(payment)
    over = payment.status in ("failed", "cancelled")
    never = payment.status != "success" and took_otherwise(payment)
    if charge is None or charge.state != "approved" or not (over or never):
        return 0
    if booked_as_stray(payment, charge):
        return 0  # it succeeded after it was given up, and the stray's own reverse gives it back
    if payment.captured_minor:
        return left_to_refund(payment)
    taken = captured_ever(payment) or charge.confirmed_minor or 0
    return max(0, taken - refunded(payment) - returned(payment))


def _voids_the_same(call: Call, last: Call) -> bool:
    return call.verb == "void" and (call.provider, call.target) == (last.provider, last.target)


def _calls(payment: Payment, reverse: Txn) -> list[Call]:
    return [call for call in payment.calls if call.transaction_id == reverse.id]
