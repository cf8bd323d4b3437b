"""Those who call a gateway in the long benches: keep-alive connections, requests, who is late.

Bytes are put together by hand: the load shares the machine with what it measures, and a client
library costs as much as the server that it calls.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

from msgspec import Struct
from stdnum import luhn

# A slower answer is a failure, and no figure.
REPLY_S_MAX = 60.0
# The edge closes a connection that was silent for 15 s.
IDLE_S_MAX = 10.0
# An open loop that is so far behind measures a queue of its own.
LINES_MAX = 2_000

KEY = "sk_sandbox_merchant_a"


class Line:
    """A connection: one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.free_s = 0.0

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a server on this machine. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send it; the status and the body of its answer. Raises OSError, `EOFError`."""
        self._writer.write(request)
        async with asyncio.timeout(REPLY_S_MAX):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            body = await self._reader.readexactly(length)
        return int(head[9:12]), body

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


class Lines:
    """As many connections as are needed at once; each is used again while it is young."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: deque[Line] = deque()
        self._open = 0

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send it over a free connection, or over a new one."""
        line = await self._line()
        try:
            answer = await line.ask(request)
        except BaseException:
            self._open -= 1
            await line.close()
            raise
        line.free_s = time.perf_counter()
        self._free.append(line)
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up everywhere."""
        while self._free:
            await self._free.pop().close()

    async def _line(self) -> Line:
        while self._free:
            line = self._free.pop()
            if time.perf_counter() - line.free_s < IDLE_S_MAX:
                return line
            self._open -= 1
            await line.close()
        assert self._open < LINES_MAX, "the gateway is far behind: the rate is too high"
        self._open += 1
        return await Line.open(self._port)


class Said(Struct, frozen=True, kw_only=True):
    """One answer: when it was due to be asked (`perf_counter`), seconds from then, its status."""

    at_s: float
    seconds: float
    status: int


async def beats(rate: float, seconds: float) -> AsyncIterator[float]:
    """When each request of an open loop is due; none is left out because others are slow."""
    began_s = time.perf_counter()
    for number in range(round(rate * seconds)):
        due_s = began_s + number / rate
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        yield due_s


def quantile_ms(seconds: list[float], share: float) -> float:
    """That quantile in milliseconds; 0 where there is none."""
    if not seconds:
        return 0.0
    return 1e3 * sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))]


def card(number: int) -> str:
    """A card of its own for each number below a thousand million: nobody pays too often."""
    digits = f"411111{number:09d}"
    return digits + luhn.calc_check_digit(digits)


def paying(
    number: int, name: str, *, cents: int = 10_000, manual: bool = False, wait_s: int = 0
) -> bytes:
    """The request that pays under the key `name-number`, with a card and a customer of its own."""
    body = (
        f'{{"amount":{cents // 100}.{cents % 100:02d},"currency":"USD","captureMethod":'
        f'"{"manual" if manual else "automatic"}","paymentMethod":{{"type":"card","cardNumber":'
        f'"{card(number)}","expiryMonth":12,"expiryYear":2049,"cvv":"123"}},'
        f'"metadata":{{"orderID":"{name}-{number}","customerID":"{name}-{number}"}}}}'
    )
    return asking("POST", "/api/payments/process", body, key=f"{name}-{number}", wait_s=wait_s)


def asking(method: str, path: str, body: str = "", *, key: str = "", wait_s: int = 0) -> bytes:
    """Any request of the merchant's. `key`: its idempotency key; `wait_s`: `Prefer: wait`."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {KEY}",
        f"Content-Length: {len(body)}",
    ]
    if body:
        lines.append("Content-Type: application/json")
    if key:
        lines.append(f"Idempotency-Key: {key}")
    if wait_s:
        lines.append(f"Prefer: wait={wait_s}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
