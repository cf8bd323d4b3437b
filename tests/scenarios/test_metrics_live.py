"""The metrics page of a gateway that has seen everything once, as Prometheus reads it."""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator

import pytest
from live_gateway import (
    DECLINED,
    DISPUTED,
    FAILS_OVER,
    MERCHANT,
    METRICS,
    OPERATOR,
    Live,
    Server,
    serving,
    visiting,
)
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.slow

PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("metrics"), "--sandbox-latency-ms", "5") as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def busy_page(live: Live) -> str:
    """Let everything happen once, a doubt that lasts included, and read the page."""
    paid = await live.pay(metadata={"customerID": "cus_ada", "orderID": "ord_1"})
    await live.done(paid["id"], "refund", {"amount": 1})
    await live.done((await live.pay())["id"], "reverse")
    for number in (DECLINED, FAILS_OVER, DISPUTED):
        await live.pay(number)
    await live.get("/api/nothing")
    await live.fault("webhook_drop", count=100)
    await live.fault("reset_after_effect", operation="charge")
    await live.fault("error_500", operation="find", count=1_000)
    doubted = await live.pay(wait_s=None, amount=12.34)
    await live.until_payment(doubted["id"], lambda seen: seen["inDoubt"])
    page = await live.get("/metrics", key=METRICS)
    assert page.headers["Content-Type"].startswith("text/plain")
    assert doubted["id"] not in page.text
    assert paid["id"] not in page.text
    return page.text


async def test_promtool_finds_nothing_to_complain_about(live: Live):
    if PROMTOOL is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: install the package prometheus")
        pytest.skip("promtool is missing: install the package prometheus")
    page = await busy_page(live)

    checked = subprocess.run(  # noqa: ASYNC221  # nothing else runs meanwhile
        [PROMTOOL, "check", "metrics"], input=page, text=True, capture_output=True, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_what_is_in_doubt_can_be_seen_in_money_and_age(live: Live):
    await busy_page(live)

    amount = await live.metric('paygate_in_doubt_amount{currency="USD"}')

    assert amount >= 12.34
    assert await live.metric("paygate_in_doubt_calls") >= 1
    assert await live.metric("paygate_in_doubt_oldest_seconds") > 0
    await live.clear_faults()
    await live.until(lambda: live.metric("paygate_in_doubt_calls"), lambda count: count == 0)
    assert await live.metric('paygate_in_doubt_amount{currency="USD"}') == 0


async def test_no_label_names_a_merchant_a_payer_or_an_id(live: Live):
    page = await busy_page(live)

    values = {
        value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert len(values) > 10
    foreign = re.compile(r"merchant_|cus_|ord_|(pay|txn|tok|ch|req|key)_[0-9a-z]{20}")
    assert [value for value in values if foreign.search(value)] == []


async def test_requests_are_counted_by_route_and_never_by_path(live: Live):
    paid = await live.pay()
    for _ in range(3):
        await live.get(f"/api/payments/{paid['id']}")
    await live.get("/api/made/up/path")

    page = (await live.get("/metrics", key=OPERATOR)).text

    assert 'route="/api/payments/{paymentID}"' in page
    assert 'route="unmatched"' in page
    assert "made" not in page
    assert MERCHANT not in page
