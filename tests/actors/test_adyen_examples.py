"""Adyen's own examples, of its specifications: every one is read, and as what it is."""

import json
from typing import Any

import pytest
from adyen_rig import CHECKOUT, SDK, WEBHOOKS, adyen_adapter, official
from provider_suite import SUM, charge_call
from sandbox_rig import APPROVED
from stranger_rig import adapter_of_stranger, answer, saying

from paygate_actors.outcomes import ActionRequired, Approved, Declined, Outcome, Pending
from paygate_actors.providers.adyen import AdyenProvider
from paygate_actors.providers.base import FollowUpCall
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

ACCOUNT = "YOUR_MERCHANT_ACCOUNT"
LIVE_URL = "https://shop-checkout-live.adyenpayments.com/checkout/v72"

# What is read of each event; all others keep their own name. The example of a refund is of one
# that failed, and a rejected capture undoes the charge that it names.
READ_AS = {
    "AUTHORISATION": "payment.succeeded",
    "CAPTURE": "payment.succeeded",
    "CAPTURE_FAILED": "payment.cancelled",
    "CANCELLATION": "payment.cancelled",
    "CANCEL_OR_REFUND": "payment.cancelled",
    "TECHNICAL_CANCEL": "payment.cancelled",
    "EXPIRE": "payment.expired",
    "OFFER_CLOSED": "payment.failed",
    "REFUND": "refund.failed",
    "REFUND_WITH_DATA": "refund.succeeded",
    "REFUND_FAILED": "refund.failed",
    "REFUNDED_REVERSED": "refund.failed",
    "NOTIFICATION_OF_CHARGEBACK": "dispute.opened",
    "CHARGEBACK": "dispute.opened",
    "CHARGEBACK_REVERSED": "dispute.closed",
    "SECOND_CHARGEBACK": "dispute.closed",
    "PREARBITRATION_WON": "dispute.closed",
    "PREARBITRATION_LOST": "dispute.closed",
    "DISPUTE_DEFENSE_PERIOD_ENDED": "dispute.closed",
}


def account(url: str = "http://127.0.0.1:1", **changes: Any) -> AdyenProvider:
    return adyen_adapter(url, merchant_account=ACCOUNT, **changes)


def example(name: str) -> dict[str, Any]:
    return official(CHECKOUT)["components"]["examples"][name]["value"]


async def answered(name: str, *, status: int, **changes: Any) -> Outcome:
    """What a charge comes to that is answered with an example, as ours."""
    said = {**example(name), **changes}
    raw = answer(status, json.dumps(said).encode())
    async with adapter_of_stranger(saying(raw), account) as provider:
        return await provider.charge(charge_call(APPROVED, "txn_1-1"))


def test_every_official_notification_is_verified_and_read():
    examples = official(WEBHOOKS)["components"]["examples"]
    notifications = [
        each["value"] for each in examples.values() if "notificationItems" in each.get("value", {})
    ]
    read: dict[str, str] = {}

    for said in notifications:
        (wrapper,) = said["notificationItems"]
        item = wrapper["NotificationRequestItem"]
        data = item.pop("additionalData", {})
        signature = SDK.util.generate_notification_sig(item, HMAC_KEY).decode()
        item["additionalData"] = {**data, "hmacSignature": signature}
        body = json.dumps(said).encode()
        provider = account(url=LIVE_URL) if said["live"] == "true" else account()
        provider.verify({}, body, now_us=0)
        (event,) = provider.parse({}, body)
        read[item["eventCode"]] = event.event_type

    assert len(notifications) >= 39
    assert read == {code: READ_AS.get(code, code) for code in read}
    assert read.keys() >= READ_AS.keys()


async def test_the_official_answers_to_a_payment_are_read():
    direct = await answered(
        "post-payments-card-direct-200", status=200, merchantReference="txn_1-1"
    )
    redirect = await answered("post-payments-card-3d-secure-redirect-200", status=200)
    native = await answered("post-payments-card-3d-secure-2-web-200", status=200)

    assert isinstance(direct, Approved)
    assert (direct.provider_txn_id, direct.amount) == ("993617895204576J", SUM)
    assert isinstance(redirect, ActionRequired)
    assert redirect.url.startswith("https://checkoutshopper-test.adyen.com/")
    assert isinstance(native, Declined)
    assert native.code == "authentication_required"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("generic-400", 400, "provider_refused"),
        ("generic-401", 401, "provider_misconfigured"),
        ("generic-403", 403, "provider_misconfigured"),
        ("generic-422", 422, "provider_refused"),
    ],
)
async def test_the_official_errors_are_read(name: str, status: int, code: str):
    outcome = await answered(name, status=status)

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == (code, False)


@pytest.mark.parametrize(
    ("verb", "noun", "word"),
    [
        ("capture", "captures-capture", "capture"),
        ("refund", "refunds-refund", "refund"),
        ("void", "cancels-cancel-with-psp-reference", "void"),
    ],
)
async def test_the_official_answers_to_modifications_are_read(verb: str, noun: str, word: str):
    said = {**example(f"post-payments-paymentPspReference-{noun}-201"), "reference": f"k.{word}"}
    call = FollowUpCall(key="k", provider_txn_id="993617894903480A", amount=SUM)

    async with adapter_of_stranger(
        saying(answer(201, json.dumps(said).encode())), account
    ) as provider:
        outcome = await getattr(provider, verb)(call)

    own = "993617894906488A" if verb == "refund" else call.provider_txn_id
    assert outcome == Pending(provider_txn_id=own)


async def test_the_official_answer_to_a_cancellation_by_reference_is_read():
    said = example("post-cancels-cancel-with-own-reference-201")
    call = FollowUpCall(key="k", provider_txn_id=said["paymentReference"], amount=SUM)

    async with adapter_of_stranger(
        saying(answer(201, json.dumps({**said, "reference": "k.void"}).encode())), account
    ) as provider:
        outcome = await provider.void(call)

    assert outcome == Pending(provider_txn_id=said["paymentReference"])
