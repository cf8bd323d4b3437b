"""Stripe's error bodies, and the exception that carries one to the edge."""

import msgspec

_DOC_URL = "https://docs.stripe.com/error-codes/"


class StripeTrouble(Exception):
    """A call that comes to nothing. `kept`: its key stands for this answer from now on.

    What fails validation is not kept, as Stripe says; what was refused after a look at the object
    is.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        code: str | None = None,
        decline_code: str | None = None,
        param: str | None = None,
        intent: dict[str, object] | None = None,
        charge: str | None = None,
        kept: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        error: dict[str, object] = {"type": type_, "message": message}
        if code:
            error |= {"code": code, "doc_url": _DOC_URL + code.replace("_", "-")}
        optional = {
            "decline_code": decline_code,
            "param": param,
            "payment_intent": intent,
            "charge": charge,
        }
        error |= {name: value for name, value in optional.items() if value is not None}
        self.error = error

    @property
    def body(self) -> bytes:
        """The error as JSON."""
        return msgspec.json.encode({"error": self.error})


def trouble(code: str, message: str) -> bytes:
    """Give the body of an error that a fault makes: `too_many_requests`, or else Stripe's own."""
    if code == "too_many_requests":
        return StripeTrouble(429, message, code="rate_limit").body
    return StripeTrouble(500, message, type_="api_error").body
