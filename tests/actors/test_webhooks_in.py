"""Webhooks from a provider, on their way in: batches, bytes, accounts, keys, and too many."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from bank_rig import AMOUNT, PATIENCE_S, BankRig, bank_rig
from telling_rig import GOOD, SIGNATURE, TellingBank, body_of, send, unavailable

from paygate_actors import inbox as inbox_module
from paygate_actors import parking
from paygate_actors.inbox import SWEEP_S
from paygate_actors.messages import Refusal
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved
from paygate_actors.payment_messages import Look, Watched
from paygate_actors.projection import INBOX, RAW
from paygate_actors.providers.base import EVENTS_A_BODY_MAX, ProviderEvent
from paygate_actors.raw_webhooks import KEEP_US, RawWebhook, read_raw


@pytest.fixture
def bank() -> TellingBank:
    return TellingBank()


@pytest.fixture
async def rig(tmp_path: Path, bank: TellingBank) -> AsyncIterator[BankRig]:
    async with bank_rig(tmp_path, bank=bank) as rig:
        yield rig
        assert rig.fatal == []


def event(
    event_id: str, event_type: str = "payment.succeeded", txn: str = "ch_none"
) -> ProviderEvent:
    return ProviderEvent(
        event_id=event_id, event_type=event_type, provider_txn_id=txn, amount=AMOUNT, at_us=5
    )


def refunded(event_id: str, charge_id: str, minor: int) -> ProviderEvent:
    """A refund that the bank made by itself."""
    return ProviderEvent(
        event_id=event_id,
        event_type="refund.succeeded",
        provider_txn_id=f"re_{event_id}",
        parent_txn_id=charge_id,
        amount=Money(minor, AMOUNT.currency),
        at_us=5,
    )


async def paid(rig: BankRig) -> tuple[str, str]:
    """A payment that succeeded: its id, and the charge's."""
    payment_id = await rig.pay()
    view = await rig.until_status(payment_id, "success")
    assert view.provider_txn_id is not None
    return payment_id, view.provider_txn_id


async def raws(rig: BankRig) -> list[RawWebhook]:
    return [read_raw(item) for item in await rig.store.waiting(RAW)]


async def stored(rig: BankRig) -> list[str]:
    """Ids of events that wait."""
    return [item.id for item in await rig.store.waiting(INBOX)]


async def applied(rig: BankRig) -> None:
    """Wait until nothing that came waits any more."""
    async with asyncio.timeout(PATIENCE_S):
        while await stored(rig):  # noqa: ASYNC110  # each look is a question
            await asyncio.sleep(0)


# ---------------------------------------------------------------------- batches


async def test_all_events_of_a_body_are_applied_each_once(rig: BankRig):
    (one, charge_one), (two, charge_two) = await paid(rig), await paid(rig)
    batch = (refunded("e1", charge_one, 100), refunded("e2", charge_two, 200))

    first = await send(rig, *batch)
    again = await send(rig, *reversed(batch))
    await applied(rig)

    assert (first, again) == (None, None)
    for payment_id, minor in ((one, 100), (two, 200)):
        view = await rig.view(payment_id)
        assert view.amount_refunded_minor == minor
    assert rig.gauge("paygate_webhooks_received_total") == 2
    assert rig.gauge("paygate_webhooks_repeated_total") == 2
    # What follows at once is known without asking the store, and costs no commit.
    assert rig.gauge("paygate_journal_conflicts_total") == 0


async def test_of_a_batch_that_is_known_in_part_the_rest_is_taken(rig: BankRig):
    await send(rig, event("e1"))
    await send(rig, event("e3"))
    # The memory of the last events is a short cut: without it the store must say the same.
    await rig.crash()
    await rig.start()

    refusal = await send(rig, event("e1"), event("e2"), event("e3"), event("e4"))

    assert refusal is None
    assert await stored(rig) == ["bank/e1", "bank/e2", "bank/e3", "bank/e4"]
    assert rig.gauge("paygate_webhooks_repeated_total") == 2


async def test_an_event_whose_row_was_damaged_since_is_taken_again(rig: BankRig):
    await send(rig, event("e1"))
    rig.store.spoilt = {"bank/e1"}
    await rig.pass_time(3 * SWEEP_S)
    assert rig.gauge("paygate_webhooks_unreadable") == 1

    await send(rig, event("e1"))
    await send(rig, event("e1"))

    assert rig.gauge("paygate_webhooks_unreadable") == 0
    assert await stored(rig) == ["bank/e1#again"]


async def test_a_batch_is_stored_whole_or_not_at_all(rig: BankRig):
    await rig.gateway.journal.drain()
    rig.store.full = True

    refused = await send(rig, event("e1"), event("e2"))

    assert isinstance(refused, Refusal)
    assert (refused.code, await stored(rig), await raws(rig)) == ("overloaded", [], [])
    rig.store.full = False
    assert await send(rig, event("e1"), event("e2")) is None
    assert await stored(rig) == ["bank/e1", "bank/e2"]


async def test_the_same_event_twice_in_one_body_counts_once(rig: BankRig):
    await send(rig, event("e1"), event("e1"))

    assert await stored(rig) == ["bank/e1"]
    assert rig.gauge("paygate_webhooks_received_total") == 1


async def test_a_body_of_too_many_events_is_refused_whole(rig: BankRig):
    events = [event(f"e{n}") for n in range(EVENTS_A_BODY_MAX + 1)]

    refusal = await send(rig, *events)

    assert refusal is not None
    assert (refusal.code, await stored(rig)) == ("malformed_body", [])
    assert await send(rig, *events[:-1]) is None


# ---------------------------------------------------------------------- bytes


async def test_what_came_is_kept_with_its_headers_and_how_it_was_read(rig: BankRig):
    headers = {"user-agent": "bank/1", "authorization": "Basic c2VjcmV0", "cookie": "a=b"}

    await send(rig, event("e1"), headers=headers)

    (raw,) = await raws(rig)
    assert raw.body == body_of(event("e1"))
    assert raw.headers == {SIGNATURE: GOOD, "user-agent": "bank/1"}
    assert raw.verified_us == rig.clock.now_us()
    assert [(each.event_id, each.event_type) for each in raw.read] == [("e1", "payment.succeeded")]


async def test_a_repeated_webhook_is_kept_once(rig: BankRig):
    await send(rig, event("e1"))
    rig.clock.advance(1)
    await send(rig, event("e1"))

    assert len(await raws(rig)) == 1


async def test_a_webhook_without_an_event_for_us_is_kept(rig: BankRig):
    assert await send(rig) is None

    (raw,) = await raws(rig)
    assert (raw.body, raw.read) == (body_of(), ())


async def test_what_is_not_signed_or_not_readable_is_not_kept(rig: BankRig):
    unsigned = await send(rig, event("e1"), signature="somebody's")
    unreadable = await send(rig, body=b"[")

    assert unsigned is not None
    assert unreadable is not None
    assert (unsigned.code, unreadable.code) == ("signature_invalid", "malformed_body")
    assert (await raws(rig), await stored(rig)) == ([], [])


async def test_bytes_are_kept_for_a_week(rig: BankRig):
    await send(rig, event("e1"))
    await rig.pass_time(KEEP_US / 1_000_000 / 2, step_s=3_600)
    await send(rig, event("e2"))

    await rig.pass_time(KEEP_US / 1_000_000 / 2 + 2 * SWEEP_S + 1_200, step_s=600)

    assert [raw.read[0].event_id for raw in await raws(rig)] == ["e2"]


async def test_an_event_that_names_nothing_is_kept_and_never_waits(rig: BankRig):
    await send(rig, event("e1", "customer.created", txn=""))

    assert (await stored(rig), rig.gauge("paygate_webhooks_parked")) == ([], 0)
    assert len(await raws(rig)) == 1
    assert await send(rig, event("e1", "customer.created", txn="")) is None
    assert rig.gauge("paygate_webhooks_repeated_total") == 1


# ---------------------------------------------------------------------- whose it is


async def test_an_event_of_another_account_is_refused_audited_and_counted(rig: BankRig):
    payment_id, charge_id = await paid(rig)
    before = await rig.store.event_count()

    refusal = await send(rig, refunded("e1", charge_id, 100), account="theirs")

    assert refusal is not None
    assert refusal.code == "another_account"
    assert (await stored(rig), await raws(rig)) == ([], [])
    assert await rig.store.event_count() == before
    assert (await rig.view(payment_id)).amount_refunded_minor == 0
    assert (await rig.store.audit_rows())[-1].entry.what == "refused event of another account"
    name = 'paygate_webhooks_refused_total{provider="bank",code="another_account"}'
    assert rig.gauge(name) == 1


# ---------------------------------------------------------------------- keys to verify with


@pytest.fixture
def fetching(bank: TellingBank) -> TellingBank:
    bank.capabilities = msgspec.structs.replace(bank.capabilities, fetches_keys=True)
    return bank


async def test_keys_are_fetched_before_the_signature_is_checked(
    fetching: TellingBank, rig: BankRig
):
    assert await send(rig, event("e1")) is None

    assert fetching.fetched_keys == 1


async def test_keys_that_cannot_be_had_are_asked_for_again_later(
    fetching: TellingBank, rig: BankRig
):
    fetching.key_troubles = [unavailable()]

    refusal = await send(rig, event("e1"))

    assert refusal is not None
    assert (refusal.code, await stored(rig)) == ("provider_silent", [])
    assert refusal.retry_after_s
    assert await send(rig, event("e1")) is None


@pytest.mark.parametrize("trouble", [KeyError("x"), UnicodeError("x"), RecursionError()])
async def test_an_adapter_that_fails_over_a_signature_refuses_it(
    fetching: TellingBank, rig: BankRig, trouble: Exception
):
    fetching.key_troubles = [trouble]

    refusal = await send(rig, event("e1"))

    assert refusal is not None
    assert refusal.code == "signature_invalid"


# ---------------------------------------------------------------------- too many


async def test_more_than_there_are_places_for_are_refused_and_come_again(
    rig: BankRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox_module, "BUSY_MAX", 2)

    refusal = await send(rig, event("e1"), event("e2"), event("e3"))

    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s, await stored(rig)) == ("overloaded", 1, [])
    assert await send(rig, event("e1"), event("e2")) is None


async def test_what_is_beyond_the_index_of_parked_events_is_found_by_the_sweep(
    rig: BankRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parking, "PARKED_MAX", 1)
    for number in range(3):
        await send(rig, refunded(f"e{number}", "ch_early", 100))
    assert rig.gauge("paygate_webhooks_parked") == 1
    rig.bank.says["charge"] = Approved(provider_txn_id="ch_early", amount=AMOUNT, captured=True)

    payment_id = await rig.pay()
    await rig.until_status(payment_id, "success")
    await rig.pass_time(3 * SWEEP_S)

    assert (await rig.view(payment_id)).amount_refunded_minor == 300
    assert await stored(rig) == []


async def test_a_sweep_is_bounded_and_the_next_one_goes_on_behind_it(
    rig: BankRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parking, "PARKED_MAX", 0)
    monkeypatch.setattr(inbox_module, "SWEEP_PAGE", 2)
    monkeypatch.setattr(inbox_module, "SWEEP_PAGES_MAX", 1)
    for number in range(5):
        await send(rig, refunded(f"e{number}", "ch_early", 100))
    rig.bank.says["charge"] = Approved(provider_txn_id="ch_early", amount=AMOUNT, captured=True)
    payment_id = await rig.pay()
    await rig.until_status(payment_id, "success")
    left: list[int] = []

    for _ in range(40):
        await rig.pass_time(5, step_s=5)
        left.append(len(await stored(rig)))

    # A page at a time, and never two of them within one pause.
    assert list(dict.fromkeys(left)) == [5, 3, 1, 0]
    assert min(left.count(3), left.count(1)) >= SWEEP_S // 5
    assert (await rig.view(payment_id)).amount_refunded_minor == 500


async def test_without_a_place_a_webhook_is_refused_unread_and_counted(
    rig: BankRig, monkeypatch: pytest.MonkeyPatch
):
    front = rig.gateway.front
    admitted = front.admits_webhook("bank")
    monkeypatch.setattr(inbox_module, "BUSY_MAX", 0)

    refused = [front.admits_webhook(name) for name in ("bank", "bank", "made-up")]

    assert admitted is None
    assert [each.code for each in refused if each] == ["overloaded"] * 3
    name = 'paygate_webhooks_refused_total{provider="bank",code="overloaded"}'
    assert rig.gauge(name) == 2
    assert not [each for each in front.gauges() if "made-up" in each]


async def test_before_recovery_what_comes_is_stored_and_told_to_nobody(rig: BankRig):
    payment_id, charge_id = await paid(rig)
    await rig.crash()
    await rig.open()

    await rig.gateway.inbox.take("bank", (refunded("e1", charge_id, 100),))
    await rig.pass_time(1, step_s=1)

    assert await stored(rig) == ["bank/e1"]
    assert (await rig.view(payment_id)).amount_refunded_minor == 0
    await rig.gateway.recover()
    await applied(rig)
    assert (await rig.view(payment_id)).amount_refunded_minor == 100


async def test_a_payment_that_takes_nothing_keeps_no_others_events_back(rig: BankRig):
    full_id, full_charge = await paid(rig)
    rig.bank.says["charge"] = Approved(provider_txn_id="ch_other", amount=AMOUNT, captured=True)
    other_id, other_charge = await paid(rig)
    await rig.crash()
    await rig.open()
    events = [refunded(f"e{number}", full_charge, 100) for number in range(5)]
    await rig.gateway.inbox.take("bank", (*events, refunded("e9", other_charge, 100)))
    payments = rig.gateway.payments
    await payments.ask(full_id, Watched(), timeout=PATIENCE_S)
    full = payments.active(full_id)
    assert full is not None
    full.box_hold()
    for _ in range(full.inbox_max):
        payments.tell(full_id, Look())

    recovering = asyncio.ensure_future(rig.gateway.recover())
    await rig.pass_time(15, step_s=inbox_module.ROOM_S * 1.2)

    assert (await rig.view(other_id)).amount_refunded_minor == 100
    full.resume()
    await recovering
    await rig.pass_time(2 * SWEEP_S)
    assert (await rig.view(full_id)).amount_refunded_minor == 500
