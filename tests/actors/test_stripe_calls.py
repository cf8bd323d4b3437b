"""What Stripe's adapter does that others do not: two steps, look-ups by id, pages of events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from provider_suite import SUM, approved, charge_call, follow_up
from sandbox_rig import APPROVED, CONFIRM, WAIT_S, Inbox, Rig, sandbox_rig
from stripe_rig import RETURN_URL, stripe_adapter

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.providers.base import (
    ChargeCall,
    EventPage,
    FeedingProvider,
    FollowUpCall,
    Instrument,
    ProviderEvent,
)
from paygate_actors.providers.stripe import StripeProvider
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.stripe_calls import SECRET_KEY

FIND_LAG_S = 2
DAY_S = 86_400
DISPUTED = "4000000000000259"


class Bank:
    """A sandbox, its clock, and the adapter that talks to it."""

    def __init__(self, rig: Rig, clock: ManualClock, provider: StripeProvider) -> None:
        self.rig = rig
        self.clock = clock
        self.provider = provider

    async def charged(self, key: str = "txn_1-1", **changes: Any) -> Approved:
        outcome = await self.provider.charge(charge_call(APPROVED, key, **changes))
        assert isinstance(outcome, Approved)
        return outcome

    async def operations(self) -> list[str]:
        return [call["operation"] for call in await self.rig.calls()]


@pytest.fixture
async def bank() -> AsyncIterator[Bank]:
    clock = ManualClock()
    async with sandbox_rig(clock=clock, find_lag_ms=FIND_LAG_S * 1_000) as rig:
        provider = stripe_adapter(rig.sandbox.url)
        yield Bank(rig, clock, provider)
        await provider.close()


def token_call(token: str, key: str = "txn_1-1") -> ChargeCall:
    instrument = Instrument(kind="card", provider_token=token)
    return ChargeCall(key=key, amount=SUM, instrument=instrument, capture=True)


def follow_up_of(intent_id: str, key: str) -> FollowUpCall:
    return FollowUpCall(key=key, provider_txn_id=intent_id, amount=SUM)


def code_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Declined)
    assert outcome.conclusive
    return outcome.code


async def test_the_adapter_lists_events_as_its_capabilities_promise(bank: Bank):
    feeding: FeedingProvider = bank.provider

    assert feeding.capabilities.feeds


async def test_an_unconfirmed_intent_is_found_by_its_key_once_it_is_indexed(bank: Bank):
    call = charge_call(APPROVED, "txn_1-1")
    prepared = await bank.provider.prepare(call)
    assert isinstance(prepared, Prepared)

    early = await bank.provider.find(call.key)
    bank.clock.advance(FIND_LAG_S)
    later = await bank.provider.find(call.key)

    assert early == Unknown(reason="not_visible")
    assert isinstance(later, Unknown)
    assert (later.reason, later.provider_txn_id) == ("not_visible", prepared.provider_txn_id)


async def test_a_confirmation_that_was_lost_on_its_way_is_sent_again_from_the_vault(bank: Bank):
    await bank.rig.fault("reset_before_effect")

    lost = await bank.provider.charge(charge_call(APPROVED, "txn_1-1"))
    again = await bank.provider.charge(charge_call(APPROVED, "txn_1-1", cvv=None))

    assert isinstance(lost, Unknown)
    # The card was handed over before, with its CVV; that proves nothing about the confirmation.
    assert isinstance(again, Approved)
    assert await bank.rig.effects() == [("charge", "txn_1-1", 1_000)]


@pytest.mark.parametrize("fault", ["error_500", "garbage", "reset_before_effect"])
async def test_trouble_while_preparing_is_not_known_and_moves_nothing(bank: Bank, fault: str):
    await bank.rig.fault(fault, operation="prepare")

    outcome = await bank.provider.charge(charge_call(APPROVED, "txn_1-1"))

    assert isinstance(outcome, Unknown)
    assert await bank.rig.effects() == []


async def test_the_index_lags_behind_the_charge_and_the_id_does_not(bank: Bank):
    prepared = await bank.provider.prepare(charge_call(APPROVED, "txn_1-1"))
    assert isinstance(prepared, Prepared)
    bank.clock.advance(FIND_LAG_S)
    charged = await bank.charged()

    by_key = await bank.provider.find("txn_1-1")
    by_id = await bank.provider.find("txn_1-1", prepared.provider_txn_id)

    assert isinstance(by_key, Unknown)
    assert by_key.reason == "not_visible"
    assert by_id == charged


async def test_a_capture_and_a_refund_are_found_beside_their_charge(bank: Bank):
    held = await bank.charged(capture=False)
    taken = await bank.provider.capture(follow_up(held, "txn_2-1", 700))
    back = await bank.provider.refund(follow_up(held, "txn_3-1", 250))
    assert isinstance(back, Approved)

    found = [await bank.provider.find(key, held.provider_txn_id) for key in ("txn_2-1", "txn_3-1")]

    assert found == [taken, back]
    assert await bank.provider.find("txn_3-1", back.provider_txn_id) == back
    assert await bank.provider.find("txn_9-1", held.provider_txn_id) == Unknown(
        reason="not_visible"
    )
    assert await bank.provider.find("txn_9-1", back.provider_txn_id) == Unknown(
        reason="not_visible"
    )


async def test_a_capture_is_found_by_its_key_alone(bank: Bank):
    held = await bank.charged(capture=False)
    taken = await bank.provider.capture(follow_up(held, "txn_2-1", 700))
    bank.clock.advance(FIND_LAG_S)

    assert await bank.provider.find("txn_2-1") == taken


async def test_a_key_with_quotes_finds_its_own_charge_and_no_other(bank: Bank):
    charged = await bank.charged(r"a'b\c")
    await bank.charged("other-1")
    bank.clock.advance(FIND_LAG_S)

    assert await bank.provider.find(r"a'b\c") == charged
    assert await bank.provider.find("' OR '") == Unknown(reason="not_visible")


async def test_a_key_that_answers_500_for_ever_is_looked_up_and_not_believed(bank: Bank):
    call = charge_call(APPROVED, "txn_1-1")
    await bank.rig.fault("error_500_stored")

    outcomes = [await bank.provider.charge(call) for _ in range(2)]
    bank.clock.advance(FIND_LAG_S)
    found = await bank.provider.find(call.key)

    assert [isinstance(each, Unknown) and each.reason for each in outcomes] == [
        "server_error",
        "server_error",
    ]
    assert isinstance(found, Unknown)
    assert found.provider_txn_id is not None


async def test_a_description_goes_with_the_charge(bank: Bank):
    call = charge_call(APPROVED, "txn_1-1")

    await bank.provider.charge(msgspec.structs.replace(call, description="Two & half a [box]"))

    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    url = f"{bank.rig.sandbox.url}/v1/payment_intents"
    async with aiohttp.request("GET", url, headers=headers) as response:
        (made,) = (await response.json())["data"]
    assert made["description"] == "Two & half a [box]"


async def test_a_provider_s_token_spares_the_card(bank: Bank):
    outcome = await bank.provider.charge(token_call("pm_card_visa"))

    assert isinstance(outcome, Approved)
    assert await bank.operations() == ["prepare", "charge"]


async def test_a_wallet_that_stripe_cannot_know_is_refused_before_any_money_call(bank: Bank):
    instrument = Instrument(kind="wallet", wallet_id="wallet_ok")
    call = ChargeCall(key="txn_1-1", amount=SUM, instrument=instrument, capture=True)

    outcome = await bank.provider.charge(call)

    assert code_of(outcome) == "payment_method_not_supported"
    assert await bank.rig.effects() == []


async def test_a_payer_is_sent_away_only_if_there_is_a_way_back(bank: Bank):
    homeless = stripe_adapter(bank.rig.sandbox.url, return_url=None)
    call = charge_call(CONFIRM, "txn_1-1")

    declined = await homeless.charge(call)
    named = await homeless.charge(
        msgspec.structs.replace(call, key="txn_2-1", return_url=RETURN_URL)
    )
    await homeless.close()

    assert code_of(declined) == "authentication_required"
    assert isinstance(named, ActionRequired)


@pytest.mark.parametrize(
    ("currency", "minor"), [("KWD", 1_001), ("MGA", 150), ("IQD", 1_000), ("XXX", 1)]
)
async def test_an_amount_that_stripe_cannot_represent_is_never_sent(
    bank: Bank, currency: str, minor: int
):
    amount = Money(minor, currency)
    call = msgspec.structs.replace(charge_call(APPROVED, "txn_1-1"), amount=amount)
    follow = FollowUpCall(key="txn_2-1", provider_txn_id="pi_1", amount=amount)

    prepared = await bank.provider.prepare(call)
    outcomes = [
        await bank.provider.charge(call),
        await bank.provider.capture(follow),
        await bank.provider.refund(follow),
    ]

    assert [code_of(outcome) for outcome in outcomes] == ["amount_not_supported"] * 3
    assert prepared == outcomes[0]
    assert not bank.provider.capabilities.takes(amount)
    assert await bank.rig.calls() == []


@pytest.mark.parametrize(
    ("currency", "minor"), [("ISK", 5), ("UGX", 5_000), ("MGA", 150_000), ("KWD", 1_230)]
)
async def test_an_odd_currency_comes_back_as_the_amount_that_went_out(
    bank: Bank, currency: str, minor: int
):
    amount = Money(minor, currency)
    call = msgspec.structs.replace(charge_call(APPROVED, "txn_1-1"), amount=amount)

    outcome = await bank.provider.charge(call)

    assert isinstance(outcome, Approved)
    assert outcome.amount == amount
    # The sandbox reads Stripe's units by a table of its own.
    assert await bank.rig.effects() == [("charge", "txn_1-1", minor)]


async def test_another_amount_than_ours_is_handed_on_as_it_was_said(bank: Bank):
    await bank.rig.fault("wrong_amount")

    assert (await bank.charged()).amount == Money(999, "USD")


async def test_what_the_state_forbids_is_a_conclusive_no_in_our_words(bank: Bank):
    paid = await bank.charged("txn_1-1")
    held = await bank.charged("txn_2-1", capture=False)
    gone = await bank.charged("txn_3-1", capture=False)
    await bank.provider.void(follow_up(gone, "txn_4-1", 1_000))
    await bank.provider.capture(follow_up(held, "txn_5-1", 400))
    await bank.provider.refund(follow_up(paid, "txn_6-1", 1_000))

    said = [
        code_of(await bank.provider.void(follow_up(paid, "txn_7-1", 1_000))),
        code_of(await bank.provider.capture(follow_up(held, "txn_7-2", 400))),
        code_of(await bank.provider.void(follow_up(gone, "txn_7-3", 1_000))),
        code_of(await bank.provider.capture(follow_up(gone, "txn_7-4", 1_000))),
        code_of(await bank.provider.refund(follow_up(paid, "txn_7-5", 1))),
        code_of(await bank.provider.refund(follow_up(held, "txn_7-6", 401))),
        code_of(await bank.provider.refund(follow_up(gone, "txn_7-7", 1))),
    ]

    assert said == [
        "already_settled",
        "already_captured",
        "charge_cancelled",
        "charge_cancelled",
        "charge_refunded",
        "amount_too_large",
        "charge_not_refundable",
    ]


async def test_a_decline_is_found_as_it_was_answered(bank: Bank):
    prepared = await bank.provider.prepare(charge_call("4000000000009995", "txn_1-1"))
    assert isinstance(prepared, Prepared)
    answered = await bank.provider.charge(charge_call("4000000000009995", "txn_1-1"))

    by_id = await bank.provider.find("txn_1-1", prepared.provider_txn_id)
    bank.clock.advance(FIND_LAG_S)

    assert code_of(answered) == "insufficient_funds"
    assert by_id == answered
    assert await bank.provider.find("txn_1-1") == answered


async def test_an_intent_that_was_never_approved_is_neither_captured_nor_refunded(bank: Bank):
    asked = await bank.provider.charge(charge_call(CONFIRM, "txn_1-1", capture=False))
    assert isinstance(asked, ActionRequired)
    declined = await bank.provider.charge(charge_call("4000000000000002", "txn_2-1", capture=False))
    assert isinstance(declined, Declined)
    assert declined.provider_txn_id is not None

    said = [
        code_of(await bank.provider.capture(follow_up_of(asked.provider_txn_id, "txn_3-1"))),
        code_of(await bank.provider.refund(follow_up_of(asked.provider_txn_id, "txn_3-2"))),
        code_of(await bank.provider.capture(follow_up_of(declined.provider_txn_id, "txn_3-3"))),
    ]
    given_up = await bank.provider.void(follow_up_of(declined.provider_txn_id, "txn_3-4"))

    assert said == ["not_confirmed", "charge_not_refundable", "charge_failed"]
    assert isinstance(given_up, Approved)
    assert await bank.rig.effects() == []


async def test_a_disputed_charge_is_not_refunded():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(clock=clock, gateway_url=inbox.url) as rig:
        provider = stripe_adapter(rig.sandbox.url)
        paid = await provider.charge(charge_call(DISPUTED, "txn_1-1"))
        assert isinstance(paid, Approved)
        clock.advance(1)
        await inbox.wait_for(2)

        outcome = await provider.refund(follow_up(paid, "txn_2-1", 1))
        await provider.close()

    assert code_of(outcome) == "charge_disputed"


async def test_a_second_capture_waits_for_the_first(bank: Bank):
    held = await bank.charged(capture=False)
    await bank.rig.fault("pending", operation="capture", delayMs=60_000)
    first = await bank.provider.capture(follow_up(held, "txn_2-1", 400))

    second = await bank.provider.capture(follow_up(held, "txn_3-1", 400))

    # The intent still stands to be captured: that says nothing about a capture under way.
    assert isinstance(first, Unknown)
    assert isinstance(second, Declined)
    assert (second.code, second.conclusive) == ("operation_pending", False)


async def test_an_intent_that_is_not_there_proves_nothing(bank: Bank):
    found = await bank.provider.find("txn_1-1", "pi_none")
    refund = await bank.provider.refund(follow_up_of("pi_none", "txn_2-1"))

    assert found == Unknown(reason="not_visible")
    assert isinstance(refund, Declined)
    assert not refund.conclusive


async def test_a_refund_that_the_bank_declines_is_a_conclusive_no(bank: Bank):
    paid = await bank.charged()
    await bank.rig.fault("decline", operation="refund")

    outcome = await bank.provider.refund(follow_up(paid, "txn_2-1", 250))

    assert code_of(outcome) == "refund_failed"
    assert len(await bank.rig.effects()) == 1


async def test_a_capture_that_the_bank_declines_is_a_conclusive_no(bank: Bank):
    held = await bank.charged(capture=False)
    await bank.rig.fault("decline", operation="capture")

    outcome = await bank.provider.capture(follow_up(held, "txn_2-1", 1_000))

    assert code_of(outcome) == "card_declined"


async def test_more_than_was_held_is_not_captured(bank: Bank):
    held = await bank.charged(capture=False)

    outcome = await bank.provider.capture(follow_up(held, "txn_2-1", 1_001))

    assert code_of(outcome) == "amount_too_large"
    assert len(await bank.rig.effects()) == 1


async def test_a_hold_that_ran_out_says_so(bank: Bank):
    held = await bank.charged(capture=False)
    bank.clock.advance(8 * DAY_S)
    async with asyncio.timeout(WAIT_S):
        while isinstance(await bank.provider.find("txn_1-1", held.provider_txn_id), Approved):
            pass

    outcome = await bank.provider.capture(follow_up(held, "txn_2-1", 1_000))

    assert code_of(outcome) == "authorization_expired"


async def test_a_call_that_takes_its_time_blocks_the_next_and_proves_nothing(bank: Bank):
    await bank.rig.fault("pending", delayMs=60_000)
    outcome = await bank.provider.charge(charge_call(APPROVED, "txn_1-1"))
    assert isinstance(outcome, Pending)
    assert outcome.provider_txn_id is not None

    void = await bank.provider.void(
        FollowUpCall(key="txn_2-1", provider_txn_id=outcome.provider_txn_id, amount=SUM)
    )

    assert isinstance(void, Declined)
    assert (void.code, void.conclusive) == ("operation_pending", False)


async def test_missed_webhooks_are_read_page_by_page():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        provider = stripe_adapter(rig.sandbox.url)
        await rig.fault("webhook_drop", count=1_000_000)
        for number in range(52):
            await approved_token(provider, f"txn_{number}-1")

        first = await provider.events(since_us=0)
        assert isinstance(first, EventPage)
        rest = await provider.events(since_us=0, cursor=first.next_cursor)
        assert isinstance(rest, EventPage)
        await provider.close()

    told = [event.reference for event in (*first.events, *rest.events)]
    assert told == [f"txn_{number}-1" for number in reversed(range(52))]
    assert (len(first.events), rest.next_cursor, first.unreadable) == (50, None, 0)


async def test_events_since_a_moment_leave_out_what_was_before_it(bank: Bank):
    await bank.charged("txn_1-1")
    bank.clock.advance(100)
    since_us = bank.clock.now_us()
    await bank.charged("txn_2-1")

    page = await bank.provider.events(since_us=since_us)

    assert isinstance(page, EventPage)
    assert [event.reference for event in page.events] == ["txn_2-1"]


async def test_events_that_cannot_be_had_are_not_known(bank: Bank):
    await bank.rig.fault("error_500", operation="find")

    page = await bank.provider.events(since_us=0)

    assert isinstance(page, Unknown)


async def approved_token(provider: StripeProvider, key: str) -> None:
    assert isinstance(await provider.charge(token_call("pm_card_visa", key)), Approved)


class Desk:
    """A sandbox that tells a gateway's stand-in what happens, and the adapter that reads it."""

    def __init__(self, rig: Rig, clock: ManualClock, inbox: Inbox) -> None:
        self.rig = rig
        self.clock = clock
        self.inbox = inbox
        self.provider = stripe_adapter(rig.sandbox.url)

    async def heard(self, count: int) -> list[ProviderEvent]:
        """Verify and read the first `count` webhooks."""
        await self.inbox.wait_for(count)
        events: list[ProviderEvent] = []
        for headers, body in self.inbox.received[:count]:
            self.provider.verify(headers, body, now_us=self.clock.now_us())
            events.extend(self.provider.parse(headers, body))
        return events


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(clock=clock, gateway_url=inbox.url) as rig:
        desk = Desk(rig, clock, inbox)
        yield desk
        await desk.provider.close()


async def charge_at(desk: Desk, number: str, **changes: Any) -> Outcome:
    return await desk.provider.charge(charge_call(number, "txn_1-1", **changes))


async def test_each_movement_is_told_under_the_key_that_made_it(desk: Desk):
    held = await charge_at(desk, APPROVED, capture=False)
    assert isinstance(held, Approved)
    await desk.heard(1)
    await desk.provider.capture(follow_up(held, "txn_2-1", 700))
    await desk.heard(2)
    back = await desk.provider.refund(follow_up(held, "txn_3-1", 250))
    assert isinstance(back, Approved)

    events = await desk.heard(3)

    intent = held.provider_txn_id
    assert [
        (each.event_type, each.provider_txn_id, each.reference, each.amount) for each in events
    ] == [
        ("payment.authorized", intent, "txn_1-1", SUM),
        ("payment.succeeded", intent, "txn_2-1", Money(700, "USD")),
        ("refund.succeeded", back.provider_txn_id, "txn_3-1", Money(250, "USD")),
    ]
    assert events[2].parent_txn_id == intent
    assert len({each.event_id for each in events}) == 3


async def test_a_decline_and_a_cancellation_are_told_as_the_answer_told_them(desk: Desk):
    declined = await charge_at(desk, "4000000000000119")
    assert isinstance(declined, Declined)
    await desk.heard(1)
    held = await approved(
        # `approved` needs no more of a stage than its provider.
        desk,  # pyright: ignore[reportArgumentType]
        charge_call(APPROVED, "txn_2-1", capture=False),
    )
    await desk.heard(2)
    await desk.provider.void(follow_up(held, "txn_3-1", 1_000))

    failed, _, cancelled = await desk.heard(3)

    assert (failed.event_type, failed.reason, failed.retryable) == (
        "payment.failed",
        declined.code,
        declined.retryable,
    )
    assert (declined.code, declined.retryable) == ("processing_error", True)
    assert (cancelled.event_type, cancelled.reference) == ("payment.cancelled", "txn_2-1")


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_dispute_is_told_from_its_opening_to_its_end(desk: Desk, outcome: str):
    paid = await charge_at(desk, DISPUTED)
    assert isinstance(paid, Approved)
    await desk.heard(1)
    desk.clock.advance(1)
    await desk.heard(2)
    await desk.rig.post(f"/disputes/{paid.provider_txn_id}/close", {"outcome": outcome})

    _, opened, closed = await desk.heard(3)

    assert (opened.event_type, opened.parent_txn_id, opened.amount) == (
        "dispute.opened",
        paid.provider_txn_id,
        SUM,
    )
    assert (closed.event_type, closed.dispute_won) == ("dispute.closed", outcome == "won")
    assert opened.provider_txn_id == closed.provider_txn_id


async def test_a_refund_of_stripe_s_own_is_told_without_a_reference(desk: Desk):
    paid = await charge_at(desk, APPROVED)
    assert isinstance(paid, Approved)
    await desk.heard(1)
    await desk.rig.post("/returns", {"providerTxnID": paid.provider_txn_id, "amountMinor": 300})

    _, returned = await desk.heard(2)

    assert (returned.event_type, returned.reference, returned.amount) == (
        "refund.succeeded",
        None,
        Money(300, "USD"),
    )
    assert returned.parent_txn_id == paid.provider_txn_id
