"""The whole gateway with Adyen as its provider, against the sandbox that speaks Adyen."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from adyen_rig import item, notification, signed
from gateway_suite import BACK, GatewaySuite, charged_once, gateway_with
from live_gateway import CONFIRM, Live

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

pytestmark = pytest.mark.slow

DOOR = "/api/webhooks/sandbox_adyen"


def adyen(url: str) -> ProviderConfig:
    return ProviderConfig(
        id="sandbox_adyen",
        kind="adyen",
        url=f"{url}/v72",
        secret=API_KEY,
        account=MERCHANT_ACCOUNT,
        webhook_secret=f"{'0A' * 32} {HMAC_KEY}",
        return_url=BACK,
    )


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway_with(tmp_path, adyen) as live:
        yield live


class TestAdyenGateway(GatewaySuite):
    provider_id = "sandbox_adyen"
    txn_id = re.compile(r".{16}")
    decline_code = "2"


async def test_a_late_answer_is_charged_once(live: Live):
    await charged_once(live, "pending", "charge", delayMs=200)


async def test_a_payment_that_waits_for_its_payer_is_reversed(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)

    await live.done(asked["id"], "reverse")

    assert (await live.agreed(asked["id"]))["status"] == "cancelled"


async def test_without_any_webhook_the_same_key_tells_what_became_of_a_charge(live: Live):
    await live.control("POST", "/faults", {"fault": "reset_after_effect", "operation": "charge"})
    await live.control("POST", "/faults", {"fault": "webhook_drop", "count": 10})

    paid = await live.pay()
    payment = await live.until_status(paid["id"], "success")

    assert await live.effects(payment["id"]) == [("charge", 1_000)]


async def test_a_batch_is_taken_whole_with_the_answer_that_adyen_wants(live: Live):
    held = [await live.pay(captureMethod="manual") for _ in range(2)]
    items = [
        signed(
            item(
                eventCode="EXPIRE",
                pspReference=each["providerTxnID"],
                merchantReference="",
                amount={"value": 1_000, "currency": "USD"},
            )
        )
        for each in held
    ]

    answer = await live.call("POST", DOOR, notification(*items), key=None)
    again = await live.call("POST", DOOR, notification(*items), key=None)

    assert (answer.status, answer.text) == (again.status, again.text) == (200, "[accepted]")
    for each in held:
        await live.until_status(each["id"], "cancelled")


async def test_a_batch_with_a_forged_item_or_another_account_s_is_refused_whole(live: Live):
    held = await live.pay(captureMethod="manual")
    about = {"eventCode": "EXPIRE", "pspReference": held["providerTxnID"], "merchantReference": ""}
    genuine = signed(item(**about))
    forged = {**genuine, "pspReference": "SOMEBODYELSES001"}
    foreign = signed(item(merchantAccountCode="SomebodyElse"))

    answers = [
        await live.call("POST", DOOR, notification(genuine, other), key=None)
        for other in (forged, foreign)
    ]

    assert [answer.status for answer in answers] == [401, 403]
    assert (await live.payment(held["id"]))["status"] == "authorized"


async def test_money_that_the_scheme_takes_back_after_the_capture_is_no_success(live: Live):
    paid = await live.pay()
    rejected = item(
        eventCode="CAPTURE_FAILED",
        pspReference="REJECTEDBYSCHEME",
        originalReference=paid["providerTxnID"],
        merchantReference="",
        reason="Capture Failed",
    )

    await live.call("POST", DOOR, notification(signed(rejected)), key=None)

    payment = await live.until_status(paid["id"], "cancelled")
    assert payment["attention"] is not None


async def test_a_payer_comes_back_through_the_gateway_and_needs_no_webhook(live: Live):
    await live.control("POST", "/faults", {"fault": "webhook_drop", "count": 10})
    shop = "https://shop.example/orders/7?lang=de"
    asked = await live.pay(CONFIRM, returnURL=shop)
    page = f"{asked['nextAction']['url']}/complete"
    async with live.session.post(page, data={"button": ""}, allow_redirects=False) as sent_back:
        door, _, query = sent_back.headers["Location"].partition("?")

    url = f"{live.url}/api/providers/sandbox_adyen/return?{query}"
    async with live.session.get(url, allow_redirects=False) as onward:
        payment = await live.until_status(asked["id"], "success")
    async with live.session.get(url.replace("for=", "for=x"), allow_redirects=False) as changed:
        problem = await changed.json()

    assert door == BACK
    assert (onward.status, onward.headers["Location"]) == (303, shop)
    assert await live.effects(payment["id"]) == [("charge", 1_000)]
    assert (changed.status, problem["code"]) == (401, "signature_invalid")
