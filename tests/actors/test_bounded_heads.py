"""What servers may send before their answer: little, and then the connection is cut.

Servers here are written by hand, byte by byte: no library would send what they do.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from paygate_actors.bounded_heads import HEAD_BYTES_MAX, bounded_connector
from paygate_actors.notice_sender import Answer, HttpSender
from paygate_actors.providers.http_client import Answered, Broken, HttpClient

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
# Far more than a machine needs that ends the attempt at once; who does not says "timeout" then.
DEADLINE_S = 5.0
LONG_BODY = b"x" * (4 * HEAD_BYTES_MAX)

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(behave: Behave) -> AsyncGenerator[str]:
    """A server on loopback that does to each connection what it is told; its URL."""
    open_ones: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behave(reader, writer)
        writer.close()
        open_ones.discard(task)

    running = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()
        for task in list(open_ones):
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


async def hint_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer, and never stop."""
    await reader.readuntil(b"\r\n\r\n")
    while True:
        writer.write(HINT * 500)
        await writer.drain()


async def hint_and_answer_shortly(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer each look-up with a few hints and an empty answer."""
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HINT * 20 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def hint_and_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request as the specification allows it: hints, then a long answer."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Content-Length: 1\r\n" in head:
            await reader.readexactly(1)
        length = b"Content-Length: %d\r\n\r\n" % len(LONG_BODY)
        # In one piece: the end of the head and the body come together.
        writer.write(HINT * 20 + b"HTTP/1.1 200 OK\r\n" + length + LONG_BODY)
        await writer.drain()


async def test_a_receiver_that_never_stops_hinting_ends_its_attempt_at_once() -> None:
    out = HttpSender(allow_loopback=True, send_s_max=DEADLINE_S)

    async with server(hint_for_ever) as url:
        sent = await out.send(f"{url}/hook", {}, b"x")
        await out.close()

    assert sent == Answer(error="no_answer")


async def test_a_provider_that_never_stops_hinting_has_answered_garbage() -> None:
    async with server(hint_for_ever) as url:
        client = HttpClient(url)
        found = await client.send("POST", "/charges", deadline_s=DEADLINE_S, body=b"x")
        await client.close()

    assert isinstance(found, Broken)
    assert found.reason == "garbage"


async def test_hints_and_a_long_answer_are_taken_as_often_as_they_come() -> None:
    """The bound is on what comes before each answer, not on answers, nor on a connection."""
    async with server(hint_and_answer) as url:
        client = HttpClient(url, answer_bytes_max=len(LONG_BODY), connections_max=1)
        found = [
            await client.send("POST", "/charges", deadline_s=DEADLINE_S, body=b"x")
            for _ in range(3)
        ]
        await client.close()

    assert found == [Answered(status=200, body=LONG_BODY)] * 3


async def test_what_comes_before_many_answers_is_not_added_up() -> None:
    async with server(hint_and_answer_shortly) as url:
        client = HttpClient(url, connections_max=1)
        found = [
            await client.send("GET", "/charges", deadline_s=DEADLINE_S)
            for _ in range(HEAD_BYTES_MAX // len(HINT * 20) + 2)
        ]
        await client.close()

    assert {type(each) for each in found} == {Answered}


async def test_a_receivers_hints_and_long_answer_are_a_status() -> None:
    out = HttpSender(allow_loopback=True, send_s_max=DEADLINE_S)

    async with server(hint_and_answer) as url:
        sent = await out.send(f"{url}/hook", {}, b"x")
        await out.close()

    assert sent == Answer(status=200)


async def test_what_comes_unasked_on_a_kept_connection_is_cut_off() -> None:
    answered, ended = asyncio.Event(), asyncio.Event()

    async def answer_and_go_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await answered.wait()
        try:
            while True:
                writer.write(HINT * 500)
                await writer.drain()
        finally:
            ended.set()

    async with server(answer_and_go_on) as url:
        client = HttpClient(url)
        found = await client.send("GET", "/charges", deadline_s=DEADLINE_S)
        answered.set()
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()
        await client.close()

    assert found == Answered(status=200, body=b"")


async def test_a_release_of_aiohttp_that_takes_the_way_in_away_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connector's own name for who reads a connection is private; nothing else leads there."""
    connector = bounded_connector()
    name = "_factory"

    assert callable(getattr(aiohttp.TCPConnector(), name))
    await connector.close()
    monkeypatch.setattr("paygate_actors.bounded_heads._FACTORY", "_gone")
    with pytest.raises(RuntimeError, match="aiohttp"):
        bounded_connector()
