"""PayPal's official SDK drives the sandbox: whatever it cannot read, the sandbox says wrongly.

The SDK is written for threads (`requests`), so each of its calls runs in one.
"""

import asyncio
import importlib
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from paypal_rig import RETURN_URL
from sandbox_rig import Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET


def official(name: str) -> Any:
    """A module of the SDK, which has no types."""
    with warnings.catch_warnings():
        # It is generated, and its generator's library warns about its own regular expressions.
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


CONFIGURATION = official("paypalserversdk.configuration")
ENVIRONMENTS = CONFIGURATION.Configuration
SANDBOX = CONFIGURATION.Environment.SANDBOX
CLIENT = official("paypalserversdk.paypal_serversdk_client").PaypalServersdkClient
CREDENTIALS = official("paypalserversdk.http.auth.o_auth_2").ClientCredentialsAuthCredentials
Refused = official("paypalserversdk.exceptions.error_exception").ErrorException
NoToken = official("apimatic_core.exceptions.auth_validation_exception").AuthValidationException

CARD = {"number": "4242424242424242", "expiry": "2040-12", "securityCode": "123"}


class Official:
    """The official client, aimed at the sandbox; it must not retry what a test is about."""

    def __init__(self, url: str, *, secret: str = CLIENT_SECRET) -> None:
        ENVIRONMENTS.environments[SANDBOX] = {CONFIGURATION.Server.DEFAULT: url}
        self.client: Any = CLIENT(
            timeout=5,
            environment=SANDBOX,
            client_credentials_auth_credentials=CREDENTIALS(
                o_auth_client_id=CLIENT_ID, o_auth_client_secret=secret
            ),
        )

    async def call(self, method: Callable[[dict[str, Any]], Any], **options: Any) -> Any:
        """Make one call, and give what it answers."""
        options.setdefault("prefer", "return=representation")
        return (await asyncio.to_thread(method, options)).body

    async def create(self, intent: str = "CAPTURE", **more: Any) -> Any:
        body = {
            "intent": intent,
            "purchase_units": [
                {
                    "amount": {"currency_code": "USD", "value": "10.00"},
                    "custom_id": "txn_1-1",
                    "invoice_id": "txn_1-1",
                }
            ],
            **more,
        }
        return await self.call(self.client.orders.create_order, body=body)

    async def paid(self, intent: str = "CAPTURE", number: str = CARD["number"]) -> Any:
        """Make an order, and pay for it or hold the money."""
        order = await self.create(intent)
        orders = self.client.orders
        method = orders.capture_order if intent == "CAPTURE" else orders.authorize_order
        return await self.call(method, id=order.id, body=card(number))


def card(number: str = CARD["number"]) -> dict[str, Any]:
    details = {"number": number, "expiry": "2040-12", "security_code": "123"}
    context = {"return_url": RETURN_URL, "cancel_url": RETURN_URL}
    return {"payment_source": {"card": details | {"experience_context": context}}}


@contextmanager
def restored() -> Generator[None]:
    """Leave the SDK's table of addresses as it was: it is the class's own."""
    before = dict(ENVIRONMENTS.environments)
    try:
        yield
    finally:
        ENVIRONMENTS.environments = before


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    with restored():
        async with sandbox_rig(clock=ManualClock()) as rig:
            yield rig


@pytest.fixture
def sdk(rig: Rig) -> Official:
    return Official(rig.sandbox.url)


def issues(refused: pytest.ExceptionInfo[Any]) -> list[str]:
    return [each.issue for each in refused.value.details]


async def test_an_order_is_made_paid_for_and_read_back(rig: Rig, sdk: Official):
    made = await sdk.create()
    paid = await sdk.call(sdk.client.orders.capture_order, id=made.id, body=card())

    read = await sdk.call(sdk.client.orders.get_order, id=made.id)

    (capture,) = paid.purchase_units[0].payments.captures
    assert (made.status, paid.status, read.status) == ("CREATED", "COMPLETED", "COMPLETED")
    assert (capture.status, capture.amount.value, capture.custom_id) == (
        "COMPLETED",
        "10.00",
        "txn_1-1",
    )
    assert capture.processor_response.response_code == "0000"
    assert (read.payment_source.card.last_digits, read.payment_source.card.brand) == (
        "4242",
        "VISA",
    )
    captured = await sdk.call(sdk.client.payments.get_captured_payment, capture_id=capture.id)
    assert captured.amount.value == "10.00"
    assert [line["amountMinor"] for line in await rig.ledger()] == [1_000]


async def test_a_hold_is_captured_in_part_and_never_again(rig: Rig, sdk: Official):
    order = await sdk.paid("AUTHORIZE")
    (hold,) = order.purchase_units[0].payments.authorizations
    body = {"amount": {"currency_code": "USD", "value": "4.00"}, "final_capture": True}

    taken = await sdk.call(
        sdk.client.payments.capture_authorized_payment, authorization_id=hold.id, body=body
    )
    with pytest.raises(Refused) as refused:
        await sdk.call(
            sdk.client.payments.capture_authorized_payment, authorization_id=hold.id, body=body
        )

    after = await sdk.call(sdk.client.payments.get_authorized_payment, authorization_id=hold.id)
    assert (hold.status, taken.status, taken.amount.value) == ("CREATED", "COMPLETED", "4.00")
    assert (after.status, issues(refused)) == ("CAPTURED", ["AUTHORIZATION_ALREADY_CAPTURED"])
    assert [line["operation"] for line in await rig.ledger()] == ["authorize", "capture"]


async def test_a_hold_is_voided_once_and_what_was_captured_is_not(sdk: Official):
    order = await sdk.paid("AUTHORIZE")
    (hold,) = order.purchase_units[0].payments.authorizations

    voided = await sdk.call(sdk.client.payments.void_payment, authorization_id=hold.id)
    with pytest.raises(Refused) as refused:
        await sdk.call(sdk.client.payments.void_payment, authorization_id=hold.id)

    assert voided.status == "VOIDED"
    assert issues(refused) == ["PREVIOUSLY_VOIDED"]


async def test_refunds_in_parts_add_up_to_the_capture_and_no_further(sdk: Official):
    order = await sdk.paid()
    (capture,) = order.purchase_units[0].payments.captures

    async def refund(value: str | None) -> Any:
        body = {} if value is None else {"amount": {"currency_code": "USD", "value": value}}
        return await sdk.call(
            sdk.client.payments.refund_captured_payment, capture_id=capture.id, body=body
        )

    first = await refund("4.00")
    with pytest.raises(Refused) as too_much:
        await refund("6.01")
    rest = await refund(None)
    with pytest.raises(Refused) as nothing_left:
        await refund("0.01")

    after = await sdk.call(sdk.client.payments.get_captured_payment, capture_id=capture.id)
    read = await sdk.call(sdk.client.payments.get_refund, refund_id=first.id)
    assert (first.status, first.amount.value, rest.amount.value) == ("COMPLETED", "4.00", "6.00")
    assert issues(too_much) == ["REFUND_AMOUNT_EXCEEDED"]
    assert issues(nothing_left) == ["CAPTURE_FULLY_REFUNDED"]
    assert (after.status, read.amount.value) == ("REFUNDED", "4.00")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4000000000000002", "5100"),
        ("4000000000009995", "5120"),
        ("4000000000009987", "9520"),
        ("4000000000000069", "5400"),
        ("4000000000000127", "5110"),
        ("4000000000000119", "8000"),
    ],
)
async def test_a_declined_card_is_an_order_with_a_declined_capture(
    rig: Rig, sdk: Official, number: str, code: str
):
    order = await sdk.paid(number=number)

    (capture,) = order.purchase_units[0].payments.captures
    assert (capture.status, capture.processor_response.response_code) == ("DECLINED", code)
    assert await rig.ledger() == []


async def test_a_payer_approves_and_then_the_money_is_taken(rig: Rig, sdk: Official):
    context = {"return_url": RETURN_URL, "cancel_url": RETURN_URL}
    order = await sdk.create(payment_source={"paypal": {"experience_context": context}})
    (link,) = [each for each in order.links if each.rel == "payer-action"]
    page = await rig.text(link.href)
    with pytest.raises(Refused) as early:
        await sdk.call(sdk.client.orders.capture_order, id=order.id)

    await rig.post(f"/actions/{order.id}/complete")
    approved = await sdk.call(sdk.client.orders.get_order, id=order.id)
    before = await rig.ledger()
    paid = await sdk.call(sdk.client.orders.capture_order, id=order.id)

    assert (order.status, approved.status, paid.status) == (
        "PAYER_ACTION_REQUIRED",
        "APPROVED",
        "COMPLETED",
    )
    assert "Confirm your payment" in page
    assert issues(early) == ["PAYER_ACTION_REQUIRED"]
    assert before == []
    assert len(await rig.ledger()) == 1


async def test_a_request_id_is_answered_with_the_latest_state(rig: Rig, sdk: Official):
    order = await sdk.create()
    capture_order = sdk.client.orders.capture_order
    first = await sdk.call(capture_order, id=order.id, body=card(), paypal_request_id="k")
    (capture,) = first.purchase_units[0].payments.captures
    await sdk.call(sdk.client.payments.refund_captured_payment, capture_id=capture.id, body={})

    again = await sdk.call(capture_order, id=order.id, body=card(), paypal_request_id="k")
    with pytest.raises(Refused) as other:
        await sdk.call(capture_order, id=order.id, body=card(), paypal_request_id="k2")

    assert again.purchase_units[0].payments.captures[0].status == "REFUNDED"
    assert issues(other) == ["ORDER_ALREADY_CAPTURED"]
    assert [line["operation"] for line in await rig.ledger()] == ["charge", "refund"]


async def test_a_changed_intent_lets_no_earlier_request_pay(rig: Rig, sdk: Official):
    order = await sdk.create()
    change = [{"op": "replace", "path": "/intent", "value": "AUTHORIZE"}]
    await sdk.call(sdk.client.orders.patch_order, id=order.id, body=change)

    with pytest.raises(Refused) as refused:
        await sdk.call(sdk.client.orders.capture_order, id=order.id, body=card())

    assert issues(refused) == ["ACTION_DOES_NOT_MATCH_INTENT"]
    assert await rig.ledger() == []


@pytest.mark.parametrize(
    ("currency", "value", "issue"),
    [
        ("USD", "0.00", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("USD", "-1", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("USD", "1.001", "DECIMAL_PRECISION"),
        ("JPY", "100.5", "DECIMALS_NOT_SUPPORTED"),
        ("HUF", "100.50", "DECIMALS_NOT_SUPPORTED"),
        ("KWD", "1.00", "INVALID_CURRENCY_CODE"),
        ("USD", "1e3", "INVALID_PARAMETER_SYNTAX"),
    ],
)
async def test_what_paypal_would_not_take_is_refused(
    rig: Rig, sdk: Official, currency: str, value: str, issue: str
):
    unit = {"amount": {"currency_code": currency, "value": value}}

    with pytest.raises(Refused) as refused:
        await sdk.create(purchase_units=[unit])

    assert issues(refused) == [issue]


async def test_faults_become_the_sdk_s_own_exceptions(rig: Rig, sdk: Official):
    for fault, status in (("too_many_requests", 429), ("error_500", 500)):
        await rig.fault(fault, provider="sandbox_paypal")
        with pytest.raises(Refused) as refused:
            await sdk.paid()
        assert refused.value.response_code == status

    assert await rig.ledger() == []


async def test_another_secret_gets_no_token(rig: Rig):
    stranger = Official(rig.sandbox.url, secret="somebody_else")

    # The SDK says no more than that it has no token.
    with pytest.raises(NoToken):
        await stranger.create()

    assert [call["operation"] for call in await rig.calls()] == ["token"]
