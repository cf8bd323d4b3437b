"""What PayPal's adapter asks for: who started a payment, with what, and what becomes of orders."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from paypal_rig import RETURN_URL, paypal_adapter
from provider_suite import SUM, charge_call, follow_up
from sandbox_rig import APPROVED, CONFIRM, Rig, sandbox_rig

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Prepared,
    Unknown,
)
from paygate_actors.providers.base import ChargeCall, EventPage, FollowUpCall, Instrument
from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.paypal_bodies import (
    Source,
    confirm_body,
    order_body,
    source_of,
)
from paygate_engine.clock import ManualClock

WALLET = ChargeCall(
    key="txn_1-1",
    amount=SUM,
    instrument=Instrument(kind="wallet", wallet_id="ada@example.com"),
    capture=True,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def rig(clock: ManualClock) -> AsyncIterator[Rig]:
    async with sandbox_rig(clock=clock) as rig:
        yield rig


@pytest.fixture
async def provider(rig: Rig) -> AsyncIterator[PayPalProvider]:
    provider = paypal_adapter(rig.sandbox.url)
    yield provider
    await provider.close()


def called(number: str = APPROVED, *, cvv: str | None = "123", **changes: Any) -> ChargeCall:
    return msgspec.structs.replace(charge_call(number, "txn_1-1", cvv=cvv), **changes)


def paying(call: ChargeCall, return_url: str | None = RETURN_URL) -> dict[str, Any]:
    """What pays, as it is written for this call."""
    source = source_of(call, return_url=return_url)
    assert source is not None
    return json.loads(confirm_body(source)).get("payment_source", {})


def test_a_card_is_written_in_the_confirmation_alone():
    call = called(description="A book")
    source = source_of(call, return_url=RETURN_URL)
    assert isinstance(source, Source)

    first = order_body(call, source)
    second = json.loads(confirm_body(source))["payment_source"]["card"]

    assert APPROVED not in first.decode()
    assert APPROVED not in repr(source)
    assert (second["number"], second["expiry"], second["security_code"]) == (
        APPROVED,
        "2040-12",
        "123",
    )
    assert json.loads(first) == {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "reference_id": "default",
                "custom_id": "txn_1-1",
                "invoice_id": "txn_1-1",
                "amount": {"currency_code": "USD", "value": "10.00"},
                "description": "A book",
            }
        ],
    }


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({}, None),
        (
            {"store": True},
            {"payment_initiator": "CUSTOMER", "payment_type": "ONE_TIME", "usage": "FIRST"},
        ),
        (
            {"store": True, "reason": "recurring"},
            {"payment_initiator": "CUSTOMER", "payment_type": "RECURRING", "usage": "FIRST"},
        ),
        (
            {"initiator": "merchant", "reason": "unscheduled"},
            {
                "payment_initiator": "MERCHANT",
                "payment_type": "UNSCHEDULED",
                "usage": "SUBSEQUENT",
            },
        ),
        (
            {"initiator": "merchant", "reason": "installment", "network_txn_id": "123456789"},
            {
                "payment_initiator": "MERCHANT",
                "payment_type": "RECURRING",
                "usage": "SUBSEQUENT",
                "previous_network_transaction_reference": {"id": "123456789"},
            },
        ),
    ],
)
def test_who_started_a_payment_and_why_is_told(
    changes: dict[str, Any], stored: dict[str, Any] | None
):
    assert paying(called(**changes))["card"].get("stored_credential") == stored


def test_a_payer_who_is_not_there_is_asked_for_nothing():
    card = paying(called(initiator="merchant", reason="unscheduled"))["card"]

    assert "security_code" not in card
    assert "attributes" not in card
    assert "experience_context" not in card


@pytest.mark.parametrize(
    ("demanded", "method"), [("required", "SCA_ALWAYS"), ("automatic", "SCA_WHEN_REQUIRED")]
)
def test_a_step_up_that_is_demanded_is_asked_for(demanded: str, method: str):
    card = paying(called(three_d_secure=demanded))["card"]

    assert card["attributes"]["verification"]["method"] == method


@pytest.mark.parametrize(
    ("token", "source"),
    [
        ("8kk8451t", {"card": {"vault_id": "8kk8451t"}}),
        ("paypal:8kk8451t", {"paypal": {"vault_id": "8kk8451t"}}),
        ("B-7TE11223", {"token": {"id": "B-7TE11223", "type": "BILLING_AGREEMENT"}}),
    ],
)
def test_what_paypal_keeps_is_named_by_its_token(token: str, source: dict[str, Any]):
    call = called(instrument=Instrument(kind="card", provider_token=token))

    assert paying(call) == source


async def test_what_paypal_does_not_take_makes_no_request(provider: PayPalProvider, rig: Rig):
    nothing = [
        called(instrument=Instrument(kind="card")),
        called(instrument=Instrument(kind="card", provider_token="pm_../x")),
        msgspec.structs.replace(WALLET, initiator="merchant", reason="recurring"),
    ]
    too_much = called(amount=Money(150, "HUF"))

    codes = [await provider.charge(call) for call in [*nothing, too_much]]
    without_way_back = await paypal_adapter(rig.sandbox.url, return_url=None).charge(WALLET)

    assert [each.code for each in codes if isinstance(each, Declined)] == [
        *["payment_method_not_supported"] * 3,
        "amount_not_supported",
    ]
    assert isinstance(without_way_back, Declined)
    assert await rig.calls() == []


async def test_a_credential_that_is_kept_is_named_by_the_network_and_used_again(
    provider: PayPalProvider,
):
    first = await provider.charge(called(store=True))
    assert isinstance(first, Approved)
    assert first.network_txn_id

    alone = await provider.charge(
        called(CONFIRM, cvv=None, key="txn_2-1", initiator="merchant", reason="unscheduled")
    )
    following = await provider.charge(
        called(
            CONFIRM,
            cvv=None,
            key="txn_3-1",
            initiator="merchant",
            reason="unscheduled",
            network_txn_id=first.network_txn_id,
        )
    )

    assert isinstance(alone, Declined)
    assert alone.code == "authentication_required"
    assert isinstance(following, Approved)


async def test_a_wallet_s_payer_approves_and_the_same_call_takes_the_money(
    provider: PayPalProvider, rig: Rig
):
    asked = await provider.charge(WALLET)
    assert isinstance(asked, ActionRequired)
    named = msgspec.structs.replace(WALLET, prepared_id=asked.provider_txn_id)
    still = await provider.charge(named)

    await rig.post(f"/actions/{asked.provider_txn_id}/complete")
    seen = await provider.find(WALLET.key, asked.provider_txn_id)
    before = await rig.effects()
    taken = await provider.charge(named)
    again = await provider.charge(named)

    assert still == asked
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.provider_txn_id) == ("not_visible", asked.provider_txn_id)
    assert before == []
    assert taken == again
    assert isinstance(taken, Approved)
    assert await rig.effects() == [("charge", "txn_1-1", 1_000)]


async def test_a_card_s_payer_approves_and_the_same_call_takes_the_money(rig: Rig):
    call = called(CONFIRM)
    before, after = [paypal_adapter(rig.sandbox.url) for _ in range(2)]
    asked = await before.charge(call)
    assert isinstance(asked, ActionRequired)
    await rig.post(f"/actions/{asked.provider_txn_id}/complete")

    # Another process, which does not remember that the payer was sent away.
    taken = await after.charge(msgspec.structs.replace(call, prepared_id=asked.provider_txn_id))
    for each in (before, after):
        await each.close()

    assert isinstance(taken, Approved)
    assert taken.authentication == "challenge"
    assert await rig.effects() == [("charge", "txn_1-1", 1_000)]


async def test_a_payer_who_could_not_come_back_is_declined_and_not_sent_away(rig: Rig):
    provider = paypal_adapter(rig.sandbox.url, return_url=None)

    outcome = await provider.charge(called(CONFIRM))
    await provider.close()

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("authentication_required", True)


async def test_a_card_s_payer_who_does_not_pass_is_a_conclusive_no(
    provider: PayPalProvider, rig: Rig
):
    call = called(CONFIRM)
    asked = await provider.charge(call)
    assert isinstance(asked, ActionRequired)
    await rig.post(f"/actions/{asked.provider_txn_id}/fail")

    outcome = await provider.charge(
        msgspec.structs.replace(call, prepared_id=asked.provider_txn_id)
    )

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("authentication_failed", True)


async def test_an_order_is_paid_for_once_even_under_another_request_id(
    provider: PayPalProvider, rig: Rig, clock: ManualClock
):
    """Six hours later PayPal has forgotten the request, and not the order."""
    call = called()
    prepared = await provider.prepare(call)
    assert isinstance(prepared, Prepared)
    named = msgspec.structs.replace(call, prepared_id=prepared.provider_txn_id)
    first = await provider.charge(named)
    clock.advance(7 * 3_600)

    again = await provider.charge(named)

    assert again == first
    assert len(await rig.effects()) == 1


async def test_an_order_that_ran_out_can_never_be_paid_for(
    provider: PayPalProvider, clock: ManualClock
):
    call = called()
    prepared = await provider.prepare(call)
    assert isinstance(prepared, Prepared)
    clock.advance(3 * 3_600)

    outcome = await provider.charge(
        msgspec.structs.replace(call, prepared_id=prepared.provider_txn_id)
    )

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("payment_expired", True)


async def test_an_order_that_was_given_up_cannot_be_paid_for_by_a_request_of_before(
    provider: PayPalProvider, rig: Rig
):
    """The fence: both intents, and a payer who comes too late."""
    for number, capture in enumerate((True, False)):
        call = called(key=f"txn_{number}-1", capture=capture)
        prepared = await provider.prepare(call)
        assert isinstance(prepared, Prepared)
        named = prepared.provider_txn_id

        given_up = [await provider.void(void_of(named)) for _ in range(2)]
        late: Outcome = await provider.charge(msgspec.structs.replace(call, prepared_id=named))

        assert given_up == [Approved(provider_txn_id=named, amount=SUM)] * 2
        assert isinstance(late, Declined)
        assert (late.code, late.conclusive) == ("cancelled", True)
    assert await rig.effects() == []


async def test_a_payer_cannot_approve_what_was_given_up(provider: PayPalProvider, rig: Rig):
    asked = await provider.charge(WALLET)
    assert isinstance(asked, ActionRequired)

    await provider.void(void_of(asked.provider_txn_id))
    status, _ = await rig.post(f"/actions/{asked.provider_txn_id}/complete")

    assert status == 409
    found = await provider.find(WALLET.key, asked.provider_txn_id)
    assert isinstance(found, Declined)
    assert found.code == "cancelled"


async def test_the_same_invoice_is_not_paid_twice(provider: PayPalProvider, rig: Rig):
    """A second net: an order of the same key that a forgotten request id made anew."""
    await provider.charge(called())
    clock = rig.clock
    assert isinstance(clock, ManualClock)
    clock.advance(7 * 3_600)

    outcome = await provider.charge(called())

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "key_known"
    assert len(await rig.effects()) == 1


async def test_refunds_are_made_once_under_one_key_and_found_by_it(
    provider: PayPalProvider, rig: Rig
):
    charged = await provider.charge(called())
    assert isinstance(charged, Approved)
    await rig.fault("reset_after_effect", operation="refund")
    call = follow_up(charged, "txn_2-1", 250)

    lost = await provider.refund(call)
    found = await provider.find("txn_2-1", charged.provider_txn_id)
    again = await provider.refund(call)

    assert isinstance(lost, Unknown)
    assert isinstance(found, Approved)
    assert found == again
    assert await provider.find("txn_2-1", found.provider_txn_id) == found
    assert [operation for operation, _, _ in await rig.effects()] == ["charge", "refund"]


async def test_events_that_were_missed_are_listed_page_by_page(
    provider: PayPalProvider, clock: ManualClock
):
    for number in range(103):
        await provider.charge(called(key=f"txn_{number}-1"))
    since_us = clock.now_us() - 1

    first = await provider.events(since_us=since_us)
    assert isinstance(first, EventPage)
    rest = await provider.events(since_us=since_us, cursor=first.next_cursor)

    assert isinstance(rest, EventPage)
    told = [each.reference for each in (*first.events, *rest.events)]
    assert told == [f"txn_{number}-1" for number in reversed(range(103))]
    assert (len(first.events), rest.next_cursor, first.unreadable) == (100, None, 0)
    assert isinstance(await provider.events(since_us=clock.now_us() + 1), EventPage)


def void_of(order_id: str) -> FollowUpCall:
    return FollowUpCall(key="txn_9-1", provider_txn_id=order_id, amount=SUM)
