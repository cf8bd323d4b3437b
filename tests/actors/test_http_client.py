"""Calls over real sockets to servers that misbehave at each point where one can."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from raw_server_rig import DEADLINE_S, Behave, RawServer, Wire, raw_server
from stranger_rig import answer, free_url

from paygate_actors.providers.http_client import Answered, Broken, Exchange, HttpClient, NotSent
from paygate_actors.providers.http_connection import Connection
from paygate_actors.providers.http_pool import Pool
from paygate_actors.providers.last_look import BARRED, only_while
from paygate_actors.providers.line_trouble import (
    BROKE,
    CLOSED,
    NO_HTTP,
    NOT_REACHED_IN_TIME,
    TOO_SLOW,
    UNWRITABLE,
)

OK = answer(200, b"ok")
YES = Answered(status=200, body=b"ok")
RESET = Broken(reason="reset", detail=BROKE)
LATE = Broken(reason="timeout", detail=TOO_SLOW)
# For calls that are to run out of time.
SOON_S = 0.15


@asynccontextmanager
async def client_of(
    server: RawServer, *, connections_max: int = 128, answer_bytes_max: int = 65_536
) -> AsyncGenerator[HttpClient]:
    client = HttpClient(
        server.url, connections_max=connections_max, answer_bytes_max=answer_bytes_max
    )
    try:
        yield client
    finally:
        await client.close()


async def call(
    client: HttpClient, method: str = "POST", path: str = "/", *, deadline_s: float = DEADLINE_S
) -> Exchange:
    body = b"{}" if method == "POST" else None
    return await client.send(method, path, deadline_s=deadline_s, body=body)


async def answer_all(wire: Wire) -> None:
    """Answer each request with its own path."""
    while True:
        await wire.say(answer(200, (await wire.request()).split()[1].encode()))


def once(*raw: bytes) -> Behave:
    """Say this after one request, each piece by itself, and hang up."""

    async def behave(wire: Wire) -> None:
        await wire.request()
        for each in raw:
            await wire.say(each)

    return behave


@pytest.mark.parametrize("cut", ["closed", "reset", "silent"])
@pytest.mark.parametrize(
    "raw", [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
)
async def test_an_answer_that_is_cut_at_any_byte_is_never_an_answer(raw: bytes, cut: str) -> None:
    places = iter(range(len(raw)))

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(raw[: next(places)])
        if cut == "silent":
            await wire.ended()
        if cut == "reset":
            wire.reset()

    async with raw_server(behave) as server, client_of(server) as client:
        found = [
            await call(client, deadline_s=0.03 if cut == "silent" else DEADLINE_S) for _ in raw
        ]

    assert found == [LATE if cut == "silent" else RESET] * len(raw)


async def test_a_late_answer_is_never_seen_by_another_call() -> None:
    is_late = asyncio.Event()

    async def behave(wire: Wire) -> None:
        while True:
            path = (await wire.request()).split()[1]
            if path == "/late":
                await is_late.wait()
            await wire.say(answer(200, path.encode()))

    async with raw_server(behave) as server, client_of(server, connections_max=1) as client:
        await call(client, path="/first")
        late = await call(client, path="/late", deadline_s=SOON_S)
        is_late.set()
        after = [await call(client, path=f"/{each}") for each in range(5)]

    assert late == LATE
    assert after == [Answered(status=200, body=b"/%d" % each) for each in range(5)]
    assert server.opened == 2


async def test_a_cancelled_call_closes_its_connection() -> None:
    came = asyncio.Event()

    async def behave(wire: Wire) -> None:
        await wire.request()
        came.set()
        await wire.ended()

    async with raw_server(behave) as server, client_of(server) as client:
        calling = asyncio.ensure_future(call(client))
        await came.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await server.until(lambda: server.open == 0)


async def test_a_connection_that_was_closed_between_calls_is_not_used_for_a_payment() -> None:
    async with raw_server(once(OK)) as server, client_of(server) as client:
        found: list[Exchange] = []
        for _ in range(20):
            found.append(await call(client))
            await server.until(lambda: server.open == 0)

    assert found == [YES] * 20
    assert server.opened == 20


async def test_an_end_that_the_loop_has_not_come_to_is_seen_before_a_payment_is_sent() -> None:
    may_close, has_closed = threading.Event(), threading.Event()

    def serve() -> None:
        listening.settimeout(DEADLINE_S)
        for _ in range(2):
            connection, _ = listening.accept()
            connection.recv(65_536)
            connection.sendall(OK)
            may_close.wait(DEADLINE_S)
            connection.close()
            has_closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        client = HttpClient(f"http://127.0.0.1:{listening.getsockname()[1]}")
        first = await call(client)
        may_close.set()
        # The loop stands still meanwhile, and the next call begins in the same turn of it.
        assert has_closed.wait(DEADLINE_S)
        second = await call(client)
        await client.close()
        thread.join()

    assert [first, second] == [YES, YES]


@pytest.mark.parametrize("behind", [b"x", OK, b"HTTP/1.1 200 OK\r\n", b"\0"])
async def test_what_comes_unasked_is_never_an_answer(behind: bytes) -> None:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK if wire.number > 1 else OK + behind)
        await wire.ended()

    async with raw_server(behave) as server, client_of(server) as client:
        first = await call(client)
        second = await call(client)

    # An answer with something behind it may be believed or not; its connection is not.
    assert first in (YES, Broken(reason="garbage", detail=NO_HTTP))
    assert second == YES
    assert server.opened == 2


async def test_what_comes_later_unasked_ends_a_kept_connection() -> None:
    may_speak = asyncio.Event()

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK)
        if wire.number == 1:
            await may_speak.wait()
            await wire.say(OK)
        await wire.ended()

    async with raw_server(behave) as server, client_of(server) as client:
        first = await call(client)
        may_speak.set()
        await server.until(lambda: server.open == 0)
        second = await call(client)

    assert [first, second] == [YES, YES]
    assert server.opened == 2


@pytest.mark.parametrize(
    ("method", "expected", "asked"), [("GET", YES, 2), ("HEAD", YES, 2), ("POST", RESET, 1)]
)
async def test_only_what_asks_is_sent_again_where_a_kept_connection_dies_under_it(
    method: str, expected: Exchange, asked: int
) -> None:
    seen: list[str] = []

    async def behave(wire: Wire) -> None:
        for _ in range(1 if wire.number > 1 else 2):
            seen.append(await wire.request())
            if len(seen) == 2:
                return  # not a byte in answer to the second
            await wire.say(OK if seen[-1].startswith(("POST", "GET")) else answer(200, b""))
            if wire.number > 1:
                await wire.ended()

    async with raw_server(behave) as server, client_of(server) as client:
        await call(client)
        found = await call(client, method)

    assert len(seen) == 1 + asked
    assert found == (Answered(status=200, body=b"") if method == "HEAD" else expected)


async def test_a_look_up_is_sent_again_once_and_not_where_an_answer_had_begun() -> None:
    seen: list[str] = []
    said = [OK, b"HTTP/1.1 ", OK, b"", b""]

    async def behave(wire: Wire) -> None:
        while True:
            seen.append(await wire.request())
            await wire.say(said[len(seen) - 1])
            if said[len(seen) - 1] != OK:
                return

    async with raw_server(behave) as server, client_of(server) as client:
        found = [await call(client, "GET") for _ in range(4)]

    assert found == [YES, RESET, YES, RESET]
    assert len(seen) == 5


async def test_a_look_up_that_left_is_not_called_unsent_where_it_cannot_be_sent_again() -> None:
    acts = [True, True, False]

    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK)
        await wire.request()

    async with raw_server(behave) as server, client_of(server) as client:
        with only_while(lambda: acts.pop(0)):
            first, second = await call(client, "GET"), await call(client, "GET")

    assert (first, second) == (YES, Broken(reason="reset", detail=BARRED))


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        answer(200, b"ok", b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_garbage(raw: bytes) -> None:
    async with raw_server(once(raw)) as server, client_of(server) as client:
        found = await call(client)

    assert found == Broken(reason="garbage", detail=NO_HTTP)


async def test_an_answer_over_its_bound_is_garbage_and_ends_its_connection() -> None:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(answer(200, b"x" * 11))
        await wire.ended()

    async with raw_server(behave) as server, client_of(server, answer_bytes_max=10) as client:
        found = await call(client)
        await server.until(lambda: server.open == 0)

    assert found == Broken(reason="garbage", detail="over 10 bytes")


async def test_an_answer_that_ends_with_its_connection_is_one_unless_that_was_reset() -> None:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\n\r\nok")
        if wire.number == 2:
            wire.reset()

    async with raw_server(behave) as server, client_of(server) as client:
        ended, reset = await call(client), await call(client)

    assert (ended, reset) == (YES, RESET)


async def test_a_connection_that_ends_as_soon_as_it_is_taken_harms_one_call() -> None:
    async def behave(wire: Wire) -> None:
        if wire.number > 1:
            await answer_all(wire)

    async with raw_server(behave) as server, client_of(server) as client:
        first, second = await call(client), await call(client, path="/second")

    # Known before the first byte, or not.
    assert isinstance(first, NotSent) or first == RESET
    assert second == Answered(status=200, body=b"/second")


async def test_a_new_connection_that_is_known_to_have_ended_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really_open = Pool.open

    async def open_and_end(pool: Pool) -> Connection:
        connection = await really_open(pool)
        connection.abort()
        return connection

    monkeypatch.setattr(Pool, "open", open_and_end)
    async with raw_server(answer_all) as server, client_of(server) as client:
        found = await call(client)

    assert found == NotSent(detail="The provider could not be reached.")


async def test_a_call_without_time_does_not_leave_over_a_kept_connection_either() -> None:
    seen: list[str] = []

    async def behave(wire: Wire) -> None:
        while True:
            seen.append(await wire.request())
            await wire.say(OK)

    async with raw_server(behave) as server, client_of(server) as client:
        warm = await call(client)
        found = [await call(client, deadline_s=each) for each in (0.0, -1.0)]
        after = await call(client)

    assert (warm, after) == (YES, YES)
    assert found == [NotSent(detail=NOT_REACHED_IN_TIME)] * 2
    assert len(seen) == 2


async def test_a_slow_body_has_the_same_deadline_as_all_else() -> None:
    async def drip(wire: Wire) -> None:
        await wire.request()
        await wire.say(OK[:-2])
        for _ in range(100):
            await asyncio.sleep(SOON_S / 5)
            await wire.say(b"")
        await wire.say(OK[-2:])

    async with raw_server(drip) as server, client_of(server) as client:
        found = await call(client, deadline_s=SOON_S)
        await server.until(lambda: server.open == 0)

    assert found == LATE


async def test_what_waited_for_its_turn_until_its_deadline_was_not_sent() -> None:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.ended()

    async with raw_server(behave) as server, client_of(server, connections_max=1) as client:
        first = asyncio.ensure_future(call(client, deadline_s=DEADLINE_S))
        await server.until(lambda: server.open == 1)
        found = await call(client, deadline_s=SOON_S)
        none_left = await call(client, deadline_s=0.0)
        first.cancel()

    assert found == none_left == NotSent(detail=NOT_REACHED_IN_TIME)
    assert server.opened == 1


async def test_closing_ends_calls_that_are_out_and_those_that_wait() -> None:
    async def behave(wire: Wire) -> None:
        await wire.request()
        await wire.ended()

    async with raw_server(behave) as server:
        client = HttpClient(server.url, connections_max=1)
        out = asyncio.ensure_future(call(client))
        await server.until(lambda: server.open == 1)
        waiting = asyncio.ensure_future(call(client))
        await asyncio.sleep(0)
        await client.close()
        found = [await out, await waiting, await call(client)]
        await client.close()

    assert found[0] == Broken(reason="reset", detail=CLOSED)
    assert found[1:] == [NotSent(detail=CLOSED)] * 2


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/a b", {}),
        ("POST", "/a\r\nX: y", {}),
        ("POST", "/\x7f", {}),
        ("PO ST", "/", {}),
        ("POST", "/", {"X": "a\r\nY: b"}),
        ("POST", "/", {"X": "a\nb"}),
        ("POST", "/", {"X": "a\0"}),
        ("POST", "/", {"X\r\nY": "a"}),
        ("POST", "/", {"Content-Length": "1"}),
        ("POST", "/", {"transfer-encoding": "chunked"}),
    ],
)
async def test_what_is_not_plainly_one_request_does_not_leave(
    method: str, path: str, headers: dict[str, str]
) -> None:
    async with raw_server(answer_all) as server, client_of(server) as client:
        found = await client.send(method, path, deadline_s=DEADLINE_S, headers=headers, body=b"")

    assert found == NotSent(detail=UNWRITABLE)
    assert server.opened == 0


async def test_a_url_that_leads_nowhere_is_not_sent_to() -> None:
    found: list[Exchange] = []
    for url in ("http://", "nonsense", "http://[::1", free_url()):
        client = HttpClient(url)
        found.append(await call(client))
        await client.close()

    assert {type(each) for each in found} == {NotSent}
