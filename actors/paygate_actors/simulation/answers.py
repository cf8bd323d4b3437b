"""What a simulated provider says, in the sandbox's language: pure functions of its books."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from paygate_actors.providers.sandbox_wire import (
    Answer,
    Finding,
    NextAction,
    Trouble,
    TroubleAnswer,
)
from paygate_actors.simulation.books import Charge, Operation
from paygate_actors.simulation.kinds import PreparedAnswer
from paygate_engine.simulation import EPOCH_US

_EPOCH: Final = datetime.fromtimestamp(EPOCH_US // 1_000_000, UTC)
_OK: Final = 200
_DECLINED: Final = 402
_OWN_STATUS: Final = {"already_settled": 409, "operation_pending": 409, "api_error": 500}


def answer_of(operation: Operation, charge: Charge, *, provider: str) -> tuple[int, bytes]:
    """Status and body of what was done, or of why it was not."""
    if operation.status == "failed":
        code = operation.decline_code or "declined"
        return _OWN_STATUS.get(code, _DECLINED), trouble(code, operation.txn_id)
    return _OK, msgspec.json.encode(
        Answer(
            id=operation.txn_id,
            operation=operation.verb,
            status=operation.status,
            amount_minor=operation.amount_minor,
            currency=operation.currency,
            idempotency_key=operation.key,
            charge_id=charge.id,
            captured=_captured(operation, charge),
            next_action=_next_action(operation, charge, provider),
            expected_by=_expected_by(operation),
        )
    )


def prepared_answer(charge: Charge, key: str) -> tuple[int, bytes]:
    """Status and body of the first of two steps."""
    return _OK, msgspec.json.encode(PreparedAnswer(id=charge.id, idempotency_key=key))


def finding_of(operation: Operation, charge: Charge, *, provider: str) -> bytes:
    """What a look-up says of an operation that it sees."""
    return msgspec.json.encode(
        Finding(
            idempotency_key=operation.key,
            status=operation.status,
            provider_txn_id=operation.txn_id,
            amount_minor=operation.amount_minor,
            currency=operation.currency,
            captured=_captured(operation, charge),
            decline_code=operation.decline_code if operation.status == "failed" else None,
            next_action=_next_action(operation, charge, provider),
            expected_by=_expected_by(operation),
        )
    )


def trouble(code: str, txn_id: str | None = None) -> bytes:
    """The body of a refusal."""
    return msgspec.json.encode(
        TroubleAnswer(error=Trouble(code=code, message="", provider_txn_id=txn_id))
    )


def _captured(operation: Operation, charge: Charge) -> bool:
    return operation.status == "succeeded" and charge.status == "captured"


def _next_action(operation: Operation, charge: Charge, provider: str) -> NextAction | None:
    if operation.status != "requires_action" or charge.expires_at_s is None:
        return None
    url = f"https://{provider}.example/{charge.id}"
    return NextAction(url=url, expires_at=_moment(charge.expires_at_s))


def _expected_by(operation: Operation) -> datetime | None:
    if operation.status != "pending" or operation.due_at_s is None:
        return None
    return _moment(operation.due_at_s)


def _moment(at_s: float) -> datetime:
    return _EPOCH + timedelta(microseconds=round(at_s * 1_000_000))
