"""Stripe's official SDK drives the sandbox: whatever it cannot read, the sandbox says wrongly."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import stripe
from sandbox_rig import Inbox, Rig, sandbox_rig
from stripe_rig import RETURN_URL

from paygate_engine.clock import ManualClock, SystemClock
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET


@asynccontextmanager
async def official(rig: Rig, key: str = SECRET_KEY) -> AsyncGenerator[stripe.StripeClient]:
    """The official client, aimed at the sandbox; it must not retry what a test is about."""
    transport = stripe.AIOHTTPClient(timeout=5)
    client = stripe.StripeClient(
        key,
        base_addresses={"api": rig.sandbox.url},
        http_client=transport,
        max_network_retries=0,
    )
    try:
        yield client
    finally:
        await transport.close_async()


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    async with sandbox_rig(clock=ManualClock()) as rig:
        yield rig


@pytest.fixture
async def client(rig: Rig) -> AsyncGenerator[stripe.StripeClient]:
    async with official(rig) as client:
        yield client


async def make(client: stripe.StripeClient, **changes: Any) -> stripe.PaymentIntent:
    params: Any = {
        "amount": 1_000,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "payment_method_types": ["card"],
        "confirm": True,
        "metadata": {"reference": "txn_1-1"},
        **changes,
    }
    return await client.v1.payment_intents.create_async(params)


def refused_param(error: stripe.InvalidRequestError) -> str | None:
    """Which parameter Stripe refused; the SDK leaves the attribute untyped."""
    return cast("Any", error).param


async def test_an_intent_is_made_confirmed_and_read_back(rig: Rig, client: stripe.StripeClient):
    made = await client.v1.payment_intents.create_async(
        {"amount": 1_000, "currency": "usd", "metadata": {"reference": "txn_1-1"}}
    )
    method = await client.v1.payment_methods.create_async(
        {
            "type": "card",
            "card": {
                "number": "4242424242424242",
                "exp_month": 12,
                "exp_year": 2040,
                "cvc": "123",
            },
        }
    )

    paid = await client.v1.payment_intents.confirm_async(
        made.id, {"payment_method": method.id, "return_url": RETURN_URL}
    )
    read = await client.v1.payment_intents.retrieve_async(made.id)

    assert made.status == "requires_payment_method"
    assert (method.card and method.card.last4, method.card and method.card.brand) == (
        "4242",
        "visa",
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 1_000)
    assert read == paid
    assert [line["amountMinor"] for line in await rig.ledger()] == [1_000]


async def test_a_hold_is_captured_in_part(rig: Rig, client: stripe.StripeClient):
    held = await make(client, capture_method="manual")

    taken = await client.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 400})

    assert (held.status, held.amount_capturable) == ("requires_capture", 1_000)
    assert (taken.status, taken.amount_received, taken.amount_capturable) == ("succeeded", 400, 0)
    assert [line["operation"] for line in await rig.ledger()] == ["authorize", "capture"]


async def test_a_hold_is_cancelled_and_a_captured_intent_is_not(client: stripe.StripeClient):
    held = await make(client, capture_method="manual")
    paid = await make(client)

    cancelled = await client.v1.payment_intents.cancel_async(
        held.id, {"cancellation_reason": "requested_by_customer"}
    )
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.payment_intents.cancel_async(paid.id)

    assert (cancelled.status, cancelled.cancellation_reason) == (
        "canceled",
        "requested_by_customer",
    )
    assert refused.value.code == "payment_intent_unexpected_state"


async def test_refunds_in_parts_add_up_to_the_charge_and_no_further(client: stripe.StripeClient):
    paid = await make(client)
    first = await client.v1.refunds.create_async(
        {"payment_intent": paid.id, "amount": 400, "reason": "requested_by_customer"}
    )
    with pytest.raises(stripe.InvalidRequestError) as too_much:
        await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 601})
    rest = await client.v1.refunds.create_async({"payment_intent": paid.id})

    with pytest.raises(stripe.InvalidRequestError) as nothing_left:
        await client.v1.refunds.create_async({"payment_intent": paid.id})
    listed = await client.v1.refunds.list_async({"payment_intent": paid.id})

    assert (first.status, first.amount, rest.amount) == ("succeeded", 400, 600)
    assert refused_param(too_much.value) == "amount"
    assert nothing_left.value.code == "charge_already_refunded"
    assert [each.id for each in listed.data] == [rest.id, first.id]
    assert await client.v1.refunds.retrieve_async(first.id) == first


async def test_a_payer_who_must_confirm_is_redirected_and_comes_back(
    rig: Rig, client: stripe.StripeClient
):
    asked = await make(
        client, payment_method="pm_card_authenticationRequired", return_url=RETURN_URL
    )
    assert asked.next_action
    assert asked.next_action.redirect_to_url
    page = await rig.text(str(asked.next_action.redirect_to_url.url))

    await rig.post(f"/actions/{asked.id}/complete")
    paid = await client.v1.payment_intents.retrieve_async(asked.id)

    assert asked.status == "requires_action"
    assert asked.next_action.redirect_to_url.return_url == RETURN_URL
    assert "Confirm your payment" in page
    assert (paid.status, paid.next_action) == ("succeeded", None)


async def test_a_payer_who_fails_to_confirm_leaves_an_error_behind(
    rig: Rig, client: stripe.StripeClient
):
    asked = await make(
        client, payment_method="pm_card_authenticationRequired", return_url=RETURN_URL
    )

    await rig.post(f"/actions/{asked.id}/fail")
    failed = await client.v1.payment_intents.retrieve_async(asked.id)

    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error
    assert failed.last_payment_error.code == "payment_intent_authentication_failure"


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "card_declined",
            "insufficient_funds",
        ),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
async def test_a_decline_is_the_sdk_s_card_error(
    rig: Rig, client: stripe.StripeClient, method: str, code: str, decline_code: str
):
    with pytest.raises(stripe.CardError) as declined:
        await make(client, payment_method=method)

    error = declined.value.error
    assert error
    assert (declined.value.http_status, error.code, error.decline_code) == (
        402,
        code,
        decline_code,
    )
    assert error.payment_intent
    assert error.payment_intent.status == "requires_payment_method"
    assert await rig.ledger() == []


async def test_a_key_is_replayed_and_refused_as_stripe_does(rig: Rig, client: stripe.StripeClient):
    params: Any = {"amount": 1_000, "currency": "usd"}
    options: Any = {"idempotency_key": "k"}
    first = await client.v1.payment_intents.create_async(params, options)

    again = await client.v1.payment_intents.create_async(params, options)
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.payment_intents.create_async(params | {"amount": 999}, options)

    assert again == first
    assert again.last_response
    assert again.last_response.headers["Idempotent-Replayed"] == "true"


async def test_a_declined_key_stays_declined(client: stripe.StripeClient):
    options: Any = {"idempotency_key": "k"}
    made = await client.v1.payment_intents.create_async({"amount": 1_000, "currency": "usd"})
    params: Any = {"payment_method": "pm_card_visa_chargeDeclined"}

    for _ in range(2):
        with pytest.raises(stripe.CardError):
            await client.v1.payment_intents.confirm_async(made.id, params, options)


async def test_a_declined_intent_takes_another_card(rig: Rig, client: stripe.StripeClient):
    made = await client.v1.payment_intents.create_async({"amount": 1_000, "currency": "usd"})
    with pytest.raises(stripe.CardError):
        await client.v1.payment_intents.confirm_async(
            made.id, {"payment_method": "pm_card_visa_chargeDeclined"}
        )

    paid = await client.v1.payment_intents.confirm_async(
        made.id, {"payment_method": "pm_card_visa"}
    )

    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert len(await rig.ledger()) == 1


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": 49}, "amount"),
        ({"amount": 100_000_000}, "amount"),
        ({"currency": "xxx"}, "currency"),
        ({"currency": "isk", "amount": 150}, "amount"),
        ({"currency": "kwd", "amount": 1_001}, "amount"),
        ({"payment_method": "pm_none"}, "payment_method"),
        ({"capture_method": "later"}, "capture_method"),
    ],
)
async def test_what_stripe_would_not_take_is_an_invalid_request(
    rig: Rig, client: stripe.StripeClient, changes: dict[str, Any], param: str
):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await make(client, **changes)

    assert refused_param(refused.value) == param
    assert await rig.ledger() == []


async def test_faults_become_the_sdk_s_own_exceptions(rig: Rig, client: stripe.StripeClient):
    await rig.fault("too_many_requests", provider="sandbox_stripe")
    with pytest.raises(stripe.RateLimitError):
        await make(client)
    await rig.fault("error_500", provider="sandbox_stripe")
    with pytest.raises(stripe.APIError):
        await make(client)
    await rig.fault("reset_after_effect", provider="sandbox_stripe")
    with pytest.raises(stripe.APIConnectionError):
        await make(client)

    assert len(await rig.ledger()) == 1


async def test_another_key_is_an_authentication_error(rig: Rig):
    async with official(rig, "sk_test_somebody_else") as client:
        with pytest.raises(stripe.AuthenticationError):
            await make(client)


async def test_the_search_finds_by_metadata_after_its_lag():
    clock = ManualClock()
    async with sandbox_rig(clock=clock, find_lag_ms=2_000) as rig, official(rig) as client:
        paid = await make(client)
        query: Any = {"query": "metadata['reference']:'txn_1-1'"}
        early = await client.v1.payment_intents.search_async(query)
        clock.advance(2)

        found = await client.v1.payment_intents.search_async(query)

        assert early.data == []
        assert [each.id for each in found.data] == [paid.id]
        assert found.data[0].status == "succeeded"


async def test_intents_are_listed_at_once_the_newest_first(client: stripe.StripeClient):
    paid = [await make(client) for _ in range(3)]

    listed = await client.v1.payment_intents.list_async({"limit": 2})

    assert [each.id for each in listed.data] == [paid[2].id, paid[1].id]
    assert listed.has_more


async def test_events_are_listed_page_by_page_the_newest_first(client: stripe.StripeClient):
    paid = [await make(client) for _ in range(3)]

    first = await client.v1.events.list_async({"limit": 2, "created": {"gte": 0}})
    rest = await client.v1.events.list_async({"limit": 2, "starting_after": first.data[-1].id})

    told = [each.data.object["id"] for each in [*first.data, *rest.data]]
    assert told == [each.id for each in reversed(paid)]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_the_sdk_takes_the_sandbox_s_webhooks():
    # The SDK holds a signature's time against the machine's own clock.
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=SystemClock(), gateway_url=inbox.url) as rig,
        official(rig) as client,
    ):
        paid = await make(client)
        await inbox.wait_for(1)
        ((headers, body),) = inbox.received
        signature = headers["stripe-signature"]

        event = stripe.Webhook.construct_event(body, signature, WEBHOOK_SECRET)

        assert event.type == "payment_intent.succeeded"
        assert event.data.object["id"] == paid.id
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body + b" ", signature, WEBHOOK_SECRET)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, signature, "whsec_another")
