"""An answer whose body is there: JSON that goes out in one write, its head made by one format.

aiohttp asks an answer for `prepare`, `write_eof`, `keep_alive` and `force_close`. Its own ones
build a dictionary of headers, look through it and write it out again, which is a good part of what
a read costs. This one knows its head. What is not HTTP/1.1, wants no body, or
says something unusual goes out as `ordinary`, aiohttp's own, to the same effect: what every answer
carries is spelled here for both, side by side.
"""

from collections.abc import Awaitable, Mapping
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

JSON: Final = "application/json"
# Nothing about our software; and what is in an answer is between us and who asked: no proxy
# keeps it.
_SERVER: Final = "paygate"
_CACHED: Final = "no-store"

# How the head of an answer begins that has a body and says nothing unusual.
_BEGINS: Final[Mapping[int, str]] = {
    200: f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n",
    201: f"HTTP/1.1 201 Created\r\nContent-Type: {JSON}\r\n",
}


class QuickReply:
    """JSON in one piece. `headers` are those beside what every answer carries."""

    __slots__ = (
        "_closes",
        "_headers",
        "_ordinary",
        "_writer",
        "body",
        "keep_alive",
        "request_id",
        "status",
    )

    def __init__(
        self, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.body = body
        self.status = status
        self.request_id = ""
        # Whether the connection has a next request: known from `prepare` on.
        self.keep_alive: bool | None = None
        self._headers = headers or {}
        self._closes = False
        self._ordinary: web.Response | None = None
        self._writer: AbstractStreamWriter | None = None

    def force_close(self) -> None:
        """Make it the last answer of its connection."""
        self._closes = True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Choose how it goes out; nothing is sent yet where it is quick."""
        if request.version == HttpVersion11 and request.method != "HEAD" and self.is_usual():
            self.keep_alive = request.keep_alive and not self._closes
            self._writer = request.writer
            return
        self._ordinary = self.ordinary()
        await self._ordinary.prepare(request)
        self.keep_alive = self._ordinary.keep_alive

    def write_eof(self) -> Awaitable[None]:
        """Send it whole, and wait while the peer takes nothing. Raises `ConnectionError`."""
        if self._ordinary is not None:
            return self._ordinary.write_eof()
        assert self._writer is not None, "prepared first"
        return self._writer.write_eof(self._bytes())

    def is_usual(self) -> bool:
        """Whether it can go out in one write: by its status and its headers."""
        # Whatever could end a line early is left to aiohttp, which refuses it.
        if self.status not in _BEGINS:
            return False
        said = "".join(self._headers.values())
        return said.isascii() and said.isprintable()

    def whole(self) -> bytes:
        """A usual answer with its head, to HTTP/1.1 on a connection that has a next request."""
        self.keep_alive = True
        return self._bytes()

    def ordinary(self) -> web.Response:
        """The same answer as aiohttp makes them."""
        response = web.Response(
            status=self.status, body=self.body, headers={"Content-Type": JSON, **self._headers}
        )
        stamp(response, self.request_id)
        if self._closes:
            response.force_close()
        return response

    def _bytes(self) -> bytes:
        return self._head().encode("ascii") + self.body

    def _head(self) -> str:
        more = "".join([f"{name}: {text}\r\n" for name, text in self._headers.items()])
        end = "\r\n" if self.keep_alive else "Connection: close\r\n\r\n"
        return (
            f"{_BEGINS[self.status]}{more}X-Request-ID: {self.request_id}\r\n"
            f"Server: {_SERVER}\r\nCache-Control: {_CACHED}\r\n"
            f"Content-Length: {len(self.body)}\r\nDate: {rfc822_formatted_time()}\r\n{end}"
        )


Answer = web.StreamResponse | QuickReply


def stamp(answer: Answer, request_id: str) -> None:
    """Put on what every answer carries: the request's id, and nothing about our software."""
    if isinstance(answer, QuickReply):
        answer.request_id = request_id
        return
    headers = answer.headers
    headers["X-Request-ID"] = request_id
    headers["Server"] = _SERVER
    headers["Cache-Control"] = _CACHED
