"""The whole gateway with Stripe as its provider, against the sandbox that speaks Stripe."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import CONFIRM, DECLINED, DISPUTED, FAILS_OVER, Live, visiting

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

pytestmark = pytest.mark.slow

BACK = "https://shop.example/back"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with sandbox_aside(tmp_path) as url:
        stripe = ProviderConfig(
            id="sandbox_stripe",
            kind="stripe",
            url=url,
            secret=SECRET_KEY,
            webhook_secret=f"whsec_next {WEBHOOK_SECRET}",
        )
        async with (
            inside(tmp_path, url, providers=(stripe,)) as gateway,
            visiting(gateway.url) as live,
        ):
            await live.control("POST", "/gateway", {"url": gateway.url})
            yield live
            assert gateway.failures == []


async def test_a_payment_is_charged_refunded_and_agrees_with_the_books(live: Live):
    paid = await live.pay()
    await live.done(paid["id"], "refund", {"amount": 2.50})

    payment = await live.agreed(paid["id"])

    assert (paid["status"], payment["provider"]) == ("success", "sandbox_stripe")
    assert payment["providerTxnID"].startswith("pi_")
    assert payment["amountRefunded"] * 100 == 250


async def test_a_hold_is_captured_in_part_and_another_is_reversed(live: Live):
    held = [await live.pay(captureMethod="manual") for _ in range(2)]

    await live.done(held[0]["id"], "capture", {"amount": 4.00})
    await live.done(held[1]["id"], "reverse")

    taken, reversed_ = [await live.agreed(each["id"]) for each in held]
    assert (taken["status"], taken["amountCaptured"] * 100) == ("success", 400)
    assert reversed_["status"] == "cancelled"


async def test_what_is_captured_is_reversed_as_a_refund_or_not_at_all(live: Live):
    first, second = await live.pay(), await live.pay()

    refused = await live.done(first["id"], "reverse")
    await live.done(second["id"], "reverse", {"orRefund": True})

    assert refused["status"] == "failed"
    assert (await live.agreed(first["id"]))["status"] == "success"
    assert (await live.agreed(second["id"]))["amountRefunded"] * 100 == 1_000


async def test_a_decline_is_told_in_the_gateway_s_own_words(live: Live):
    declined = await live.pay(DECLINED)
    sick = await live.pay(FAILS_OVER)

    assert (declined["status"], declined["failure"]["code"]) == ("failed", "card_declined")
    assert declined["failure"]["declineCode"] == "generic_decline"
    assert (sick["failure"]["code"], sick["failure"]["retryable"]) == ("processing_error", True)


async def test_a_payer_confirms_and_the_webhook_tells_it(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)
    assert asked["status"] == "requires_action"

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")
    payment = await live.until_status(asked["id"], "success")

    assert asked["nextAction"]["url"].startswith(live.sandbox)
    assert payment["amountCaptured"] * 100 == 1_000


async def test_a_dispute_stands_beside_the_payment(live: Live):
    paid = await live.pay(DISPUTED)

    async def disputes() -> list[str]:
        return [each["type"] for each in await live.transactions(paid["id"])]

    await live.until(disputes, lambda seen: "chargeback" in seen)
    assert (await live.payment(paid["id"]))["status"] == "success"


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "reset_after_effect", "operation": "charge"},
        {"fault": "reset_before_effect", "operation": "charge"},
        {"fault": "reset_after_effect", "operation": "prepare"},
        {"fault": "garbage", "operation": "charge"},
        {"fault": "error_500", "operation": "prepare"},
        {"fault": "webhook_before_reply", "operation": "charge"},
    ],
)
async def test_a_lost_answer_is_asked_for_and_charged_once(live: Live, fault: dict[str, object]):
    await live.control("POST", "/faults", fault)

    paid = await live.pay()
    payment = await live.until_status(paid["id"], "success")

    assert await live.effects(payment["id"]) == [("charge", 1_000)]
    assert (await live.agreed(payment["id"]))["inDoubt"] is False


async def test_a_lost_refund_is_asked_for_and_made_once(live: Live):
    paid = await live.pay()
    await live.fault("reset_after_effect", operation="refund")

    refund = await live.done(paid["id"], "refund", {"amount": 2.50})

    assert refund["status"] == "success"
    assert await live.effects(paid["id"]) == [("charge", 1_000), ("refund", 250)]


async def test_another_amount_than_ours_is_never_a_success(live: Live):
    await live.fault("wrong_amount", operation="charge")

    paid = await live.pay()
    payment = await live.until_payment(paid["id"], lambda seen: seen["attention"] is not None)

    assert payment["attention"] == "amount_mismatch"
    assert payment["status"] != "success"
