"""Every way to say no: RFC 9457 problem details, one table from code to status and title.

Nothing that a caller sent is ever repeated in a problem: a detail says what to do, a pointer says
where.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from paygate_actors.messages import Refusal, RefusalCode
from paygate_http.wire import encode, wire_name

CONTENT_TYPE: Final = "application/problem+json"

# Where nobody says when to come back: one second is longer than any queue of ours, and shorter
# than a payer's patience.
RETRY_AFTER_S: Final = 1

EdgeCode = Literal[
    "malformed_request",
    "malformed_json",
    "unauthenticated",
    "forbidden",
    "route_not_found",
    "method_not_allowed",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "headers_too_large",
    "rate_limited",
    "internal_error",
]
ProblemCode = EdgeCode | RefusalCode


class Kind(NamedTuple):
    """The status and the title of a code; both are part of the contract."""

    status: int
    title: str


KINDS: Final[Mapping[ProblemCode, Kind]] = {
    "malformed_request": Kind(400, "The request is not valid HTTP"),
    "malformed_json": Kind(400, "The body is not valid JSON"),
    "malformed_body": Kind(400, "The body is not what the provider's documents promise"),
    "unauthenticated": Kind(401, "No valid API key was given"),
    "signature_invalid": Kind(401, "The signature is not valid"),
    "forbidden": Kind(403, "The API key lacks the role for this"),
    "another_account": Kind(403, "The event is about another account"),
    "route_not_found": Kind(404, "There is no such route"),
    "payment_not_found": Kind(404, "There is no such payment"),
    "transaction_not_found": Kind(404, "There is no such transaction"),
    "provider_not_found": Kind(404, "There is no such provider"),
    "endpoint_not_found": Kind(404, "There is no such webhook endpoint"),
    "delivery_not_found": Kind(404, "There is no such delivery"),
    "method_not_allowed": Kind(405, "The route does not take this method"),
    "request_timeout": Kind(408, "The body did not arrive in time"),
    "payment_not_capturable": Kind(409, "The payment cannot be captured"),
    "payment_not_refundable": Kind(409, "The payment cannot be refunded"),
    "payment_not_reversible": Kind(409, "The payment cannot be reversed"),
    "payment_not_reviewable": Kind(409, "The payment is not under review"),
    "operation_in_progress": Kind(409, "Another operation on the payment is open"),
    "illegal_transition": Kind(409, "The transaction cannot become that"),
    "provider_disagrees": Kind(409, "The provider says otherwise"),
    "not_in_doubt": Kind(409, "Nothing of the kind is in doubt"),
    "still_in_doubt": Kind(409, "What asks for a person is still so"),
    "still_may_succeed": Kind(409, "The charge may still succeed"),
    "endpoint_limit_reached": Kind(409, "There are as many endpoints as there may be"),
    "endpoint_disabled": Kind(409, "The endpoint is disabled"),
    "delivery_pending": Kind(409, "The delivery is not over yet"),
    "cursor_expired": Kind(410, "What follows the cursor is kept no more"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "validation_failed": Kind(422, "The request has faults"),
    "capture_exceeds_authorized": Kind(422, "More than was authorized"),
    "refund_exceeds_remaining": Kind(422, "More than is left to refund"),
    "idempotency_key_reused": Kind(422, "The idempotency key belongs to another request"),
    "no_provider": Kind(422, "No provider can take this payment"),
    "rate_limited": Kind(429, "Too many requests"),
    "headers_too_large": Kind(431, "The request line or a header is too large"),
    "internal_error": Kind(500, "Something went wrong on our side"),
    "overloaded": Kind(503, "Too busy: nothing was done"),
    "payment_quarantined": Kind(503, "The payment waits for a person to look at it"),
    "outcome_unknown": Kind(503, "The outcome is not known: ask again with the same key"),
    "provider_silent": Kind(503, "The provider did not answer: nothing was changed"),
    "not_ready": Kind(503, "Not ready yet"),
}

# RFC 9110: a 401 names the scheme that would do.
_CHALLENGES: Final[Mapping[ProblemCode, str]] = {
    "unauthenticated": 'Bearer realm="paygate"',
    "signature_invalid": 'Signature realm="webhooks"',
}
_LATER_STATUSES: Final = (429, 503)
# What is left of these requests cannot be read: the connection has no next one.
_CLOSING: Final = ("malformed_request", "request_timeout", "body_too_large", "headers_too_large")


class FaultReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault: `pointer` into the body; `parameter` or `header` where it came in otherwise."""

    pointer: str
    code: str
    detail: str
    parameter: str | UnsetType = UNSET
    header: str | UnsetType = UNSET


class ProblemReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An RFC 9457 problem; `code` is stable, `errors` names every fault of the request."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: Sequence[FaultReply] | UnsetType = UNSET


class Problem(Exception):
    """A refusal on its way out of a handler; the edge renders it."""

    def __init__(
        self,
        code: ProblemCode,
        detail: str,
        *,
        faults: Sequence[FaultReply] = (),
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code: ProblemCode = code
        self.detail = detail
        self.faults = faults
        self.retry_after_s = retry_after_s
        self.headers = headers or {}

    @classmethod
    def of(cls, refusal: Refusal) -> "Problem":
        """Say to a caller what the gateway said to us."""
        faults = tuple(
            FaultReply(pointer=fault.pointer, code=fault.code, detail=fault.detail)
            for fault in refusal.faults
        )
        return cls(refusal.code, refusal.detail, faults=faults, retry_after_s=refusal.retry_after_s)


def render(problem: Problem, request_id: str) -> web.Response:
    """Make the response; 429 and 503 always say when to come back, in whole seconds."""
    status, title = KINDS[problem.code]
    headers = {"Content-Type": CONTENT_TYPE, **problem.headers}
    if problem.code in _CHALLENGES:
        headers["WWW-Authenticate"] = _CHALLENGES[problem.code]
    if problem.retry_after_s is not None or status in _LATER_STATUSES:
        headers["Retry-After"] = str(problem.retry_after_s or RETRY_AFTER_S)
    reply = ProblemReply(
        type=f"urn:paygate:problem:{problem.code}",
        title=title,
        status=status,
        detail=problem.detail,
        code=problem.code,
        request_id=request_id,
        errors=problem.faults or UNSET,
    )
    response = web.Response(status=status, body=encode(reply), headers=headers)
    if problem.code in _CLOSING:
        response.force_close()
    return response
