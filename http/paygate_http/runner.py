"""The server's protocol, with what aiohttp leaves open: a cap, deadlines, problems for bad HTTP.

A drop-in for `web.AppRunner`:

- A connection has `IDLE_S` seconds to complete the headers of its next request, slow ones and
  silent ones alike; then it is closed.
- Beyond `connections_max` a new connection is told 503 and closed, so that files for the journal
  and for providers are never used up by strangers.
- A peer that does not take its answer is cut off after `UNREAD_MS`.
- Before the end each connection is told that the answer on it is the last one (`part`).
- What is no valid HTTP gets a problem as everything else does, and one line in the debug log.
"""

import asyncio
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from multidict import MultiMapping

from paygate_http.app import CONTEXT, SHORTCUTS
from paygate_http.at_once import AnswerAtOnce, AtOnceProtocol, missing_names
from paygate_http.incoming import Peer
from paygate_http.problems import Problem, render
from paygate_http.quick_reply import stamp

# Longer than a proxy holds a connection between two bursts, short enough that slow headers
# (slowloris) hold nothing for long.
IDLE_S: Final = 15.0
# For a request that was refused before its body was read: time for the client to see why.
LINGER_S: Final = 2.0
UNREAD_MS: Final = 30_000

# Files that are kept for the journal, providers, logs and the listener itself.
FILES_KEPT: Final = 256
# Each may hold a body of 64 KiB: half a gigabyte at the very worst, under 100 MB at rest. A node
# that is within its limits serves 2,000 requests a second on a few hundred connections.
CONNECTIONS_MAX: Final = 8_192

_log = structlog.stdlib.get_logger("paygate.http")


def connections_max() -> int:
    """How many connections to hold at most, by the limit of open files that holds now."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return min(CONNECTIONS_MAX, max(files - FILES_KEPT, files // 2))


class EdgeRunner(web.AppRunner):
    """Runs an application behind `EdgeProtocol`. Keyword arguments are for tests."""

    def __init__(
        self,
        app: web.Application,
        *,
        shutdown_timeout: float = 60.0,
        idle_s: float = IDLE_S,
        linger_s: float = LINGER_S,
        limit: int | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            # An access log halves what the edge can take; requests are counted in the metrics.
            "access_log": None,
            "keepalive_timeout": idle_s,
            "lingering_time": linger_s,
            # Bodies stay as they came: a signature is over bytes, and no zip bomb goes off.
            "auto_decompress": False,
        }
        super().__init__(app, shutdown_timeout=shutdown_timeout, **self._options)
        self._limit = limit

    async def part(self, within_s: float) -> None:
        """Take no new connection, and end each behind its next answer; at most for `within_s`.

        A connection that is closed as a request comes loses that request, and its client cannot
        tell whether it was read. So those that are idle are held open until they are used again.
        """
        for site in self.sites:
            await site.stop()
        server = self.server
        assert server is None or isinstance(server, _EdgeServer)
        if server is not None and server.count:
            server.parting = True
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await server.empty.wait()

    async def _make_server(self) -> web.Server:
        missing = missing_names()
        if missing:
            _log.warning("nothing_at_once", missing=missing)
        inner = await super()._make_server()
        by_router, shortcuts = inner.request_handler, self.app[SHORTCUTS]

        def handle(request: Any) -> Awaitable[Any]:
            return shortcuts.serve(request) or by_router(request)

        # The same requests, behind our own protocol.
        return _EdgeServer(
            handle,
            limit=self._limit or connections_max(),
            request_ids=self.app[CONTEXT].request_ids,
            at_once=None if missing else shortcuts.at_once,
            request_factory=inner.request_factory,
            **self._options,
        )


class _EdgeServer(web.Server):
    """Makes a protocol for each connection, and counts them."""

    def __init__(
        self,
        handler: Any,
        *,
        limit: int,
        request_ids: Callable[[], str],
        at_once: AnswerAtOnce | None,
        request_factory: Any,
        **options: Any,
    ) -> None:
        super().__init__(handler, request_factory=request_factory, **options)
        self._options = options
        self.request_ids = request_ids
        self.answers_at_once = at_once is not None
        self._at_once = at_once
        self.limit = limit
        self.count = 0
        self.parting = False
        self.empty = asyncio.Event()  # set when the last connection is gone, while parting

    def at_once(self, path: str, headers: MultiMapping[str], peer: Peer) -> bytes | None:
        """Answer at once; not while parting: then each answer says that it is the last one."""
        answer = None if self.parting else self._at_once
        return None if answer is None else answer(path, headers, peer)

    def __call__(self) -> "EdgeProtocol":
        return EdgeProtocol(self, loop=asyncio.get_running_loop(), **self._options)


class EdgeProtocol(AtOnceProtocol):
    """One connection."""

    __slots__ = ("_server",)

    def __init__(self, server: _EdgeServer, **options: Any) -> None:
        super().__init__(
            server, answer=server.at_once if server.answers_at_once else None, **options
        )
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it at the cap."""
        server = self._server
        server.count += 1
        if server.count > server.limit and isinstance(transport, asyncio.Transport):
            self.force_close()
            transport.write(_full(server.request_ids()))
            transport.close()
            return
        _bound_unread(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the connection's place free."""
        self._server.count -= 1
        if self._server.parting and not self._server.count:
            self._server.empty.set()
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; while parting it says that it is the last one on its connection."""
        if self._server.parting:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed; nothing of it is repeated, not in the log either."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer has been sent already")
        request_id = self._server.request_ids()
        _log.debug("bad_http", request_id=request_id, error=type(exc).__name__)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            problem = Problem("internal_error", "It has been logged under the request's id.")
        elif isinstance(exc, LineTooLong):
            problem = Problem("headers_too_large", "No line of a request may be that long.")
        else:
            problem = Problem("malformed_request", "What was sent is not valid HTTP/1.1.")
        response = render(problem, request_id)
        stamp(response, request_id)
        response.force_close()
        return response


def _bound_unread(transport: asyncio.BaseTransport) -> None:
    """Let the kernel cut off a peer that takes nothing of what it is sent."""
    connection = transport.get_extra_info("socket")
    if connection is not None and sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)


def _full(request_id: str) -> bytes:
    """Spell the whole answer to a connection above the cap: no request of it is read."""
    response = render(Problem("overloaded", "Too many connections are open."), request_id)
    stamp(response, request_id)
    body = cast("bytes", response.body)
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["HTTP/1.1 503 Service Unavailable", *lines, "", ""])
    return head.encode("ascii") + body
