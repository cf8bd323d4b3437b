"""A call's way in and out, whatever language it speaks: written down, delayed, struck by faults.

The order of things in a call: it is written down, its fault is drawn, what goes wrong before the
effect goes wrong, (the call is worked on), what spoils the answer spoils it, the answer goes out.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from msgspec import Struct

from paygate_engine.clock import Clock
from paygate_http.sandbox.answers import BROKEN, OK, TOO_MANY
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.faults import Faults, Strike
from paygate_http.sandbox.records import CallLine

Entry = tuple[int, CallLine]
"""A line of the calls, and its number."""

_GARBAGE: Final = b'\x00\xff{"status": "succ<html>'
_RETRY_AFTER_S: Final = 1


class Reply(Struct, frozen=True):
    """An answer to be sent. `headers` beside those that every answer has."""

    status: int
    body: bytes
    retry_after_s: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Cut(Struct, frozen=True):
    """No answer: the connection is reset."""


Outgoing = Reply | Cut


class Passage:
    """Takes calls in and lets answers out. `trouble(code, message)` writes an error's body."""

    def __init__(
        self,
        *,
        books: Books,
        faults: Faults,
        clock: Clock,
        latency_s: float,
        trouble: Callable[[str, str], bytes],
    ) -> None:
        self._books = books
        self._faults = faults
        self._clock = clock
        self._latency_s = latency_s
        self._trouble = trouble

    def begin(
        self,
        provider: str,
        operation: str,
        key: str | None,
        *,
        replay: bool,
        card: str | None = None,
    ) -> tuple[Strike | None, Entry]:
        """Draw the call's fault and write the call down. `card`: its last four digits, if any."""
        strike = self._faults.on_call(provider, operation, replay=replay, card=card)
        return strike, self.note(provider, operation, key, strike)

    def note(
        self, provider: str, operation: str, key: str | None, strike: Strike | None = None
    ) -> Entry:
        """Write a call down."""
        entry = self._books.begin_call(
            provider=provider, operation=operation, key=key, at_us=self._clock.now_us()
        )
        entry[1].fault = strike.fault if strike is not None else None
        return entry

    async def carry(
        self,
        request: web.Request,
        begun: tuple[Strike | None, Entry],
        work: Callable[[], Awaitable[Reply]],
    ) -> web.StreamResponse:
        """Take a call that has begun to its end; `work` is what the provider does about it."""
        strike, entry = begun
        outgoing = await self._before(strike)
        if outgoing is None:
            outgoing = await self._after(strike, await work())
        return await self.send(request, outgoing, entry)

    async def look(
        self, request: web.Request, provider: str, key: str | None, read: Callable[[], Reply]
    ) -> web.StreamResponse:
        """Take a look-up in and let its answer out; `read` gives what is to be seen by then."""
        strike, entry = self.begin(provider, "find", key, replay=True)

        async def work() -> Reply:
            await self.latency(strike)
            # Read now: it may have become visible while the latency passed.
            return read()

        return await self.carry(request, (strike, entry), work)

    async def _before(self, strike: Strike | None) -> Outgoing | None:
        """What goes wrong before the provider looks at the call; None: it is looked at."""
        match strike.fault if strike is not None else None:
            case "reset_before_effect":
                return Cut()
            case "hang_before_effect":
                # Held up on its way to the provider's books: the key stays fresh meanwhile.
                await _sleep(strike)
                return Cut()
            case "error_500":
                await self.latency(None)
                return Reply(BROKEN, self._trouble("api_error", "Something went wrong."))
            case "too_many_requests":
                message = "Too many requests: try again later."
                return Reply(TOO_MANY, self._trouble("too_many_requests", message), _RETRY_AFTER_S)
            case _:
                return None

    async def _after(self, strike: Strike | None, reply: Reply) -> Outgoing:
        """What spoils the answer."""
        match strike.fault if strike is not None else None:
            case "reset_after_effect":
                return Cut()
            case "hang_after_effect":
                await _sleep(strike)
                return Cut()
            case "garbage":
                return Reply(OK, _GARBAGE)
            case _:
                return reply

    async def latency(self, strike: Strike | None) -> None:
        """Take the time that a call takes."""
        if strike is not None and strike.fault == "hang_after_effect":
            return
        slow_s = strike.delay_ms / 1_000 if strike is not None and strike.fault == "slow" else 0.0
        if self._latency_s + slow_s > 0:
            await asyncio.sleep(self._latency_s + slow_s)

    async def send(
        self, request: web.Request, outgoing: Outgoing, entry: Entry
    ) -> web.StreamResponse:
        """Write down what became of the call, and let the answer out."""
        if isinstance(outgoing, Reply):
            entry[1].answer = outgoing.status
        self._books.end_call(entry)
        await self._books.flush()
        if isinstance(outgoing, Cut):
            reset(request)
            return web.Response(status=BROKEN)
        return response_of(outgoing)


def response_of(reply: Reply) -> web.Response:
    """Turn an answer into a response."""
    response = web.Response(status=reply.status, body=reply.body, content_type="application/json")
    response.headers.update(reply.headers)
    if reply.retry_after_s is not None:
        response.headers["Retry-After"] = str(reply.retry_after_s)
    return response


def reset(request: web.Request) -> None:
    """Break the connection as a crashed server does: the peer's next read fails with a reset."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Linger of zero seconds: closing sends RST instead of an orderly end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _sleep(strike: Strike | None) -> None:
    if strike is not None:
        await asyncio.sleep(strike.delay_ms / 1_000)
