"""The sandbox's objects have the fields and types of Stripe's official fixtures."""

from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
import stripe
from sandbox_rig import Inbox, Rig, sandbox_rig
from stripe_rig import RETURN_URL, official_fixtures

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.stripe_calls import SECRET_KEY

AUTH = {"Authorization": f"Bearer {SECRET_KEY}"}


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    async with sandbox_rig(clock=ManualClock()) as rig:
        yield rig


async def call(rig: Rig, path: str, **fields: str) -> dict[str, Any]:
    """POST a form where there are fields, else GET."""
    async with (
        aiohttp.ClientSession(rig.sandbox.url, headers=AUTH) as session,
        session.post(path, data=fields) if fields else session.get(path) as response,
    ):
        assert response.status == 200, await response.text()
        return await response.json()


async def paid(rig: Rig, **fields: str) -> dict[str, Any]:
    form = {"amount": "1000", "currency": "usd", "payment_method": "pm_card_visa"}
    return await call(rig, "/v1/payment_intents", **form, confirm="true", **fields)


def differences(
    said: dict[str, Any], official: dict[str, Any], kind: type[stripe.StripeObject]
) -> list[str]:
    """Fields that are missing, of another type than Stripe's, or null where Stripe's never are.

    A fixture shows one value of each field; the SDK's types say which ones may be null.
    """
    found = [f"{name} is missing" for name in official if name not in said]
    for name in sorted(official.keys() & said.keys()):
        mine, theirs = said[name], official[name]
        if mine is None and theirs is not None and not is_nullable(kind, name):
            found.append(f"{name} is null")
        elif mine is not None and theirs is not None and type(mine) is not type(theirs):
            found.append(f"{name} is {type(mine).__name__}, not {type(theirs).__name__}")
    return found


def is_nullable(kind: type[stripe.StripeObject], name: str) -> bool:
    annotation = str(kind.__annotations__.get(name, "None"))
    return "Optional" in annotation or "None" in annotation


async def test_an_intent_in_each_state_is_as_stripe_s(rig: Rig):
    official = official_fixtures()["payment_intent"]
    made = await call(rig, "/v1/payment_intents", amount="1000", currency="usd")
    held = await paid(rig, capture_method="manual")
    asked = await call(
        rig,
        "/v1/payment_intents",
        amount="1000",
        currency="usd",
        payment_method="pm_card_authenticationRequired",
        confirm="true",
        return_url=RETURN_URL,
    )
    cancelled = await call(rig, f"/v1/payment_intents/{held['id']}/cancel", expand="")

    for intent in (made, held, asked, cancelled, await paid(rig)):
        assert differences(intent, official, stripe.PaymentIntent) == []


async def test_a_refund_a_charge_and_a_payment_method_are_as_stripe_s(rig: Rig):
    official = official_fixtures()
    intent = await paid(rig)
    refund = await call(rig, "/v1/refunds", payment_intent=intent["id"])
    charge = await call(rig, f"/v1/charges/{intent['latest_charge']}")
    method = await call(rig, f"/v1/payment_methods/{intent['payment_method']}")

    assert differences(refund, official["refund"], stripe.Refund) == []
    assert differences(charge, official["charge"], stripe.Charge) == []
    assert differences(method, official["payment_method"], stripe.PaymentMethod) == []


async def test_events_and_their_objects_are_as_stripe_s():
    official = official_fixtures()
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(clock=clock, gateway_url=inbox.url) as rig:
        disputed = await call(
            rig,
            "/v1/payment_intents",
            amount="1000",
            currency="usd",
            payment_method="pm_card_createDispute",
            confirm="true",
        )
        clock.advance(1)
        told = await inbox.wait_for(2)

        listed = await call(rig, "/v1/events")

    objects = {each["type"]: each["data"]["object"] for each in told}
    assert set(objects) == {"payment_intent.succeeded", "charge.dispute.created"}
    intent, dispute = objects["payment_intent.succeeded"], objects["charge.dispute.created"]
    assert differences(intent, official["payment_intent"], stripe.PaymentIntent) == []
    assert differences(dispute, official["dispute"], stripe.Dispute) == []
    assert dispute["payment_intent"] == disputed["id"]
    assert all(differences(each, official["event"], stripe.Event) == [] for each in told)
    assert listed["data"] == list(reversed(told))


def test_a_missing_field_another_type_and_a_null_are_seen():
    official = {"id": "x", "amount": 1, "status": "succeeded", "description": "d"}
    said = {"amount": "1", "status": None, "description": None}

    assert differences(said, official, stripe.PaymentIntent) == [
        "id is missing",
        "amount is str, not int",
        "status is null",
    ]
