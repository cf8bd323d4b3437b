"""Runs a peer for a bench, in a process of its own: `serve_peer.py aiohttp` or `... fastapi`.

It prints its port, and is asked `rest`: it waits until no charge is under way, and counts those
that are paid. Each runs as its documents say, with Python's own event loop.
"""

import asyncio
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from aiohttp import web

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent)]

import aiohttp_aiosqlite  # noqa: E402  # see above
import fastapi_sqlalchemy  # noqa: E402  # see above
from made_requests import KEYS  # noqa: E402  # see above
from measured_server import Answer, Answering, answering  # noqa: E402  # see above


def resting(under_way: set[asyncio.Task[None]], settled: Callable[[], Awaitable[int]]) -> Answering:
    """Answers `rest`; nothing else is known of a peer."""

    async def answer(words: str) -> Answer:
        assert words.startswith("rest"), words
        # A connection that was answered last may have begun one behind the answer.
        await asyncio.gather(*under_way)
        return {"settled": await settled()}

    return answer


async def aiohttp_peer(path: Path) -> None:
    """Serve the aiohttp peer."""
    app = await aiohttp_aiosqlite.application(path, KEYS)
    payments = app[aiohttp_aiosqlite.PAYMENTS]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await answering(runner.addresses[0][1], resting(payments.under_way, payments.settled))
    await runner.cleanup()


async def fastapi_peer(path: Path) -> None:
    """Serve the FastAPI peer."""
    app, service = await fastapi_sqlalchemy.application(path, KEYS)
    # Who connects before it serves waits in the backlog.
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await answering(listener.getsockname()[1], resting(service.under_way, service.settled))
    server.should_exit = True
    await serving


async def main(peer: str) -> None:
    """Serve until the parent closes our standard input."""
    peers = {"aiohttp": aiohttp_peer, "fastapi": fastapi_peer}
    with tempfile.TemporaryDirectory() as folder:
        await peers[peer](Path(folder, "payments.db"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
