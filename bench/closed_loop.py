"""The load: a closed loop of keep-alive connections that costs as little as it can.

Requests are bytes that were made before the clock starts; a connection is a bare protocol that
writes one, waits for the whole answer, and writes the next. What is left is some microseconds a
request, which every load reports: where they come near the server's, the load is what is measured.

What is refused with 429 is sent again at once, and counted: a client has to expect it, and it costs
the server something each time.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

# A load that takes longer has hung: the longest of them is some seconds.
LOAD_S_MAX = 120.0
_LENGTH = b"content-length: "
_TOO_MANY = b"HTTP/1.1 429 "
# Refused more often than this for each that is taken, it is no moment any more.
REFUSED_SHARE_MAX = 1.0


class Sent(Struct, frozen=True, kw_only=True):
    """What a load came to: seconds of the wall, seconds of each request, sorted; our own CPU.

    `refused`: how often one was told to come again.
    """

    seconds: float
    refused: int
    latencies_s: list[float]
    own_cpu_us: float

    def latency_ms(self, percent: int) -> float:
        """A percentile of the latencies."""
        return 1e3 * self.latencies_s[len(self.latencies_s) * percent // 100]


async def send(
    ports: Sequence[int],
    requests: Sequence[bytes],
    *,
    connections: int,
    status: int,
    heard: Callable[[bytes], None] | None = None,
) -> Sent:
    """Send everything, spread over the ports; `heard` gets each body.

    Raises AssertionError for another status but 429, ConnectionError for a connection that was cut,
    and TimeoutError after `LOAD_S_MAX`.
    """
    loop = asyncio.get_running_loop()
    left = iter(requests)
    latencies_s: list[float] = []
    callers = [Caller(left, latencies_s, status, heard, loop) for _ in range(connections)]
    began_s, cpu_s = time.perf_counter(), time.process_time()
    try:
        async with asyncio.timeout(LOAD_S_MAX):
            for number, caller in enumerate(callers):
                port = ports[number % len(ports)]
                await loop.create_connection(lambda it=caller: it, "127.0.0.1", port)
            await asyncio.gather(*(caller.done for caller in callers))
    finally:
        # Where one has failed the others are still at it.
        await asyncio.gather(*(each.hang_up() for each in callers), return_exceptions=True)
    seconds, own_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    refused = sum(caller.refused for caller in callers)
    assert len(latencies_s) == len(requests)
    assert refused <= REFUSED_SHARE_MAX * len(requests)
    latencies_s.sort()
    return Sent(
        seconds=seconds,
        refused=refused,
        latencies_s=latencies_s,
        own_cpu_us=1e6 * own_s / max(len(requests), 1),
    )


class Caller(asyncio.Protocol):
    """One connection: `done` is set when it is closed, or fails."""

    def __init__(
        self,
        left: Iterator[bytes],
        latencies_s: list[float],
        status: int,
        heard: Callable[[bytes], None] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self._left = left
        self._latencies_s = latencies_s
        self._begins = b"HTTP/1.1 %d " % status
        self._heard = heard
        self.refused = 0
        self._sent = b""
        self._began_s = 0.0
        self._came = b""
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._is_over = False

    async def hang_up(self) -> None:
        """Close the connection, if there is one, and wait until it is."""
        if self._transport is not None:
            self._transport.abort()
            await self.done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first one."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next(transport)

    def data_received(self, data: bytes) -> None:
        """Take a whole answer, then send the next one."""
        came = self._came = self._came + data if self._came else data
        head_ends = came.find(b"\r\n\r\n")
        if head_ends < 0 or self._transport is None:
            return
        head = came[: head_ends + 2].lower()
        at = head.find(_LENGTH) + len(_LENGTH)
        body_ends = head_ends + 4 + int(head[at : head.find(b"\r", at)])
        if len(came) < body_ends:
            return
        self._came = b""
        if came.startswith(_TOO_MANY):
            self.refused += 1
            self._transport.write(self._sent)
            return
        self._latencies_s.append(time.perf_counter() - self._began_s)
        if not came.startswith(self._begins):
            self._error = AssertionError(came.decode(errors="replace"))
            self._transport.abort()
            return
        if self._heard is not None:
            self._heard(came[head_ends + 4 : body_ends])
        self._next(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is an end only where nothing was left to send."""
        error = self._error
        if error is None and not self._is_over:
            error = ConnectionError(f"the server hung up: {exc}")
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def _next(self, transport: asyncio.Transport) -> None:
        request = next(self._left, None)
        if request is None:
            self._is_over = True
            transport.close()
            return
        self._sent = request
        self._began_s = time.perf_counter()
        transport.write(request)
