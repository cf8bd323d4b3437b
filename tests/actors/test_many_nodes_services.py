"""What is done for all nodes is done by one of them; what one changes, the others know soon."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from bank_rig import MERCHANT, OPERATOR, Bank
from many_nodes_rig import ManyNodes, Node, many_nodes

from paygate_actors.among import NOT_MINE_S, OneOfMany
from paygate_actors.config import Database, Vault
from paygate_actors.courier import SETTLES_S
from paygate_actors.endpoints import queue_of
from paygate_actors.fleet import ADOPT_EVERY_S
from paygate_actors.messages import Refusal
from paygate_actors.node_ear import REREAD_S
from paygate_actors.notice_messages import FeedPage, NewEndpoint, WithSecret
from paygate_actors.provider_messages import ProviderView
from paygate_actors.webhooks_out import LOOK_S
from paygate_engine.clock import ManualClock
from paygate_engine.errors import Overloaded, StoreRefused
from paygate_engine.stores.base import Document, Posted, Query
from paygate_engine.stores.shared import BEAT_S

URL = "https://shop.example/hook"


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[ManyNodes]:
    async with many_nodes(tmp_path) as many:
        yield many


async def endpoint_at(node: Node) -> str:
    made = await node.gateway.front.notices.create(MERCHANT, NewEndpoint(url=URL))
    assert isinstance(made, WithSecret), made
    return made.endpoint.id


def unheard(*nodes: Node) -> None:
    """As behind a pooler: nobody hears what they say."""
    for node in nodes:
        node.store.say = lambda *words: None


# ------------------------------------------------------------------ webhooks to merchants


async def test_each_event_is_sent_once_whichever_node_recorded_it(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    await endpoint_at(a)
    await many.pass_time(2 * BEAT_S)

    ids = [await node.pay() for node in (a, b, a, b)]
    for payment_id in ids:
        await many.until_status(a, payment_id, "success")
    await many.pass_time(LOOK_S + 1)

    sent = Counter(each.id for each in many.receivers.to(URL))
    page = await b.gateway.front.notices.feed(MERCHANT, after=None, limit=100)
    assert isinstance(page, FeedPage)
    assert sent == Counter(event.id for event in page.items)
    assert sum(sent.values()) >= len(ids)


async def test_another_node_hears_that_something_waits_and_sends_it_at_once(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    await endpoint_at(a)
    await many.pass_time(2 * BEAT_S)
    assert a.gauge("paygate_node_duties") > b.gauge("paygate_node_duties")

    payment_id = await b.pay()
    await many.until_status(b, payment_id, "success")

    await many.until(lambda: len(many.receivers.to(URL)) >= 1)


async def test_what_nobody_could_tell_is_found_by_looking(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    await endpoint_at(a)
    await many.pass_time(2 * BEAT_S)
    unheard(b)

    payment_id = await b.pay()
    await many.until_status(b, payment_id, "success")
    before = len(many.receivers.to(URL))
    await many.pass_time(LOOK_S + 1)

    assert before < len(many.receivers.to(URL))


async def test_the_courier_of_a_node_that_died_is_replaced(many: ManyNodes):
    a, b = await many.start("a", bank=Bank()), await many.start("b")
    await endpoint_at(a)
    await many.pass_time(2 * BEAT_S)
    await many.lose(a)

    payment_id = await b.pay()
    await many.until_status(b, payment_id, "success")
    await many.pass_time(NOT_MINE_S + LOOK_S)

    assert len(many.receivers.to(URL)) >= 1


async def test_an_endpoint_that_another_node_deleted_gets_nothing_more_and_leaves_nothing(
    many: ManyNodes,
):
    a, b = await many.start("a"), await many.start("b")
    endpoint_id = await endpoint_at(a)
    await many.pass_time(2 * BEAT_S)
    unheard(a, b)

    await b.gateway.front.notices.delete(MERCHANT, endpoint_id)
    await many.pass_time(0.5)
    payment_id = await a.pay()  # which cannot know yet
    await many.until_status(a, payment_id, "success")
    assert await b.store.waiting(queue_of(endpoint_id)) != []
    await many.pass_time(SETTLES_S + 2 * LOOK_S)

    assert many.receivers.to(URL) == []
    assert await b.store.waiting(queue_of(endpoint_id)) == []
    assert a.gateway.front.notices.endpoints(MERCHANT) == ()


@pytest.mark.parametrize("before", [0, 1])
async def test_an_event_that_is_committed_while_a_feed_is_read_to_its_end_is_no_gap(
    many: ManyNodes, *, before: int
):
    a, b = await many.start("a"), await many.start("b")
    for _ in range(before):
        await many.until_status(b, await b.pay(), "success")
    page = a.gateway.front.notices.feed
    first = await page(MERCHANT, after=None, limit=100)
    assert isinstance(first, FeedPage)
    read = a.store.read_feed

    async def slow(feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        a.store.read_feed = read
        found = await read(feed, after_n=after_n, limit=limit)
        await many.until_status(b, await b.pay(), "success")
        return found

    a.store.read_feed = slow
    end = await page(MERCHANT, after=first.next_cursor, limit=100)
    assert isinstance(end, FeedPage), end
    more = await page(MERCHANT, after=end.next_cursor, limit=100)

    assert isinstance(more, FeedPage), more
    assert len(first.items + end.items + more.items) == before + 1


async def test_an_endpoint_that_could_not_be_read_is_read_again(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    read = b.store.query

    async def away(query: Query) -> list[Document]:
        raise Overloaded("the database cannot be reached")

    b.store.query = away
    await endpoint_at(a)
    await many.pass_time(2 * BEAT_S)
    assert b.gateway.front.notices.endpoints(MERCHANT) == ()

    b.store.query = read
    await many.pass_time(2 * REREAD_S)

    assert len(b.gateway.front.notices.endpoints(MERCHANT)) == 1


# ------------------------------------------------------------------ switches and turns


async def test_a_switch_that_was_turned_on_one_node_holds_on_the_others(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")

    await a.gateway.front.switch_provider(OPERATOR, "bank", accepts_charges=False)
    await many.pass_time(2 * BEAT_S)

    refused = await b.process()
    assert isinstance(refused, Refusal)
    assert refused.code == "no_provider"


async def test_what_changed_while_a_node_was_being_furnished_is_read_by_it(many: ManyNodes):
    a = await many.start("a")
    starting = many.cluster.node()
    read = starting.query

    async def slow(query: Query) -> list[Document]:
        starting.query = read
        found = await read(query)
        await endpoint_at(a)
        await many.pass_time(2 * BEAT_S)
        return found

    starting.query = slow
    many.cluster.node = lambda: starting
    b = await many.start("b")
    await many.pass_time(2 * BEAT_S)

    assert len(b.gateway.front.notices.endpoints(MERCHANT)) == 1


async def test_two_operators_on_two_nodes_at_once_lose_no_switch(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")

    one = asyncio.ensure_future(
        a.gateway.front.switch_provider(OPERATOR, "bank", accepts_charges=False)
    )
    two = asyncio.ensure_future(b.gateway.front.switch_provider(OPERATOR, "bank", is_active=False))
    answers = await asyncio.gather(one, two)
    await many.pass_time(2 * BEAT_S)

    assert all(isinstance(each, ProviderView) for each in answers), answers
    for node in (a, b):
        (view,) = await node.gateway.front.providers()
        assert (view.accepts_charges, view.is_active) == (False, False)


def one_of(many: ManyNodes, node: Node) -> OneOfMany:
    return OneOfMany(
        node.store,
        epoch=node.epoch,
        lives=lambda _: True,
        may_act=lambda: True,
        clock=ManualClock(),
    )


async def test_a_turn_is_one_nodes_at_a_time_and_given_back(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    first, second = one_of(many, a), one_of(many, b)

    async with first.turn("rules"):
        with pytest.raises(Overloaded):
            async with second.turn("rules"):
                raise AssertionError("two at once")
    async with second.turn("rules"):
        pass


async def test_a_turn_that_could_not_be_given_back_is_given_back_later(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    drop = a.store.drop_duty

    async def away(name: str) -> None:
        raise Overloaded("the database cannot be reached")

    a.store.drop_duty = away
    await a.gateway.front.switch_provider(OPERATOR, "bank", accepts_charges=False)
    a.store.drop_duty = drop
    await many.pass_time(ADOPT_EVERY_S + 1)
    await b.gateway.front.switch_provider(OPERATOR, "bank", accepts_charges=True)

    (view,) = await b.gateway.front.providers()
    assert view.accepts_charges


async def test_a_turn_that_was_taken_without_an_answer_is_given_back(many: ManyNodes):
    a, b = await many.start("a"), await many.start("b")
    first, second = one_of(many, a), one_of(many, b)
    take = a.store.take_duty

    async def lost(name: str) -> bool:
        await take(name)
        raise Overloaded("the database cannot be reached")

    a.store.take_duty = lost
    with pytest.raises(Overloaded):
        async with first.turn("rules"):
            raise AssertionError("it was never told that it is its turn")

    async with second.turn("rules"):
        pass


async def test_a_duty_is_not_ours_while_we_cannot_be_sure_of_the_lease(many: ManyNodes):
    a = await many.start("a")
    sure = [True]
    ours = OneOfMany(
        a.store,
        epoch=a.epoch,
        lives=lambda _: True,
        may_act=lambda: sure[0],
        clock=ManualClock(),
    )
    assert await ours.mine("sweep")

    sure[0] = False

    assert not await ours.mine("sweep")


# ------------------------------------------------------------------ what all must have in common


async def test_a_node_with_another_vaults_keys_is_refused(many: ManyNodes):
    await many.start("a")
    key, other_key = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    other = msgspec.structs.replace(
        many.config,
        database=Database(node="stranger"),
        vault=Vault(keys=(f"other:{key}",), fingerprint_key=other_key),
    )
    many.config = other

    with pytest.raises(StoreRefused, match="vault keys"):
        await many.start("stranger")

    rows = {row.name: row.state for row in await many.nodes[0].store.nodes()}
    assert rows == {"a": "live", "stranger": "left"}
