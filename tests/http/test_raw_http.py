"""What comes over the socket that no client library would send."""

import asyncio
import json
import resource
from typing import Any

import pytest

from paygate_http import incoming, runner

SOON_S = 5.0
HEAD = (
    b"POST /api/payments/process HTTP/1.1\r\nHost: x\r\n"
    b"Authorization: Bearer sk_sandbox_merchant_a\r\nContent-Type: application/json\r\n"
)


async def talk(gateway: Any, *parts: bytes, half_close: bool = False) -> tuple[int, Any, bytes]:
    """Send the parts, read until the server closes; returns status, problem and everything."""
    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if half_close:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head else 0
    return status, json.loads(body) if body.startswith(b"{") else None, answer


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_request"),
        (b"GARBAGE\r\n\r\n", 400, "malformed_request"),
        (b"BREW /api/payments HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", 400, "malformed_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n", 400, "malformed_request"),
        (HEAD + b"Content-Length: x\r\n\r\n{}", 400, "malformed_request"),
        (HEAD + b"Content-Length: -1\r\n\r\n{}", 400, "malformed_request"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "malformed_request"),
        (
            HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed_request"),
        (
            b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            431,
            "headers_too_large",
        ),
        (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9_000 + b"\r\n\r\n",
            431,
            "headers_too_large",
        ),
    ],
)
async def test_what_is_no_http_gets_a_problem_and_the_connection_is_closed(
    gateway: Any, request_bytes: bytes, status: int, code: str
) -> None:
    answered, problem, answer = await talk(gateway, request_bytes)

    assert answered == status, answer
    assert problem["code"] == code
    assert f"X-Request-ID: {problem['requestID']}".encode() in answer
    assert gateway.front.commands == []


async def test_a_body_shorter_than_its_length_does_nothing(gateway: Any) -> None:
    await talk(gateway, HEAD + b"Content-Length: 500\r\n\r\n{", half_close=True)

    assert gateway.front.commands == []


async def test_a_body_longer_than_its_length_does_nothing(gateway: Any) -> None:
    body = json.dumps(gateway.card_payment()).encode()
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()

    status, problem, answer = await talk(gateway, HEAD + length + body + b"{}{}\r\n\r\n")

    assert (status, problem["code"]) == (400, "malformed_request")
    assert answer.count(b"\r\n\r\n") == 1
    assert gateway.front.commands == []


async def test_a_length_above_the_cap_is_refused_before_the_body_comes(gateway: Any) -> None:
    status, problem, _ = await talk(gateway, HEAD + b"Content-Length: 1000000000\r\n\r\n")

    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_body_that_trickles_in_gets_408(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "BODY_S_MAX", 0.05)

    status, problem, answer = await talk(gateway, HEAD + b"Content-Length: 10\r\n\r\n", b"{")

    assert (status, problem["code"]) == (408, "request_timeout")
    assert b"Connection: close" in answer
    assert gateway.front.commands == []


async def test_headers_that_trickle_in_are_cut_off(start: Any) -> None:
    gateway = await start(idle_s=0.05)

    _, _, answer = await talk(gateway, b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\n", b"X: y\r\n")

    assert answer == b""


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once_let_in(
    gateway: Any,
) -> None:
    body = json.dumps(gateway.card_payment()).encode()
    head = HEAD + f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async with asyncio.timeout(SOON_S):
        reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
        writer.write(head)
        invitation = await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    assert invitation == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 201 ")


async def test_a_client_that_is_refused_is_not_asked_for_its_body(gateway: Any) -> None:
    head = HEAD.replace(b"merchant_a", b"nobody")

    status, _, answer = await talk(
        gateway, head + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    )

    assert status == 401
    assert b"100 Continue" not in answer


async def test_beyond_the_cap_a_connection_is_told_503_and_closed(start: Any) -> None:
    gateway = await start(limit=1)
    held_reader, held = await asyncio.open_connection(gateway.host, gateway.port)
    held.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await held_reader.readuntil(b"}\n")

    status, problem, answer = await talk(gateway, b"")
    held.close()
    await held.wait_closed()
    free = 0
    async with asyncio.timeout(SOON_S):
        while free != 200:
            free, _, _ = await talk(
                gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )

    assert (status, problem["code"]) == (503, "overloaded")
    assert b"Retry-After: 1" in answer
    assert b"X-Request-ID: " in answer


def test_the_cap_leaves_files_for_everything_else() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    limit = runner.connections_max()

    assert 0 < limit < files or files == resource.RLIM_INFINITY
    assert limit <= runner.CONNECTIONS_MAX


@pytest.mark.parametrize(
    ("method", "path", "encoded"),
    [
        (b"GET", b"/healthz", b"/health%7A"),
        (b"HEAD", b"/healthz", b"/health%7A"),
        (b"DELETE", b"/healthz", b"/health%7A"),
        (b"GET", b"/api/payments?limit=1", b"/api/payment%73?limit=1"),
        (b"GET", b"/api/payments?limit=x", b"/api/payment%73?limit=x"),
        (b"POST", b"/api/payments/process", b"/api/payments/proces%73"),
        (b"GET", b"/api/payments/pay_1", b"/api/payment%73/pay_1"),
        (b"GET", b"/api/payments/pay_1", b"/api/payments/pay%5F1"),
        (b"GET", b"/api/payments/pay_1?at=x", b"/api/payment%73/pay_1?at=x"),
        (b"GET", b"/api/payments/pay_none", b"/api/payment%73/pay_none"),
        (b"GET", b"/api/payments/process", b"/api/payments/proces%73"),
        (b"HEAD", b"/api/payments/pay_1", b"/api/payment%73/pay_1"),
        (b"POST", b"/api/payments/pay_1", b"/api/payment%73/pay_1"),
        (b"POST", b"/api/webhooks/sandbox", b"/api/webhook%73/sandbox"),
        (b"POST", b"/api/webhooks/" + b"x" * 65, b"/api/webhook%73/" + b"x" * 65),
    ],
)
async def test_a_route_is_served_alike_whether_the_router_found_it_or_its_path_alone(
    gateway: Any, method: bytes, path: bytes, encoded: bytes
):
    """A path that is spelled otherwise goes by the router, which knows it all the same."""
    gateway.front.keep("merchant_a")
    told: list[tuple[bytes, list[bytes], Any]] = []
    for target in (path, encoded):
        head = HEAD.replace(b"POST /api/payments/process", method + b" " + target)
        head += b"Connection: close\r\nX-Request-ID: same\r\n"
        _, document, answer = await talk(gateway, head, b"Content-Length: 2\r\n\r\n{}")
        first, *headers = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
        told.append((first, [line.partition(b":")[0] for line in headers], document))

    assert told[0] == told[1]


async def test_before_the_end_a_connection_is_told_that_the_next_answer_is_its_last(gateway: Any):
    """A connection that is closed under a request loses it, and nobody knows what became of it."""
    healthz = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    writer.write(healthz)
    before = await reader.readuntil(b"}\n")

    parting = asyncio.create_task(gateway.runner.part(SOON_S))
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(gateway.host, gateway.port)
    writer.write(healthz)
    async with asyncio.timeout(SOON_S / 2):
        after = await reader.read()
        await parting

    await closed(writer)
    assert before.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in before.lower()
    assert after.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in after.lower()


async def test_the_end_does_not_wait_for_connections_that_are_idle(gateway: Any):
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"}\n")

    async with asyncio.timeout(SOON_S):
        await gateway.runner.part(0.05)
        await gateway.runner.cleanup()

    assert await reader.read() == b""
    await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()
