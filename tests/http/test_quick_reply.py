"""Answers that go out in one write: to the byte what aiohttp's own would be, over real sockets.

They lean on how aiohttp treats an answer and on its `Date`; a release that changes either goes red
here.
"""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import web

from paygate_http.quick_reply import QuickReply, stamp

SOON_S = 5.0
KEY = b"Host: x\r\nAuthorization: Bearer sk_sandbox_merchant_a\r\n"
ROUNDS_OF_THE_LOOP = 500

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def get(
    path: bytes, *, more: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1"
) -> bytes:
    """A request of merchant A's."""
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + KEY + more + b"\r\n"


def pay(body: bytes, *, more: bytes = b"") -> bytes:
    """A payment of merchant A's."""
    typed = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return get(b"/api/payments/process", method=b"POST", more=typed + more) + body


@asynccontextmanager
async def connected(gateway: Any) -> AsyncGenerator[Streams]:
    """A connection that ends with the block."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    try:
        async with asyncio.timeout(SOON_S):
            yield reader, writer
    finally:
        writer.close()


async def heard(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None, head
    return head, await reader.readexactly(int(length[1]))


async def asked(gateway: Any, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to one request."""
    async with connected(gateway) as (reader, writer):
        writer.write(request)
        return await heard(reader)


def unusual(_: QuickReply) -> bool:
    """In place of its own judgement: aiohttp does it all."""
    return False


def undated(head: bytes) -> bytes:
    """The head as it would be at any second."""
    return re.sub(rb"Date: [^\r]*", b"Date: then", head)


@asynccontextmanager
async def serving(answer: Callable[[], QuickReply]) -> AsyncGenerator[Streams]:
    """A connection to a server that gives this answer to everything."""

    async def handle(_: web.BaseRequest) -> Any:
        return answer()

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    try:
        async with asyncio.timeout(SOON_S):
            yield reader, writer
    finally:
        writer.close()
        await runner.cleanup()


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n", b"X-Request-ID: mine\r\n"])
async def test_a_read_is_answered_to_the_byte_as_aiohttp_would(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    payment = gateway.front.keep("merchant_a")
    request = get(f"/api/payments/{payment.id}".encode(), more=more)

    quick_head, quick_body = await asked(gateway, request)
    monkeypatch.setattr(QuickReply, "is_usual", unusual)
    head, body = await asked(gateway, request)

    assert undated(quick_head).replace(b"req_1", b"req_2") == undated(head)
    assert quick_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"Connection: close" in quick_head) == (b"close" in more)
    assert quick_body == body


async def test_a_payment_is_answered_to_the_byte_as_aiohttp_would(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.front.replayed = True
    wallet = b'{"amount":1,"currency":"JPY","paymentMethod":{"type":"wallet","walletID":"w"}}'
    request = pay(wallet, more=b"Prefer: wait=1\r\nX-Request-ID: mine\r\n")

    quick_head, _ = await asked(gateway, request)
    monkeypatch.setattr(QuickReply, "is_usual", unusual)
    head, _ = await asked(gateway, request)

    location = re.compile(rb"Location: /api/payments/\w+")
    assert location.sub(b"", undated(quick_head)) == location.sub(b"", undated(head))
    assert location.search(quick_head)
    assert b"\r\nIdempotent-Replayed: true\r\nPreference-Applied: wait=1\r\n" in quick_head
    assert quick_head.startswith(b"HTTP/1.1 201 Created\r\n")


async def test_a_problem_carries_what_every_answer_carries(gateway: Any) -> None:
    payment = gateway.front.keep("merchant_a")

    answers = [
        await asked(gateway, get(path, more=b"X-Request-ID: mine\r\n"))
        for path in (f"/api/payments/{payment.id}".encode(), b"/api/payments/pay_none")
    ]

    names = [[line.partition(b":")[0] for line in head.split(b"\r\n")[1:]] for head, _ in answers]
    assert names[0] == names[1]
    assert b"X-Request-ID: mine\r\nServer: paygate\r\nCache-Control: no-store\r\n" in answers[0][0]
    assert answers[1][0].startswith(b"HTTP/1.1 404 ")


async def test_answers_to_pipelined_requests_come_in_order_on_one_connection(gateway: Any) -> None:
    ids = [gateway.front.keep("merchant_a").id.encode() for _ in range(3)]

    async with connected(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(b"".join(get(b"/api/payments/" + each) for each in ids))
            bodies = [(await heard(reader))[1] for _ in ids]

            assert [b'"id":"' + each + b'"' in body for each, body in zip(ids, bodies, strict=True)]


async def test_a_read_by_http_1_0_is_answered_and_the_connection_closed(gateway: Any) -> None:
    payment = gateway.front.keep("merchant_a")

    async with connected(gateway) as (reader, writer):
        writer.write(get(f"/api/payments/{payment.id}".encode(), version=b"1.0"))
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert payment.id.encode() in answer


async def test_http_1_0_keeps_its_connection_where_it_asks_to(gateway: Any) -> None:
    payment = gateway.front.keep("merchant_a")
    request = get(
        f"/api/payments/{payment.id}".encode(), version=b"1.0", more=b"Connection: keep-alive\r\n"
    )

    async with connected(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(request)
            head, _ = await heard(reader)

            assert b"\r\nConnection: keep-alive\r\n" in head


async def test_head_tells_of_the_body_and_leaves_it_out(gateway: Any) -> None:
    payment = gateway.front.keep("merchant_a")
    path = f"/api/payments/{payment.id}".encode()

    async with connected(gateway) as (reader, writer):
        writer.write(get(path, method=b"HEAD"))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(get(path))
        whole, body = await heard(reader)

    assert undated(head).replace(b"req_1", b"req_2") == undated(whole)
    assert f"Content-Length: {len(body)}".encode() in head


async def test_a_connection_whose_client_said_close_is_closed_behind_the_answer(
    gateway: Any,
) -> None:
    payment = gateway.front.keep("merchant_a")

    async with connected(gateway) as (reader, writer):
        writer.write(get(f"/api/payments/{payment.id}".encode(), more=b"Connection: close\r\n"))
        answer = await reader.read()

    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"}\n")


async def test_the_date_is_that_of_every_other_answer(gateway: Any) -> None:
    payment = gateway.front.keep("merchant_a")

    found: list[float] = []
    for path in (f"/api/payments/{payment.id}".encode(), b"/none"):
        head, _ = await asked(gateway, get(path))
        date = re.search(rb"Date: ([^\r]+ GMT)\r\n", head)
        assert date is not None, head
        found.append(parsedate_to_datetime(date[1].decode()).timestamp())

    assert 0 <= found[1] - found[0] < SOON_S


async def test_a_client_that_went_away_is_no_failure(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.front.tells_at_once = False
    payment = gateway.front.keep("merchant_a")
    reading, gone = asyncio.Event(), asyncio.Event()
    read = gateway.front.payment

    async def slow(*about: Any) -> Any:
        reading.set()
        await gone.wait()
        return await read(*about)

    monkeypatch.setattr(gateway.front, "payment", slow)
    with caplog.at_level(logging.WARNING):
        async with connected(gateway) as (_, writer):
            writer.write(get(f"/api/payments/{payment.id}".encode()))
            await reading.wait()
            writer.transport.abort()
        await until(lambda: gateway.runner.server.connections[0].transport is None)
        gone.set()
        await until(lambda: not gateway.runner.server.connections)
        status, _, _ = await gateway.ask("GET", f"/api/payments/{payment.id}")

    assert status == 200
    assert caplog.messages == []


async def test_a_peer_that_takes_nothing_is_read_for_no_further_than_its_buffers(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one connection could have the whole memory filled with answers for it."""
    gateway.front.tells_at_once = False
    payment = gateway.front.keep("merchant_a", description="x" * 60_000)
    wanted, reads = 400, 0
    read = gateway.front.payment

    async def counted(*about: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*about)

    monkeypatch.setattr(gateway.front, "payment", counted)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
    plain.connect((gateway.host, gateway.port))
    plain.settimeout(0)
    request = get(f"/api/payments/{payment.id}".encode())
    async with asyncio.timeout(SOON_S):
        await asyncio.get_running_loop().sock_sendall(plain, request * wanted)
        await until(lambda: any(each.writing_paused for each in gateway.runner.server.connections))
        for _ in range(ROUNDS_OF_THE_LOOP):
            await asyncio.sleep(0)
        read_before = reads
        reader, writer = await asyncio.open_connection(sock=plain)
        bodies = [(await heard(reader))[1] for _ in range(wanted)]

    writer.close()
    assert read_before < wanted / 2
    assert reads == wanted
    assert len(set(bodies)) == 1


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b", "a\nb", "a\x00b"])
async def test_nothing_in_a_header_ends_its_line(text: str) -> None:
    async with serving(lambda: QuickReply(b"{}", headers={"Location": text})) as (reader, writer):
        writer.write(get(b"/"))
        answer = await reader.read()

    assert answer == b""


async def test_what_says_something_unusual_goes_out_as_aiohttp_sends_it() -> None:
    def accepted() -> QuickReply:
        answer = QuickReply(b"{}", status=202, headers={"X-Name": "Jos\u00e9"})
        stamp(answer, "req_1")
        return answer

    async with serving(accepted) as (reader, writer):
        writer.write(get(b"/") * 2)
        answers = [await heard(reader) for _ in range(2)]

    for head, body in answers:
        assert head.startswith(b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n")
        assert "X-Name: Jos\u00e9".encode() in head
        assert body == b"{}"


async def until(it_is_so: Callable[[], Awaitable[bool] | bool]) -> None:
    """Let the loop run until it is so, a few seconds at the most."""
    async with asyncio.timeout(SOON_S):
        while not it_is_so():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)
