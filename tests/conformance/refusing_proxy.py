"""A way to PostgreSQL on which one statement is ended by an error, as if somebody cancelled it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

_CHUNK = 65_536
_FIELDS = b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0"
# The driver asks then whether it may go on, and the server, which knows of nothing, says so.
_CANCELLED = b"E" + (4 + len(_FIELDS)).to_bytes(4, "big") + _FIELDS


@asynccontextmanager
async def refusing_proxy(port: int, word: bytes) -> AsyncGenerator[int]:
    """The port of a proxy before a server's port. The first request with the word is refused."""
    refused = False
    ends: set[asyncio.StreamWriter] = set()
    serving: set[asyncio.Future[None]] = set()

    async def requests(
        reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal refused
        while chunk := await reader.read(_CHUNK):
            if word in chunk and not refused:
                refused = True
                writer.write(_CANCELLED)
            else:
                back.write(chunk)

    async def answers(there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await there.read(_CHUNK):
            writer.write(chunk)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        ends.update((back, writer))
        both = (requests(reader, back, writer), answers(there, writer))
        ways = [asyncio.ensure_future(way) for way in both]
        # When one of the ends is gone, the other one is ended.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        back.transport.abort()
        writer.transport.abort()
        await asyncio.gather(*ways, return_exceptions=True)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*serving)
