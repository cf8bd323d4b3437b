"""Connections on which nobody can send without end before the answer.

HTTP lets a server send any number of 1xx replies (103 Early Hints) before the answer, and aiohttp
reads them as long as they come: one server that never stops takes the whole loop until the
deadline. So the bytes are counted that come while no body is read; a server that sends too many
has answered garbage, and its connection is cut off at once.
"""

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

# Heads of honest answers have one or two KiB, and hints before them not more.
HEAD_BYTES_MAX: Final = 64 * 1024
# The connector has no public way to say who reads its connections.
_FACTORY: Final = "_factory"
_FINAL_MIN: Final = 200


class _BoundedHandler(ResponseHandler):
    """Counts what comes before an answer, and what comes behind one that nobody asked for."""

    _seen = 0
    _body: StreamReader | None = None

    def set_response_params(self, **params: Any) -> None:
        """Expect the answer to another request."""
        self._seen, self._body = 0, None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Read as much as may come before an answer; the rest, where it is a body."""
        if self._reads_body():
            super().data_received(data)
            return
        room = HEAD_BYTES_MAX - self._seen
        self._seen += len(data)
        super().data_received(data[:room])
        if self._seen <= HEAD_BYTES_MAX:
            return
        if self._reads_body():
            super().data_received(data[room:])
            return
        self.set_exception(HttpProcessingError(message="too much came before the answer"))
        if self.transport is not None:
            self.transport.abort()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Note the body of an answer; a 1xx is none."""
        message, payload = data
        if message.code >= _FINAL_MIN:
            self._body = payload
        super().feed_data(data, size)

    def _reads_body(self) -> bool:
        return self._body is not None and not self._body.is_eof()


def bounded_connector(**options: Any) -> aiohttp.TCPConnector:
    """A connector with the options of aiohttp's own, on the running loop.

    Raises `RuntimeError` where this release of aiohttp does not let the bound in.
    """
    connector = aiohttp.TCPConnector(**options)
    handler = getattr(connector, _FACTORY, None)
    if not isinstance(handler, partial) or handler.func is not ResponseHandler:
        raise RuntimeError("this release of aiohttp cannot bound what comes before an answer")
    setattr(connector, _FACTORY, partial(_BoundedHandler, *handler.args, **handler.keywords))
    return connector
