"""What may be done to a payment afterwards: capture, refund, reverse, review, correct. Pure.

Every command first looks for its idempotency key among the payment's own transactions, then at
the state, then at the sums. One charge, capture or reverse is open at a time; several refunds may
be, and those that are pending count against what is left.
"""

from collections.abc import Mapping

from paygate_actors import events as e
from paygate_actors.draft import Answer, Context, Draft
from paygate_actors.messages import (
    CapturePayment,
    Fault,
    Origin,
    RefundPayment,
    Refusal,
    RefusalCode,
    ReversePayment,
    ReviewPayment,
    TransactionType,
)
from paygate_actors.preparing import reverse_unconfirmed
from paygate_actors.record import REVIEW_DECLINED, Payment, Txn
from paygate_actors.sums import charge_of, left_to_refund, open_txn, refunds_reserved
from paygate_actors.undoing import undoable_minor, void_charge

IN_PROGRESS = Refusal(
    code="operation_in_progress",
    detail="Another operation on this payment is under way; ask again when it is over.",
    retry_after_s=1,
)

CAPTURED_OTHERWISE = "The provider captured another amount already; it can only be given back."


def capture(
    draft: Draft, command: CapturePayment, key: e.RequestKey | None, ctx: Context
) -> Answer:
    """Capture what is held, once; the rest is released."""
    payment = draft.payment
    seen = _replay(payment, key, "capture", {"amount": command.amount_minor}, ctx)
    if seen is not None:
        return seen
    if open_txn(payment, "capture", "reverse") is not None:
        return Answer(refusal=IN_PROGRESS)
    charge = charge_of(payment)
    if payment.status == "authorized" and payment.captured_minor:
        return _refuse("payment_not_capturable", CAPTURED_OTHERWISE)
    if payment.status != "authorized" or charge is None:
        return _refuse("payment_not_capturable", f"A payment that is {payment.status} has no hold.")
    held = payment.authorized_minor
    minor = held if command.amount_minor is None else command.amount_minor
    if minor > held:
        return _too_much("capture_exceeds_authorized", "More than was authorised.")
    transaction_id = draft.open_transaction(
        "capture",
        origin=_origin(command.caller.role),
        by=command.caller.key_id,
        amount_minor=minor,
        requested_minor=command.amount_minor,
        key=key,
    )
    draft.start_call(
        transaction_id,
        "capture",
        provider=charge.provider,
        amount_minor=minor,
        target=charge.provider_txn_id,
    )
    return Answer(transaction_id=transaction_id)


def refund(draft: Draft, command: RefundPayment, key: e.RequestKey | None, ctx: Context) -> Answer:
    """Give back a part of what was captured, or all that is left."""
    payment = draft.payment
    asked = {"amount": command.amount_minor, "reason": command.reason}
    seen = _replay(payment, key, "refund", asked, ctx)
    if seen is not None:
        return seen
    if open_txn(payment, "reverse") is not None:
        return Answer(refusal=IN_PROGRESS)
    charge = charge_of(payment)
    if payment.status != "success" and payment.captured_minor:
        return _refuse("payment_not_refundable", f"{CAPTURED_OTHERWISE} Reverse it with orRefund.")
    if payment.status != "success" or charge is None or charge.provider_txn_id is None:
        return _refuse(
            "payment_not_refundable", f"A payment that is {payment.status} cannot be refunded."
        )
    if _disputed(payment):
        return _refuse("payment_not_refundable", "The payment is under dispute, or lost in one.")
    left = left_to_refund(payment)
    minor = left if command.amount_minor is None else command.amount_minor
    if minor > left or not minor:
        return _too_much("refund_exceeds_remaining", "More than is left to refund.")
    transaction_id = draft.open_transaction(
        "refund",
        origin=_origin(command.caller.role),
        by=command.caller.key_id,
        amount_minor=minor,
        reason=command.reason,
        requested_minor=command.amount_minor,
        key=key,
    )
    start_refund(draft, transaction_id, minor)
    return Answer(transaction_id=transaction_id)


def start_refund(draft: Draft, transaction_id: str, minor: int) -> None:
    """Intend to give back `minor` of the payment's own charge."""
    charge = charge_of(draft.payment)
    assert charge is not None
    draft.start_call(
        transaction_id,
        "refund",
        provider=charge.provider,
        amount_minor=minor,
        target=charge.provider_txn_id,
    )


def reverse(
    draft: Draft, command: ReversePayment, key: e.RequestKey | None, ctx: Context
) -> Answer:
    """Undo the whole: at once where there is something to undo, else as soon as it is known."""
    payment = draft.payment
    asked = {"reason": command.reason, "orRefund": command.or_refund}
    seen = _replay(payment, key, "reverse", asked, ctx)
    if seen is not None:
        return seen
    if open_txn(payment, "reverse", "capture") is not None:
        return Answer(refusal=IN_PROGRESS)
    charge = charge_of(payment)
    if payment.status in ("failed", "cancelled") or charge is None:
        return _refuse(
            "payment_not_reversible", f"A payment that is {payment.status} cannot be reversed."
        )
    # What never was a success cannot be refunded: its reverse alone gives back what is left of it.
    if payment.status == "success" and refunds_reserved(payment):
        return _refuse("payment_not_reversible", "A part of the payment was refunded already.")
    transaction_id = draft.open_transaction(
        "reverse",
        origin=_origin(command.caller.role),
        by=command.caller.key_id,
        amount_minor=undoable_minor(payment, charge),
        reason=command.reason,
        or_refund=command.or_refund,
        key=key,
    )
    if charge.state in ("approved", "action") or charge.confirming:
        opened = draft.payment.txn(transaction_id)
        assert opened is not None
        void_charge(draft, opened, charge)
    elif charge.unprepared:
        reverse_unconfirmed(draft, charge, ctx)
    return Answer(transaction_id=transaction_id)


def review(draft: Draft, command: ReviewPayment) -> Answer:
    """A person's decision: approved funds are captured, declined ones go back."""
    payment = draft.payment
    if open_txn(payment, "reverse", "capture") is not None:
        return Answer(refusal=IN_PROGRESS)
    charge = charge_of(payment)
    if payment.status != "review" or charge is None:
        return _refuse(
            "payment_not_reviewable", f"A payment that is {payment.status} waits for no review."
        )
    if payment.captured_minor and command.decision == "approve":
        return _refuse("payment_not_reviewable", CAPTURED_OTHERWISE)
    by = command.caller.key_id
    draft.add(e.Reviewed(decision=command.decision, note=command.note, by=by))
    if command.decision == "approve":
        transaction_id = draft.open_transaction(
            "capture", origin="operator", by=by, amount_minor=payment.authorized_minor
        )
        draft.start_call(
            transaction_id,
            "capture",
            provider=charge.provider,
            amount_minor=payment.authorized_minor,
            target=charge.provider_txn_id,
        )
        return Answer(transaction_id=transaction_id)
    transaction_id = draft.open_transaction(
        "reverse",
        origin="operator",
        by=by,
        amount_minor=undoable_minor(payment, charge),
        reason=REVIEW_DECLINED,
    )
    opened = draft.payment.txn(transaction_id)
    assert opened is not None
    void_charge(draft, opened, charge)
    return Answer(transaction_id=transaction_id)


def _replay(
    payment: Payment,
    key: e.RequestKey | None,
    type: TransactionType,  # noqa: A002  # the field's word
    asked: Mapping[str, object],
    ctx: Context,
) -> Answer | None:
    if key is None:
        return None
    for txn in payment.txns:
        if txn.key is None or txn.key.name != key.name or txn.type != type:
            continue
        if _expired(payment, txn, ctx):
            continue
        if txn.key.mac == key.mac:
            return Answer(transaction_id=txn.id, replayed=True)
        return Answer(refusal=_reused(txn, asked))
    return None


def _expired(payment: Payment, txn: Txn, ctx: Context) -> bool:
    if txn.status == "pending" or any(
        call.unresolved for call in payment.calls if call.transaction_id == txn.id
    ):
        return False
    return ctx.now_us - txn.updated_at_us > ctx.key_life_us


def _reused(txn: Txn, asked: Mapping[str, object]) -> Refusal:
    was = {"amount": txn.requested_minor, "reason": txn.reason, "orRefund": txn.or_refund}
    return key_reused([name for name, value in asked.items() if was[name] != value])


def key_reused(fields: list[str]) -> Refusal:
    """The refusal of a key that was used for another request; `fields` are those that differ."""
    return Refusal(
        code="idempotency_key_reused",
        detail="This idempotency key was used for another request.",
        faults=tuple(
            Fault(
                pointer="/" + name.replace(".", "/"),
                code="differs",
                detail="Differs from the first request with this key.",
            )
            for name in fields
        ),
    )


def _disputed(payment: Payment) -> bool:
    own = [txn for txn in payment.txns if not txn.of_stray]
    taken = [txn for txn in own if txn.type == "chargeback"]
    won_back = sum((txn.type, txn.status) == ("chargeback_reversal", "success") for txn in own)
    return sum(txn.status in ("pending", "success") for txn in taken) > won_back


def _origin(role: str) -> Origin:
    return "operator" if role == "operator" else "merchant"


def _refuse(code: RefusalCode, detail: str) -> Answer:
    return Answer(refusal=Refusal(code=code, detail=detail))


def _too_much(code: RefusalCode, detail: str) -> Answer:
    fault = Fault(pointer="/amount", code=code, detail=detail)
    return Answer(refusal=Refusal(code=code, detail=detail, faults=(fault,)))
