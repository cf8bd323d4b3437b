"""A way to PostgreSQL on which notices lose where in the server's source they come from."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65_536
_NOTICE = b"N"
# File, line and function, as the protocol names the fields of a notice.
_SOURCE = b"FLR"


@asynccontextmanager
async def muffling_proxy(port: int) -> AsyncGenerator[int]:
    """The port of a proxy before a server's port. Clients must say `sslmode=disable`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        # When one of the ends is gone, the other one is ended.
        with suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.gather(_pass_requests(reader, back, writer), _pass_answers(there, writer))
        back.transport.abort()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass_requests(
    reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
) -> None:
    while chunk := await reader.read(_CHUNK):
        back.write(chunk)
        await back.drain()
    back.transport.abort()
    writer.transport.abort()


async def _pass_answers(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        kind = await there.readexactly(1)
        length = await there.readexactly(4)
        body = await there.readexactly(int.from_bytes(length) - 4)
        if kind == _NOTICE:
            body = _muffled(body)
        writer.write(kind + (len(body) + 4).to_bytes(4) + body)
        await writer.drain()


def _muffled(body: bytes) -> bytes:
    """A notice without its source; each field is a letter and a text that ends with a NUL."""
    fields = body.rstrip(b"\0").split(b"\0")
    return b"\0".join(field for field in fields if field[0] not in _SOURCE) + b"\0\0"
