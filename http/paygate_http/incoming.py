"""One request as the edge sees it, whoever carried it here: a socket, or a caller in this process.

Everything behind this is the same for both. What is special about sockets (a body that comes in
pieces, or too slowly, or after `100 Continue`) is `ArrivedRequest`'s business alone.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import parse_qsl

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, MultiDict, MultiDictProxy, MultiMapping

from paygate_http.problems import Problem

# The largest honest payment with 50 metadata entries of 500 characters is about 30 KB.
BODY_BYTES_MAX: Final = 65_536
# A phone on a bad line sends 64 KB in a few seconds; whoever takes longer holds a connection.
BODY_S_MAX: Final = 10.0

# Whom a connection is to, as asyncio says it: by name, or by address, port and more.
Peer = str | tuple[str, int] | tuple[str, int, int, int] | None

_NO_QUERY: Final[MultiMapping[str]] = MultiDictProxy(MultiDict[str]())


class Incoming(Protocol):
    """A request: its head, and its body once somebody asks for it."""

    @property
    def method(self) -> str:
        """`GET`, `POST`..."""
        ...

    @property
    def headers(self) -> MultiMapping[str]:
        """The headers; names are found in any case."""
        ...

    @property
    def query(self) -> MultiMapping[str]:
        """The parameters behind the path, decoded."""
        ...

    @property
    def path_ids(self) -> Mapping[str, str]:
        """What stands in the places of the route's path, decoded."""
        ...

    @property
    def remote(self) -> str:
        """The address of who asks; empty where there is none."""
        ...

    async def body(self) -> bytes:
        """Read the raw body, at most `BODY_BYTES_MAX` bytes. Raises `Problem`."""
        ...


class ArrivedRequest:
    """A request that came over a socket. `path_ids`: None where the router found them."""

    __slots__ = ("_path_ids", "_request")

    def __init__(self, request: web.Request, *, path_ids: Mapping[str, str] | None = None) -> None:
        self._request = request
        self._path_ids = path_ids

    @property
    def method(self) -> str:
        """`GET`, `POST`..."""
        return self._request.method

    @property
    def headers(self) -> MultiMapping[str]:
        """The headers."""
        return self._request.headers

    @property
    def query(self) -> MultiMapping[str]:
        """The parameters behind the path."""
        return self._request.query

    @property
    def path_ids(self) -> Mapping[str, str]:
        """What stands in the places of the route's path."""
        return self._request.match_info if self._path_ids is None else self._path_ids

    @property
    def remote(self) -> str:
        """The peer's address."""
        return self._request.remote or ""

    async def body(self) -> bytes:
        """Read the raw body in at most `BODY_S_MAX` seconds.

        Raises `Problem` before more than `BODY_BYTES_MAX` is held: at once where Content-Length
        says so.
        """
        request = self._request
        if (request.content_length or 0) > BODY_BYTES_MAX:
            raise _too_large()
        await _invite(request)
        if request.content.is_eof():
            # It came in one piece with its headers, as nearly all do: no deadline is set up.
            return await _read_bounded(request)
        try:
            async with asyncio.timeout(BODY_S_MAX):
                return await _read_bounded(request)
        except TimeoutError as error:
            detail = f"The body must arrive within {BODY_S_MAX:.0f} seconds."
            raise Problem("request_timeout", detail) from error


class ParsedRequest:
    """A GET that came whole over a socket, and has neither query nor body.

    `peer` is whom its connection is to.
    """

    __slots__ = ("_peer", "headers", "path_ids")

    def __init__(
        self, *, path_ids: Mapping[str, str], headers: MultiMapping[str], peer: Peer
    ) -> None:
        self.path_ids = path_ids
        self.headers = headers
        self._peer = peer

    @property
    def method(self) -> str:
        """`GET`."""
        return "GET"

    @property
    def query(self) -> MultiMapping[str]:
        """Nothing."""
        return _NO_QUERY

    @property
    def remote(self) -> str:
        """The peer's address, as aiohttp's requests give it."""
        peer = self._peer
        return (peer[0] if isinstance(peer, tuple) else peer) or ""

    async def body(self) -> bytes:
        """Nothing."""
        return b""


class HandedRequest:
    """A request that somebody in this process hands over, whole.

    `path_ids` are what its route found in the path; `query` is as it stands behind the path.
    """

    __slots__ = ("_body", "_query", "headers", "method", "path_ids")

    def __init__(
        self,
        method: str,
        *,
        path_ids: Mapping[str, str],
        query: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        self.method = method
        self.path_ids = path_ids
        self.headers: MultiMapping[str] = CIMultiDict(headers)
        self._query = query
        self._body = body

    @property
    def query(self) -> MultiMapping[str]:
        """The parameters behind the path."""
        return MultiDict(parse_qsl(self._query, keep_blank_values=True))

    @property
    def remote(self) -> str:
        """Nobody's address."""
        return ""

    async def body(self) -> bytes:
        """Give the body. Raises `Problem` (`body_too_large`)."""
        if len(self._body) > BODY_BYTES_MAX:
            raise _too_large()
        return self._body


async def _invite(request: web.Request) -> None:
    """Say `100 Continue` where the client waits for it: only now is its body wanted."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version == HttpVersion11 and not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # These bytes are no part of the response: an error may still be answered.
        request.writer.output_size = 0


async def _read_bounded(request: web.Request) -> bytes:
    body = b""
    try:
        while len(body) <= BODY_BYTES_MAX:
            chunk = await request.content.readany()
            if not chunk:
                return body
            body += chunk
    except (web.RequestPayloadError, ConnectionError) as error:
        detail = "The body broke off, or its transfer encoding is not valid."
        raise Problem("malformed_request", detail) from error
    raise _too_large()


def _too_large() -> Problem:
    return Problem("body_too_large", f"A body may have at most {BODY_BYTES_MAX} bytes.")
