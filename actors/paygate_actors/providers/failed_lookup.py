"""What a look-up says that did not find: nothing, and so nothing about the payment either."""

from typing import Final

from paygate_actors.outcomes import Declined, Unknown
from paygate_actors.providers.http_client import Answered, Broken, Exchange, NotSent

_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


def failed_lookup(exchange: Exchange | Declined) -> Unknown:
    """Say why an exchange that was no success leaves us without an answer.

    A decline in the place of an exchange says why nothing was sent.
    """
    match exchange:
        case Answered(status=status) if status == _NOT_FOUND:
            return Unknown(reason="not_visible")
        case Answered(status=status) if status == _TOO_MANY or status >= _SERVER_ERROR:
            return Unknown(reason="server_error", detail=f"HTTP {status}")
        case Answered(status=status):
            return Unknown(reason="garbage", detail=f"HTTP {status}")
        case Declined(message=detail) | NotSent(detail=detail):
            return Unknown(reason="reset", detail=f"the look-up did not leave: {detail}")
        case Broken(reason=reason, detail=detail):
            return Unknown(reason=reason, detail=detail)
