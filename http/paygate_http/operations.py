"""What is done to a payment that exists: capture, refund, reverse, review."""

from msgspec import Raw, UnsetType

from paygate_actors.messages import (
    CapturePayment,
    RefundPayment,
    Refusal,
    ReversePayment,
    ReviewPayment,
    TransactionReply,
)
from paygate_http import render
from paygate_http.bodies import CaptureBody, RefundBody, ReverseBody, ReviewBody
from paygate_http.decode import decode
from paygate_http.payment_checks import check_amount, check_text
from paygate_http.payments import payment_response, replay_headers
from paygate_http.problems import Problem
from paygate_http.quick_reply import Answer
from paygate_http.requests import applied, idempotency_key, preferred_wait_s, read_json
from paygate_http.route import Call, json_response
from paygate_http.validation import Faults


async def capture(call: Call) -> Answer:
    """Capture held funds, in whole or in part."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    faults = Faults()
    body = decode(await read_json(call.request, may_be_empty=True), CaptureBody, faults)
    amount_minor = await _amount_minor(call, payment_id, body.amount, faults)
    key = idempotency_key(call.request, body.idempotency_key, faults)
    if faults:
        raise faults.problem()
    command = CapturePayment(
        caller=call.caller, payment_id=payment_id, amount_minor=amount_minor, idempotency_key=key
    )
    wait_s = preferred_wait_s(call.request)
    return _made(await call.front.capture(command, wait_s=wait_s or 0), wait_s)


async def refund(call: Call) -> Answer:
    """Refund captured funds, in whole or in part."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    faults = Faults()
    body = decode(await read_json(call.request, may_be_empty=True), RefundBody, faults)
    amount_minor = await _amount_minor(call, payment_id, body.amount, faults)
    key = idempotency_key(call.request, body.idempotency_key, faults)
    _check_optional(body.reason, "/reason", faults)
    if faults:
        raise faults.problem()
    command = RefundPayment(
        caller=call.caller,
        payment_id=payment_id,
        amount_minor=amount_minor,
        reason=body.reason,
        idempotency_key=key,
    )
    wait_s = preferred_wait_s(call.request)
    return _made(await call.front.refund(command, wait_s=wait_s or 0), wait_s)


async def reverse(call: Call) -> Answer:
    """Undo a payment as a whole."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    faults = Faults()
    body = decode(await read_json(call.request, may_be_empty=True), ReverseBody, faults)
    key = idempotency_key(call.request, body.idempotency_key, faults)
    _check_optional(body.reason, "/reason", faults)
    if faults:
        raise faults.problem()
    command = ReversePayment(
        caller=call.caller,
        payment_id=payment_id,
        reason=body.reason,
        or_refund=body.or_refund or False,
        idempotency_key=key,
    )
    wait_s = preferred_wait_s(call.request)
    return _made(await call.front.reverse(command, wait_s=wait_s or 0), wait_s)


async def review(call: Call) -> Answer:
    """Decide on held funds."""
    payment_id = call.path_id("paymentID", "payment_not_found")
    faults = Faults()
    body = decode(await read_json(call.request), ReviewBody, faults)
    if body.decision is None:
        faults.missing("/decision")
    if body.note is None:
        faults.missing("/note")
    _check_optional(body.note, "/note", faults)
    if faults or body.decision is None or body.note is None:
        raise faults.problem()
    command = ReviewPayment(
        caller=call.caller, payment_id=payment_id, decision=body.decision, note=body.note
    )
    return payment_response(await call.front.review(command))


def _made(done: TransactionReply | Refusal, wait_s: int | None) -> Answer:
    """Answer with the transaction that was made."""
    if isinstance(done, Refusal):
        raise Problem.of(done)
    location = f"/api/transactions/{done.transaction.id}"
    headers = replay_headers(location, replayed=done.replayed) | applied(wait_s)
    return json_response(render.transaction(done.transaction), status=201, headers=headers)


async def _amount_minor(
    call: Call, payment_id: str, amount: Raw | UnsetType, faults: Faults
) -> int | None:
    """Read an amount in the payment's own currency; None where none was given.

    The upper bound is what the payment has left, which its actor alone knows.
    """
    if isinstance(amount, UnsetType) or bytes(amount) == b"null":
        return None
    view = await call.front.payment(call.caller, payment_id)
    if isinstance(view, Refusal):
        raise Problem.of(view)
    money = check_amount(amount, view.currency, faults, bounds=None)
    return None if money is None else money.minor


def _check_optional(text: str | None, pointer: str, faults: Faults) -> None:
    if text is not None:
        check_text(text, pointer, faults)
