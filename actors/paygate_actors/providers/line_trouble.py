"""What went wrong on the way to a provider, as a sentence that merchants may read.

An error's own text may quote what was sent, and its class is nobody's business outside.
"""

import socket
import ssl
from typing import Final

TOO_SLOW: Final = "The provider gave no answer within the deadline."
NOT_REACHED_IN_TIME: Final = "The provider could not be reached within the deadline."
CLOSED: Final = "The gateway was being stopped."
BROKE: Final = "The connection to the provider broke."
NO_HTTP: Final = "What the provider answered is no HTTP."
UNWRITABLE: Final = "The request could not be written as HTTP."


def sentence_of(error: BaseException, *, left: bool) -> str:
    """Say it. `left`: bytes of the request may have left."""
    if isinstance(error, TimeoutError):
        return TOO_SLOW if left else NOT_REACHED_IN_TIME
    if left:
        return BROKE
    # UnicodeError: a host that is no name at all, as `a..b`.
    if isinstance(error, socket.gaierror | UnicodeError):
        return "The provider's host name could not be resolved."
    if isinstance(error, ssl.SSLError):
        return "No secure connection to the provider could be made."
    return "The provider could not be reached."
