"""What an operation answers, and what a look-up finds: pure functions of the records."""

import msgspec

from paygate_http.sandbox.cards import MESSAGES
from paygate_http.sandbox.records import Charge, Operation
from paygate_http.sandbox.wire import Answer, Finding, NextAction, time_text, trouble

OK = 200
BAD_REQUEST = 400
DECLINED = 402
NOT_FOUND = 404
CONFLICT = 409
TOO_MANY = 429
BROKEN = 500
FULL = 503

STORED_500 = "api_error"
"""The word for a key that answers 500 for ever."""

_OWN_STATUS = {"already_settled": CONFLICT, STORED_500: BROKEN}


def answer_of(operation: Operation, charge: Charge | None, *, url: str) -> tuple[int, bytes]:
    """Give the status and body that the operation's key stands for from now on."""
    if operation.decline_code is not None and operation.status == "failed":
        code = operation.decline_code
        message = MESSAGES.get(code, f"The {operation.verb} was declined: {code}.")
        body = trouble(code, message, provider_txn_id=operation.txn_id or None)
        return _OWN_STATUS.get(code, DECLINED), body
    network_id, authentication = _credential(operation, charge)
    answer = Answer(
        id=operation.txn_id,
        operation=operation.verb,
        status=operation.status,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        idempotency_key=operation.key,
        reference=operation.reference,
        charge_id=operation.charge_id,
        captured=_captured(operation, charge),
        next_action=_next_action(operation, charge, url=url),
        expected_by=_expected_by(operation),
        network_transaction_id=network_id,
        authentication=authentication,
    )
    return OK, msgspec.json.encode(answer)


def finding_of(operation: Operation, charge: Charge | None, *, url: str) -> bytes:
    """Give what `GET /operations/{idempotencyKey}` says of a visible operation."""
    network_id, authentication = _credential(operation, charge)
    return msgspec.json.encode(
        Finding(
            provider=operation.provider,
            operation=operation.verb,
            idempotency_key=operation.key,
            status=operation.status,
            provider_txn_id=operation.txn_id or None,
            amount_minor=operation.amount_minor,
            currency=operation.currency,
            charge_id=operation.charge_id or None,
            captured=_captured(operation, charge),
            decline_code=operation.decline_code if operation.status == "failed" else None,
            next_action=_next_action(operation, charge, url=url),
            expected_by=_expected_by(operation),
            network_transaction_id=network_id,
            authentication=authentication,
        )
    )


def action_url(charge: Charge, *, url: str) -> str:
    """Give the page on which the payer confirms."""
    return f"{url}/actions/{charge.id}"


def _credential(operation: Operation, charge: Charge | None) -> tuple[str | None, str | None]:
    """The network's id and the payer's proof, of a charge that succeeded; None for each other."""
    charges = operation.verb in ("charge", "authorize") and operation.status == "succeeded"
    if charge is None or not charges:
        return None, None
    return charge.network_txn_id, charge.authentication


def _captured(operation: Operation, charge: Charge | None) -> bool:
    return charge is not None and operation.status == "succeeded" and charge.status == "captured"


def _next_action(operation: Operation, charge: Charge | None, *, url: str) -> NextAction | None:
    if operation.status != "requires_action" or charge is None or charge.expires_at_us is None:
        return None
    return NextAction(url=action_url(charge, url=url), expires_at=time_text(charge.expires_at_us))


def _expected_by(operation: Operation) -> str | None:
    if operation.status != "pending" or operation.due_at_us is None:
        return None
    return time_text(operation.due_at_us)
