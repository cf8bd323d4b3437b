"""What providers say about captures, voids and refunds. Pure.

The same rule as for charges: only what is said moves anything, whoever says it first; what is
said twice moves nothing the second time.
"""

from typing import assert_never

from paygate_actors import events as e
from paygate_actors.charging import (
    HOLD_GONE,
    SETTLED,
    announce,
    book_stray,
    mismatch,
    repeated,
    reverse_by_system,
    undoable_minor,
)
from paygate_actors.doubting import doubt
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import Failure
from paygate_actors.operating import start_refund
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.record import (
    REVIEW_DECLINED,
    Call,
    Payment,
    Txn,
    is_own_reverse,
    is_stray,
)
from paygate_actors.sums import (
    captured_ever,
    charge_of,
    given_away_since,
    left_of_stray,
    left_to_refund,
    refunded,
    took_otherwise,
)

USE_REFUND = Failure(
    code="use_refund", message="The provider settled the payment already: refund it instead."
)
USE_OR_REFUND = Failure(
    code="use_refund", message="The provider settled it already: reverse it with orRefund."
)
NOTHING_LEFT = Failure(
    code="use_refund", message="Settled already, and nothing of it is left to give back."
)
CAME_BACK = Declined(code="declined", message="Reported as failed by the provider.")
WENT_ON = Failure(code="use_refund", message="Settled already: it went on as a refund.")


def follow_up_said(
    draft: Draft, call: Call, outcome: Outcome, ctx: Context, *, at_us: int | None = None
) -> None:
    """What became of a capture, void or refund. `at_us`: the provider's own time of it."""
    match outcome:
        case Approved():
            if call.state == "approved":
                repeated(draft, call, outcome)
            elif not _late(draft, call, at_us):
                _done(draft, call, outcome, ctx, at_us)
        case Declined():
            if call.unresolved:
                _not_done(draft, call, outcome, ctx, at_us)
            elif call.verb == "refund" and call.state == "approved" and outcome.conclusive:
                _refund_bounced(draft, call, outcome, at_us)
        case Pending():
            if call.state == "open":
                draft.add(
                    e.CallPending(
                        key=call.key,
                        provider_txn_id=outcome.provider_txn_id,
                        expected_by_us=outcome.expected_by_us,
                    )
                )
        case Unknown():
            doubt(draft, call, outcome.reason)
        case ActionRequired():
            doubt(draft, call, "garbage")  # no follow-up is confirmed by a payer
        case _:
            assert_never(outcome)


def _late(draft: Draft, call: Call, at_us: int | None) -> bool:
    # Older than the failure that the provider reported since; an answer has no time of its own,
    # and was given before any report could be. Where an answer told of the failure, what was
    # reported of the time before we heard it is older.
    if call.unresolved or call.verb != "refund":
        return False
    txn = _txn_of(draft.payment, call)
    if at_us is None:
        return txn.fact_at_us is not None
    return at_us <= (txn.fact_at_us or txn.updated_at_us)


def _done(draft: Draft, call: Call, said: Approved, ctx: Context, at_us: int | None) -> None:
    stray = is_stray(draft.payment, call)
    draft.approve(
        call,
        provider_txn_id=said.provider_txn_id,
        minor=said.amount.minor,
        currency=said.amount.currency,
        captured=call.verb == "capture",
    )
    if stray:
        if _txn_of(draft.payment, call).status == "pending":
            draft.settle(call.transaction_id, "cancelled")  # the stray tells what happened
        book_stray(draft, call, said)
        return
    if call.verb == "void" and _txn_of(draft.payment, call).status == "cancelled":
        return  # the charge was declined meanwhile: there was nothing to undo
    differs = (
        said.amount.minor != call.amount_minor
        or said.amount.currency != draft.payment.created.currency
    )
    draft.add(
        e.TransactionSettled(
            id=call.transaction_id,
            status="success",
            provider_txn_id=said.provider_txn_id,
            amount_minor=said.amount.minor if differs else None,
            fact_at_us=at_us,
        )
    )
    match call.verb:
        case "capture":
            _captured(draft, ctx, differs=differs)
        case "void" | "refund":
            failed_us = _came_back_us(draft.payment, call, at_us)
            if failed_us is not None and said.provider_txn_id != call.target:
                _refund_bounced(draft, call, CAME_BACK, failed_us)
                return
            _given_back(draft, call, differs=differs)
        case "charge" | "authorize":
            raise TypeError("a charge is no follow-up")
        case _:
            assert_never(call.verb)


def _captured(draft: Draft, ctx: Context, *, differs: bool) -> None:
    charge = charge_of(draft.payment)
    assert charge is not None
    if differs:
        mismatch(draft, charge.key)
    else:
        announce(draft, ctx)


def _given_back(draft: Draft, call: Call, *, differs: bool) -> None:
    if differs:
        draft.attend("amount_mismatch", call.key)
    _counted_once(draft, call)
    txn = _txn_of(draft.payment, call)
    if call.verb == "refund" and given_away_since(draft.payment, txn):
        draft.attend("refund_exceeds_captured", txn.id)
    if is_own_reverse(txn):
        draft.move("cancelled", failure=_why_cancelled(txn))


def _counted_once(draft: Draft, call: Call) -> None:
    for other in _told_beside(draft.payment, call, "success"):
        draft.settle(other.id, "cancelled")


def _came_back_us(payment: Payment, call: Call, at_us: int | None) -> int | None:
    """When it came back by the provider's time, where that is newer than that it was done."""
    times = [txn.fact_at_us or 0 for txn in _told_beside(payment, call, "failed")]
    newest = max(times, default=0)
    return newest if newest and (at_us is None or at_us <= newest) else None


def _told_beside(payment: Payment, call: Call, status: str) -> list[Txn]:
    # Events without our reference may have told of it before the provider's own answer did.
    known = payment.call(call.key)
    if known is None or call.verb != "refund":
        return []
    what = ("refund", "provider", status, known.provider, known.provider_txn_id)
    return [
        txn
        for txn in payment.txns
        if (txn.type, txn.origin, txn.status, txn.provider, txn.provider_txn_id) == what
    ]


def _why_cancelled(reverse: Txn) -> Failure | None:
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


def _not_done(draft: Draft, call: Call, said: Declined, ctx: Context, at_us: int | None) -> None:
    if not said.conclusive:
        return  # this request did nothing: it is sent again under the same key
    failure = Failure(
        code=said.code,
        message=said.message,
        decline_code=said.decline_code,
        retryable=said.retryable,
    )
    draft.add(e.CallDeclined(key=call.key, failure=failure, provider_txn_id=said.provider_txn_id))
    match call.verb:
        case "capture":
            _capture_declined(draft, call, failure)
        case "void":
            _void_declined(draft, call, failure, ctx)
        case "refund":
            draft.add(
                e.TransactionSettled(
                    id=call.transaction_id, status="failed", failure=failure, fact_at_us=at_us
                )
            )
            if said.provider_txn_id != call.target:  # named by its charge it may be any of that
                _counted_once(draft, call)
            reverse = _txn_of(draft.payment, call)
            if reverse.type == "reverse":
                draft.attend("reverse_failed", reverse.id)
                if draft.payment.status not in ("authorized", "review"):
                    # Those are announced, and their reverse can be asked for again.
                    _stand(draft, reverse, ctx)
        case "charge" | "authorize":
            raise TypeError("a charge is no follow-up")
        case _:
            assert_never(call.verb)


def _capture_declined(draft: Draft, call: Call, failure: Failure) -> None:
    draft.settle(call.transaction_id, "failed", failure)
    if draft.payment.captured_minor:
        return  # an earlier capture took another amount: the payment is not over
    if failure.code in HOLD_GONE:
        draft.move("cancelled", failure=failure)
    elif failure.code == "already_captured":
        # By somebody else, and maybe in part: how much, its provider's own report says.
        draft.attend("captured_by_provider", call.key)
    elif draft.payment.status == "review":
        # The funds stay held although nobody will take them: give them free.
        draft.move("failed", failure=failure)
        charge = charge_of(draft.payment)
        assert charge is not None
        reverse_by_system(draft, charge, "capture_declined")


def _void_declined(draft: Draft, call: Call, failure: Failure, ctx: Context) -> None:
    charge = charge_of(draft.payment)
    reverse = _txn_of(draft.payment, call)
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
            draft.move("cancelled", failure=_why_cancelled(reverse))
        return
    if failure.code not in SETTLED:
        _not_undone(draft, reverse, failure)
        _stand(draft, reverse, ctx)
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
    _stand(draft, reverse, ctx)
    if left:
        refund_id = draft.open_transaction(
            "refund",
            origin=reverse.origin,
            by=f"reverse:{reverse.id}",
            amount_minor=left,
            reason=reverse.reason,
        )
        start_refund(draft, refund_id, left)


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
            draft.move("cancelled", failure=_why_cancelled(reverse))
    else:
        _not_undone(draft, reverse, NOTHING_LEFT)


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


def _stand(draft: Draft, reverse: Txn, ctx: Context) -> None:
    # A reverse came before the charge was announced and could not undo it: the charge stands,
    # but for one of another amount than ours: that is never a success.
    charge = charge_of(draft.payment)
    if not is_own_reverse(reverse) or charge is None:
        return
    if draft.payment.status == "review" and reverse.origin != "merchant":
        return  # nobody has approved it: it can be declined again
    if charge.state == "action":
        draft.move("action_required", expires_at_us=charge.expires_at_us)
    elif charge.state == "approved" and not took_otherwise(draft.payment):
        announce(draft, ctx)


def _refund_bounced(draft: Draft, call: Call, said: Declined, at_us: int | None) -> None:
    txn = _txn_of(draft.payment, call)
    if txn.status != "success" or (
        at_us is not None and txn.fact_at_us is not None and at_us <= txn.fact_at_us
    ):
        return
    failure = Failure(code=said.code, message=said.message, decline_code=said.decline_code)
    draft.add(e.CallDeclined(key=call.key, failure=failure))
    draft.add(e.TransactionSettled(id=txn.id, status="failed", failure=failure, fact_at_us=at_us))
    draft.attend("refund_failed", txn.id)


def _txn_of(payment: Payment, call: Call) -> Txn:
    txn = payment.txn(call.transaction_id)
    assert txn is not None, "every call belongs to a transaction"
    return txn
