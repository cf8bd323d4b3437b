"""A server on loopback, written by hand, byte by byte: no library would send what it does."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from stranger_rig import read_request

# Far more than anything here needs that goes right.
DEADLINE_S = 5.0

Behave = Callable[["Wire"], Awaitable[None]]


class Wire:
    """One connection as the server sees it. `number`: the how many-th it is, from 1."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> str:
        """Read one request; its first line."""
        return (await read_request(self.reader)).split(b"\r\n")[0].decode()

    async def say(self, raw: bytes) -> None:
        """Send these bytes, in one piece."""
        self.writer.write(raw)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection as a machine does that knows nothing of it."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def ended(self) -> None:
        """Wait until the other side is gone; what it says meanwhile is not looked at."""
        with suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass


class RawServer:
    """`opened`: how many connections came; `open`: how many are there now."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.opened = 0
        self.open = 0
        self.changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition about connections."""
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(condition)

    async def count(self, change: int) -> None:
        """One more, or one less."""
        async with self.changed:
            self.opened += max(change, 0)
            self.open += change
            self.changed.notify_all()


@asynccontextmanager
async def raw_server(
    behave: Behave, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncGenerator[RawServer]:
    """Serve each connection as told, and hang up after that."""
    server = RawServer()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        await server.count(1)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await behave(Wire(server.opened, reader, writer))
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
            await server.count(-1)
            serving.discard(task)

    running = await asyncio.start_server(serve, host, 0, ssl=tls, backlog=512)
    server.port = running.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    server.url = f"{'https' if tls else 'http'}://{shown}:{server.port}"
    try:
        yield server
    finally:
        running.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
