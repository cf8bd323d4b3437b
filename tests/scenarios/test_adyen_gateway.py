"""The whole gateway with Adyen as its provider, against the sandbox that speaks Adyen."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from adyen_rig import item, notification, signed
from inside_gateway import inside, sandbox_aside
from live_gateway import CONFIRM, DECLINED, DISPUTED, FAILS_OVER, Live, visiting

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

pytestmark = pytest.mark.slow

DOOR = "/api/webhooks/sandbox_adyen"
BACK = "https://shop.example/back"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with sandbox_aside(tmp_path) as url:
        adyen = ProviderConfig(
            id="sandbox_adyen",
            kind="adyen",
            url=f"{url}/v72",
            secret=API_KEY,
            account=MERCHANT_ACCOUNT,
            webhook_secret=f"{'0A' * 32} {HMAC_KEY}",
            return_url=BACK,
        )
        async with (
            inside(tmp_path, url, providers=(adyen,)) as gateway,
            visiting(gateway.url) as live,
        ):
            await live.control("POST", "/gateway", {"url": gateway.url})
            yield live
            assert gateway.failures == []


async def test_a_payment_is_charged_refunded_and_agrees_with_the_books(live: Live):
    paid = await live.pay()
    await live.done(paid["id"], "refund", {"amount": 2.50})

    payment = await live.agreed(paid["id"])

    assert (paid["status"], payment["provider"]) == ("success", "sandbox_adyen")
    assert len(payment["providerTxnID"]) == 16
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
    assert declined["failure"]["declineCode"] == "2"
    assert (sick["failure"]["code"], sick["failure"]["retryable"]) == ("processing_error", True)


async def test_a_payer_confirms_and_the_webhook_tells_it(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)
    assert asked["status"] == "requires_action"

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")
    payment = await live.until_status(asked["id"], "success")

    assert asked["nextAction"]["url"].startswith(live.sandbox)
    assert payment["amountCaptured"] * 100 == 1_000


async def test_a_payment_that_waits_for_its_payer_is_reversed(live: Live):
    asked = await live.pay(CONFIRM, returnURL=BACK)

    await live.done(asked["id"], "reverse")

    assert (await live.agreed(asked["id"]))["status"] == "cancelled"


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
        {"fault": "garbage", "operation": "charge"},
        {"fault": "webhook_before_reply", "operation": "charge"},
        {"fault": "pending", "operation": "charge", "delayMs": 200},
    ],
)
async def test_a_lost_or_late_answer_is_charged_once(live: Live, fault: dict[str, object]):
    await live.control("POST", "/faults", fault)

    paid = await live.pay()
    payment = await live.until_status(paid["id"], "success")

    assert await live.effects(payment["id"]) == [("charge", 1_000)]
    assert (await live.agreed(payment["id"]))["inDoubt"] is False


async def test_without_any_webhook_the_same_key_tells_what_became_of_a_charge(live: Live):
    await live.control("POST", "/faults", {"fault": "reset_after_effect", "operation": "charge"})
    await live.control("POST", "/faults", {"fault": "webhook_drop", "count": 10})

    paid = await live.pay()
    payment = await live.until_status(paid["id"], "success")

    assert await live.effects(payment["id"]) == [("charge", 1_000)]


@pytest.mark.parametrize("fault", ["reset_after_effect", "reset_before_effect"])
async def test_a_lost_refund_is_asked_for_and_made_once(live: Live, fault: str):
    paid = await live.pay()
    await live.fault(fault, operation="refund")

    refund = await live.done(paid["id"], "refund", {"amount": 2.50})

    assert refund["status"] == "success"
    assert await live.effects(paid["id"]) == [("charge", 1_000), ("refund", 250)]


async def test_another_amount_than_ours_is_never_a_success(live: Live):
    await live.fault("wrong_amount", operation="charge")

    paid = await live.pay()
    payment = await live.until_payment(paid["id"], lambda seen: seen["attention"] is not None)

    assert payment["attention"] == "amount_mismatch"
    assert payment["status"] != "success"


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
    page = f"{live.sandbox}/actions/{asked['providerTxnID']}/complete"
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
