"""Held funds over real HTTP: a person approves, declines, or is too late."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from inside_gateway import ShiftedClock, inside, sandbox_aside
from live_gateway import MERCHANT, OPERATOR, Live, Server, serving, visiting

from paygate_actors.config import Config, Fraud

pytestmark = pytest.mark.slow

# 100.00 USD and above is looked at.
LIMITS = {"PAYGATE__FRAUD__REVIEW_AMOUNT_USD_MINOR": "9999"}
HOURS_24_S = 24 * 3_600
APPROVE = {"decision": "approve", "note": "The customer is known."}
DECLINE = {"decision": "decline", "note": "The address is a mailbox."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    flags = ("--sandbox-latency-ms", "10", "--sandbox-find-lag-ms", "200")
    with serving(tmp_path_factory.mktemp("review"), *flags, **LIMITS) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def test_what_is_under_the_limit_is_not_looked_at(live: Live):
    assert (await live.pay(amount=99.99))["status"] == "success"


@pytest.mark.parametrize("how", ["automatic", "manual"])
async def test_approved_funds_are_captured(live: Live, how: str):
    held = await live.pay(amount=100, captureMethod=how)

    answer = await live.operate(held["id"], "review", APPROVE, key=OPERATOR)

    ended = await live.until_status(held["id"], "success")
    sums = (held["amountAuthorized"], held["amountCaptured"])
    assert (held["status"], sums) == ("review", (100, 0))
    assert (answer.status, answer.body["id"]) == (200, held["id"])
    assert ended["amountCaptured"] == 100
    assert await live.effects(held["id"]) == [("authorize", 10_000), ("capture", 10_000)]


async def test_declined_funds_are_given_free(live: Live):
    held = await live.pay(amount=100)

    answer = await live.operate(held["id"], "review", DECLINE, key=OPERATOR)

    ended = await live.until_status(held["id"], "cancelled")
    assert answer.status == 200
    assert (ended["amountCaptured"], ended["amountReleased"]) == (0, 100)
    assert await live.effects(held["id"]) == [("authorize", 10_000), ("void", 10_000)]


async def test_a_decision_is_recorded_with_who_made_it_and_why(live: Live):
    held = await live.pay(amount=100)

    await live.operate(held["id"], "review", APPROVE, key=OPERATOR)

    (recorded,) = [
        each["data"] for each in await live.events(held["id"]) if each["type"] == "reviewed"
    ]
    assert recorded["decision"] == "approve"
    assert recorded["note"] == APPROVE["note"]
    assert recorded["by"] == "key_sandbox_operator"


async def test_of_many_decisions_at_once_one_counts(live: Live):
    held = await live.pay(amount=100)

    answers = await asyncio.gather(
        *(live.operate(held["id"], "review", each, key=OPERATOR) for each in [APPROVE, DECLINE] * 5)
    )

    codes = Counter(answer.status for answer in answers)
    ended = await live.agreed(held["id"])
    assert codes == {200: 1, 409: 9}
    assert ended["status"] in ("success", "cancelled")
    assert len(await live.effects(held["id"])) == 2


async def test_a_merchant_cannot_decide_nor_capture_and_can_reverse(live: Live):
    held = (await live.pay(amount=100))["id"]

    decided = await live.operate(held, "review", APPROVE, key=MERCHANT)
    captured = await live.operate(held, "capture")
    reverse = await live.done(held, "reverse")

    assert decided.code == (403, "forbidden")
    assert captured.code == (409, "payment_not_capturable")
    assert reverse["status"] == "success"
    assert (await live.agreed(held))["status"] == "cancelled"
    assert (await live.operate(held, "review", APPROVE, key=OPERATOR)).code == (
        409,
        "payment_not_reviewable",
    )


async def test_an_approved_capture_that_is_declined_gives_the_funds_free(live: Live):
    held = (await live.pay(amount=100))["id"]
    await live.fault("decline", operation="capture")

    await live.operate(held, "review", APPROVE, key=OPERATOR)

    ended = await live.agreed(held)
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "card_declined")
    assert await live.effects(held) == [("authorize", 10_000), ("void", 10_000)]


async def test_whoever_is_too_late_finds_the_funds_given_free(tmp_path: Path):
    config = Config(fraud=Fraud(review_amount_usd_minor=9_999, review_hours=24))
    clock = ShiftedClock()
    async with sandbox_aside(tmp_path) as sandbox:
        async with (
            inside(tmp_path, sandbox, config=config, clock=clock) as first,
            visiting(first.url) as live,
        ):
            held = await live.pay(amount=100)
        clock.ahead_s = HOURS_24_S - 60
        async with (
            inside(tmp_path, sandbox, config=config, clock=clock) as second,
            visiting(second.url) as live,
        ):
            before = await live.payment(held["id"])
        clock.ahead_s = HOURS_24_S
        async with (
            inside(tmp_path, sandbox, config=config, clock=clock) as third,
            visiting(third.url) as live,
        ):
            ended = await live.until_status(held["id"], "cancelled")
            (reverse,) = await live.transactions(held["id"], type="reverse")
            late = await live.operate(held["id"], "review", APPROVE, key=OPERATOR)
            moved = await live.effects(held["id"])

    assert (held["status"], before["status"]) == ("review", "review")
    assert ended["amountCaptured"] == 0
    assert (reverse["origin"], reverse["reason"]) == ("system", "review_expired")
    assert late.code == (409, "payment_not_reviewable")
    assert moved == [("authorize", 10_000), ("void", 10_000)]
