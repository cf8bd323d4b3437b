"""PayPal's error bodies, and the exception that carries one to the edge."""

from typing import Final

import msgspec

_UNAUTHORIZED: Final = (
    "Authentication failed due to missing authorization header, or invalid authentication"
    " credentials."
)
_UNPROCESSED: Final = (
    "The requested action could not be performed, semantically incorrect, or failed business"
    " validation."
)
_MALFORMED: Final = "Request is not well-formed, syntactically incorrect, or violates schema."
_NAMES: Final = {
    400: ("INVALID_REQUEST", _MALFORMED),
    401: ("AUTHENTICATION_FAILURE", _UNAUTHORIZED),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: ("RESOURCE_CONFLICT", "The server has detected a conflict while processing this request."),
    422: ("UNPROCESSABLE_ENTITY", _UNPROCESSED),
    429: ("RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
    503: ("SERVICE_UNAVAILABLE", "Service Unavailable."),
}
_DEBUG_ID: Final = "90957fca61718"
_DOCS: Final = "https://developer.paypal.com/docs/api/orders/v2/#error-"

UNPROCESSABLE: Final = 422
BAD: Final = 400
BROKEN: Final = 500


class PayPalTrouble(Exception):
    """A call that comes to nothing; `links` lead on from there."""

    def __init__(
        self,
        status: int,
        issue: str | None = None,
        *,
        field: str | None = None,
        description: str | None = None,
        links: tuple[dict[str, str], ...] = (),
    ) -> None:
        name, message = _NAMES[status]
        super().__init__(issue or name)
        self.status = status
        self.error: dict[str, object] = {
            "name": name,
            "message": message,
            "debug_id": _DEBUG_ID,
            "links": [*links, {"href": _DOCS + (issue or name), "rel": "information_link"}],
        }
        if issue is not None:
            detail = {"issue": issue, "description": description or _sentence(issue)}
            if field is not None:
                detail["field"] = field
            self.error["details"] = [detail]

    @property
    def body(self) -> bytes:
        """The error as JSON."""
        return msgspec.json.encode(self.error)


def trouble(code: str, _message: str) -> bytes:
    """Give the body of an error that a fault makes: `too_many_requests`, or else PayPal's own."""
    return PayPalTrouble(429 if code == "too_many_requests" else BROKEN).body


def _sentence(issue: str) -> str:
    return issue.replace("_", " ").capitalize() + "."
