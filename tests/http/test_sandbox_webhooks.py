"""Webhooks: which event tells what, signatures, repetition, and what can go wrong on the way."""

import asyncio
from datetime import UTC, datetime

import pytest
from sandbox_rig import CONFIRM, DISPUTED, Inbox, sandbox_rig
from standardwebhooks import Webhook

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.server import WEBHOOK_SECRET


async def test_each_movement_is_told_with_our_reference():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        charge_id = await rig.charged("k", capture=False, reference="ref-k")
        await rig.follow("captures", "c", charge_id, minor=900)
        _, refund = await rig.follow("refunds", "r", charge_id, minor=400)

        events = {event["eventType"]: event for event in await inbox.wait_for(3)}

        held, taken, back = (
            events["payment.authorized"],
            events["payment.succeeded"],
            events["refund.succeeded"],
        )
        assert held["providerID"] == "sandbox"
        assert (held["transactionID"], taken["transactionID"]) == (charge_id, charge_id)
        assert held["data"]["reference"] == "ref-k"
        assert (taken["data"]["reference"], taken["data"]["amountMinor"]) == ("c", 900)
        assert back["transactionID"] == refund["id"]
        assert back["data"]["parentTransactionID"] == charge_id
        assert back["data"]["currency"] == "USD"


@pytest.mark.parametrize(
    ("number", "path", "event_type"),
    [
        ("4000000000000002", None, "payment.failed"),
        (CONFIRM, "complete", "payment.succeeded"),
        (CONFIRM, "fail", "payment.failed"),
    ],
)
async def test_the_end_of_a_payment_is_told(number: str, path: str | None, event_type: str):
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        _, answer = await rig.charge("k", number=number)
        if path is not None:
            await rig.post(f"/actions/{answer['id']}/{path}")

        await inbox.wait_for(1)

        assert inbox.types == [event_type]


async def test_a_void_and_an_unconfirmed_void_are_told_as_cancelled():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        charge_id = await rig.charged("k", number=CONFIRM)

        await rig.follow("voids", "v", charge_id)

        (event,) = await inbox.wait_for(1)
        assert (event["eventType"], event["data"]["reference"]) == ("payment.cancelled", "v")


async def test_every_webhook_carries_a_standard_signature():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url, clock=clock) as rig:
        await rig.charge("k")
        await inbox.wait_for(1)

        headers, body = inbox.received[0]

        seconds = clock.now_us() // 1_000_000
        moment = datetime.fromtimestamp(seconds, UTC)
        expected = Webhook(WEBHOOK_SECRET).sign(headers["webhook-id"], moment, body.decode())
        assert headers["webhook-timestamp"] == str(seconds)
        assert headers["webhook-signature"] == expected


async def test_a_refused_webhook_comes_again_with_the_same_id_and_bytes():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url, clock=clock) as rig:
        inbox.status = 503
        await rig.charge("k")
        await inbox.wait_for(1)

        inbox.status = 200
        await moved_until(clock, inbox, 2)
        clock.advance(3_600)
        await rig.charge("other")
        await inbox.wait_for(3)

        (first_headers, first), (again_headers, again), (_, other) = inbox.received
        assert first_headers["webhook-id"] == again_headers["webhook-id"]
        assert first == again != other


async def moved_until(clock: ManualClock, inbox: Inbox, count: int) -> None:
    """Move the clock on, second by second, until that many webhooks have come in."""
    async with asyncio.timeout(5):
        while len(inbox.received) < count:
            clock.advance(1)
            await asyncio.sleep(0.01)  # the sandbox looks at a clock that was moved by hand


async def test_webhooks_outlast_a_gateway_that_is_away_for_ten_minutes():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url, clock=clock) as rig:
        inbox.status = 500
        began_us = clock.now_us()
        await rig.charge("k")

        async with asyncio.timeout(20):
            while clock.now_us() - began_us < 600_000_000:
                seen = len(inbox.received)
                clock.advance(5)
                await asyncio.sleep(0.005)  # let what has become due go out
                assert len(inbox.received) - seen <= 1
        inbox.status = 200
        before = len(inbox.received)
        await moved_until(clock, inbox, before + 1)

        assert len(set(inbox.ids)) == 1


async def test_a_dropped_webhook_never_comes():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        await rig.fault("webhook_drop", operation="charge")

        await rig.charge("dropped")
        await rig.charge("told")
        await inbox.wait_for(1)

        assert [event["data"]["reference"] for event in inbox.events] == ["told"]


async def test_a_duplicated_webhook_comes_twice_under_one_id():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        await rig.fault("webhook_duplicate")

        await rig.charge("k")
        await inbox.wait_for(2)

        assert len(set(inbox.ids)) == 1


async def test_a_delayed_webhook_waits_for_its_time():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url, clock=clock) as rig:
        await rig.fault("webhook_delay", delayMs=60_000)
        await rig.charge("late")
        await rig.charge("prompt")
        await inbox.wait_for(1)

        clock.advance(60)
        await inbox.wait_for(2)

        assert [event["data"]["reference"] for event in inbox.events] == ["prompt", "late"]


async def test_a_reordered_webhook_comes_behind_the_next_one():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        await rig.fault("webhook_reorder", delayMs=60_000)

        await rig.charge("first")
        await rig.charge("second")
        await inbox.wait_for(2)

        assert [event["data"]["reference"] for event in inbox.events] == ["second", "first"]


async def test_a_reordered_webhook_with_nothing_behind_it_comes_after_its_delay():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url, clock=clock) as rig:
        await rig.fault("webhook_reorder", delayMs=1_000)
        await rig.charge("alone")

        clock.advance(1)
        await inbox.wait_for(1)

        assert inbox.types == ["payment.succeeded"]


async def test_a_webhook_can_overtake_the_answer():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        await rig.fault("webhook_before_reply")

        await rig.charge("k")

        assert inbox.types == ["payment.succeeded"]


async def test_a_disputed_card_is_disputed_after_its_success_and_the_bank_decides():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url, clock=clock) as rig:
        charge_id = await rig.charged("k", number=DISPUTED)
        await inbox.wait_for(1)
        early, _ = await rig.post(f"/disputes/{charge_id}/close", {"outcome": "lost"})

        clock.advance(1)
        await inbox.wait_for(2)
        refund, _ = await rig.follow("refunds", "r", charge_id)
        closed, _ = await rig.post(f"/disputes/{charge_id}/close", {"outcome": "won"})
        await inbox.wait_for(4)

        events = {event["eventType"]: event for event in inbox.events}
        assert (early, refund, closed) == (409, 402, 200)
        assert inbox.types[:2] == ["payment.succeeded", "dispute.opened"]
        assert events["dispute.opened"]["transactionID"] == charge_id
        assert events["dispute.closed"]["data"]["outcome"] == "won"
        assert events["refund.failed"]["data"]["reason"] == "charge_disputed"
        assert (await rig.follow("refunds", "r2", charge_id))[0] == 200


async def test_a_refund_that_the_provider_made_itself_names_its_charge_and_no_reference():
    async with Inbox() as inbox, sandbox_rig(gateway_url=inbox.url) as rig:
        charge_id = await rig.charged("k")
        await inbox.wait_for(1)

        status, answer = await rig.post(
            "/returns", {"providerTxnID": charge_id, "amountMinor": 300}
        )
        over, _ = await rig.post("/returns", {"providerTxnID": charge_id, "amountMinor": 701})
        await inbox.wait_for(2)

        event = inbox.events[1]
        assert (status, over) == (200, 409)
        assert (event["eventType"], event["transactionID"]) == ("refund.succeeded", answer["id"])
        assert event["data"]["parentTransactionID"] == charge_id
        assert "reference" not in event["data"]
        assert (await rig.effects())[1] == ("refund", None, 300)


async def test_the_gateway_that_registered_last_gets_the_webhooks():
    async with Inbox() as old, Inbox() as new, sandbox_rig(gateway_url=old.url) as rig:
        status, _ = await rig.post("/gateway", {"url": f"{new.url}/"})

        await rig.charge("k")
        await new.wait_for(1)

        assert status == 200
        assert old.received == []


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", "http://[::1"])
async def test_a_gateway_that_is_no_url_is_refused(url: str):
    async with sandbox_rig() as rig:
        status, _ = await rig.post("/gateway", {"url": url})

        assert status == 400


async def test_without_a_gateway_nothing_is_kept_for_one():
    async with Inbox() as inbox, sandbox_rig() as rig:
        await rig.charge("before")

        await rig.post("/gateway", {"url": inbox.url})
        await rig.charge("after")
        await inbox.wait_for(1)

        assert [event["data"]["reference"] for event in inbox.events] == ["after"]


async def test_a_reset_clears_books_keys_and_faults():
    async with sandbox_rig() as rig:
        await rig.charge("k")
        await rig.fault("error_500", count=9)

        status, _ = await rig.post("/reset")

        assert status == 200
        assert (await rig.ledger(), await rig.calls()) == ([], [])
        assert (await rig.charge("k", minor=7))[0] == 200
        assert await rig.effects() == [("charge", "k", 7)]
