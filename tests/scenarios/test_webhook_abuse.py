"""A merchant that means harm with its webhook endpoints takes no room from others."""

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest
from bank_rig import MERCHANT
from notice_rig import OTHER, OTHER_URL, URL, NoticeRig, notice_rig, refusal

from paygate_actors import notice_post
from paygate_actors.endpoints import ENDPOINT, PER_MERCHANT_MAX, queue_of
from paygate_actors.notice_messages import EndpointChange, NewEndpoint, WithSecret
from paygate_actors.notice_post import MERCHANT_SENDS_MAX, WELL_MAX
from paygate_actors.notice_sender import Answer, HttpSender
from paygate_actors.outbox import DELIVERY, SCHEDULE_S
from paygate_actors.url_checks import CHECKS_MAX, TOO_MANY, UrlChecks
from paygate_actors.webhooks_out import KEEP_S
from paygate_engine.stores.base import Query

BROKEN = Answer(status=500)
HANGS = "https://hangs.example/hook"
DAY_S = 86_400


async def test_names_that_hang_while_they_are_looked_at_keep_no_webhook_waiting() -> None:
    let_go = threading.Event()

    def resolve(host: str, _port: int) -> list[str]:
        if host.startswith("hangs"):
            let_go.wait(20)
        return ["10.0.0.1"]

    out = HttpSender(resolve=resolve, send_s_max=0.5)
    try:
        checks = [out.check(f"https://hangs{number}.example/") for number in range(300)]
        checked = await asyncio.gather(*checks)
        sent = await out.send("https://good.example/", {}, b"x")
    finally:
        let_go.set()
        await out.close()

    assert set(checked) == {"has a host name that cannot be looked up"}
    assert sent == Answer(error="url_refused")  # it was looked up, and leads inside


async def test_a_few_urls_of_a_merchant_are_looked_at_at_a_time() -> None:
    let_go = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        let_go.wait(20)
        return ["93.184.216.34"]

    out = HttpSender(resolve=resolve)
    checks = UrlChecks(out)
    first = [asyncio.create_task(checks.check("a", URL)) for _ in range(CHECKS_MAX)]
    await asyncio.sleep(0)

    refused = await checks.check("a", URL)
    another = asyncio.create_task(checks.check("b", URL))
    let_go.set()
    looked = await asyncio.gather(another, *first)
    again = await checks.check("a", URL)
    await out.close()

    assert refused is TOO_MANY
    assert looked == [None] * (CHECKS_MAX + 1)
    assert again is None


async def test_who_has_all_the_endpoints_there_may_be_has_no_url_looked_at(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        for _ in range(PER_MERCHANT_MAX):
            await here.endpoint()
        here.receivers.refused.add(OTHER_URL)

        found = await here.desk.create(MERCHANT, NewEndpoint(url=OTHER_URL))

        assert refusal(found) == "endpoint_limit_reached"


async def churn(here: NoticeRig) -> None:
    """Make an endpoint that hangs, have it tested, delete it."""
    made = await here.desk.create(OTHER, NewEndpoint(url=HANGS))
    assert isinstance(made, WithSecret), made
    await here.desk.test(OTHER, made.endpoint.id)
    await here.quiet(5)
    await here.desk.delete(OTHER, made.endpoint.id)


async def test_endpoints_that_are_made_and_deleted_leave_others_their_places(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        await here.endpoint()
        here.receivers.hanging.add(HANGS)

        for _ in range(WELL_MAX):
            await churn(here)
        await here.pay()
        await here.until_sent(1)

        assert len(here.receivers.to(HANGS)) == MERCHANT_SENDS_MAX


async def test_endpoints_that_answered_nothing_yet_take_no_place_of_those_that_are_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_post, "WELL_MAX", 2)
    async with notice_rig(tmp_path) as here:
        await here.endpoint()
        await here.pay()
        await here.until_sent(1)
        await here.quiet()
        here.receivers.hanging.add(HANGS)
        for _ in range(4):
            made = await here.desk.create(OTHER, NewEndpoint(url=HANGS))
            assert isinstance(made, WithSecret), made
            await here.desk.test(OTHER, made.endpoint.id)
        await here.rig.until(lambda: len(here.receivers.to(HANGS)) == 4)

        await here.pay()
        await here.until_sent(2)

        assert len(here.receivers.to(HANGS)) == 4


async def test_a_payment_that_nobody_takes_is_told_to_each_receiver_once(tmp_path: Path) -> None:
    """What is given up is in the feed; sixteen broken receivers are not told of one another."""
    async with notice_rig(tmp_path) as here:
        urls = [f"https://broken-{number}.example/" for number in range(PER_MERCHANT_MAX)]
        for url in urls:
            here.receivers.says[url] = lambda _: BROKEN
            await here.endpoint(url)
        await here.pay()

        await here.rig.pass_time(12 * DAY_S, step_s=1_800)

        types = Counter(event.type for event in await here.events())
        assert len(here.receivers.sent) == PER_MERCHANT_MAX * len(SCHEDULE_S)
        assert types == {"payment.succeeded": 1, "webhook.given_up": PER_MERCHANT_MAX}


@pytest.mark.parametrize("name", ["webhook.given_up", "webhook.*"])
async def test_who_asks_for_it_by_name_is_told_what_is_given_up(tmp_path: Path, name: str) -> None:
    async with notice_rig(tmp_path) as here:
        here.receivers.says[URL] = lambda _: BROKEN
        await here.endpoint(URL)
        await here.endpoint(OTHER_URL, name)
        await here.pay()

        await here.rig.pass_time(5 * DAY_S, step_s=1_800)

        assert [sent.type for sent in here.receivers.to(OTHER_URL)] == ["webhook.given_up"]


async def rows_of(here: NoticeRig, kind: str) -> list[str]:
    """The ids of all documents of a kind."""
    return [each.id for each in await here.rig.store.query(Query(kind=kind, limit=500))]


async def test_nothing_is_left_of_an_endpoint_that_is_deleted_while_it_is_called(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        here.receivers.hanging.add(URL)
        await here.pay()
        await here.until_sent(1)

        await here.desk.delete(MERCHANT, made.endpoint.id)
        await here.quiet()
        here.receivers.let_go()
        await here.rig.pass_time(KEEP_S + 1, step_s=1)

        assert await here.rig.store.waiting(queue_of(made.endpoint.id)) == []
        assert await rows_of(here, DELIVERY) == []
        assert await rows_of(here, ENDPOINT) == []


async def test_a_churn_of_endpoints_leaves_no_rows(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        for _ in range(50):
            made = await here.endpoint()
            await here.desk.delete(MERCHANT, made.endpoint.id)
        kept = await here.endpoint()

        await here.rig.pass_time(KEEP_S + 1, step_s=1)

        assert await rows_of(here, ENDPOINT) == [kept.endpoint.id]


async def test_what_waits_for_an_endpoint_is_sent_however_long_it_was_off(tmp_path: Path) -> None:
    """The feed forgets it after 30 days; what was on its way to a receiver is owed."""
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda number: BROKEN if number == 1 else Answer(status=200)
        for number in (1, 2):
            await here.pay()
            await here.until_sent(number)
            await here.quiet()
        await here.desk.change(MERCHANT, made.endpoint.id, EndpointChange(enabled=False))
        await here.rig.pass_time(31 * DAY_S, step_s=1_800)

        before = await here.deliveries(made.endpoint)
        await here.desk.change(MERCHANT, made.endpoint.id, EndpointChange(enabled=True))
        await here.until_sent(3)
        await here.until_delivery(made.endpoint, "delivered")

        assert [each.status for each in before] == ["pending"]
        assert here.receivers.sent[1].id == here.receivers.sent[2].id
        assert await here.events() == []
