"""A port that children share: nobody else has it, and another gateway is not joined by mistake."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from paygate_http.doors import Doors, bound
from paygate_http.shared_port import hold_port

HOSTS = ("127.0.0.1", "::1")


def port_of(sock: socket.socket) -> int:
    return sock.getsockname()[1]


@pytest.mark.parametrize("host", HOSTS)
async def test_children_share_the_port_that_the_parent_keeps(host: str):
    async with AsyncExitStack() as stack:
        held = stack.enter_context(await hold_port(host, 0))

        children = [
            stack.enter_context(await bound(host, port_of(held), shared=True)) for _ in range(3)
        ]

        assert {port_of(each) for each in children} == {port_of(held)}


@pytest.mark.parametrize("host", HOSTS)
async def test_nobody_else_has_it_while_no_child_listens(host: str):
    with await hold_port(host, 0) as held, pytest.raises(OSError, match="already in use"):
        await bound(host, port_of(held))


@pytest.mark.parametrize("shared", [True, False])
async def test_another_gateways_port_is_not_shared(shared: bool):  # noqa: FBT001
    with (
        await bound("127.0.0.1", 0, shared=shared) as others,
        pytest.raises(OSError, match="already in use"),
    ):
        await hold_port("127.0.0.1", port_of(others))


async def test_a_port_whose_old_connections_die_away_can_be_had_again():
    with await bound("127.0.0.1", 0) as alone:
        port = port_of(alone)
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = alone.accept()
            # Who closes first keeps the port for a while: TIME_WAIT.
            accepted.close()

    with await hold_port("127.0.0.1", port) as held:
        assert port_of(held) == port


async def test_a_port_that_is_only_held_gets_no_connection():
    with await hold_port("127.0.0.1", 0) as held, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port_of(held))


async def test_doors_open_one_address_after_another_and_drain_them_all():
    doors = Doors(web.AppRunner(web.Application()))
    with await hold_port("127.0.0.1", 0) as held:
        await doors.listen("127.0.0.1", 0)
        own_url = doors.url
        await doors.listen("127.0.0.1", port_of(held), shared=True)

        drained = await doors.drain(5.0)

        assert doors.url.endswith(f":{port_of(held)}")
        assert drained
        for url in (own_url, doors.url):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
