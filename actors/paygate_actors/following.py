"""What providers say about captures, voids and refunds. Pure.

The same rule as for charges: only what is said moves anything, whoever says it first; what is
said twice moves nothing the second time.
"""

from typing import assert_never

from paygate_actors import events as e
from paygate_actors.charging import HOLD_GONE, announce_or_give_back, repeated
from paygate_actors.doubting import doubt
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import Failure
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.record import (
    CAPTURE_DECLINED,
    Call,
    Payment,
    Txn,
    is_own_reverse,
    is_stray,
    refused_in_review,
    txn_of,
)
from paygate_actors.refused_reverses import released, stand, void_declined, why_cancelled
from paygate_actors.sums import (
    captured_ever,
    charge_of,
    given_away_since,
    open_txn,
)
from paygate_actors.undoing import book_stray, mismatch, reverse_by_system

CAME_BACK = Declined(code="declined", message="Reported as failed by the provider.")


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
    txn = txn_of(draft.payment, call)
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
    if call.verb == "capture" and (booked := _booked_before(draft.payment, call, said)):
        # Refused as done already, and booked as its provider's: it was this one.
        draft.settle(booked.id, "cancelled")
        draft.settle(call.transaction_id, "success")
        return
    if call.verb == "capture" and stray and _went_back(draft.payment, call, said):
        draft.settle(call.transaction_id, "success")  # given back before it was heard of
        return
    if stray:
        if txn_of(draft.payment, call).status == "pending":
            draft.settle(call.transaction_id, "cancelled")  # the stray tells what happened
        book_stray(draft, call, said)
        return
    if call.verb == "void" and txn_of(draft.payment, call).status == "cancelled":
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


def _booked_before(payment: Payment, call: Call, said: Approved) -> Txn | None:
    """The capture that was booked as its provider's own, of the same charge and sum."""
    what = ("capture", "provider", "success", call.provider, said.amount.minor)
    return next(
        (
            txn
            for txn in payment.txns
            if (txn.type, txn.origin, txn.status, txn.provider, txn.amount_minor) == what
            and txn.provider_txn_id == call.target
            and txn.currency == said.amount.currency
        ),
        None,
    )


def _went_back(payment: Payment, capture: Call, said: Approved) -> bool:
    """Whether our own reverse has refunded what this capture took, unheard of until now."""
    return not captured_ever(payment) and any(
        (call.verb, call.state) == ("refund", "approved")
        and (call.provider, call.target) == (capture.provider, capture.target)
        and is_own_reverse(txn_of(payment, call))
        and (call.confirmed_minor or 0) >= said.amount.minor
        for call in payment.calls
    )


def _captured(draft: Draft, ctx: Context, *, differs: bool) -> None:
    charge = charge_of(draft.payment)
    assert charge is not None
    if differs:
        mismatch(draft, charge.key)
    elif open_txn(draft.payment, "reverse") is None:  # it is about to say whether this stands
        announce_or_give_back(draft, ctx)


def _given_back(draft: Draft, call: Call, *, differs: bool) -> None:
    if differs:
        draft.attend("amount_mismatch", call.key)
    _counted_once(draft, call)
    txn = txn_of(draft.payment, call)
    if call.verb == "refund" and given_away_since(draft.payment, txn):
        draft.attend("refund_exceeds_captured", txn.id)
    if is_own_reverse(txn) and call.verb == "void":
        released(draft, txn)
    elif is_own_reverse(txn):
        draft.move("cancelled", failure=why_cancelled(txn))


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
            void_declined(draft, call, failure, ctx)
        case "refund":
            draft.add(
                e.TransactionSettled(
                    id=call.transaction_id, status="failed", failure=failure, fact_at_us=at_us
                )
            )
            if said.provider_txn_id != call.target:  # named by its charge it may be any of that
                _counted_once(draft, call)
            reverse = txn_of(draft.payment, call)
            if reverse.type == "reverse":
                draft.attend("reverse_failed", reverse.id)
                _not_refunded(draft, call, reverse, ctx)
        case "charge" | "authorize":
            raise TypeError("a charge is no follow-up")
        case _:
            assert_never(call.verb)


def _not_refunded(draft: Draft, call: Call, reverse: Txn, ctx: Context) -> None:
    payment = draft.payment
    if payment.status not in ("authorized", "review"):
        stand(draft, reverse, ctx)
        return
    if not payment.captured_minor or not is_own_reverse(reverse):
        return  # it is announced as held, and its reverse can be asked for again
    # It was heard of as captured while the refund of what was held was under way.
    refused = refused_in_review(payment) if payment.status == "review" else None
    if refused is None:
        stand(draft, reverse, ctx)
    elif call.amount_minor > payment.captured_minor:
        charge = charge_of(payment)
        assert charge is not None
        reverse_by_system(draft, charge, refused.reason or "")


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
        # The funds stay held although nobody will take them. It has failed when they are given
        # free, and not before: their provider may have taken some by itself, and not told so yet.
        charge = charge_of(draft.payment)
        assert charge is not None
        reverse_by_system(draft, charge, CAPTURE_DECLINED)


def _refund_bounced(draft: Draft, call: Call, said: Declined, at_us: int | None) -> None:
    txn = txn_of(draft.payment, call)
    if txn.status != "success" or (
        at_us is not None and txn.fact_at_us is not None and at_us <= txn.fact_at_us
    ):
        return
    failure = Failure(code=said.code, message=said.message, decline_code=said.decline_code)
    draft.add(e.CallDeclined(key=call.key, failure=failure))
    draft.add(e.TransactionSettled(id=txn.id, status="failed", failure=failure, fact_at_us=at_us))
    draft.attend("refund_failed", txn.id)
