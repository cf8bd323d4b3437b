"""One bounded HTTP exchange, for adapters: what came back, or how far the request got.

The one hard question of a payment call is whether any byte of it left. It is answered here, in one
place (`_over`): before the first byte is handed to an open connection nothing can have left (no
permit of the pool, no address, no connection, no TLS), after it everything is possible. A
kept-alive connection that the server closed meanwhile, unseen, counts as "after": the bytes went
somewhere, and nobody knows where to. A request that finds its way barred when it has its
connection (`last_look`) has not left either.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from yarl import URL

from paygate_actors.outcomes import UnknownReason
from paygate_actors.providers.http_answer import Answered, AnswerReader
from paygate_actors.providers.http_connection import Connection, Cut
from paygate_actors.providers.http_pool import Pool, default_tls
from paygate_actors.providers.http_request import RequestWriter, Unwritable
from paygate_actors.providers.last_look import BARRED, Barred, may_leave
from paygate_actors.providers.line_trouble import (
    CLOSED,
    NOT_REACHED_IN_TIME,
    UNWRITABLE,
    sentence_of,
)

# The longest honest answer is some 2 KiB; nobody may fill our memory.
ANSWER_BYTES_MAX = 64 * 1024

# As many as the pool of one provider has permits for calls, and as many look-ups beside them.
CONNECTIONS_MAX = 128

# What may be sent again where a kept connection turns out to be closed: what only asks.
_ASKING: Final = frozenset({"GET", "HEAD"})


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
    `answer_bytes_max` is garbage. `tls` says whose certificates are believed; by default the
    machine's own list.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connections_max: int = CONNECTIONS_MAX,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._base_url = base_url
        self._connections_max = connections_max
        self._answer_bytes_max = answer_bytes_max
        self._tls = tls
        if tls is None and base_url.lower().startswith("https:"):
            # Now, because it reads files: no call is to wait for that.
            self._tls = default_tls()
        self._writer: RequestWriter | None = None
        self._pool: Pool | None = None
        self._deadlines: set[asyncio.Timeout] = set()
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

        `path` is already percent-encoded. A look-up (GET, HEAD) is sent once more where a
        kept-alive connection turns out to be closed; nothing else ever is.
        """
        if self._is_closed:
            return NotSent(detail=CLOSED)
        if deadline_s <= 0:
            return NotSent(detail=NOT_REACHED_IN_TIME)
        flight = _Flight()
        deadline = asyncio.timeout(deadline_s)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                writer, pool = self._open()
                flight.request = writer.write(method, path, headers, body)
                return await self._exchange(flight, pool, method)
        except asyncio.CancelledError:
            # Closing ends a look-up that others wait for, too.
            if self._is_closed and not _is_cancelled():
                return _lost(flight, "reset", CLOSED)
            raise
        except Barred:
            return _lost(flight, "reset", BARRED)
        except Unwritable:
            return NotSent(detail=UNWRITABLE)
        except TimeoutError as error:
            if self._is_closed:
                return _lost(flight, "reset", CLOSED)
            return _lost(flight, "timeout", sentence_of(error, left=flight.left))
        except (OSError, ValueError) as error:
            sentence = CLOSED if self._is_closed else sentence_of(error, left=flight.left)
            return _lost(flight, "reset", sentence)
        finally:
            self._deadlines.discard(deadline)

    async def close(self) -> None:
        """Give the connections back. Idempotent; later calls are `NotSent`, present ones end."""
        self._is_closed = True
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0.0)
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def _exchange(self, flight: "_Flight", pool: Pool, method: str) -> Exchange:
        async with pool.permits:
            kept = pool.take()
            if kept is not None:
                met = await self._over(kept, flight, pool, method)
                if isinstance(met, Answered):
                    return met
                if met.has_begun or met.reason != "reset" or method not in _ASKING:
                    return Broken(reason=met.reason, detail=met.detail)
            met = await self._over(await pool.open(), flight, pool, method)
            if isinstance(met, Answered):
                return met
            return Broken(reason=met.reason, detail=met.detail)

    async def _over(
        self, connection: Connection, flight: "_Flight", pool: Pool, method: str
    ) -> Answered | Cut:
        reader = AnswerReader(
            asyncio.get_running_loop(),
            is_head=method == "HEAD",
            body_bytes_max=self._answer_bytes_max,
        )
        try:
            _look(connection)
            flight.left = True
            met = await connection.exchange(flight.request, reader)
        except BaseException:
            # Its answer may still come, and must not be taken for that of another call.
            connection.abort()
            raise
        pool.keep(connection)
        return met

    def _open(self) -> tuple[RequestWriter, Pool]:
        if self._writer is None or self._pool is None:
            url = URL(self._base_url, encoded=True)
            self._writer = RequestWriter(url)
            self._pool = Pool(
                url, connections_max=self._connections_max, tls=_tls_for(url, self._tls)
            )
        return self._writer, self._pool


class _Flight:
    """How far one request got. `left`: bytes of it may be on their way."""

    __slots__ = ("left", "request")

    def __init__(self) -> None:
        self.left = False
        self.request = b""


def _tls_for(url: URL, tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    match url.scheme:
        case "https":
            return tls or default_tls()
        case "http":
            return None
        case _:
            # Whatever is not plainly http is never spoken to in plain text.
            raise ValueError("a provider's url begins with https:// or http://")


def _look(connection: Connection) -> None:
    """Once more, before the first byte."""
    if not may_leave():
        raise Barred
    if not connection.is_open:
        raise ConnectionResetError


def _lost(flight: _Flight, reason: UnknownReason, detail: str) -> NotSent | Broken:
    if flight.left:
        return Broken(reason=reason, detail=detail)
    return NotSent(detail=detail)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
