"""Webhook endpoints: who may have what sent where, and under which secret."""

import asyncio
from pathlib import Path

from bank_rig import MERCHANT, OPERATOR
from notice_rig import OTHER, OTHER_URL, URL, notice_rig, refusal, verifies

from paygate_actors.config import Config, Sandbox, Webhooks
from paygate_actors.endpoints import PER_MERCHANT_MAX, Endpoint
from paygate_actors.messages import Refusal
from paygate_actors.money import Money
from paygate_actors.notice_messages import EndpointChange, NewEndpoint, WithSecret
from paygate_actors.notice_sender import Answer
from paygate_actors.outbox import Delivery
from paygate_actors.outcomes import Approved
from paygate_actors.webhooks_out import calls_loopback

BROKEN = Answer(status=500)
DAY_S = 86_400


async def test_a_deleted_endpoint_is_sent_nothing_and_its_queue_is_emptied(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        await here.pay()
        await here.until_sent(1)
        await here.quiet()

        deleted = await here.desk.delete(MERCHANT, made.endpoint.id)
        await here.quiet()
        stored = await here.rig.store.read_document("webhook_endpoint", made.endpoint.id)
        await here.pay()
        await here.rig.pass_time(DAY_S, step_s=3_600)

        assert isinstance(deleted, Endpoint)
        assert len(here.receivers.sent) == 1
        assert await here.rig.store.waiting(f"outbox/{made.endpoint.id}") == []
        assert refusal(here.desk.endpoint(MERCHANT, made.endpoint.id)) == "endpoint_not_found"
        assert list(here.desk.endpoints(MERCHANT)) == []
        assert stored is not None
        assert b"sealed" not in stored.body
        assert stored.facets == ("deleted",)


async def test_a_queue_that_a_crash_left_half_emptied_is_emptied_by_the_next_start(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        here.receivers.says[URL] = lambda _: BROKEN
        await here.pay()
        await here.until_sent(1)
        await here.quiet()
        queue = f"outbox/{made.endpoint.id}"
        deleting = asyncio.create_task(here.desk.delete(MERCHANT, made.endpoint.id))
        await here.rig.until(lambda: not here.desk.endpoints(MERCHANT))
        here.rig.store.dead = True
        await deleting
        await here.rig.crash()
        here.rig.store.dead = False
        left = await here.queued(queue)

        await here.rig.start()
        await here.quiet()

        assert left == 1
        assert await here.queued(queue) == 0
        assert list(here.desk.endpoints(MERCHANT)) == []


async def test_endpoints_and_their_secrets_survive_a_restart(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        gone = await here.endpoint(OTHER_URL)
        await here.desk.delete(MERCHANT, gone.endpoint.id)

        await here.rig.crash()
        await here.rig.start()
        await here.pay()
        await here.until_sent(1)

        assert list(here.desk.endpoints(MERCHANT)) == [made.endpoint]
        (sent,) = here.receivers.sent
        assert verifies(made.secret, here, 0)
        assert sent.url == URL


async def test_a_secret_is_shown_once_and_lies_sealed(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()

        stored = await here.rig.store.read_document("webhook_endpoint", made.endpoint.id)

        assert stored is not None
        secret = made.secret.removeprefix("whsec_")
        assert secret.encode() not in stored.body
        assert secret not in repr(made)
        assert secret not in repr(here.desk.endpoint(MERCHANT, made.endpoint.id))


async def test_while_a_secret_is_rotated_both_sign(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()

        rotated = await here.desk.rotate(MERCHANT, made.endpoint.id)
        assert isinstance(rotated, WithSecret)
        await here.pay()
        await here.until_sent(1)
        await here.rig.pass_time(25 * 3_600, step_s=3_600)
        await here.pay()
        await here.until_sent(2)

        assert verifies(made.secret, here, 0)
        assert verifies(rotated.secret, here, 0)
        assert not verifies(made.secret, here, 1)
        assert verifies(rotated.secret, here, 1)


async def test_rotating_again_and_again_keeps_few_secrets(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        rotated: object = None
        for _ in range(10):
            rotated = await here.desk.rotate(MERCHANT, made.endpoint.id)
        await here.pay()
        await here.until_sent(1)

        assert isinstance(rotated, WithSecret)
        assert len(here.receivers.sent[0].headers["webhook-signature"].split(" ")) == 4
        assert verifies(rotated.secret, here, 0)
        assert not verifies(made.secret, here, 0)


async def test_an_endpoint_hears_what_it_asked_for(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        await here.endpoint(URL, "refund.*")
        await here.endpoint(OTHER_URL, "payment.succeeded", "dispute.opened")

        here.rig.bank.says["refund"] = lambda key: Approved(
            provider_txn_id=f"re_{key}", amount=Money(100, "USD")
        )
        payment_id = await here.pay()
        await here.rig.refund(payment_id, 100)
        await here.until_sent(2)
        await here.quiet()

        assert {sent.type for sent in here.receivers.to(URL)} == {
            "refund.pending",
            "refund.succeeded",
        }
        assert {sent.type for sent in here.receivers.to(OTHER_URL)} == {"payment.succeeded"}
        types = [event.type for event in await here.events()]
        assert types == ["payment.succeeded", "refund.pending", "refund.succeeded"]


async def test_a_test_event_comes_whatever_is_subscribed_to_and_is_in_no_feed(
    tmp_path: Path,
) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint(URL, "refund.*")

        sent = await here.desk.test(MERCHANT, made.endpoint.id)
        await here.until_sent(1)

        assert isinstance(sent, Delivery)
        assert here.receivers.sent[0].type == "webhook_endpoint.test"
        assert await here.events() == []


async def test_bad_urls_and_unknown_events_are_all_named_at_once(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        here.receivers.refused.add(URL)

        wanted = NewEndpoint(url=URL, events=("payment.succeeded", "payment.exploded", "*"))
        found = await here.desk.create(MERCHANT, wanted)

        assert isinstance(found, Refusal)
        pointers = [fault.pointer for fault in found.faults]
        assert (found.code, pointers) == (
            "validation_failed",
            ["/events/1", "/events/2", "/url"],
        )
        assert list(here.desk.endpoints(MERCHANT)) == []


async def test_a_merchant_has_a_bounded_number_of_endpoints(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        wanted = NewEndpoint(url=URL)
        made = [here.desk.create(MERCHANT, wanted) for _ in range(PER_MERCHANT_MAX + 3)]

        found = await asyncio.gather(*made)

        assert sum(isinstance(each, WithSecret) for each in found) == PER_MERCHANT_MAX
        codes = {each.code for each in found if isinstance(each, Refusal)}
        assert codes == {"endpoint_limit_reached"}
        assert isinstance(await here.desk.create(OTHER, wanted), WithSecret)


async def test_endpoints_are_their_merchants_alone(tmp_path: Path) -> None:
    async with notice_rig(tmp_path) as here:
        made = await here.endpoint()
        of_id = made.endpoint.id

        codes = {
            refusal(here.desk.endpoint(OTHER, of_id)),
            refusal(await here.desk.change(OTHER, of_id, EndpointChange(enabled=False))),
            refusal(await here.desk.delete(OTHER, of_id)),
            refusal(await here.desk.rotate(OTHER, of_id)),
            refusal(await here.desk.test(OTHER, of_id)),
        }

        assert codes == {"endpoint_not_found"}
        assert list(here.desk.endpoints(OTHER)) == []
        assert isinstance(here.desk.endpoint(OPERATOR, of_id), Endpoint)


def test_this_machine_is_called_in_the_sandbox_alone() -> None:
    on, off = Webhooks(), Webhooks(allow_loopback=False)

    allowed = [
        calls_loopback(Config(sandbox=Sandbox(enabled=enabled), webhooks=webhooks))
        for enabled in (True, False)
        for webhooks in (on, off)
    ]

    assert allowed == [True, False, False, False]
