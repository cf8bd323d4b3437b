"""Adyen's official SDK drives the sandbox: whatever it cannot read, the sandbox says wrongly."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from adyen_rig import RETURN_URL, SDK
from sandbox_rig import APPROVED, CONFIRM, Inbox, Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_cards import STORED
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

Checkout = Any
REFUSED = SDK.exceptions


def official(rig: Rig, key: str = API_KEY) -> Checkout:
    """The official client, aimed at the sandbox."""
    client = SDK.Adyen(xapikey=key, platform="test", http_timeout=5)
    checkout = client.checkout
    for api in (checkout.payments_api, checkout.modifications_api):
        api.baseUrl = f"{rig.sandbox.url}/v72"
    return checkout


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    async with sandbox_rig(clock=ManualClock()) as rig:
        yield rig


@pytest.fixture
def checkout(rig: Rig) -> Checkout:
    return official(rig)


async def said(call: Callable[..., Any], *arguments: Any, **more: Any) -> dict[str, Any]:
    """Make a call of the SDK, which blocks, and give what it read."""
    result = await asyncio.to_thread(call, *arguments, **more)
    return result.message


def payment(number: str = APPROVED, **changes: Any) -> dict[str, Any]:
    method = {"type": "scheme", "number": number, "expiryMonth": "03", "expiryYear": "2040"}
    return {
        "merchantAccount": MERCHANT_ACCOUNT,
        "amount": {"value": 1_000, "currency": "EUR"},
        "reference": "order-1",
        "paymentMethod": method,
        "returnUrl": RETURN_URL,
        **changes,
    }


def hold(**changes: Any) -> dict[str, Any]:
    return payment(additionalData={"manualCapture": "true"}, **changes)


def modification(minor: int | None = None, **changes: Any) -> dict[str, Any]:
    amount = {} if minor is None else {"amount": {"value": minor, "currency": "EUR"}}
    return {"merchantAccount": MERCHANT_ACCOUNT, "reference": "change-1", **amount, **changes}


async def test_a_payment_is_authorised_captured_and_refunded(rig: Rig, checkout: Checkout):
    paid = await said(checkout.payments_api.payments, hold())
    psp = paid["pspReference"]
    captured = await said(
        checkout.modifications_api.capture_authorised_payment, modification(600), psp
    )
    refunded = await said(
        checkout.modifications_api.refund_captured_payment, modification(250), psp
    )

    assert (paid["resultCode"], paid["merchantReference"]) == ("Authorised", "order-1")
    assert captured["status"] == refunded["status"] == "received"
    assert captured["paymentPspReference"] == psp
    moved = [(line["operation"], line["amountMinor"]) for line in await rig.ledger()]
    assert moved == [("authorize", 1_000), ("capture", 600), ("refund", 250)]


@pytest.mark.parametrize(
    ("number", "result", "code"),
    [
        ("4000000000000002", "Refused", "2"),
        ("4000000000009995", "Refused", "12"),
        ("4000000000009987", "Refused", "5"),
        ("4000000000000069", "Refused", "6"),
        ("4000000000000127", "Refused", "24"),
        ("4000000000000119", "Error", "4"),
    ],
)
async def test_a_test_card_is_refused_as_it_should(
    rig: Rig, checkout: Checkout, number: str, result: str, code: str
):
    refused = await said(checkout.payments_api.payments, payment(number))

    assert (refused["resultCode"], refused["refusalReasonCode"]) == (result, code)
    assert await rig.ledger() == []


async def test_a_card_is_named_in_three_ways(checkout: Checkout):
    encrypted = {"type": "scheme", "encryptedCardNumber": f"test_{APPROVED}"}
    stored = {"type": "scheme", "storedPaymentMethodId": next(iter(STORED))}

    for method in (encrypted, stored):
        paid = await said(checkout.payments_api.payments, payment(paymentMethod=method))
        assert paid["resultCode"] == "Authorised"


async def test_a_payer_is_sent_away_and_brings_something_back(rig: Rig, checkout: Checkout):
    asked = await said(checkout.payments_api.payments, payment(CONFIRM))
    page = urlsplit(str(asked["action"]["url"])).path
    details = {"details": {"redirectResult": page.rpartition("/")[2]}}
    early = await said(checkout.payments_api.payments_details, details)
    await rig.post(f"{page}/complete")

    done = await said(checkout.payments_api.payments_details, details)

    assert asked["action"]["type"] == "redirect"
    assert asked["action"]["url"].startswith(rig.sandbox.url)
    assert (early["resultCode"], done["resultCode"]) == ("RedirectShopper", "Authorised")
    assert len(await rig.ledger()) == 1


async def test_a_payer_who_is_not_there_is_not_asked_and_one_who_is_may_be(checkout: Checkout):
    absent = await said(
        checkout.payments_api.payments, payment(CONFIRM, shopperInteraction="ContAuth")
    )
    always = {"attemptAuthentication": "always"}
    demanded = await said(checkout.payments_api.payments, payment(authenticationData=always))

    assert (absent["resultCode"], absent["refusalReasonCode"]) == ("Refused", "38")
    assert demanded["resultCode"] == "RedirectShopper"


async def test_a_cancellation_is_by_id_or_by_the_merchant_s_own_reference(
    rig: Rig, checkout: Checkout
):
    first = await said(checkout.payments_api.payments, hold())
    await said(checkout.payments_api.payments, hold(reference="order-2"))
    change = checkout.modifications_api

    by_id = await said(
        change.cancel_authorised_payment_by_psp_reference, modification(), first["pspReference"]
    )
    by_name = await said(change.cancel_authorised_payment, modification(paymentReference="order-2"))

    assert by_id["paymentPspReference"] == first["pspReference"]
    assert by_name["paymentReference"] == "order-2"
    operations = [line["operation"] for line in await rig.ledger()]
    assert operations == ["authorize", "authorize", "void", "void"]


async def test_a_reversal_cancels_what_is_held_and_refunds_what_was_captured(
    rig: Rig, checkout: Checkout
):
    held = await said(checkout.payments_api.payments, hold())
    taken = await said(checkout.payments_api.payments, payment(reference="order-2"))

    for each in (held, taken):
        reverse = checkout.modifications_api.refund_or_cancel_payment
        await said(reverse, modification(), each["pspReference"])

    assert [line["operation"] for line in await rig.ledger()][2:] == ["void", "refund"]


async def test_the_same_key_is_answered_alike_whatever_is_sent_with_it(
    rig: Rig, checkout: Checkout
):
    pay = checkout.payments_api.payments
    first = await said(pay, payment(), idempotency_key="key-1")
    again = await said(pay, payment(), idempotency_key="key-1")
    other = await said(pay, payment(reference="order-9"), idempotency_key="key-1")

    assert first == again == other
    assert len(await rig.ledger()) == 1


async def test_a_refused_request_claims_no_key(rig: Rig, checkout: Checkout):
    pay = checkout.payments_api.payments
    with pytest.raises(REFUSED.AdyenAPIUnprocessableEntity):
        await said(pay, payment("4242424242424241"), idempotency_key="key-1")

    paid = await said(pay, payment(), idempotency_key="key-1")

    assert paid["resultCode"] == "Authorised"
    assert len(await rig.ledger()) == 1


@pytest.mark.parametrize(
    ("changes", "exception", "code"),
    [
        ({"merchantAccount": "Other"}, REFUSED.AdyenAPIInvalidPermission, "901"),
        ({"returnUrl": None}, REFUSED.AdyenAPIUnprocessableEntity, "14_030"),
        (
            {"amount": {"value": 0, "currency": "EUR"}},
            REFUSED.AdyenAPIUnprocessableEntity,
            "137",
        ),
        (
            {"amount": {"value": 1, "currency": "XXY"}},
            REFUSED.AdyenAPIUnprocessableEntity,
            "138",
        ),
        (
            {"paymentMethod": {"storedPaymentMethodId": "gone"}},
            REFUSED.AdyenAPIUnprocessableEntity,
            "800",
        ),
        ({"reference": None}, REFUSED.AdyenAPIValidationError, "702"),
    ],
)
async def test_what_adyen_would_not_take_is_its_own_exception(
    rig: Rig,
    checkout: Checkout,
    changes: dict[str, Any],
    exception: type[Exception],
    code: str,
):
    with pytest.raises(exception) as refused:
        await said(checkout.payments_api.payments, payment(**changes))

    error: Any = refused.value
    assert error.error_code == code
    assert await rig.ledger() == []


async def test_a_payment_that_is_not_there_cannot_be_changed(checkout: Checkout):
    with pytest.raises(REFUSED.AdyenAPIUnprocessableEntity) as refused:
        await said(
            checkout.modifications_api.capture_authorised_payment,
            modification(1),
            "NOSUCHPAYMENT001",
        )

    assert refused.value.error_code == "167"


async def test_another_key_is_an_authentication_error(rig: Rig):
    with pytest.raises(REFUSED.AdyenAPIAuthenticationError):
        await said(official(rig, "another").payments_api.payments, payment())


async def test_the_sdk_takes_the_sandbox_s_notifications():
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=ManualClock(), gateway_url=inbox.url) as rig,
    ):
        checkout = official(rig)
        paid = await said(checkout.payments_api.payments, hold())
        await said(
            checkout.modifications_api.capture_authorised_payment,
            modification(600),
            paid["pspReference"],
        )
        await inbox.wait_for(2)

        for _, body in inbox.received:
            assert SDK.util.is_valid_hmac_notification(json.loads(body), HMAC_KEY)
            assert not SDK.util.is_valid_hmac_notification(json.loads(body), "0B" * 32)
