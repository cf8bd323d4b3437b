"""One bounded HTTP exchange, for adapters: what came back, or how far the request got.

The one hard question of a payment call is whether any byte of it left. aiohttp says when a request
is given a connection; before that moment nothing can have left (no permit of the pool, no
address, no connection, no TLS), after it everything is possible. A kept-alive connection that the
server closed meanwhile counts as "after": the bytes went somewhere, and nobody knows where to.
A request that finds its way barred when it has its connection (`last_look`) has not left either.
"""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Protocol

import aiohttp
from aiohttp.connector import Connection
from msgspec import Struct
from yarl import URL

from paygate_actors.bounded_heads import bounded_connector
from paygate_actors.outcomes import UnknownReason
from paygate_actors.providers.last_look import BARRED, Barred, may_leave
from paygate_actors.providers.line_trouble import CLOSED, sentence_of

# The longest honest answer is some 2 KiB; nobody may fill our memory.
ANSWER_BYTES_MAX = 64 * 1024

# As many as the pool of one provider has permits for calls, and as many look-ups beside them.
CONNECTIONS_MAX = 128

# Providers' load balancers close idle connections after a minute or so: be first.
KEEPALIVE_S = 30.0


class Answered(Struct, frozen=True, kw_only=True):
    """A complete answer. `retry_after`: the header as it came."""

    status: int
    body: bytes
    retry_after: str | None = None


class NotSent(Struct, frozen=True, kw_only=True):
    """No byte of the request reached a connection."""

    detail: str


class Broken(Struct, frozen=True, kw_only=True):
    """Something may have left, and no complete answer came."""

    reason: UnknownReason
    detail: str


Exchange = Answered | NotSent | Broken


class HttpClient:
    """Keeps the connections to one provider; opens at the first call, on the loop of that call.

    Follows no redirects, keeps no cookies, heeds no proxy of the environment. An answer over
    `answer_bytes_max` is garbage.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections_max: int = CONNECTIONS_MAX,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._connections_max = connections_max
        self._answer_bytes_max = answer_bytes_max
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Exchange:
        """Send one request and read its answer within `deadline_s` seconds; raises nothing.

        `path` is already percent-encoded. aiohttp re-sends a look-up (GET) once where a kept-alive
        connection turns out to be closed; it never re-sends anything else.
        """
        flight = _Flight()
        try:
            async with asyncio.timeout(deadline_s):
                return await self._exchange(flight, method, path, headers, body)
        except asyncio.CancelledError:
            # Closing the connector cancels whoever waits for a connection of it, from within.
            if self._is_closed and not _is_cancelled():
                return _lost(flight, "reset", CLOSED)
            raise
        except Barred:
            return NotSent(detail=BARRED)
        except TimeoutError as error:
            return _lost(flight, "timeout", sentence_of(error, left=flight.left))
        except aiohttp.ClientPayloadError as error:
            return _lost(flight, "reset", sentence_of(error, left=flight.left))
        except aiohttp.ClientResponseError as error:
            # What came back is no HTTP.
            return _lost(flight, "garbage", sentence_of(error, left=flight.left))
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            return _lost(flight, "reset", sentence_of(error, left=flight.left))

    async def close(self) -> None:
        """Give the connections back. Idempotent; later calls are `NotSent`."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self,
        flight: "_Flight",
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
    ) -> Exchange:
        if self._is_closed:
            return NotSent(detail=CLOSED)
        async with self._open().request(
            method,
            URL(self._base_url + path, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
            trace_request_ctx=flight,
        ) as response:
            content = await _read(response.content, self._answer_bytes_max)
            if content is None:
                return Broken(reason="garbage", detail=f"over {self._answer_bytes_max} bytes")
            return Answered(
                status=response.status,
                body=content,
                retry_after=response.headers.get("Retry-After"),
            )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=bounded_connector(
                    limit=self._connections_max, keepalive_timeout=KEEPALIVE_S
                ),
                # Our own deadline covers all of it: connecting, sending, reading.
                timeout=aiohttp.ClientTimeout(total=None, connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                # A compressed bomb must not grow beyond the bound that is read.
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                request_class=_Request,
                trace_configs=[_tracing()],
            )
        return self._session


class _Request(aiohttp.ClientRequest):
    """Looks once more when it has its connection, before the first byte of it is written."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write it. Raises `Barred`; the connection is given up then."""
        if not may_leave():
            raise Barred
        return await super().send(conn)


class _Flight:
    """How far one request got. `left`: it was given a connection."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = False


class _Content(Protocol):
    async def read(self, n: int = -1) -> bytes: ...


async def _read(content: _Content, bytes_max: int) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while chunk := await content.read(bytes_max + 1):
        chunks.append(chunk)
        size += len(chunk)
        if size > bytes_max:
            return None
    return b"".join(chunks)


def _lost(flight: _Flight, reason: UnknownReason, detail: str) -> NotSent | Broken:
    if flight.left:
        return Broken(reason=reason, detail=detail)
    return NotSent(detail=detail)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tracing() -> aiohttp.TraceConfig:
    async def note(
        _session: aiohttp.ClientSession, context: SimpleNamespace, _details: Any
    ) -> None:
        context.trace_request_ctx.left = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(note)
    tracing.on_connection_reuseconn.append(note)
    return tracing
