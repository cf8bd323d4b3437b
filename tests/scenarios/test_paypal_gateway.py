"""The whole gateway with PayPal as its provider, against the sandbox that speaks PayPal."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_suite import BACK, TwoStepGatewaySuite, gateway_with
from live_gateway import CONFIRM, Live

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID

pytestmark = pytest.mark.slow


def paypal(url: str) -> ProviderConfig:
    return ProviderConfig(
        id="sandbox_paypal",
        kind="paypal",
        url=url,
        secret=CLIENT_SECRET,
        options={"client_id": CLIENT_ID, "webhook_id": WEBHOOK_ID},
    )


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway_with(tmp_path, paypal) as live:
        yield live


class TestPayPalGateway(TwoStepGatewaySuite):
    provider_id = "sandbox_paypal"
    txn_id = re.compile(r"[0-9A-Z]{17}")
    decline_code = "5100"


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
