"""The feed of events: no gap, an order, and an end to how long it is kept."""

import asyncio
import copy
from pathlib import Path

import pytest
from bank_rig import MERCHANT
from notice_rig import notice_rig, refusal

from paygate_actors.events import AttentionCleared, encode
from paygate_actors.notice_messages import FeedPage
from paygate_engine.stores.base import Event, Unit

DAY_S = 86_400


async def test_the_feed_is_kept_for_thirty_days_and_says_when_a_cursor_is_too_old(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        await here.pay()
        old = (await here.feed()).next_cursor
        await here.pay()
        await here.until_sent(2)
        await here.rig.pass_time(31 * DAY_S, step_s=DAY_S / 2)
        await here.pay()

        kept = await here.events()
        behind_old = await here.desk.feed(MERCHANT, after=old, limit=10)
        deliveries = await here.deliveries(made.endpoint)

        assert len(kept) == 1
        assert refusal(behind_old) == "cursor_expired"
        assert len(deliveries) == 1


async def test_a_feed_that_was_read_to_its_end_goes_on_after_everything_was_forgotten(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        await here.pay()
        end = (await here.feed()).next_cursor
        await here.rig.pass_time(31 * DAY_S, step_s=DAY_S / 2)
        quiet = await here.feed(after=end)
        payment_id = await here.pay()

        page = await here.feed(after=quiet.next_cursor)

        assert quiet.items == ()
        assert [event.payment_id for event in page.items] == [payment_id]


async def test_a_cursor_is_too_old_also_where_nothing_at_all_is_kept(tmp_path: Path) -> None:
    """An empty page would say that nothing was missed."""
    async with notice_rig(tmp_path) as here:
        start = (await here.feed()).next_cursor
        await here.pay()
        first = (await here.feed()).next_cursor
        await here.pay()
        await here.rig.pass_time(31 * DAY_S, step_s=DAY_S / 2)

        found = [await here.desk.feed(MERCHANT, after=each, limit=10) for each in (start, first)]
        anew = await here.feed()

        assert [refusal(each) for each in found] == ["cursor_expired"] * 2
        assert anew.items == ()


async def test_after_a_backup_was_restored_a_cursor_of_what_is_gone_is_told(tmp_path: Path) -> None:
    """Numbers come again under other events: who goes on by number alone would miss these."""
    async with notice_rig(tmp_path) as here:
        await here.pay()
        backup = copy.deepcopy(vars(here.rig.store))
        kept = (await here.feed()).next_cursor
        await here.pay()
        lost = (await here.feed()).next_cursor
        await here.rig.crash()
        vars(here.rig.store).update(backup)
        await here.rig.start()

        ahead = await here.desk.feed(MERCHANT, after=lost, limit=10)
        again = await here.pay()
        beside = await here.desk.feed(MERCHANT, after=lost, limit=10)
        behind = await here.feed(after=kept)

        assert [refusal(ahead), refusal(beside)] == ["cursor_expired"] * 2
        assert [event.payment_id for event in behind.items] == [again]


@pytest.mark.parametrize(
    "cursor", ["", "x", "ZmVlZCAx", "ZmVlZCAtMSAt", "ZmVlZCA5OTk5IC0", "ZmVlZCB4IC0", "\u00e4"]
)
async def test_a_cursor_that_is_none_of_the_feed_is_refused(tmp_path: Path, cursor: str) -> None:
    async with notice_rig(tmp_path) as here:
        await here.pay()

        found = await here.desk.feed(MERCHANT, after=cursor, limit=10)

        assert refusal(found) == "validation_failed"


async def test_the_feed_has_no_gap_while_many_pay_at_once(tmp_path: Path) -> None:
    """Who follows the cursor and nothing else sees every payment's events, in their sequence."""
    async with notice_rig(tmp_path) as here:
        seen: list[str] = []
        cursor: str | None = None

        async def follow() -> None:
            nonlocal cursor
            while len(seen) < 60:
                page = await here.desk.feed(MERCHANT, after=cursor, limit=3)
                assert isinstance(page, FeedPage)
                seen.extend(str(event.payment_id) for event in page.items)
                cursor = page.next_cursor
                await asyncio.sleep(0)

        async with asyncio.timeout(30):
            following = asyncio.create_task(follow())
            paid = await asyncio.gather(*(here.rig.pay() for _ in range(60)))
            await following

        assert sorted(seen) == sorted(paid)


async def test_numbers_of_a_sequence_go_on_after_a_restart(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        payment_id = await here.pay()
        await here.rig.refund(payment_id, 100)

        await here.rig.crash()
        await here.rig.start()
        await here.rig.refund(payment_id, 200)
        await here.quiet()

        found = [(event.payment_id, event.sequence) for event in await here.events()]
        assert found == [(payment_id, number) for number in range(1, len(found) + 1)]
        assert len(found) >= 3


async def test_numbers_of_a_sequence_go_on_after_somebody_else_wrote(tmp_path: Path) -> None:
    """The actor loses the race for its stream, reads itself back, and counts anew."""
    async with notice_rig(tmp_path) as here:
        payment_id = await here.pay()
        last = (await here.rig.store.read_stream(payment_id))[-1]
        kind, body = encode(AttentionCleared())
        foreign = Event(stream=payment_id, seq=last.seq + 1, at_us=last.at_us, kind=kind, body=body)
        await here.rig.gateway.journal.append_wait(Unit(events=(foreign,)))

        await here.rig.refund(payment_id, 100)
        await here.quiet()

        found = [event.sequence for event in await here.events()]
        assert found == [*range(1, len(found) + 1)]
        assert here.rig.gauge("paygate_journal_conflicts_total") == 1


async def test_a_page_says_whether_there_is_more(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        paid = [await here.pay() for _ in range(4)]

        pages = [await here.feed(limit=2)]
        while pages[-1].has_more:
            pages.append(await here.feed(after=pages[-1].next_cursor, limit=2))
        beyond = await here.feed(after=pages[-1].next_cursor, limit=2)

        assert [[event.payment_id for event in page.items] for page in pages] == [
            paid[:2],
            paid[2:],
        ]
        assert (beyond.items, beyond.has_more) == ((), False)
        assert beyond.next_cursor == pages[-1].next_cursor
