"""What becomes of a reverse whose void or refund its provider refuses. Pure.

What has settled is refunded where nobody wants to keep it, or where the merchant allowed that. A
charge that cannot be undone stands; and where money stays that should have gone back, a person is
called, who can have it given back again (`giving_back`).
"""

from paygate_actors import events as e
from paygate_actors.charging import HOLD_GONE, SETTLED, announce
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import Failure
from paygate_actors.operating import start_refund
from paygate_actors.record import (
    CAPTURE_DECLINED,
    REVIEW_DECLINED,
    Call,
    Payment,
    Txn,
    is_own_reverse,
    refused_in_review,
    txn_of,
)
from paygate_actors.sums import (
    captured_ever,
    charge_of,
    disputed,
    left_of_stray,
    left_to_refund,
    refunded,
    returned,
    took_otherwise,
)
from paygate_actors.undoing import undoable_minor

USE_REFUND = Failure(
    code="use_refund", message="The provider settled the payment already: refund it instead."
)
USE_OR_REFUND = Failure(
    code="use_refund", message="The provider settled it already: reverse it with orRefund."
)
NOTHING_LEFT = Failure(
    code="use_refund", message="Settled already, and nothing of it is left to give back."
)
WENT_ON = Failure(code="use_refund", message="Settled already: it went on as a refund.")


def void_declined(draft: Draft, call: Call, failure: Failure, ctx: Context) -> None:
    """Say what becomes of the reverse whose void was refused for good."""
    charge = charge_of(draft.payment)
    reverse = txn_of(draft.payment, call)
    own = is_own_reverse(reverse)
    not_yet = failure.code == "operation_pending" or failure.code in SETTLED
    if not_yet and own and charge is not None and charge.unresolved:
        # The charge is decided first, and of which amount; its answer starts the void anew.
        return
    if reverse.status != "pending":
        return  # what became of the charge decided about the reverse already
    if failure.code in HOLD_GONE:
        # There is nothing left to undo: what the reverse was for has happened without it.
        draft.settle(reverse.id, "success")
        if own and charge is not None and charge.unresolved:
            # Success of it, said later all the same, is money that nobody waits for.
            draft.add(e.CallDeclined(key=charge.key, failure=failure))
        if own:
            released(draft, reverse)
        return
    if failure.code not in SETTLED:
        _not_undone(draft, reverse, failure)
        stand(draft, reverse, ctx)
        return
    if _owed_back(draft.payment, reverse):
        _refund_instead(draft, call, reverse)
        return
    # Refunds that the provider made by itself meanwhile are facts; ours go up to the limit.
    left = left_to_refund(draft.payment) if reverse.or_refund else 0
    draft.settle(
        reverse.id,
        "cancelled" if left else "failed",
        WENT_ON if left else _instead(draft.payment, reverse),
    )
    stand(draft, reverse, ctx)
    if left:
        refund_id = draft.open_transaction(
            "refund",
            origin=reverse.origin,
            by=f"reverse:{reverse.id}",
            amount_minor=left,
            reason=reverse.reason,
        )
        start_refund(draft, refund_id, left)


def stand(draft: Draft, reverse: Txn, ctx: Context) -> None:
    """Announce the charge that its reverse, which came before that, could not undo.

    But for one of another amount than ours: that is never a success.
    """
    charge = charge_of(draft.payment)
    if not is_own_reverse(reverse) or charge is None:
        return
    if draft.payment.status == "review":
        approved = reverse.reason == CAPTURE_DECLINED and draft.payment.captured_minor
        if reverse.origin != "merchant" and not approved:
            return  # nobody has approved it: it can be declined again
        if refused_in_review(draft.payment) is not None:
            return  # declined before its merchant asked for it, and so it stays
    if charge.state == "action":
        draft.move("action_required", expires_at_us=charge.expires_at_us)
    elif charge.state == "approved" and not took_otherwise(draft.payment):
        announce(draft, ctx)


def released(draft: Draft, reverse: Txn) -> None:
    """Move the payment to where it is when what it held has been given free."""
    refused = None
    if (reverse.origin, reverse.reason) == ("system", CAPTURE_DECLINED):
        captures = (txn for txn in reversed(draft.payment.txns) if txn.type == "capture")
        refused = next((txn for txn in captures if txn.origin == "operator"), None)
    if refused is None or captured_ever(draft.payment):
        draft.move("cancelled", failure=why_cancelled(reverse))
    else:
        draft.move("failed", failure=refused.failure)


def why_cancelled(reverse: Txn) -> Failure | None:
    """Why the payment that it undid is cancelled; None: because it was asked for."""
    match reverse.reason if reverse.origin == "system" else None:
        case "authentication_expired":
            return Failure(
                code="authentication_expired",
                message="The payer did not confirm in time.",
                retryable=True,
            )
        case "amount_mismatch":
            return Failure(code="amount_mismatch", message="The provider confirmed another amount.")
        case _:
            return None


def _instead(payment: Payment, reverse: Txn) -> Failure:
    if reverse.or_refund:
        return NOTHING_LEFT
    return USE_OR_REFUND if _is_no_success(payment) else USE_REFUND


def _owed_back(payment: Payment, reverse: Txn) -> bool:
    """Whether it goes on as a refund by itself: of money that nobody wants to keep."""
    if reverse.origin == "system" or reverse.of_stray:
        return True
    if (reverse.origin, reverse.reason) == ("operator", REVIEW_DECLINED):
        return True
    return reverse.or_refund and _is_no_success(payment)


def _is_no_success(payment: Payment) -> bool:
    # What took another amount than ours never was one, and a hold that settled unheard of is none
    # yet: no refund alone would end it. All else stands, and is refunded as what it is.
    never = took_otherwise(payment) or not payment.captured_minor
    return payment.status != "success" and never


def _refund_instead(draft: Draft, void: Call, reverse: Txn) -> None:
    payment = draft.payment
    stray = payment.txn(reverse.stray_id) if reverse.stray_id is not None else None
    charge = charge_of(payment) if stray is None else None
    taken, left = _to_give_back(payment, void, stray)
    if left:
        # The void may have left before the provider gave the charge the id that it is refunded by.
        named = charge.provider_txn_id if charge is not None else None
        draft.start_call(
            reverse.id,
            "refund",
            provider=void.provider,
            amount_minor=left,
            target=named or void.target,
        )
    elif refunded(payment, about=reverse.stray_id) >= taken:
        draft.settle(reverse.id, "success")
        if stray is None:
            draft.move("cancelled", failure=why_cancelled(reverse))
    else:
        _not_undone(draft, reverse, NOTHING_LEFT)
        if stray is None and _taken_back(payment) >= taken:
            # Lost to the payer's bank: nothing is kept. Should it be won after all, what comes
            # back is given back by a repetition of this reverse.
            draft.move("cancelled", failure=why_cancelled(reverse))


def _taken_back(payment: Payment) -> int:
    """What has gone back for certain: refunded, returned, or lost in a dispute that is over."""
    under_way = any((txn.type, txn.status) == ("chargeback", "pending") for txn in payment.txns)
    return 0 if under_way else refunded(payment) + returned(payment) + disputed(payment)


def _to_give_back(payment: Payment, void: Call, stray: Txn | None) -> tuple[int, int]:
    """What was taken, and what is left of it: a part may have gone back since."""
    if stray is not None:
        return stray.amount_minor, left_of_stray(payment, stray)
    if payment.captured_minor:
        return payment.captured_minor, left_to_refund(payment)
    # All that is held, of which the void may have known less when it left.
    charge = charge_of(payment)
    held = void.amount_minor if charge is None else undoable_minor(payment, charge)
    taken = captured_ever(payment) or held
    return taken, max(0, taken - refunded(payment))


def _not_undone(draft: Draft, reverse: Txn, failure: Failure) -> None:
    draft.settle(reverse.id, "failed", failure)
    # A person who is to look at the other amount that was taken looks at the same money.
    called = is_own_reverse(reverse) and any(
        concern.code == "amount_mismatch" for concern in draft.payment.unseen
    )
    if reverse.origin != "merchant" and not called:
        draft.attend("reverse_failed", reverse.id)
