"""The sandbox's answers and notifications are valid by Adyen's own specifications."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from adyen_rig import RETURN_URL, WEBHOOKS, faults, official
from sandbox_rig import APPROVED, CONFIRM, DISPUTED, Inbox, Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT

DAY_S = 86_400


class Till:
    """A sandbox, its clock, and whoever takes its notifications."""

    def __init__(self, rig: Rig, clock: ManualClock, inbox: Inbox) -> None:
        self.rig = rig
        self.clock = clock
        self.inbox = inbox

    async def post(self, path: str, body: dict[str, Any], *, key: str = API_KEY) -> Any:
        url = f"{self.rig.sandbox.url}/v72{path}"
        headers = {"X-API-Key": key}
        async with aiohttp.request("POST", url, json=body, headers=headers) as response:
            return {"status": response.status, "body": await response.json()}

    async def pay(self, number: str = APPROVED, **changes: Any) -> dict[str, Any]:
        method = {"type": "scheme", "number": number, "expiryMonth": "03", "expiryYear": "2040"}
        body = {
            "merchantAccount": MERCHANT_ACCOUNT,
            "amount": {"value": 1_000, "currency": "EUR"},
            "reference": "order-1",
            "paymentMethod": method,
            "returnUrl": RETURN_URL,
        }
        assert faults({**body, **changes}, "PaymentRequest") == []
        return (await self.post("/payments", {**body, **changes}))["body"]

    async def hold(self, **changes: Any) -> dict[str, Any]:
        return await self.pay(additionalData={"manualCapture": "true"}, **changes)

    async def change(self, psp: str, noun: str, minor: int | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"merchantAccount": MERCHANT_ACCOUNT, "reference": "change-1"}
        if minor is not None:
            body["amount"] = {"value": minor, "currency": "EUR"}
        answer = await self.post(f"/payments/{psp}/{noun}", body)
        assert answer["status"] == 201
        return answer["body"]

    async def told(self, count: int) -> list[dict[str, Any]]:
        """The newest of so many notifications, each as it came."""
        return await self.inbox.wait_for(count)


@pytest.fixture
async def till() -> AsyncGenerator[Till]:
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(clock=clock, gateway_url=inbox.url) as rig:
        yield Till(rig, clock, inbox)


def notification_faults(said: dict[str, Any]) -> list[str]:
    """What the specification of its event says against a notification."""
    code = said["notificationItems"][0]["NotificationRequestItem"]["eventCode"]
    media = official(WEBHOOKS)["webhooks"][f"/{code}"]["post"]["requestBody"]["content"]
    schema = media["application/json"]["schema"]["$ref"].rpartition("/")[2]
    found = faults(said, schema, WEBHOOKS)
    # Adyen's own example of this event is signed, as every item is; its schema has no place for it.
    unsigned = "Additional properties are not allowed ('hmacSignature' was unexpected)"
    return [each for each in found if code != "OFFER_CLOSED" or each != unsigned]


def codes(told: list[dict[str, Any]]) -> list[str]:
    return [each["notificationItems"][0]["NotificationRequestItem"]["eventCode"] for each in told]


async def test_the_specification_finds_what_is_wrong():
    assert faults({"resultCode": "Authorized"}, "PaymentResponse")
    assert faults({"resultCode": "Authorised", "psp": "x"}, "PaymentResponse")
    assert faults({"status": "received"}, "PaymentCaptureResponse")


async def test_a_payment_in_each_state_is_as_specified(till: Till):
    await till.rig.fault("pending", delayMs=1_000)
    received = await till.pay()
    states = [await till.pay(), await till.hold(), await till.pay("4000000000000002")]
    asked = await till.pay(CONFIRM)
    sick = await till.pay("4000000000000119")

    for each in (received, *states, asked, sick):
        assert faults(each, "PaymentResponse") == []

    results = [each["resultCode"] for each in (received, *states, asked, sick)]
    assert results == [
        "Received",
        "Authorised",
        "Authorised",
        "Refused",
        "RedirectShopper",
        "Error",
    ]


async def test_what_a_payer_brought_back_is_answered_as_specified(till: Till):
    asked = await till.pay(CONFIRM)
    page = urlsplit(str(asked["action"]["url"])).path
    await till.rig.post(f"{page}/complete")
    body = {"details": {"redirectResult": page.rpartition("/")[2]}}
    assert faults(body, "PaymentDetailsRequest") == []

    answer = await till.post("/payments/details", body)

    assert faults(answer["body"], "PaymentDetailsResponse") == []
    assert answer["body"]["resultCode"] == "Authorised"


async def test_modifications_are_answered_as_specified(till: Till):
    first, second, third = [(await till.hold())["pspReference"] for _ in range(3)]
    body = {"merchantAccount": MERCHANT_ACCOUNT, "paymentReference": "order-4"}
    await till.hold(reference="order-4")

    captured = await till.change(first, "captures", 600)
    refunded = await till.change(first, "refunds", 100)
    cancelled = await till.change(second, "cancels")
    reversed_ = await till.change(third, "reversals")
    by_reference = (await till.post("/cancels", body))["body"]

    assert faults(captured, "PaymentCaptureResponse") == []
    assert faults(refunded, "PaymentRefundResponse") == []
    assert faults(cancelled, "PaymentCancelResponse") == []
    assert faults(reversed_, "PaymentReversalResponse") == []
    assert faults(by_reference, "StandalonePaymentCancelResponse") == []


async def test_errors_are_as_specified(till: Till):
    malformed = await till.post("/payments", {})
    unknown = await till.post("/payments", {}, key="another")
    refused = await till.post(
        "/payments/NOSUCHPAYMENT001/cancels", {"merchantAccount": MERCHANT_ACCOUNT}
    )
    await till.rig.fault("error_500")
    broken = await till.post(
        "/cancels", {"merchantAccount": MERCHANT_ACCOUNT, "paymentReference": "none"}
    )

    for each in (malformed, unknown, refused, broken):
        assert faults(each["body"], "ServiceError") == []
        assert each["body"]["status"] == each["status"]


async def test_notifications_of_payments_and_modifications_are_as_specified(till: Till):
    refused = await till.pay("4000000000000002")
    first, second = [(await till.hold())["pspReference"] for _ in range(2)]
    await till.change(first, "captures", 1_001)
    await till.change(first, "captures", 600)
    await till.change(first, "refunds", 100)
    await till.change(second, "cancels")

    told = await till.told(7)

    assert refused["resultCode"] == "Refused"
    assert [notification_faults(each) for each in told] == [[]] * 7
    assert sorted(codes(told)) == [
        *["AUTHORISATION"] * 3,
        "CANCELLATION",
        *["CAPTURE"] * 2,
        "REFUND",
    ]


async def test_notifications_of_reversals_and_lapses_are_as_specified(till: Till):
    held, taken = await till.hold(), await till.pay()
    await till.change(held["pspReference"], "reversals")
    await till.change(taken["pspReference"], "reversals")
    await till.hold(reference="order-2")
    await till.hold(reference="order-3")
    by_reference = {"merchantAccount": MERCHANT_ACCOUNT, "paymentReference": "order-2"}
    await till.post("/cancels", by_reference)
    await till.pay(CONFIRM)
    await till.told(7)

    till.clock.advance(8 * DAY_S)
    told = await till.told(9)

    assert [notification_faults(each) for each in told] == [[]] * 9
    assert sorted(set(codes(told))) == [
        "AUTHORISATION",
        "CANCEL_OR_REFUND",
        "EXPIRE",
        "OFFER_CLOSED",
        "TECHNICAL_CANCEL",
    ]


@pytest.mark.parametrize(
    ("outcome", "code"), [("won", "CHARGEBACK_REVERSED"), ("lost", "SECOND_CHARGEBACK")]
)
async def test_notifications_of_disputes_are_as_specified(till: Till, outcome: str, code: str):
    paid = await till.pay(DISPUTED)
    till.clock.advance(1)
    await till.told(2)
    await till.rig.post(f"/disputes/{paid['pspReference']}/close", {"outcome": outcome})

    told = await till.told(3)

    assert [notification_faults(each) for each in told] == [[]] * 3
    assert codes(told) == ["AUTHORISATION", "CHARGEBACK", code]


async def test_a_refund_by_hand_is_told_as_specified(till: Till):
    paid = await till.pay()
    await till.rig.post("/returns", {"providerTxnID": paid["pspReference"], "amountMinor": 300})

    told = await till.told(2)

    item = told[1]["notificationItems"][0]["NotificationRequestItem"]
    assert notification_faults(told[1]) == []
    assert (item["eventCode"], item["merchantReference"]) == ("REFUND", "order-1")
    assert item["amount"]["value"] == 300
