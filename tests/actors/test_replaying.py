"""Webhooks read again: what was passed over or misread is brought to its payment, once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from bank_rig import AMOUNT, OPERATOR, PATIENCE_S, BankRig, bank_rig
from telling_rig import TellingBank, send

from paygate_actors.projection import INBOX
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.raw_webhooks import reading_of
from paygate_actors.replay_messages import ReadingChange, ReplayPage, ReplayWebhooks
from paygate_actors.replaying import PAGE


@pytest.fixture
def bank() -> TellingBank:
    return TellingBank()


@pytest.fixture
async def rig(tmp_path: Path, bank: TellingBank) -> AsyncIterator[BankRig]:
    async with bank_rig(tmp_path, bank=bank) as rig:
        yield rig
        assert rig.fatal == []


def disputed(event_id: str, charge_id: str) -> ProviderEvent:
    return ProviderEvent(
        event_id=event_id,
        event_type="dispute.opened",
        provider_txn_id=f"dp_{event_id}",
        parent_txn_id=charge_id,
        amount=AMOUNT,
        at_us=5,
    )


async def paid(rig: BankRig) -> tuple[str, str]:
    payment_id = await rig.pay()
    view = await rig.until_status(payment_id, "success")
    assert view.provider_txn_id is not None
    return payment_id, view.provider_txn_id


async def replay(rig: BankRig, **narrowed: object) -> ReplayPage:
    command = msgspec.convert({"caller": msgspec.to_builtins(OPERATOR), **narrowed}, ReplayWebhooks)
    page = await rig.gateway.front.replay_webhooks(command)
    assert isinstance(page, ReplayPage), page
    await settled(rig)
    return page


async def settled(rig: BankRig) -> None:
    """Wait until everything that came is applied, or parked."""
    async with asyncio.timeout(PATIENCE_S):
        while len(await rig.store.waiting(INBOX)) > rig.gauge("paygate_webhooks_parked"):  # noqa: ASYNC110  # each look is a question
            await asyncio.sleep(0)


async def test_what_was_passed_over_is_brought_to_its_payment(rig: BankRig, bank: TellingBank):
    payment_id, charge_id = await paid(rig)
    bank.passed_over = {"dispute.opened"}
    await send(rig, disputed("e1", charge_id))
    received_us = rig.clock.now_us()
    assert (await rig.view(payment_id)).amount_disputed_minor == 0
    rig.clock.advance(600)  # no replay window is held against what was checked when it came
    bank.passed_over = set()

    page = await replay(rig)

    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor
    assert (page.webhooks, page.failed, page.next_cursor) == (1, 0, None)
    assert page.changes == (
        ReadingChange(
            provider="bank",
            event_id="e1",
            received_us=received_us,
            was="unknown dispute.opened",
            now="dispute.opened",
            payment_id=payment_id,
            applied=True,
        ),
    )


async def test_a_replay_is_audited_with_who_asked(rig: BankRig, bank: TellingBank):
    _, charge_id = await paid(rig)
    bank.passed_over = {"dispute.opened"}
    await send(rig, disputed("e1", charge_id))
    bank.passed_over = set()

    await replay(rig)

    entries = [row.entry for row in await rig.store.audit_rows()]
    told = [(each.who, each.what) for each in entries if each.what.startswith("replayed")]
    assert told == [(f"key:{OPERATOR.key_id}", "replayed dispute.opened")]


async def test_a_second_replay_changes_nothing(rig: BankRig, bank: TellingBank):
    payment_id, charge_id = await paid(rig)
    bank.passed_over = {"dispute.opened"}
    await send(rig, disputed("e1", charge_id))
    bank.passed_over = set()
    await replay(rig)
    events = len(await rig.store.read_stream(payment_id))

    page = await replay(rig)

    assert [change.applied for change in page.changes] == [False]
    assert len(await rig.store.read_stream(payment_id)) == events


async def test_what_is_read_as_it_was_is_left_alone(rig: BankRig):
    payment_id, charge_id = await paid(rig)
    await send(rig, disputed("e1", charge_id))
    await settled(rig)
    before = await rig.store.event_count()

    page = await replay(rig)

    assert (page.webhooks, page.changes) == (1, ())
    assert await rig.store.event_count() == before
    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor


async def test_a_dry_run_says_what_would_change_and_changes_nothing(
    rig: BankRig, bank: TellingBank
):
    payment_id, charge_id = await paid(rig)
    bank.passed_over = {"dispute.opened"}
    await send(rig, disputed("e1", charge_id))
    bank.passed_over = set()
    rows = len(await rig.store.audit_rows())

    page = await replay(rig, dry_run=True)

    assert [(each.now, each.applied) for each in page.changes] == [("dispute.opened", False)]
    assert page.changes[0].payment_id == payment_id
    assert len(await rig.store.audit_rows()) == rows
    assert (await rig.view(payment_id)).amount_disputed_minor == 0


async def test_what_was_fetched_meanwhile_is_not_brought_again(rig: BankRig, bank: TellingBank):
    payment_id, charge_id = await paid(rig)
    await send(rig)  # read as no event at all
    (item,) = await rig.store.waiting("webhook_raw")
    event = disputed("e1", charge_id)
    await rig.gateway.inbox.take("bank", (event,))
    await replay(rig)

    first = await rig.gateway.inbox.correct("bank", event, suffix="", by="key:o")

    assert item.key == "bank"
    assert first is False
    assert (await rig.view(payment_id)).amount_disputed_minor == AMOUNT.minor


async def test_a_replay_is_narrowed_by_provider_event_and_time(rig: BankRig, bank: TellingBank):
    _, charge_id = await paid(rig)
    bank.passed_over = {"dispute.opened"}
    times: list[int] = []
    for name in ("e1", "e2", "e3"):
        rig.clock.advance(10)
        times.append(rig.clock.now_us())
        await send(rig, disputed(name, charge_id))
    bank.passed_over = set()

    async def found(**narrowed: object) -> list[str]:
        page = await replay(rig, dry_run=True, **narrowed)
        return [change.event_id for change in page.changes]

    assert await found() == ["e1", "e2", "e3"]
    assert await found(provider="bank", event_id="e2") == ["e2"]
    assert await found(provider="another") == []
    assert await found(from_us=times[1]) == ["e2", "e3"]
    assert await found(to_us=times[1]) == ["e1"]
    assert await found(from_us=times[1], to_us=times[2]) == ["e2"]


async def test_only_webhooks_that_hold_the_event_asked_for_are_counted(rig: BankRig):
    for name in ("e1", "e2"):
        await send(rig, disputed(name, ""))
    await send(rig)  # it holds no event at all

    counted = [
        (await replay(rig, dry_run=True, event_id=event_id)).webhooks
        for event_id in (None, "e2", "nope")
    ]

    assert counted == [3, 1, 0]


async def test_a_page_is_bounded_and_the_next_one_goes_on(rig: BankRig):
    for number in range(PAGE + 1):
        rig.clock.advance(0.001)
        await send(rig, msgspec.structs.replace(disputed(f"e{number}", ""), provider_txn_id=""))

    first = await replay(rig, dry_run=True)
    second = await replay(rig, dry_run=True, cursor=first.next_cursor)

    assert (first.webhooks, second.webhooks) == (PAGE, 1)
    assert first.next_cursor is not None
    assert second.next_cursor is None


async def test_what_cannot_be_read_any_more_is_counted(rig: BankRig, bank: TellingBank):
    await send(rig, disputed("e1", ""))
    bank.accounts = set()

    page = await replay(rig)

    assert (page.webhooks, page.failed, page.changes) == (1, 1, ())


def test_a_field_that_a_later_version_adds_is_no_other_reading():
    event = disputed("e1", "ch_1")

    spelled_out = msgspec.structs.replace(event, retryable=False, reason=None)
    otherwise = msgspec.structs.replace(event, reason="fraudulent")

    assert reading_of(event) == reading_of(spelled_out)
    assert reading_of(event).digest != reading_of(otherwise).digest
