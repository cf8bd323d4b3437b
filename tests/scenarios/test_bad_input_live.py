"""What bad input gets from the real process: a clear 4xx problem, and nothing written."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any
from urllib.parse import urlsplit

import pytest
from live_gateway import (
    MERCHANT,
    Live,
    Server,
    journal_rows,
    payment_request,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow

PROCESS = "/api/payments/process"
GOOD = json.dumps(payment_request()).encode()
LONG = "x" * 10_240
# Longer than any answer takes, shorter than the server's own patience.
ANSWER_S = 8.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("bad"), "--sandbox-latency-ms", "5") as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    """Come in as a client, and find that whatever was sent has written nothing."""
    async with visiting(server) as client:
        before = journal_rows(server)
        yield client
        assert journal_rows(server) == before
        assert await client.calls() == []
        assert (await client.get("/healthz", key=None)).status == 200


@pytest.mark.parametrize("cut", [1, 10, len(GOOD) // 2, len(GOOD) - 1])
async def test_a_truncated_body_is_400(live: Live, cut: int):
    answer = await live.process(GOOD[:cut])

    assert answer.code == (400, "malformed_json")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 30_000 + b"]" * 30_000,
        b'{"metadata":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"amount":NaN}',
        b'{"amount":Infinity}',
        b"\xff\xfe{}",
        b"",
    ],
)
async def test_what_is_no_json_is_400(live: Live, body: bytes):
    answer = await live.process(body)

    assert answer.code == (400, "malformed_json")


@pytest.mark.parametrize(
    "number",
    [
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",  # Arabic digits of a valid number
        "４２４２４２４２４２４２４２４２",  # noqa: RUF001  # full-width ones
        "4242 4242 4242 4242\u200b",
        "4242424242424241",
        "424242424242",
        "4" * 64,
        "",
    ],
)
async def test_a_card_number_is_ascii_digits_with_a_valid_check_digit(live: Live, number: str):
    answer = await live.process(payment_request(number))

    assert answer.code == (422, "validation_failed")
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/paymentMethod/cardNumber"]
    assert not number or number not in answer.text


@pytest.mark.parametrize(
    "amount", ['"10.00"', "0", "-1", "10.001", "1e400", "99999999999999999999", "true", "[10]"]
)
async def test_an_amount_is_a_positive_number_that_the_currency_can_hold(live: Live, amount: str):
    body = json.dumps(payment_request(amount="HERE")).replace('"HERE"', amount).encode()

    answer = await live.process(body)

    assert answer.code == (422, "validation_failed")
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/amount"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/payments/{'x' * 4_000}"),
        ("GET", f"/api/payments/{LONG}"),
        ("POST", f"/api/payments/{LONG}/refund"),
        ("GET", f"/api/transactions/{LONG}"),
        ("GET", f"/api/fraud/score/{LONG}"),
        ("GET", "/api/payments/pay_%00%ff"),
        ("GET", "/api/payments/..%2F..%2Fetc%2Fpasswd"),
        ("GET", "/api/payments/' OR 1=1 --"),
        ("GET", f"/api/payments?cursor={LONG}"),
        ("GET", f"/api/payments?orderID={LONG}"),
        ("POST", f"/api/webhooks/{LONG}"),
    ],
)
async def test_a_strange_id_is_a_clear_no(live: Live, method: str, path: str):
    answer = await live.call(method, path, {} if method == "POST" else None)

    assert answer.status in (400, 404, 422, 431), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert LONG not in answer.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
async def test_a_method_that_is_none_of_ours_is_405(live: Live, method: str):
    answer = await live.call(method, PROCESS)

    assert answer.code == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


async def test_a_method_that_is_no_method_is_400(live: Live):
    answer = await live.call("BREW", PROCESS)

    assert answer.code == (400, "malformed_request")


@pytest.mark.parametrize(
    "path", [f"{PROCESS}/", "/api/payments/", "//api/payments", "/API/payments"]
)
async def test_a_path_that_is_not_quite_ours_is_404(live: Live, path: str):
    answer = await live.call("GET", path)

    assert answer.code == (404, "route_not_found")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, (415, None)),
        ({"Idempotency-Key": "k" * 256}, (422, "validation_failed")),
        ({"Idempotency-Key": "a\u00e9"}, (422, "validation_failed")),
        ({"X-Long": "x" * 20_000}, (431, "headers_too_large")),
    ],
)
async def test_a_header_that_is_not_right_is_named(
    live: Live, headers: dict[str, str], code: tuple[int, str | None]
):
    answer = await live.call("POST", PROCESS, GOOD, headers=headers)

    assert answer.status == code[0], answer.text
    assert code[1] is None or answer.code == code


async def test_a_body_over_64_kib_is_413(live: Live):
    answer = await live.process(payment_request(description="x" * 70_000))

    assert answer.code == (413, "body_too_large")


async def raw(live: Live, head: str, body: bytes, *, ends: bool) -> bytes:
    """Send bytes as they are; `ends`: say that no more will come. Gives what is answered."""
    parts = urlsplit(live.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + body)
        await writer.drain()
        if ends:
            writer.write_eof()
        async with asyncio.timeout(ANSWER_S):
            return await reader.read(100_000)
    finally:
        writer.close()
        await writer.wait_closed()


def head(**headers: Any) -> str:
    """Spell the head of a payment's request."""
    given = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {MERCHANT}",
        "Content-Type": "application/json",
        "Connection": "close",
    }
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in (given | headers).items()]
    return "\n".join([f"POST {PROCESS} HTTP/1.1", *lines, "", ""])


async def test_a_length_that_is_longer_than_the_body_does_nothing(live: Live):
    answered = await raw(live, head(Content_Length=len(GOOD) + 100), GOOD, ends=True)

    assert answered == b"" or b" 400 " in answered.split(b"\r\n")[0]


async def test_a_length_that_is_shorter_than_the_body_cuts_it(live: Live):
    answered = await raw(live, head(Content_Length=len(GOOD) - 5), GOOD, ends=False)

    assert answered.split(b" ")[1] == b"400"


@pytest.mark.parametrize(
    "length", ["-1", "ten", "1e3", "0x10", "99999999999999999999999", f"{len(GOOD)}, 3"]
)
async def test_a_length_that_is_none_is_a_problem(live: Live, length: str):
    answered = await raw(live, head(Content_Length=length), GOOD, ends=False)

    assert answered.split(b" ")[1] in (b"400", b"413"), answered


async def test_a_length_and_a_transfer_encoding_together_are_refused(live: Live):
    both = head(Content_Length=4, Transfer_Encoding="chunked")

    answered = await raw(live, both, b"0\r\n\r\n" + GOOD, ends=False)

    assert answered.split(b" ")[1] == b"400"
