"""What comes back from PayPal, as outcomes: how far a request got, and why it was refused.

What an object says when it was not refused is `paypal_reading`'s business.
"""

from collections.abc import Callable
from typing import Final

from paygate_actors.decline_codes import DECLINE_CODES
from paygate_actors.outcomes import Declined, Outcome, Prepared, Unknown
from paygate_actors.providers.base import Operation
from paygate_actors.providers.failed_lookup import failed_lookup
from paygate_actors.providers.http_client import Answered, Broken, NotSent
from paygate_actors.providers.intelligible import Unintelligible, intelligible
from paygate_actors.providers.paypal_codes import BUSY, DECLINES, KNOWN, STATES, refusal_of
from paygate_actors.providers.paypal_session import Reply
from paygate_actors.providers.paypal_token import MISCONFIGURED
from paygate_actors.providers.paypal_wire import Trouble, decode_trouble
from paygate_actors.providers.retry_after import paused

_SUCCESS: Final = frozenset({200, 201})
_SERVER_ERROR: Final = 500


def outcome_of(
    reply: Reply,
    read: Callable[[bytes], Outcome | Prepared],
    refused: Callable[[Trouble], Outcome],
) -> Outcome | Prepared:
    """Turn a reply into an outcome; `read` takes a success, `refused` an error.

    A `Declined` in its place says why no request left.
    """
    return paused(reply, _meaning(reply, read, refused))


def _meaning(
    reply: Reply,
    read: Callable[[bytes], Outcome | Prepared],
    refused: Callable[[Trouble], Outcome],
) -> Outcome | Prepared:
    match reply:
        case Declined():
            return reply
        case NotSent(detail=detail):
            return Declined(code="not_sent", message=detail, retryable=True, conclusive=False)
        case Broken(reason=reason, detail=detail):
            return Unknown(reason=reason, detail=detail)
        case Answered(status=status, body=body) if status in _SUCCESS:
            return intelligible(lambda: read(body))
        case Answered(status=status) if status >= _SERVER_ERROR:
            return Unknown(reason="server_error", detail=f"HTTP {status}")
        case Answered(status=401):
            return MISCONFIGURED
        case Answered(status=429):
            return Declined(code="too_many_requests", retryable=True, conclusive=False)
        case Answered(body=body):
            return intelligible(lambda: _refused(decode_trouble(body), refused))


def found(reply: Reply, read: Callable[[bytes], Outcome]) -> Outcome:
    """Turn a look-up's reply into an outcome. A look-up that fails says nothing."""
    return paused(reply, _finding(reply, read))


def _finding(reply: Reply, read: Callable[[bytes], Outcome]) -> Outcome:
    match reply:
        case Answered(status=status, body=body) if status in _SUCCESS:
            outcome = intelligible(lambda: read(body))
            assert not isinstance(outcome, Prepared), "a look-up prepares nothing"
            return outcome
        case _:
            return failed_lookup(reply)


def unlooked_at(trouble: Trouble) -> Declined:
    """Say that the request did nothing; one that went out before under the same key may have."""
    issue = trouble.issues[0] if trouble.issues else trouble.name
    why = refusal_of(issue)
    return Declined(
        code=why.code,
        message=why.message,
        decline_code=issue or None,
        retryable=why.retryable,
        conclusive=False,
    )


def charge_refused(trouble: Trouble, *, order_id: str) -> Outcome:
    """Why a confirmation was refused, where the refusal itself says it."""
    issues = trouble.issues
    if "ORDER_EXPIRED" in issues:
        # What had been paid for in time would be called so: `ORDER_ALREADY_CAPTURED`.
        why = DECLINE_CODES["payment_expired"]
        return Declined(
            code=why.code,
            message=why.message,
            decline_code="ORDER_EXPIRED",
            provider_txn_id=order_id,
        )
    for issue in issues:
        if issue in DECLINES:
            why = DECLINE_CODES[DECLINES[issue]]
            return Declined(
                code=why.code,
                message=why.message,
                decline_code=issue,
                retryable=why.retryable,
                provider_txn_id=order_id,
            )
    return unlooked_at(trouble)


def follow_up_refused(trouble: Trouble, *, operation: Operation, order_id: str) -> Outcome:
    """Why a capture, void or refund was refused."""
    for issue in trouble.issues:
        code = STATES.get(issue) or DECLINES.get(issue)
        if code is not None:
            return not_possible(code, operation, order_id, issue=issue)
    return unlooked_at(trouble)


def not_possible(
    code: str, operation: Operation, order_id: str, *, issue: str | None = None
) -> Declined:
    """A no to a follow-up for good: what the charge is does not allow it."""
    return Declined(
        code=code,
        message=f"The provider refused the {operation}: {code.replace('_', ' ')}.",
        decline_code=issue,
        provider_txn_id=order_id,
    )


def busy() -> Declined:
    """A no for now: what is under way ends some day, and then the same call may succeed."""
    return Declined(
        code="operation_pending",
        message="The provider still works on something else of this payment.",
        retryable=True,
        conclusive=False,
    )


def _refused(trouble: Trouble, refused: Callable[[Trouble], Outcome]) -> Outcome:
    issues = frozenset(trouble.issues)
    if not trouble.name:
        raise Unintelligible
    if issues & KNOWN:
        return Unknown(reason="key_known", detail="PayPal has seen the key before")
    if "PREVIOUS_REQUEST_IN_PROGRESS" in issues or "ORDER_COMPLETION_IN_PROGRESS" in issues:
        return Unknown(reason="in_progress", detail="an earlier request is worked on")
    if issues & BUSY:
        return busy()
    return refused(trouble)
