"""Webhooks to merchants on a clock that is moved by hand: what is sent, when, and what is kept."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from bank_rig import MERCHANT
from notice_rig import OTHER, OTHER_URL, URL, NoticeRig, notice_rig, refusal, verifies

from paygate_actors import notice_post
from paygate_actors.courier import WIDTH_MAX
from paygate_actors.endpoints import PER_MERCHANT_MAX, Endpoint
from paygate_actors.notice_messages import EndpointChange
from paygate_actors.notice_sender import Answer
from paygate_actors.outbox import JITTER, SCHEDULE_S, Delivery, delivery_item
from paygate_engine.stores.base import Document, Query, Unit

BROKEN = Answer(status=500)
DAY_S = 86_400


async def pay_and_tell(here: NoticeRig, *, times: int = 1) -> None:
    """Make payments one after another, each told to the first receiver and written down."""
    for number in range(1, times + 1):
        await here.pay()
        await here.until_sent(number)
        await here.quiet()


async def pay_often(here: NoticeRig, payments: int, *, then_sent: int) -> None:
    """Make so many payments, and wait until the other receiver has been told so often."""
    for _ in range(payments):
        await here.pay()
    await here.until_sent(then_sent, OTHER_URL)
    await here.quiet()


async def pay_and_hang(here: NoticeRig) -> None:
    """Make a payment; the first receiver has the event, and does not answer yet."""
    here.receivers.hanging.add(URL)
    await here.pay()
    await here.until_sent(1)


async def crash_unwritten(here: NoticeRig) -> None:
    """Let the receiver answer when nobody can write that down any more, and crash."""
    here.rig.store.dead = True
    here.receivers.let_go()
    await here.rig.crash()


async def next_wait(here: NoticeRig, endpoint: Endpoint, number: int) -> float:
    """Wait for the n-th attempt, and move the clock to the next one: the seconds between."""
    await here.until_sent(number)
    await here.quiet()
    return await here.next_attempt(endpoint)


async def test_an_event_is_sent_once_and_done(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()

        payment_id = await here.pay()
        delivery = await here.until_delivery(made.endpoint, "delivered")
        await here.rig.pass_time(DAY_S, step_s=3_600)

        (sent,) = here.receivers.sent
        assert (sent.type, sent.id) == ("payment.succeeded", delivery.event_id)
        assert [event.payment_id for event in await here.events()] == [payment_id]
        assert [attempt.status for attempt in delivery.attempts] == [200]


async def test_what_fails_comes_again_by_the_schedule_and_is_given_up_in_the_end(
    tmp_path: Path,
) -> None:
    """The same id and the same body each time; the end of it is a dead letter and an event."""
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        await here.pay()

        waits = [
            await next_wait(here, made.endpoint, number) for number in range(1, len(SCHEDULE_S))
        ]
        await here.until_sent(len(SCHEDULE_S))
        dead = await here.until_delivery(made.endpoint, "dead")
        await here.rig.pass_time(2 * DAY_S, step_s=3_600)

        for wait_s, planned_s in zip(waits, SCHEDULE_S[1:], strict=True):
            assert planned_s - 1 <= wait_s <= planned_s * (1 + JITTER)
        assert sum(waits) > 3 * DAY_S
        assert (
            len({wait_s / planned for wait_s, planned in zip(waits, SCHEDULE_S[1:], strict=True)})
            > 1
        )
        assert len(here.receivers.sent) == len(SCHEDULE_S)
        assert len({(sent.id, sent.body) for sent in here.receivers.sent}) == 1
        stamps = [sent.headers["webhook-timestamp"] for sent in here.receivers.sent]
        assert len(set(stamps)) == len(stamps)
        assert all(verifies(made.secret, here, number) for number in range(len(SCHEDULE_S)))
        last = (await here.events())[-1]
        assert last.type == "webhook.given_up"
        assert last.given_up is not None
        assert (last.given_up.delivery_id, last.given_up.attempts) == (dead.id, len(SCHEDULE_S))


async def test_a_dead_letter_can_be_sent_again(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        await here.pay()
        for number in range(1, len(SCHEDULE_S)):
            await next_wait(here, made.endpoint, number)
        dead = await here.until_delivery(made.endpoint, "dead")
        here.receivers.says[URL] = lambda _: Answer(status=204)

        again = await here.desk.replay(MERCHANT, made.endpoint.id, dead.id)

        assert isinstance(again, Delivery)
        assert (again.id, again.status) == (dead.id, "pending")
        delivered = await here.until_delivery(made.endpoint, "delivered")
        assert delivered.attempts[-1].status == 204
        assert len({sent.id for sent in here.receivers.sent}) == 1
        assert await here.deliveries(made.endpoint, "dead") == ()


async def test_what_is_sent_again_has_the_whole_schedule_before_it(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        await here.pay()
        done = await here.until_delivery(made.endpoint, "delivered")
        here.receivers.says[URL] = lambda _: BROKEN
        for _ in range(2):
            await here.desk.replay(MERCHANT, made.endpoint.id, done.id)
            waits: list[float] = []
            while not await here.deliveries(made.endpoint, "dead"):
                waits.append(await here.next_attempt(made.endpoint))
                await here.quiet()

            assert sum(wait_s > 1 for wait_s in waits) == len(SCHEDULE_S) - 1


async def test_what_is_pending_or_unknown_is_not_replayed(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        await pay_and_tell(here)
        (pending,) = await here.deliveries(made.endpoint)
        other = await here.endpoint(OTHER_URL)

        codes = [
            refusal(await here.desk.replay(MERCHANT, made.endpoint.id, pending.id)),
            refusal(await here.desk.replay(MERCHANT, made.endpoint.id, "dlv_nothing")),
            refusal(await here.desk.replay(MERCHANT, other.endpoint.id, pending.id)),
            refusal(await here.desk.replay(OTHER, made.endpoint.id, pending.id)),
        ]

        assert codes == [
            "delivery_pending",
            "delivery_not_found",
            "delivery_not_found",
            "endpoint_not_found",
        ]


async def test_a_crash_between_commit_and_delivery_loses_nothing(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        await pay_and_hang(here)

        await crash_unwritten(here)
        await here.rig.start()

        await here.until_delivery(made.endpoint, "delivered")
        first, second = here.receivers.sent
        assert (first.id, first.body) == (second.id, second.body)


async def test_a_command_that_opens_the_folder_sends_nothing(tmp_path: Path) -> None:
    """It would be gone before the answer; the server sends what waits when it is back."""
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        await pay_and_hang(here)
        await crash_unwritten(here)

        await here.rig.open()
        here.rig.gateway.webhooks_out.notices.wake(made.endpoint.id)
        await here.quiet()
        before = len(here.receivers.sent)
        await here.rig.gateway.recover()
        await here.until_delivery(made.endpoint, "delivered")

        assert (before, len(here.receivers.sent)) == (1, 2)


async def test_attempts_survive_a_restart(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda number: BROKEN if number < 2 else Answer(status=200)
        await pay_and_tell(here)

        await here.rig.crash()
        await here.rig.start()
        await here.quiet()
        before = len(here.receivers.sent)
        await here.next_attempt(made.endpoint)
        wait_s = await next_wait(here, made.endpoint, 2)
        delivered = await here.until_delivery(made.endpoint, "delivered")

        assert before == 1
        assert wait_s > SCHEDULE_S[2] - 1
        assert [attempt.status for attempt in delivered.attempts] == [500, 500, 200]


async def test_retry_after_is_kept_to_and_bounded(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        said = ["120", "31536000", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "-5"]
        here.receivers.says[URL] = lambda number: Answer(status=503, retry_after=said[number])
        await here.pay()

        waits = [await next_wait(here, made.endpoint, number) for number in range(1, len(said))]
        await here.until_sent(len(said))
        await here.quiet()

        assert waits[0] == pytest.approx(120, abs=1)
        assert waits[1] == pytest.approx(DAY_S, abs=1)
        assert SCHEDULE_S[3] - 1 <= waits[2] <= SCHEDULE_S[3] * 1.1
        assert SCHEDULE_S[4] - 1 <= waits[3] <= SCHEDULE_S[4] * 1.1


@pytest.mark.parametrize("status", [199, 301, 302, 307, 400, 404, 429, 503])
async def test_only_a_status_from_200_to_299_is_delivered(tmp_path: Path, status: int) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: Answer(status=status)

        await pay_and_tell(here)

        (delivery,) = await here.deliveries(made.endpoint)
        assert (delivery.status, delivery.attempts[0].status) == ("pending", status)


async def test_a_receiver_that_is_gone_is_told_nothing_more(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: Answer(status=410)
        await here.pay()
        dead = await here.until_delivery(made.endpoint, "dead")
        here.receivers.says.clear()

        await here.pay()
        await here.quiet()
        replayed = await here.desk.replay(MERCHANT, made.endpoint.id, dead.id)

        assert len(here.receivers.sent) == 1
        endpoint = here.desk.endpoint(MERCHANT, made.endpoint.id)
        assert isinstance(endpoint, Endpoint)
        assert endpoint.disabled == "gone"
        assert refusal(replayed) == "endpoint_disabled"
        types = [event.type for event in await here.events()]
        assert types == ["payment.succeeded", "webhook_endpoint.disabled", "payment.succeeded"]


async def test_what_waited_while_an_endpoint_was_off_is_sent_when_it_is_on(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda number: BROKEN if number == 0 else Answer(status=200)
        await pay_and_tell(here)

        off = await here.desk.change(MERCHANT, made.endpoint.id, EndpointChange(enabled=False))
        await here.pay()  # what happens meanwhile is in the feed alone
        await here.rig.pass_time(DAY_S, step_s=3_600)
        sent_while_off = len(here.receivers.sent)
        await here.desk.change(MERCHANT, made.endpoint.id, EndpointChange(enabled=True))
        await here.until_delivery(made.endpoint, "delivered")

        assert isinstance(off, Endpoint)
        assert off.disabled == "by_merchant"
        assert sent_while_off == 1
        assert len(here.receivers.sent) == 2
        assert len(await here.events()) == 2


async def test_a_slow_receiver_delays_nobody_else(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        slow = await here.endpoint(URL)
        quick = await here.endpoint(OTHER_URL)
        await pay_and_tell(here, times=4)
        here.receivers.hanging.add(URL)

        await pay_often(here, 30, then_sent=34)

        assert len(here.receivers.to(URL)) == 4 + WIDTH_MAX
        assert len(await here.deliveries(quick.endpoint, "delivered")) == 34
        here.receivers.let_go()
        await here.until_sent(34, URL)
        await here.quiet()
        assert len(await here.deliveries(slow.endpoint, "delivered")) == 34


async def test_a_stranger_gets_one_attempt_at_a_time_until_it_has_answered(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        await here.endpoint(URL)
        here.receivers.hanging.add(URL)

        for _ in range(5):
            await here.pay()
        await here.quiet()

        assert len(here.receivers.to(URL)) == 1


async def test_a_receiver_that_failed_has_to_earn_its_places_again(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        await here.endpoint(URL)
        here.receivers.says[URL] = lambda number: BROKEN if number == 4 else Answer(status=200)
        await pay_and_tell(here, times=5)
        here.receivers.hanging.add(URL)

        for _ in range(5):
            await here.pay()
        await here.quiet()

        assert len(here.receivers.to(URL)) == 6


async def test_an_item_that_its_delivery_has_left_behind_is_not_sent(tmp_path: Path) -> None:
    """As one that a page of the queue still showed when it had just been concluded."""
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        await pay_and_tell(here)
        (pending,) = await here.deliveries(made.endpoint)
        stale = delivery_item(pending, here.rig.clock.now_us())

        await here.rig.gateway.journal.append_wait(Unit(items=(stale,)))
        here.rig.gateway.webhooks_out.notices.wake(made.endpoint.id)
        await here.quiet()

        assert len(here.receivers.sent) == 1
        (left,) = await here.rig.store.waiting(stale.queue)
        assert left.at_us == pending.next_at_us


async def test_an_end_in_order_waits_for_answers_that_are_on_their_way(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        await pay_and_hang(here)

        stopping = asyncio.create_task(here.rig.stop())
        for _ in range(100):  # as many turns as an end takes that waits for nobody
            await asyncio.sleep(0)
        assert not stopping.done()
        here.receivers.let_go()
        await stopping
        await here.rig.start()
        await here.quiet()

        assert len(here.receivers.sent) == 1
        assert [each.status for each in await here.deliveries(made.endpoint)] == ["delivered"]


async def test_receivers_that_hang_at_once_leave_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are places for, were each to get all that it could use."""
    monkeypatch.setattr(notice_post, "WELL_MAX", 2 * WIDTH_MAX)
    async with notice_rig(tmp_path) as here:
        for number in range(PER_MERCHANT_MAX - 1):
            url = f"https://hangs-{number}.example/"
            await here.endpoint(url)
            here.receivers.hanging.add(url)
        quick = await here.endpoint(OTHER_URL)

        await pay_often(here, 20, then_sent=20)

        assert len(await here.deliveries(quick.endpoint, "delivered")) == 20


async def test_receivers_that_failed_take_no_place_of_those_that_are_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_post, "WELL_MAX", 2)
    async with notice_rig(tmp_path) as here:
        urls = [f"https://fails-{number}.example/" for number in range(PER_MERCHANT_MAX - 1)]
        for url in urls:
            await here.endpoint(url)
            here.receivers.says[url] = lambda _: BROKEN
        quick = await here.endpoint(OTHER_URL)
        await here.pay()
        for url in urls:
            await here.until_sent(1, url)
        here.receivers.hanging.update(urls)

        await pay_often(here, 20, then_sent=21)

        assert len(await here.deliveries(quick.endpoint, "delivered")) == 21
        assert {len(here.receivers.to(url)) for url in urls} == {2}


async def test_a_full_disk_sends_it_once_more_and_loses_nothing(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        await pay_and_hang(here)
        here.rig.store.full = True
        here.receivers.let_go()
        await here.quiet()

        here.rig.store.full = False
        await here.rig.pass_time(10, step_s=1)

        await here.until_delivery(made.endpoint, "delivered")
        assert len({sent.id for sent in here.receivers.sent}) == 1
        assert here.rig.gauge('paygate_notices_sent_total{outcome="delivered"}') == 1


async def test_two_broken_receivers_are_not_told_of_each_other_for_ever(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        urls = (URL, OTHER_URL)
        made = [await here.endpoint(url, "payment.*", "webhook.*") for url in urls]
        here.receivers.says = dict.fromkeys(urls, lambda _: BROKEN)
        await here.pay()

        await here.rig.pass_time(12 * DAY_S, step_s=1_800)

        types = Counter(event.type for event in await here.events())
        assert types == {"payment.succeeded": 1, "webhook.given_up": 4}
        for each in made:
            assert len(here.receivers.to(each.endpoint.url)) == 2 * len(SCHEDULE_S)
            found = await here.deliveries(each.endpoint)
            assert {delivery.status for delivery in found} == {"dead"}


@pytest.mark.parametrize("back", [False, True], ids=["on", "back"])
async def test_a_delivery_that_moves_while_it_is_listed_is_on_the_page_once(
    *, back: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        if not back:
            here.receivers.hanging.add(URL)
        await here.pay()
        await here.until_sent(1)
        await here.quiet()
        (before,) = await here.deliveries(made.endpoint)
        query = here.rig.store.query

        async def moves(asked: Query) -> list[Document]:
            found = await query(asked)
            monkeypatch.setattr(here.rig.store, "query", query)
            if back:
                here.receivers.hanging.add(URL)
                await here.desk.replay(MERCHANT, made.endpoint.id, before.id)
            else:
                here.receivers.let_go()
            await here.quiet()
            return found

        monkeypatch.setattr(here.rig.store, "query", moves)
        (listed,) = await here.deliveries(made.endpoint)

        assert (before.status, listed.status) == (
            ("delivered", "pending") if back else ("pending", "delivered")
        )
