"""Adyen's error bodies, and the exception that carries one to the edge."""

from typing import Literal

import msgspec

ErrorType = Literal["validation", "security", "configuration", "internal"]


class AdyenTrouble(Exception):
    """A call that comes to nothing. `kept`: its key stands for this answer from now on."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        type_: ErrorType = "validation",
        kept: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        self.body = msgspec.json.encode(
            {"status": status, "errorCode": code, "message": message, "errorType": type_}
        )


def trouble(code: str, message: str) -> bytes:
    """Give the body of an error that a fault makes: `too_many_requests`, or else Adyen's own."""
    status = 429 if code == "too_many_requests" else 500
    return AdyenTrouble(status, "000", message, type_="internal").body


def broken(*, kept: bool = False) -> AdyenTrouble:
    """Give the error of a server that failed."""
    return AdyenTrouble(500, "000", "Internal error", type_="internal", kept=kept)


def unauthorised() -> AdyenTrouble:
    """Give the error of a key that is not known."""
    return AdyenTrouble(401, "000", "HTTP Status Response - Unauthorized", type_="security")


def wrong_account() -> AdyenTrouble:
    """Give the error of a merchant account that is not the key's."""
    return AdyenTrouble(403, "901", "Invalid Merchant Account", type_="security")


def in_progress() -> AdyenTrouble:
    """Give the error of a key whose first request is still at work."""
    return AdyenTrouble(422, "704", "request already processed or in progress")


def no_such_payment() -> AdyenTrouble:
    """Give the error of a modification of a payment that is not there."""
    return AdyenTrouble(422, "167", "Original pspReference required for this operation")
