"""Doors: where they listen, and how they close on requests in hand."""

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from paygate_http.doors import Doors, shutdown_timeout


class Room:
    """An application whose one route waits until it is let go."""

    def __init__(self, *, drain_s: float = 5) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cut_off = asyncio.Event()
        app = web.Application()
        app.router.add_get("/", self.wait)
        patience_s = shutdown_timeout(drain_s)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=patience_s)

    async def wait(self, _: web.Request) -> web.Response:
        self.entered.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cut_off.set()
            raise
        return web.Response(text="done")


@pytest.mark.parametrize(
    ("host", "named"),
    [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("localhost", "http://")],
)
async def test_the_url_says_where_they_listen(host: str, named: str):
    room = Room()
    room.let_go.set()

    doors = await Doors.open(room.runner, host=host, port=0)

    try:
        assert doors.url.startswith(named)
        async with aiohttp.ClientSession() as session, session.get(doors.url) as answer:
            assert await answer.text() == "done"
    finally:
        await doors.drain(1)


async def test_a_port_that_is_taken_is_an_error_that_names_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(OSError, match=str(port)):
            await Doors.open(Room().runner, host="127.0.0.1", port=port)


async def test_a_request_in_hand_finishes_before_the_doors_are_shut():
    room = Room()
    doors = await Doors.open(room.runner, host="127.0.0.1", port=0)

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.get(doors.url))
        await room.entered.wait()
        draining = asyncio.create_task(doors.drain(5))
        await refused(doors.url)
        room.let_go.set()
        answer = await asking
        text = await answer.text()

    assert (answer.status, text) == (200, "done")
    assert await draining
    assert not room.cut_off.is_set()


async def test_a_request_that_takes_too_long_is_cut_off():
    room = Room(drain_s=0.2)
    doors = await Doors.open(room.runner, host="127.0.0.1", port=0)

    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.get(doors.url))
        await room.entered.wait()
        async with asyncio.timeout(5):
            all_finished = await doors.drain(0.2)

        with pytest.raises(aiohttp.ClientError):
            await asking
    assert not all_finished
    assert room.cut_off.is_set()


async def refused(url: str) -> None:
    """Return once nobody accepts there any more."""
    port = int(url.rpartition(":")[2])
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue  # it was waiting to be accepted when the listener closed
            writer.close()
