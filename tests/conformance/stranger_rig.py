"""Providers that answer anything, on a bare socket: what an adapter must be ready for."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from paygate_actors.providers.base import Provider


def free_url() -> str:
    """A URL on this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_Adapter = TypeVar("_Adapter", bound=Provider)


@asynccontextmanager
async def adapter_of_stranger(
    handle: Handler, adapter: Callable[[str], _Adapter]
) -> AsyncGenerator[_Adapter]:
    """An adapter whose provider is `handle`, on a bare socket that hangs up when it returns."""
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = adapter(f"http://127.0.0.1:{port}")
    try:
        yield provider
    finally:
        await provider.close()
        server.close()
        await asyncio.gather(*served)


def saying(raw: bytes) -> Handler:
    """Read one request, say this, hang up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()

    return handle


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request and give its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return head


def answer(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
