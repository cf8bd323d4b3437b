"""A provider's events, fetched where no webhook brings them: when, how much, and each once."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from bank_rig import AMOUNT, BankRig, bank_rig
from telling_rig import TellingBank, send

from paygate_actors import inbox as inbox_module
from paygate_actors.breaker import OPEN_S, WINDOW
from paygate_actors.config import Limits
from paygate_actors.fetching import BACK_US, FIRST_BACK_US, OVERLAP_US, PAGES_MAX, PAUSE_S_MAX
from paygate_actors.outcomes import ActionRequired, Outcome, Unknown
from paygate_actors.providers.base import EventPage, ProviderEvent

FETCH_S = 60.0
BASELINE_S = 900.0
# A pause with its jitter, and what it takes to come home.
SOON_S = FETCH_S * 1.3


@pytest.fixture
def bank() -> TellingBank:
    bank = TellingBank()
    bank.capabilities = msgspec.structs.replace(bank.capabilities, feeds=True, fetch_s=FETCH_S)
    return bank


@pytest.fixture
async def rig(tmp_path: Path, bank: TellingBank) -> AsyncIterator[BankRig]:
    limits = Limits(events_baseline_s=BASELINE_S)
    async with bank_rig(tmp_path, bank=bank, limits=limits) as rig:
        yield rig
        assert rig.fatal == []


def disputed(rig: BankRig, event_id: str, charge_id: str) -> ProviderEvent:
    return ProviderEvent(
        event_id=event_id,
        event_type="dispute.opened",
        provider_txn_id=f"dp_{event_id}",
        parent_txn_id=charge_id,
        amount=AMOUNT,
        at_us=rig.clock.now_us(),
    )


def succeeded(rig: BankRig, event_id: str, charge_id: str) -> ProviderEvent:
    return ProviderEvent(
        event_id=event_id,
        event_type="payment.succeeded",
        provider_txn_id=charge_id,
        amount=AMOUNT,
        at_us=rig.clock.now_us(),
    )


def other(rig: BankRig, event_id: str) -> ProviderEvent:
    return ProviderEvent(
        event_id=event_id, event_type="payout.paid", provider_txn_id="po", at_us=rig.clock.now_us()
    )


def confirmation(key: str) -> Outcome:
    """The payer has to confirm, and has years to do so."""
    return ActionRequired(
        provider_txn_id=f"ch_{key}", url="https://bank.example", expires_at_us=2**51
    )


async def paid(rig: BankRig) -> tuple[str, str]:
    payment_id = await rig.pay()
    view = await rig.until_status(payment_id, "success")
    assert view.provider_txn_id is not None
    return payment_id, view.provider_txn_id


def fetched(rig: BankRig) -> float:
    return rig.gauge('paygate_provider_events_fetched_total{provider="bank"}')


def age_s(rig: BankRig) -> float:
    return rig.gauge('paygate_provider_events_age_seconds{provider="bank"}')


async def test_a_dispute_that_no_webhook_told_is_fetched_and_applied(
    rig: BankRig, bank: TellingBank
):
    payment_id, charge_id = await paid(rig)
    bank.listed.append(disputed(rig, "e1", charge_id))

    await rig.pass_time(BASELINE_S + SOON_S)

    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor
    assert fetched(rig) == 1


async def test_what_a_webhook_told_and_what_is_fetched_is_applied_once(
    rig: BankRig, bank: TellingBank
):
    payment_id, charge_id = await paid(rig)
    event = disputed(rig, "e1", charge_id)
    bank.listed.append(event)
    await send(rig, event)

    await rig.pass_time(3 * BASELINE_S)
    await send(rig, event)

    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor
    assert (fetched(rig), rig.gauge("paygate_webhooks_received_total")) == (0, 1)


async def test_nothing_open_is_asked_about_now_and_then_alone(rig: BankRig, bank: TellingBank):
    await paid(rig)
    await rig.pass_time(SOON_S)
    before = len(bank.asked_for_events)

    await rig.pass_time(4 * BASELINE_S)

    assert before == 1  # after a start, whatever there was before
    assert 3 <= len(bank.asked_for_events) - before <= 4


async def test_something_open_is_asked_about_often(rig: BankRig, bank: TellingBank):
    bank.says["charge"] = confirmation
    await rig.pay()
    await rig.pass_time(2 * SOON_S)
    before = len(bank.asked_for_events)

    await rig.pass_time(10 * FETCH_S)

    assert 7 <= len(bank.asked_for_events) - before <= 10


async def test_what_webhooks_settle_in_time_is_no_reason_to_ask(rig: BankRig, bank: TellingBank):
    bank.says["charge"] = confirmation
    await rig.pass_time(SOON_S)
    before = len(bank.asked_for_events)

    for number in range(20):  # half a minute each: less than the baseline in all
        payment_id = await rig.pay()
        waiting = await rig.until_status(payment_id, "requires_action")
        assert waiting.provider_txn_id is not None
        await rig.pass_time(20)
        await send(rig, succeeded(rig, f"e{number}", waiting.provider_txn_id))
        await rig.until_status(payment_id, "success")
        await rig.pass_time(10)

    assert len(bank.asked_for_events) == before


async def test_what_is_open_is_settled_by_what_was_fetched(rig: BankRig, bank: TellingBank):
    bank.says["charge"] = confirmation
    payment_id = await rig.pay()
    waiting = await rig.until_status(payment_id, "requires_action")
    assert waiting.provider_txn_id is not None
    bank.listed.append(succeeded(rig, "e1", waiting.provider_txn_id))

    await rig.pass_time(2 * SOON_S)

    assert (await rig.view(payment_id)).status == "success"


async def test_each_round_begins_where_the_last_one_ended_with_an_overlap(
    rig: BankRig, bank: TellingBank
):
    started_us = rig.clock.now_us()
    await rig.pass_time(SOON_S)
    first_us = rig.clock.now_us()
    await rig.pass_time(BASELINE_S + SOON_S)

    (since_first, _), (since_next, _) = bank.asked_for_events[:2]

    assert started_us <= since_first + FIRST_BACK_US + OVERLAP_US <= first_us
    assert started_us <= since_next + OVERLAP_US <= first_us


async def test_how_far_the_list_was_read_survives_a_restart(rig: BankRig, bank: TellingBank):
    await rig.pass_time(SOON_S)
    read_us = rig.clock.now_us()
    await rig.crash()
    await rig.start()

    await rig.pass_time(SOON_S)

    since_us, _ = bank.asked_for_events[-1]
    assert since_us + OVERLAP_US > read_us - SOON_S * 1_000_000
    assert len(bank.asked_for_events) == 2


async def test_nothing_older_than_providers_keep_is_asked_for(rig: BankRig, bank: TellingBank):
    await rig.pass_time(SOON_S)
    await rig.crash()
    rig.clock.advance(2 * BACK_US / 1_000_000)
    await rig.start()

    await rig.pass_time(SOON_S)

    since_us, _ = bank.asked_for_events[-1]
    assert rig.clock.now_us() - BACK_US - SOON_S * 1_000_000 <= since_us


async def test_a_long_list_is_read_in_bounded_rounds_and_to_its_end(
    rig: BankRig, bank: TellingBank
):
    bank.page = 1
    bank.listed += [other(rig, f"e{n}") for n in range(PAGES_MAX + 5)]

    await rig.pass_time(SOON_S)
    first_round = len(bank.asked_for_events)
    await rig.crash()  # in the middle: the rest is not forgotten
    await rig.start()
    await rig.pass_time(2 * BASELINE_S)

    assert first_round == PAGES_MAX
    assert bank.asked_for_events[PAGES_MAX][1] == str(PAGES_MAX)
    items = await rig.store.waiting("webhook", limit=1_000)
    assert len(items) == PAGES_MAX + 5


async def test_failures_are_waited_out_longer_and_longer(rig: BankRig, bank: TellingBank):
    bank.says["charge"] = confirmation
    await rig.pay()
    bank.answers = [Unknown(reason="timeout")] * 100

    await rig.pass_time(64 * FETCH_S)
    failed = rig.gauge('paygate_provider_events_failed_total{provider="bank"}')
    bank.answers.clear()
    await rig.pass_time(PAUSE_S_MAX * 1.3)
    recovered = len(bank.asked_for_events)
    await rig.pass_time(10 * FETCH_S)

    # After 1, 2, 4, 8, 15, 15 and 15 minutes, and up to a fifth more each: not one a minute.
    assert 6 <= failed <= 8
    assert len(bank.asked_for_events) - recovered >= 7
    assert age_s(rig) < SOON_S


async def test_an_adapter_that_fails_is_waited_out_as_a_provider_that_does(
    rig: BankRig, bank: TellingBank
):
    payment_id, charge_id = await paid(rig)
    bank.listed.append(disputed(rig, "e1", charge_id))
    bank.answers = [KeyError("next"), RecursionError()]

    await rig.pass_time(10 * FETCH_S)

    assert rig.gauge('paygate_provider_events_failed_total{provider="bank"}') == 2
    assert rig.gauge("paygate_tasks_failed_total") == 0
    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor


async def test_what_finds_no_place_is_fetched_by_the_next_round(
    rig: BankRig, bank: TellingBank, monkeypatch: pytest.MonkeyPatch
):
    payment_id, charge_id = await paid(rig)
    # So old that no overlap brings it again, were the first round taken for a good one.
    old_us = rig.clock.now_us() - 10 * OVERLAP_US
    bank.listed.append(msgspec.structs.replace(disputed(rig, "e1", charge_id), at_us=old_us))
    with monkeypatch.context() as full:
        full.setattr(inbox_module, "BUSY_MAX", 0)
        await rig.pass_time(SOON_S)
    asked = len(bank.asked_for_events)

    await rig.pass_time(3 * SOON_S)

    assert asked == 1
    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor


async def test_a_cursor_that_is_not_taken_any_more_begins_the_round_anew(
    rig: BankRig, bank: TellingBank
):
    bank.page = 1
    bank.listed += [other(rig, f"e{n}") for n in range(PAGES_MAX + 5)]
    await rig.pass_time(SOON_S)
    bank.answers = [Unknown(reason="garbage")]

    await rig.pass_time(3 * BASELINE_S)

    cursors = [cursor for _, cursor in bank.asked_for_events]
    assert cursors[PAGES_MAX] == str(PAGES_MAX)  # refused
    assert cursors[PAGES_MAX + 1] is None
    assert len(await rig.store.waiting("webhook", limit=1_000)) == PAGES_MAX + 5


async def test_events_that_cannot_be_read_hold_up_nothing(rig: BankRig, bank: TellingBank):
    payment_id, charge_id = await paid(rig)
    page = EventPage(events=(disputed(rig, "e1", charge_id),), unreadable=3)
    bank.answers = [page]

    await rig.pass_time(SOON_S)

    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor
    assert age_s(rig) < SOON_S


async def test_what_names_no_transaction_is_not_taken_from_the_list(
    rig: BankRig, bank: TellingBank
):
    event = msgspec.structs.replace(other(rig, "e1"), provider_txn_id="")
    bank.answers = [EventPage(events=(event,))]

    await rig.pass_time(SOON_S)

    assert (fetched(rig), rig.gauge("paygate_webhooks_received_total")) == (0, 0)
    assert await send(rig, event) is None  # as a webhook it is new


async def test_a_full_disk_is_waited_out_and_nothing_is_passed_over(
    rig: BankRig, bank: TellingBank
):
    payment_id, charge_id = await paid(rig)
    bank.listed.append(disputed(rig, "e1", charge_id))
    rig.store.full = True
    await rig.pass_time(SOON_S)
    rig.store.full = False

    await rig.pass_time(3 * SOON_S)

    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor
    assert rig.gauge('paygate_provider_events_failed_total{provider="bank"}') == 1


async def test_a_provider_whose_circuit_is_open_is_left_alone(rig: BankRig, bank: TellingBank):
    desk = rig.gateway.desk.get("bank")
    assert desk is not None
    circuit = desk.health.circuits["find"]
    for _ in range(WINDOW):
        circuit.record(well=False, seconds=1.0)

    for _ in range(round(3 * SOON_S)):
        circuit.record(well=False, seconds=1.0)  # so that it stays open
        await rig.pass_time(1, step_s=1)
    asked_while_open = list(bank.asked_for_events)
    await rig.pass_time(OPEN_S + SOON_S)

    assert asked_while_open == []
    assert bank.asked_for_events


async def test_a_gateway_that_drains_asks_no_more(rig: BankRig, bank: TellingBank):
    rig.gateway.drain()

    await rig.pass_time(2 * BASELINE_S)

    assert bank.asked_for_events == []


async def test_a_provider_without_a_list_is_never_asked(tmp_path: Path):
    bank = TellingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        await rig.pass_time(BASELINE_S * 2)

    assert bank.asked_for_events == []
