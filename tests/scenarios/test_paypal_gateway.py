"""The whole gateway with PayPal as its provider, against the sandbox that speaks PayPal."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import CONFIRM, DECLINED, DISPUTED, FAILS_OVER, Live, visiting

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID

pytestmark = pytest.mark.slow

BACK = "https://shop.example/back"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with sandbox_aside(tmp_path) as url:
        paypal = ProviderConfig(
            id="sandbox_paypal",
            kind="paypal",
            url=url,
            secret=CLIENT_SECRET,
            options={"client_id": CLIENT_ID, "webhook_id": WEBHOOK_ID},
        )
        async with (
            inside(tmp_path, url, providers=(paypal,)) as gateway,
            visiting(gateway.url) as live,
        ):
            await live.control("POST", "/gateway", {"url": gateway.url})
            yield live
            assert gateway.failures == []


async def test_a_payment_is_charged_refunded_and_agrees_with_the_books(live: Live):
    paid = await live.pay()
    await live.done(paid["id"], "refund", {"amount": 2.50})

    payment = await live.agreed(paid["id"])

    assert (paid["status"], payment["provider"]) == ("success", "sandbox_paypal")
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
    assert declined["failure"]["declineCode"] == "5100"
    assert (sick["failure"]["code"], sick["failure"]["retryable"]) == ("processing_error", True)


async def test_a_payer_confirms_and_the_payment_is_taken(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)
    assert asked["status"] == "requires_action"

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")
    payment = await live.until_status(asked["id"], "success")

    assert asked["nextAction"]["url"].startswith(live.sandbox)
    assert payment["amountCaptured"] * 100 == 1_000


async def test_a_payer_who_does_not_pass_has_not_paid(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)

    await live.control("POST", f"/actions/{asked['providerTxnID']}/fail")
    payment = await live.until_status(asked["id"], "failed")

    assert payment["failure"]["code"] == "authentication_failed"
    assert await live.effects(asked["id"]) == []


async def test_a_wallet_s_payer_approves_at_paypal_and_has_paid_then(live: Live):
    wallet = {"type": "wallet", "walletID": "ada@example.com"}
    asked = await live.pay(paymentMethod=wallet, returnURL=BACK)
    moved = await live.effects(asked["id"])

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")
    paid = await live.until_status(asked["id"], "success")
    await live.done(paid["id"], "refund", {"amount": 10.00})

    assert (asked["status"], moved) == ("requires_action", [])
    assert (await live.agreed(paid["id"]))["amountRefunded"] * 100 == 1_000


async def test_an_approval_whose_webhook_is_lost_is_found_by_looking(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)
    await live.control("POST", "/faults", {"fault": "webhook_drop", "count": 5})

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")

    await live.until_status(asked["id"], "success")
    assert await live.effects(asked["id"]) == [("charge", 1_000)]


async def test_a_payer_who_is_still_away_can_be_reversed_and_cannot_pay_then(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)

    await live.done(asked["id"], "reverse")
    url = f"{live.sandbox}/actions/{asked['providerTxnID']}/complete"
    late = await live.call("POST", url, key=None)

    assert late.status == 409
    assert (await live.agreed(asked["id"]))["status"] == "cancelled"


@pytest.mark.parametrize("fault", ["reset_after_effect", "reset_before_effect", "error_500"])
async def test_an_answer_that_is_lost_after_the_payer_came_back_is_asked_for(
    live: Live, fault: str
):
    asked = await live.pay(CONFIRM, returnURL=BACK)
    await live.fault(fault, operation="charge")

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")

    await live.until_status(asked["id"], "success")
    assert await live.effects(asked["id"]) == [("charge", 1_000)]


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
