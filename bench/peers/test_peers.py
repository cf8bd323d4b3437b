"""What the peers claim: a figure beside a peer that does less would say nothing."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent)]

from made_requests import KEY, key  # noqa: E402  # see above
from measured_server import MeasuredServer, serving  # noqa: E402  # see above

pytestmark = pytest.mark.slow

AMOUNT = ("amount",)
NUMBER = ("paymentMethod", "cardNumber")
YEAR = ("paymentMethod", "expiryYear")
MONTH = ("paymentMethod", "expiryMonth")


@pytest.fixture(scope="module", params=["aiohttp", "fastapi"])
def peer(request: pytest.FixtureRequest) -> Generator[MeasuredServer]:
    with serving(HERE / "serve_peer.py", request.param) as server:
        yield server


@pytest_asyncio.fixture
async def session(peer: MeasuredServer) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(peer.url, trust_env=False) as opened:
        yield opened


def body(*changes: tuple[tuple[str, ...], object]) -> dict[str, Any]:
    """A payment that is in order, but for the changes."""
    made: dict[str, Any] = {
        "amount": 12.34,
        "currency": "USD",
        "paymentMethod": {
            "type": "card",
            "cardNumber": "4242424242424242",
            "expiryMonth": 12,
            "expiryYear": 2049,
        },
        "metadata": {"orderID": "order-1"},
    }
    for path, value in changes:
        place = made
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
    return made


async def pay(
    session: aiohttp.ClientSession,
    idempotency_key: str,
    wanted: dict[str, Any] | None = None,
    *,
    api_key: str = KEY,
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": idempotency_key}
    async with session.post(
        "/api/payments/process", json=wanted or body(), headers=headers
    ) as answer:
        return answer.status, json.loads(await answer.read())


async def read(
    session: aiohttp.ClientSession, payment_id: str, *, api_key: str = KEY
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {api_key}"}
    async with session.get(f"/api/payments/{payment_id}", headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def settled(peer: MeasuredServer) -> float:
    return (await asyncio.to_thread(peer.ask, "rest"))["settled"]


async def test_a_payment_is_taken_and_what_its_provider_said_is_stored(
    peer: MeasuredServer, session: aiohttp.ClientSession
) -> None:
    status, taken = await pay(session, "taken")
    await settled(peer)
    found = await read(session, taken["id"])

    assert (status, taken["status"]) == (201, "processing")
    assert found[0] == 200
    assert (found[1]["status"], found[1]["amountMinor"]) == ("success", 1234)
    assert found[1]["providerTxnID"].startswith("ch_")
    assert found[1]["paymentMethod"] == {"type": "card", "last4": "4242"}


async def test_a_key_pays_once_however_often_and_however_parallel_it_comes(
    peer: MeasuredServer, session: aiohttp.ClientSession
) -> None:
    before = await settled(peer)

    answers = await asyncio.gather(*(pay(session, "once") for _ in range(8)))

    assert {status for status, _ in answers} == {201}
    assert len({payment["id"] for _, payment in answers}) == 1
    assert await settled(peer) == before + 1


async def test_a_key_that_comes_with_another_request_is_refused(
    session: aiohttp.ClientSession,
) -> None:
    await pay(session, "reused")

    status, _ = await pay(session, "reused", body((AMOUNT, 99)))

    assert status == 409


async def test_a_key_is_its_merchants_own(session: aiohttp.ClientSession) -> None:
    ours = await pay(session, "own")
    theirs = await pay(session, "own", api_key=key(1))

    assert (ours[0], theirs[0]) == (201, 201)
    assert ours[1]["id"] != theirs[1]["id"]
    assert (await read(session, ours[1]["id"], api_key=key(1)))[0] == 404


@pytest.mark.parametrize(
    "change",
    [
        (AMOUNT, 0),
        (AMOUNT, -1),
        (AMOUNT, 0.001),
        (AMOUNT, "much"),
        (("currency",), "ZZZ"),
        (("paymentMethod", "type"), "cash"),
        (NUMBER, "4242424242424241"),
        (NUMBER, "4242"),
        (YEAR, 2020),
        (MONTH, 13),
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused_and_not_charged(
    peer: MeasuredServer, session: aiohttp.ClientSession, change: tuple[tuple[str, ...], object]
) -> None:
    before = await settled(peer)

    status, _ = await pay(session, "wrong", body(change))

    assert status in (400, 422)
    assert await settled(peer) == before


async def test_nobody_pays_or_reads_without_a_key(session: aiohttp.ClientSession) -> None:
    taken = await pay(session, "whose")

    assert (await pay(session, "nobody", api_key="sk_bench_nobody"))[0] == 401
    assert (await read(session, taken[1]["id"], api_key="sk_bench_nobody"))[0] == 401
