"""What went wrong on the way to a provider, as a sentence that merchants may read.

An error's own text may quote what was sent, and its class is nobody's business outside.
"""

import socket
from typing import Final

import aiohttp

TOO_SLOW: Final = "The provider gave no answer within the deadline."
NOT_REACHED_IN_TIME: Final = "The provider could not be reached within the deadline."
CLOSED: Final = "The gateway was being stopped."


def sentence_of(error: BaseException, *, left: bool) -> str:
    """Say it. `left`: bytes of the request may have left."""
    if isinstance(error, TimeoutError):
        return TOO_SLOW if left else NOT_REACHED_IN_TIME
    # UnicodeError: a host that is no name at all, as `a..b`.
    nameless = aiohttp.ClientConnectorDNSError | socket.gaierror | UnicodeError
    if not left and isinstance(error, nameless):
        return "The provider's host name could not be resolved."
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "No secure connection to the provider could be made."
    if isinstance(error, aiohttp.ClientResponseError):
        return "What the provider answered is no HTTP."
    if left:
        return "The connection to the provider broke."
    return "The provider could not be reached."
