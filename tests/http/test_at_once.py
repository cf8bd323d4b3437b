"""Reads that are answered as they are parsed: as aiohttp's task would have, and counted once.

Each exchange is held with two edges, one of which answers nothing at once. Over real sockets; they
lean on names that aiohttp keeps to itself, and a release that changes one goes red here.
"""

import asyncio
import base64
import random
import re
import socket
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from gateway_words import seed_of
from structlog.testing import capture_logs

from paygate_actors.config import Config, Server
from paygate_actors.messages import ApiKey
from paygate_http import at_once
from paygate_http.app import CONTEXT
from paygate_http.auth import key_digest
from paygate_http.edge import Edge
from paygate_http.incoming import ParsedRequest, Peer
from paygate_http.runner import EdgeProtocol

SOON_S = 5.0
# Streams of requests that are cut anywhere.
STREAMS = 40
KEY = b"Authorization: Bearer sk_sandbox_merchant_a\r\n"
READ = b"GET /api/payments/pay_1 HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n"
ABSENT = READ.replace(b"pay_1", b"pay_none")
PAY = (
    b"POST /api/payments/process HTTP/1.1\r\nHost: x\r\n"
    + KEY
    + b"Content-Type: application/json\r\nContent-Length: 78\r\n\r\n"
    + b'{"amount":1,"currency":"JPY","paymentMethod":{"type":"wallet","walletID":"w"}}'
)
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

Start = Callable[..., Awaitable[Any]]


def more(line: bytes) -> bytes:
    """The read with another line in its head."""
    return READ.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")


class Exchange(NamedTuple):
    """What a client sends, each as a packet of its own; how many answers it hears before the next.

    `at_once` of them all are to be answered at once.
    """

    sent: tuple[tuple[bytes, int], ...]
    at_once: int


def each(*requests: bytes, at_once: int) -> Exchange:
    """One request after the other, each answered before the next."""
    return Exchange(tuple((request, 1) for request in requests), at_once)


USUAL = {
    "read three times": each(READ, READ, READ, at_once=3),
    "by an operator": each(READ.replace(b"merchant_a", b"operator"), at_once=1),
    "an id of the caller's": each(more(b"X-Request-ID: mine"), READ, at_once=2),
    "an id that is none": each(more(b"X-Request-ID: a b"), READ, at_once=2),
    "a card for an id": each(more(b"X-Request-ID: 4242424242424242"), at_once=1),
    "an empty body": each(more(b"Content-Length: 0"), READ, at_once=2),
    "in two packets": Exchange(((READ[:40], 0), (READ[40:], 1), (READ, 1)), 2),
    "with half of the next": Exchange(((READ + READ[:40], 1), (READ[40:], 1)), 2),
}
UNUSUAL = {
    "absent": each(ABSENT, READ, at_once=1),
    "another's": each(READ.replace(b"merchant_a", b"merchant_b"), READ, at_once=1),
    "no key": each(READ.replace(KEY, b""), READ, at_once=1),
    "two keys": each(more(KEY[:-2]), READ, at_once=1),
    "unknown key": each(READ.replace(b"merchant_a", b"nobody"), READ, at_once=1),
    "the wrong role": each(READ.replace(b"merchant_a", b"metrics"), READ, at_once=1),
    "HTTP/1.0": each(READ.replace(b"1.1", b"1.0"), at_once=0),
    "HTTP/1.0, kept": each(
        more(b"Connection: keep-alive").replace(b"1.1", b"1.0"), READ, at_once=1
    ),
    "the last one": each(READ, more(b"Connection: close"), at_once=1),
    "at an instant": each(READ.replace(b"pay_1", b"pay_1?at=2026-01-15T10:30:00Z"), at_once=0),
    "a bad query": each(READ.replace(b"pay_1", b"pay_1?at=x"), READ, at_once=1),
    "an empty query": each(READ.replace(b"pay_1", b"pay_1?"), READ, at_once=1),
    "a fragment": each(READ.replace(b"pay_1", b"pay_1#x"), READ, at_once=1),
    "escaped": each(READ.replace(b"pay_1", b"pay%5F1"), READ, at_once=1),
    "a whole address": each(READ.replace(b" /api", b" http://x/api"), READ, at_once=1),
    "a long id": each(READ.replace(b"pay_1", b"x" * 65), READ, at_once=1),
    "POST": each(READ.replace(b"GET", b"POST"), READ, at_once=1),
    "DELETE": each(READ.replace(b"GET", b"DELETE"), READ, at_once=1),
    "another route": each(READ.replace(b"/pay_1", b""), READ, at_once=1),
    "with a body": each(more(b"Content-Length: 2") + b"{}", READ, at_once=1),
    "a body that comes later": Exchange(
        ((READ, 1), (more(b"Content-Length: 2"), 1), (b"{}", 0), (READ, 1)), 2
    ),
    "in chunks": each(
        more(b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", READ, at_once=1
    ),
    "a client that waits": each(more(b"Expect: 100-continue"), READ, at_once=1),
    "an upgrade": each(more(b"Connection: upgrade\r\nUpgrade: websocket"), READ, at_once=1),
    "two in a packet": Exchange(((READ + ABSENT, 2), (READ, 1)), 1),
    "three in a packet": Exchange(((ABSENT + READ + ABSENT, 3), (READ, 1)), 1),
    # Its parser stops where more than 32 wait, and so must hear of each that does not any more.
    "two in a packet behind forty": Exchange((*((READ, 1),) * 40, (READ + ABSENT, 2)), 40),
    "behind a payment": Exchange(((PAY + READ, 2), (READ, 1)), 1),
    "before a payment": Exchange(((READ + PAY, 2), (READ, 1)), 1),
    "no HTTP": Exchange(((READ, 1), (b"GARBAGE\r\n\r\n", 1)), 1),
    "no HTTP behind it": Exchange(((READ + b"GARBAGE\r\n\r\n", 1),), 0),
    "no host": each(READ.replace(b"Host: x\r\n", b""), at_once=0),
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What edges answer at once from now on."""
    told: list[bytes] = []
    answer = Edge.at_once

    def noted(self: Edge, *about: Any) -> bytes | None:
        whole = answer(self, *about)
        told.extend(() if whole is None else (whole,))
        return whole

    monkeypatch.setattr(Edge, "at_once", noted)
    return told


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What connections receive from now on."""
    packets: list[bytes] = []
    receive = EdgeProtocol.data_received

    def noted(self: EdgeProtocol, data: bytes) -> None:
        packets.append(data)
        receive(self, data)

    monkeypatch.setattr(EdgeProtocol, "data_received", noted)
    return packets


@pytest.fixture
async def ordinary(start: Start, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start an edge that answers nothing at once."""

    async def _start(**options: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(at_once, "LEANED_ON", (*at_once.LEANED_ON, "_gone"))
            return await start(**options)

    return _start


async def held(gateway: Any, exchange: Exchange, packets: list[bytes]) -> list[bytes]:
    """Every answer of an exchange, and what comes last, as they are at any second."""
    gateway.front.keep("merchant_a")
    answers: list[bytes] = []
    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        for packet, count in exchange.sent:
            before = len(packets)
            writer.write(packet)
            answers += [await heard(reader) for _ in range(count)]
            await until(lambda before=before: len(packets) > before)
        writer.write(LAST)
        answers.append(await reader.read())
        writer.close()
    return [re.sub(rb"Date: [^\r]*", b"Date: then", answer) for answer in answers]


async def heard(reader: asyncio.StreamReader) -> bytes:
    """The next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None, head
    return head + await reader.readexactly(int(length[1]))


async def until(it_is_so: Callable[[], bool]) -> None:
    """Let the loop run until it is so; who calls bounds it."""
    while not it_is_so():  # noqa: ASYNC110 - nobody sets an event for it
        await asyncio.sleep(0)


async def turns() -> None:
    """Let the loop run everything that can be run."""
    for _ in range(20):
        await asyncio.sleep(0)


def counted(gateway: Any) -> bytes:
    """The page of metrics."""
    return gateway.runner.app[CONTEXT].metrics.page()


async def compare(
    gateways: tuple[Any, Any], exchange: Exchange, packets: list[bytes]
) -> list[bytes]:
    """Hold the exchange with both, which must answer and count alike; the answers."""
    quick, slow = [await held(each, exchange, packets) for each in gateways]

    assert quick == slow
    assert counted(gateways[0]) == counted(gateways[1])
    servers = [each.runner.server for each in gateways]
    assert servers[0].requests_count == servers[1].requests_count
    assert gateways[0].front.commands == gateways[1].front.commands
    return quick


@pytest.mark.parametrize("name", [*USUAL, *UNUSUAL])
async def test_nobody_can_tell_how_a_read_was_answered(
    start: Start, ordinary: Start, told: list[bytes], packets: list[bytes], name: str
) -> None:
    exchange = (USUAL | UNUSUAL)[name]

    answers = await compare((await start(), await ordinary()), exchange, packets)

    assert len(told) == exchange.at_once
    if name in USUAL:
        assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)


@pytest.mark.parametrize("number", range(STREAMS))
async def test_nobody_can_tell_however_requests_are_cut_into_packets(
    start: Start, ordinary: Start, packets: list[bytes], number: int
) -> None:
    rng = random.Random(f"{seed_of('cut streams').random()} {number}")
    requests = [READ, READ, READ, ABSENT, PAY, more(b"Content-Length: 2") + b"{}"]
    stream = b"".join(rng.choices(requests, k=rng.randrange(2, 9)))
    cuts = sorted(rng.sample(range(1, len(stream)), rng.randrange(1, 7)))
    pieces = [stream[a:b] for a, b in pairwise((0, *cuts, len(stream)))]

    # Nobody waits for an answer: what comes early goes behind what is being answered.
    await compare(
        (await start(), await ordinary()), Exchange(tuple((p, 0) for p in pieces), 0), packets
    )


async def test_a_head_is_answered_without_its_body(
    start: Start, ordinary: Start, told: list[bytes]
) -> None:
    answers: list[bytes] = []
    for gateway in (await start(), await ordinary()):
        gateway.front.keep("merchant_a")
        async with asyncio.timeout(SOON_S):
            reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
            writer.write(READ.replace(b"GET", b"HEAD"))
            answers.append(re.sub(rb"Date: .*", b"", await reader.readuntil(b"\r\n\r\n")))
            writer.close()

    assert answers[0] == answers[1]
    assert told == []


async def test_while_it_is_not_ready_nothing_is_told(
    start: Start, ordinary: Start, told: list[bytes], packets: list[bytes]
) -> None:
    gateways = await start(), await ordinary()
    for gateway in gateways:
        gateway.front.unready = "It is loading."

    answers = await compare(gateways, each(READ, at_once=0), packets)

    assert answers[0].startswith(b"HTTP/1.1 503 ")
    assert told == []


async def test_of_a_rate_each_read_takes_one_token_however_it_is_answered(
    start: Start, ordinary: Start, told: list[bytes], packets: list[bytes]
) -> None:
    config = Config(server=Server(requests_per_key_per_s=2))
    gateways = await start(config=config), await ordinary(config=config)

    answers = await compare(gateways, each(ABSENT, READ, ABSENT, READ, READ, at_once=2), packets)

    assert [answer[9:12] for answer in answers[:5]] == [b"404", b"200", b"404", b"200", b"429"]
    assert len(told) == 2


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), TimeoutError("late")])
async def test_what_fails_is_answered_by_the_ordinary_way_and_logged(
    start: Start,
    told: list[bytes],
    packets: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    gateway = await start(config=Config(server=Server(requests_per_key_per_s=1)))

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(gateway.front, "payment_now", fails)
    with capture_logs() as logs:
        answers = await held(gateway, each(READ, READ, READ, at_once=0), packets)

    assert [answer[9:12] for answer in answers[:3]] == [b"200", b"200", b"429"]
    assert b"X-Request-ID: req_1\r\n" in answers[0]
    assert told == []
    assert [line["event"] for line in logs] == ["not_at_once"] * 2
    assert b'status="2xx"} 2.0' in counted(gateway)


async def test_a_key_that_must_be_looked_up_is_waited_for_once(
    start: Start, told: list[bytes], packets: list[bytes]
) -> None:
    pepper = b"p" * 32
    gateway = await start(config=Config(api_key_pepper=base64.b64encode(pepper).decode()))
    digest = key_digest(pepper, "sk_test_a")
    gateway.front.stored_keys[digest] = ApiKey(
        id="key_1", merchant="merchant_a", role="merchant", digest=digest, created_at_us=1
    )
    read = READ.replace(b"sk_sandbox_merchant_a", b"sk_test_a")

    answers = await held(gateway, each(read, read, read, at_once=2), packets)

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert len(told) == 2
    assert gateway.front.look_ups == 1


async def test_a_connection_in_use_is_kept_and_an_idle_one_is_closed(
    start: Start, told: list[bytes]
) -> None:
    idle_s, steps = 8.0, 4
    gateway = await start(idle_s=idle_s)
    gateway.front.keep("merchant_a")
    loop = asyncio.get_running_loop()
    now, passed_s = loop.time, 0.0
    # The clock of the loop, which aiohttp's deadline goes by: moved, not waited for.
    loop.time = lambda: now() + passed_s
    async with asyncio.timeout(idle_s * steps + SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        for _ in range(steps):
            writer.write(READ)
            await heard(reader)
            passed_s += idle_s * 0.7
            await turns()
        assert len(told) == steps
        assert not reader.at_eof()

        passed_s += idle_s * 0.4
        rest = await reader.read()
        writer.close()

    assert rest == b""


async def test_while_parting_a_read_is_told_that_its_answer_is_the_last(
    gateway: Any, told: list[bytes]
) -> None:
    gateway.front.keep("merchant_a")
    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        writer.write(READ)
        await heard(reader)
        parting = asyncio.create_task(gateway.runner.part(SOON_S))
        await turns()
        writer.write(READ)
        last = await reader.read()
        await parting
        writer.close()

    assert len(told) == 1
    assert last.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in last


async def test_the_end_does_not_wait_for_a_connection_that_was_read_on(
    gateway: Any, told: list[bytes]
) -> None:
    gateway.front.keep("merchant_a")
    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        writer.write(READ)
        await heard(reader)
        await gateway.runner.cleanup()
        rest = await reader.read()
        writer.close()

    assert len(told) == 1
    assert rest == b""


async def test_a_peer_that_takes_no_answers_is_waited_for(
    gateway: Any, told: list[bytes], packets: list[bytes]
) -> None:
    """Or one connection could have the whole memory filled with answers for it."""
    gateway.front.keep("merchant_a", description="x" * 60_000)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    plain.connect((gateway.host, gateway.port))
    plain.settimeout(0)
    sent = 0

    async def ask() -> None:
        nonlocal sent
        await asyncio.get_running_loop().sock_sendall(plain, READ)
        sent += 1
        await until(lambda: len(packets) == sent)

    async with asyncio.timeout(SOON_S):
        await ask()
        (connection,) = gateway.runner.server.connections
        while not connection.writing_paused:
            await ask()
        before = len(told)
        for _ in range(10):
            await ask()
        while_paused = len(told) - before
        reader, writer = await asyncio.open_connection(sock=plain)
        bodies = {(await heard(reader)).partition(b"\r\n\r\n")[2] for _ in range(sent)}
        writer.close()

    assert before > 0
    assert while_paused == 0
    assert len(bodies) == 1


async def test_what_comes_before_the_connections_task_could_run_is_answered_in_order(
    gateway: Any, told: list[bytes]
) -> None:
    gateway.front.keep("merchant_a")
    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        await until(lambda: bool(gateway.runner.server.connections))
        await turns()
        (connection,) = gateway.runner.server.connections
        for request in (ABSENT, READ, READ):
            connection.data_received(request)
        answers = [await heard(reader) for _ in range(3)]
        writer.close()

    assert [answer[9:12] for answer in answers] == [b"404", b"200", b"200"]
    assert told == []


async def test_a_connection_whose_bytes_cannot_be_taken_in_is_given_up_whole(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, told: list[bytes]
) -> None:
    gateway.front.keep("merchant_a")

    def fails(*_: Any) -> None:
        raise RuntimeError("a bug of aiohttp's")

    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        writer.write(READ)
        await heard(reader)
        with monkeypatch.context() as patch:
            patch.setattr(web.RequestHandler, "data_received", fails)
            writer.write(READ)
            rest = await reader.read()
        await until(lambda: not gateway.runner.server.connections)
        writer.close()

    assert rest == b""
    assert len(told) == 1


def test_every_name_of_aiohttps_that_is_leant_on_is_there() -> None:
    assert at_once.missing_names() == ()


@pytest.mark.parametrize("names", ["LEANED_ON", "LEANED_ON_OF_PARSER"])
async def test_where_a_name_is_missing_all_is_answered_the_ordinary_way(
    start: Start,
    told: list[bytes],
    packets: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    names: str,
) -> None:
    monkeypatch.setattr(at_once, names, (*getattr(at_once, names), "_gone"))
    assert at_once.missing_names() == ("_gone",)
    gateway = await start()

    answers = await held(gateway, each(READ, READ, at_once=0), packets)

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert told == []


@pytest.mark.parametrize(
    ("peer", "remote"),
    [(("::1", 5, 0, 0), "::1"), (("127.0.0.1", 5), "127.0.0.1"), ("a.sock", "a.sock"), (None, "")],
)
def test_who_asks_is_named_as_aiohttp_names_them(peer: Peer, remote: str) -> None:
    headers = web.Response().headers

    assert ParsedRequest(path_ids={}, headers=headers, peer=peer).remote == remote
