"""Too much, over real HTTP: an early no that did nothing, and a time to come back."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from live_gateway import (
    METRICS,
    OPERATOR,
    OTHER_MERCHANT,
    Live,
    journal_rows,
    payment_request,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow


async def fill(live: Live, places: int) -> list[str]:
    """Take every place of a gateway by payments that take their time."""
    await live.fault("slow", operation="charge", delayMs=1_500, count=places)
    begun = [await live.pay(wait_s=None) for _ in range(places)]
    return [each["id"] for each in begun]


async def test_a_full_gateway_says_503_and_when_to_come_back_and_does_nothing(tmp_path: Path):
    limits = {"PAYGATE__LIMITS__LIVE_PAYMENTS_MAX": "3"}
    with serving(tmp_path, "--sandbox-latency-ms", "5", **limits) as server:
        async with visiting(server) as live:
            begun = await fill(live, 3)
            before = journal_rows(server)

            refused = await live.process(payment_request(), idempotency_key="later")
            refund = await live.operate(begun[0], "refund")

            assert refused.code == refund.code == (503, "overloaded")
            assert int(refused.headers["Retry-After"]) >= 1
            assert journal_rows(server) == before
            # Reading, and what providers say, go on: that is how places become free.
            assert (await live.get(f"/api/payments/{begun[0]}")).status == 200
            assert (await live.get("/readyz", key=None)).status == 200
            for payment_id in begun:
                await live.until_status(payment_id, "success")
            again = await live.until(
                lambda: live.process(payment_request(), idempotency_key="later"),
                lambda answer: answer.status == 201,
            )
            assert again.body["status"] == "success"
            assert "Idempotent-Replayed" not in again.headers
            assert await live.metric("paygate_admission_refused_total") >= 2


async def test_under_a_storm_every_request_is_answered_and_what_was_taken_is_charged_once(
    tmp_path: Path,
):
    limits = {"PAYGATE__LIMITS__LIVE_PAYMENTS_MAX": "10"}
    with serving(tmp_path, "--sandbox-latency-ms", "20", **limits) as server:
        async with visiting(server) as live:
            answers = await asyncio.gather(
                *(live.process(payment_request(), wait_s=10) for _ in range(150))
            )

            codes = Counter(answer.code for answer in answers)
            taken = [answer.body["id"] for answer in answers if answer.status == 201]
            assert codes.keys() == {(201, None), (503, "overloaded")}, codes
            for payment_id in taken:
                await live.until_status(payment_id, "success")
            assert len(await live.ledger()) == len(taken)


async def test_a_journal_that_is_behind_refuses_and_does_nothing(tmp_path: Path):
    limits = {"PAYGATE__LIMITS__JOURNAL_BACKLOG_MAX": "1"}
    with serving(tmp_path, "--sandbox-latency-ms", "5", **limits) as server:
        async with visiting(server) as live:
            answers = await asyncio.gather(
                *(
                    live.process(payment_request(), idempotency_key=f"k{number}")
                    for number in range(50)
                )
            )

            refused = [each for each in answers if each.status != 201]
            taken = [answer.body["id"] for answer in answers if answer.status == 201]
            assert {each.code for each in refused} == {(503, "overloaded")}
            for payment_id in taken:
                await live.until_status(payment_id, "success")
            assert len(await live.ledger()) == len(taken)


async def test_a_key_beyond_its_rate_gets_429_and_the_others_do_not(tmp_path: Path):
    rate = {"PAYGATE__SERVER__REQUESTS_PER_KEY_PER_S": "3"}
    with serving(tmp_path, "--sandbox-latency-ms", "5", **rate) as server:
        async with visiting(server) as live:
            before = journal_rows(server)

            answers = [await live.get("/api/payments", key=OPERATOR) for _ in range(20)]
            used_up = await live.call("POST", "/api/providers/sandbox", {}, key=OPERATOR)

            codes = Counter(answer.status for answer in answers)
            limited = next(answer for answer in answers if answer.status == 429)
            assert codes.keys() == {200, 429}
            assert codes[200] >= 6
            assert limited.code == used_up.code == (429, "rate_limited")
            assert int(limited.headers["Retry-After"]) >= 1
            assert journal_rows(server) == before
            other = await live.process(payment_request(), key=OTHER_MERCHANT)
            assert other.status == 201
            assert (await live.get("/metrics", key=METRICS)).status == 200
