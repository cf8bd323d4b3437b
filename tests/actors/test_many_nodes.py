"""Two gateways over one database: whoever acts, a payment is safe, and dead nodes are replaced."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bank_rig import AMOUNT, MERCHANT, OPERATOR, Bank
from many_nodes_rig import ManyNodes, Node, many_nodes, wanted
from msgspec.structs import replace
from two_step_rig import TwoStepBank, object_of, unconfirmed

from paygate_actors.config import Fraud, Limits
from paygate_actors.desk_messages import AskAgain
from paygate_actors.fleet import COUNT_EVERY_S
from paygate_actors.inbox import SWEEP_S
from paygate_actors.messages import CapturePayment, PaymentReply, Refusal, TransactionReply
from paygate_actors.outcomes import ActionRequired, Approved, Unknown
from paygate_actors.projection import HOLD_CHECK_US
from paygate_actors.providers.base import ProviderEvent
from paygate_engine.errors import Fenced
from paygate_engine.stores.shared import BEAT_S, LEASE_S


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[ManyNodes]:
    async with many_nodes(tmp_path) as many:
        yield many


async def pair(many: ManyNodes) -> tuple[Node, Node]:
    return await many.start("a"), await many.start("b")


async def test_what_one_node_was_told_every_node_tells(many: ManyNodes):
    a, b = await pair(many)
    payment_id = await a.pay()

    first = await b.view(payment_id)
    await many.until_status(a, payment_id, "success")

    assert first.status == "processing"
    assert await b.view(payment_id) == await a.view(payment_id)


async def test_a_node_that_has_a_payment_in_memory_tells_what_another_one_recorded(
    many: ManyNodes,
):
    a, b = await pair(many)
    payment_id = await a.pay(manual=True)
    await many.until_status(a, payment_id, "authorized")
    assert a.gateway.payments.active(payment_id) is not None

    captured = await b.gateway.front.capture(CapturePayment(caller=MERCHANT, payment_id=payment_id))
    await many.until_status(b, payment_id, "success")

    assert isinstance(captured, TransactionReply)
    assert (await a.view(payment_id)).status == "success"


async def test_a_node_that_is_asked_decides_on_what_another_one_recorded(many: ManyNodes):
    a, b = await pair(many)
    payment_id = await a.pay()
    await b.view(payment_id)
    await many.until_status(a, payment_id, "success")

    refunded = await b.refund(payment_id, 4_000)
    await many.until(lambda: many.bank.of("refund") != [])
    too_much = await a.refund(payment_id, 6_001)

    assert isinstance(refunded, TransactionReply)
    assert isinstance(too_much, Refusal)
    assert too_much.code == "refund_exceeds_remaining"


async def test_refunds_on_two_nodes_at_once_never_exceed_what_was_captured(many: ManyNodes):
    a, b = await pair(many)
    payment_id = await a.pay()
    await many.until_status(a, payment_id, "success")

    replies = await asyncio.gather(*(node.refund(payment_id, 6_000) for node in (a, b, a, b)))

    accepted = [each for each in replies if isinstance(each, TransactionReply)]
    assert len(accepted) == 1
    await many.until(lambda: len(many.bank.of("refund")) == 1)
    await many.pass_time(30)
    assert len(many.bank.of("refund")) == 1


async def test_one_key_on_both_nodes_at_once_is_one_payment(many: ManyNodes):
    a, b = await pair(many)

    replies = await asyncio.gather(*(node.process(key="k") for node in (a, b, a, b)))

    assert all(isinstance(each, PaymentReply) for each in replies), replies
    assert len({each.payment.id for each in replies if isinstance(each, PaymentReply)}) == 1
    await many.pass_time(5)
    assert len(many.bank.of("charge")) == 1


async def test_a_call_that_is_out_is_followed_by_its_own_node_alone(many: ManyNodes):
    a, b = await pair(many)
    many.bank.says["charge"] = None
    payment_id = await a.pay()
    await many.until(lambda: many.bank.of("charge") != [])

    reversed_there = await b.refund(payment_id)
    await many.pass_time(20)

    assert isinstance(reversed_there, Refusal)
    assert many.bank.verbs() == ["charge"]
    assert "call_in_doubt" not in await b.events(payment_id)


async def test_a_question_on_another_node_does_not_take_a_call_from_who_follows_it(many: ManyNodes):
    """It would be sent there a second time, without its CVV, while the first is on its way."""
    a = await many.start("a", bank=Bank())
    b = await many.start("b")
    a.bank.says["charge"] = None
    many.bank.says["find"] = Unknown(reason="not_visible")
    payment_id = await a.pay()
    await many.until(lambda: a.bank.of("charge") != [])
    await b.refund(payment_id)

    await b.gateway.front.ask_again(AskAgain(caller=OPERATOR, payment_id=payment_id))
    await many.pass_time(30)

    assert set(many.bank.verbs()) == {"find"}
    a.bank.answer(Approved(provider_txn_id="ch", amount=AMOUNT, captured=True))
    await many.until_status(b, payment_id, "success")


async def test_a_wait_on_one_node_ends_with_what_another_one_records(many: ManyNodes):
    a, b = await pair(many)
    many.bank.says["charge"] = None
    payment_id = await a.pay(key="k")
    await many.until(lambda: many.bank.of("charge") != [])
    waiting = asyncio.ensure_future(b.gateway.front.process(wanted("k"), wait_s=20))
    await many.pass_time(1)
    assert not waiting.done()

    many.bank.answer(Approved(provider_txn_id="ch", amount=AMOUNT, captured=True))
    await many.until_status(a, payment_id, "success")
    await many.pass_time(1)

    reply = await waiting
    assert isinstance(reply, PaymentReply)
    assert reply.payment.status == "success"


# ------------------------------------------------------------------ a node that dies


async def test_what_a_dead_node_had_open_is_taken_up_asked_about_and_finished(many: ManyNodes):
    a = await many.start("a", bank=Bank())
    b = await many.start("b")
    a.bank.says["charge"] = None
    many.bank.says["find"] = Approved(provider_txn_id="ch_1", amount=AMOUNT, captured=True)
    payment_id = await a.pay()
    await many.until(lambda: a.bank.of("charge") != [])

    await many.lose(a)

    view = await many.until_status(b, payment_id, "success")
    assert view.provider_txn_id == "ch_1"
    assert many.bank.verbs() == ["find"]
    assert b.gauge("paygate_node_adopted_total") == 1


async def test_a_dead_nodes_refund_is_taken_up_by_who_has_the_payment_of_before_in_memory(
    many: ManyNodes,
):
    a = await many.start("a", bank=Bank())
    b = await many.start("b")
    payment_id = await a.pay()
    await many.until_status(a, payment_id, "success")
    assert isinstance(await b.refund(payment_id, 1_000_000), Refusal)
    assert b.gateway.payments.active(payment_id) is not None
    a.bank.says["refund"] = None
    await a.refund(payment_id, 4_000)
    await many.until(lambda: a.bank.of("refund") != [])

    await many.lose(a)
    await many.pass_time(10)

    assert many.bank.verbs()[:1] == ["find"]
    assert "call_in_doubt" in await b.events(payment_id)


async def test_what_a_look_up_does_not_see_is_sent_again_under_the_same_key(many: ManyNodes):
    a = await many.start("a", bank=Bank())
    b = await many.start("b")
    a.bank.says["charge"] = None
    payment_id = await a.pay()
    await many.until(lambda: a.bank.of("charge") != [])

    await many.lose(a)
    await many.pass_time(10)

    await many.until_status(b, payment_id, "success")
    assert many.bank.verbs()[:2] == ["find", "charge"]
    assert many.bank.of("charge")[0].key == a.bank.of("charge")[0].key
    assert many.bank.of("charge")[0].cvv is None


async def test_a_payer_who_was_sent_away_by_a_dead_node_is_let_in_by_another_one(many: ManyNodes):
    a = await many.start("a", bank=TwoStepBank())
    theirs = TwoStepBank()
    b = await many.start("b", bank=theirs)
    a.bank.says["charge"] = lambda key: ActionRequired(
        provider_txn_id=object_of(key), url="https://bank.example/", expires_at_us=1 << 60
    )
    payment_id = await a.pay()
    await many.until_status(a, payment_id, "requires_action")
    theirs.says["find"] = unconfirmed  # the payer is done: the object waits to be confirmed again

    await many.lose(a)
    await many.pass_time(60)

    view = await many.until_status(b, payment_id, "success")
    assert theirs.verbs() == ["find", "charge"]
    assert not view.in_doubt


async def test_a_frozen_node_that_wakes_writes_nothing_more_and_ends(many: ManyNodes):
    a = await many.start("a", bank=Bank())
    b = await many.start("b")
    a.bank.says["charge"] = None
    payment_id = await a.pay()
    await many.until(lambda: a.bank.of("charge") != [])
    await many.lose(a)
    await many.pass_time(10)
    await many.until_status(b, payment_id, "success")
    recorded = await b.events(payment_id)

    a.store.plug_in()
    a.bank.hang_up()
    await many.pass_time(2 * BEAT_S)

    assert isinstance(a.fatal[0], Fenced)
    assert await b.events(payment_id) == recorded


async def test_a_node_that_cannot_be_sure_of_its_lease_sends_nothing_and_refuses(many: ManyNodes):
    a = await many.start("a")
    a.store.unplug()
    await many.pass_time(LEASE_S)

    refused = await a.process()

    assert isinstance(refused, Refusal)
    assert refused.code == "overloaded"
    assert a.gateway.front.readiness() is not None
    assert many.bank.heard == []
    a.store.plug_in()
    await many.pass_time(2 * BEAT_S)
    assert a.fatal == []
    assert a.gateway.front.readiness() is None
    await many.until_status(a, await a.pay(), "success")


async def test_after_an_outage_for_all_nobody_is_taken_for_dead(many: ManyNodes):
    a, b = await pair(many)
    many.bank.says["charge"] = None
    await a.pay()
    for node in (a, b):
        node.store.unplug()
    await many.pass_time(5 * LEASE_S)

    for node in (a, b):
        node.store.plug_in()
    await many.pass_time(3 * LEASE_S)

    assert (a.fatal, b.fatal) == ([], [])
    assert b.gauge("paygate_node_buried_total") == 0
    assert many.bank.verbs() == ["charge"]


async def test_a_node_that_leaves_in_order_hands_over_at_once(many: ManyNodes):
    a = await many.start("a", bank=Bank())
    b = await many.start("b")
    payment_id = await a.pay(manual=True)
    await many.until_status(a, payment_id, "authorized")

    await a.gateway.stop()
    many.nodes.remove(a)
    await many.pass_time(15)

    assert b.gauge("paygate_node_adopted_total") == 1


async def test_a_node_says_what_it_owns_and_for_how_long_it_may_act(many: ManyNodes):
    a, b = await pair(many)
    many.bank.says["charge"] = None
    for _ in range(3):
        await a.pay()
    await many.pass_time(COUNT_EVERY_S + 1)

    assert a.gauge("paygate_node_open_payments") == 3
    assert b.gauge("paygate_node_open_payments") == 0
    assert LEASE_S / 2 < a.gauge("paygate_node_lease_seconds") < LEASE_S
    a.store.unplug()
    await many.pass_time(LEASE_S)
    assert a.gauge("paygate_node_lease_seconds") == 0
    assert a.gauge("paygate_node_paused") == 1


async def test_a_new_node_is_not_taken_for_dead_before_the_next_beat(many: ManyNodes):
    a = await many.start("a")
    many.bank.says["charge"] = None
    b = await many.start("b")
    payment_id = await b.pay()
    await many.until(lambda: many.bank.of("charge") != [])

    await a.refund(payment_id)

    assert "call_in_doubt" not in await a.events(payment_id)


# ------------------------------------------------------------------ a database that is away


async def test_a_hold_whose_check_is_past_is_not_looked_up_each_time_it_is_read_back(
    many: ManyNodes,
):
    many.config = replace(many.config, limits=Limits(lingering_payments_max=0))
    node = await many.start("a")
    payment_id = await node.pay(manual=True)
    await many.until_status(node, payment_id, "authorized")

    many.clock.advance(HOLD_CHECK_US / 1_000_000)
    await many.pass_time(60)

    assert node.gateway.payments.active(payment_id) is None
    assert len(many.bank.of("find")) == 1


async def test_a_deadline_that_a_dead_node_watched_is_kept_by_who_reads_its_payment(
    many: ManyNodes,
):
    many.config = replace(many.config, fraud=Fraud(review_amount_usd_minor=1, review_hours=1))
    a, b = await pair(many)
    payment_id = await a.pay()
    await many.until_status(a, payment_id, "review")
    await many.pass_time(3_600 - 5, step_s=5)
    a.store.unplug()
    await many.pass_time(10)
    assert many.bank.of("void") == []

    refused = await b.refund(payment_id)  # long before the dead node's lease is over

    assert isinstance(refused, Refusal)
    await many.until_status(b, payment_id, "cancelled")


async def test_what_a_node_cannot_bring_when_another_one_dies_it_brings_later(many: ManyNodes):
    a = await many.start("a")
    a.store.unplug()

    await a.gateway.webhooks.node_gone()

    assert a.gateway.system.stats.tasks_failed == 0


async def test_an_event_that_finds_no_database_waits_for_the_sweep(many: ManyNodes):
    a = await many.start("a")
    event = ProviderEvent(
        event_id="e", event_type="payment.succeeded", provider_txn_id="ch", at_us=5
    )
    await a.gateway.inbox.take("bank", (event,))
    await many.until(lambda: a.gateway.inbox.parked == 1)

    a.store.unplug()
    a.gateway.inbox.appeared("bank", "ch")
    await many.pass_time(1)

    assert a.gateway.system.stats.tasks_failed == 0
    assert a.fatal == []


async def test_an_event_that_nobody_can_place_is_counted_by_the_node_that_sweeps_alone(
    many: ManyNodes,
):
    a, b = await pair(many)
    event = ProviderEvent(
        event_id="e", event_type="payment.succeeded", provider_txn_id="ch", at_us=5
    )
    await b.gateway.inbox.take("bank", (event,))
    await many.until(lambda: b.gauge("paygate_webhooks_parked") == 1)

    await many.pass_time(4 * SWEEP_S, step_s=5)

    assert a.gauge("paygate_webhooks_parked") == 1
    assert b.gauge("paygate_webhooks_parked") == 0


async def test_a_node_whose_epoch_is_over_ends_without_a_task_that_fails(many: ManyNodes):
    a = await many.start("a")

    await a.store.leave()
    await many.pass_time(3 * SWEEP_S)

    assert isinstance(a.fatal[0], Fenced)
    assert a.gateway.system.stats.tasks_failed == 0
