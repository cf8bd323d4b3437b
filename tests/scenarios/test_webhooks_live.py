"""Webhooks over real HTTP: checked, kept, applied once, in whatever order they come."""

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta

import pytest
from live_gateway import (
    OPERATOR,
    Live,
    Server,
    event,
    journal_rows,
    serving,
    signed,
    visiting,
)

pytestmark = pytest.mark.slow

DOORS = ("/api/webhooks/sandbox", "/api/providers/sandbox/webhook")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    flags = ("--sandbox-latency-ms", "20", "--sandbox-find-lag-ms", "200")
    with serving(tmp_path_factory.mktemp("webhooks"), *flags) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def types(live: Live, payment_id: str) -> list[str]:
    """Give the types of a payment's recorded events."""
    return [each["type"] for each in await live.events(payment_id)]


@pytest.mark.parametrize(
    "fault",
    ["webhook_drop", "webhook_duplicate", "webhook_delay", "webhook_reorder"],
)
async def test_whatever_happens_to_webhooks_every_operation_is_done_once(live: Live, fault: str):
    await live.fault(fault, count=20, delayMs=300)
    paid = (await live.pay())["id"]
    held = (await live.pay(captureMethod="manual"))["id"]
    undone = (await live.pay())["id"]

    await live.done(paid, "refund", {"amount": 4})
    await live.done(held, "capture")
    await live.done(undone, "reverse")

    assert await live.effects(paid) == [("charge", 1000), ("refund", 400)]
    assert await live.effects(held) == [("authorize", 1000), ("capture", 1000)]
    assert await live.effects(undone) == [("charge", 1000), ("void", 1000)]
    for payment_id in (paid, held, undone):
        await live.agreed(payment_id)
        assert (await types(live, payment_id)).count("call_approved") == 2


@pytest.mark.parametrize("operation", ["charge", "authorize", "capture", "refund", "void"])
async def test_a_webhook_that_overtakes_the_answer_is_applied_once(live: Live, operation: str):
    how = "manual" if operation in ("authorize", "capture") else "automatic"
    if operation in ("charge", "authorize"):
        await live.fault("webhook_before_reply", operation=operation)
        payment_id = (await live.pay(captureMethod=how))["id"]
    else:
        payment_id = (await live.pay(captureMethod=how))["id"]
        await live.fault("webhook_before_reply", operation=operation)
        await live.done(payment_id, {"void": "reverse"}.get(operation, operation))

    await live.agreed(payment_id)

    approved = [each for each in await types(live, payment_id) if each == "call_approved"]
    assert len(approved) == len(await live.effects(payment_id))
    assert len(approved) == (1 if operation in ("charge", "authorize") else 2)


async def test_what_takes_its_time_ends_by_webhook(live: Live):
    await live.fault("pending", operation="charge", delayMs=700)

    begun = await live.pay(wait_s=None)

    waiting = await live.until_payment(begun["id"], lambda seen: seen["expectedBy"] is not None)
    assert (waiting["status"], waiting["inDoubt"]) == ("processing", False)
    assert (await live.agreed(begun["id"]))["status"] == "success"


@pytest.mark.parametrize("door", DOORS)
async def test_only_what_the_provider_signed_is_taken(live: Live, server: Server, door: str):
    body = event("payment.succeeded", "ch_x", {"amountMinor": 1, "currency": "USD"})
    good = signed(body, event_id=f"msg{door}")
    long_ago = datetime.now(UTC) - timedelta(minutes=10)  # noqa: TID251  # of the real clock
    ahead = datetime.now(UTC) + timedelta(minutes=10)  # noqa: TID251
    bad = {
        "no signature": {"Content-Type": "application/json"},
        "of another body": signed(body + b" ", event_id="msg_1"),
        "of another id": good | {"webhook-id": "msg_other"},
        "too old": signed(body, event_id="msg_1", at=long_ago),
        "from the future": signed(body, event_id="msg_1", at=ahead),
        "no base64": good | {"webhook-signature": "v1,!!!"},
        "another scheme": good | {"webhook-signature": "v0" + good["webhook-signature"][2:]},
        "a time that is none": good | {"webhook-timestamp": "now"},
    }
    before = journal_rows(server)

    for why, headers in bad.items():
        answer = await live.call("POST", door, body, key=None, headers=headers)

        assert answer.code == (401, "signature_invalid"), why
    assert journal_rows(server) == before
    taken = await live.call("POST", door, body, key=None, headers=good)
    assert (taken.status, taken.body) == (200, {"received": True})
    assert journal_rows(server) != before


async def test_the_order_of_the_checks_is_provider_signature_body(live: Live, server: Server):
    before = journal_rows(server)

    nobody = await live.webhook(b"{", event_id="msg_1", provider="acme")
    unsigned = await live.webhook(b"{", event_id="msg_1", **{"webhook-signature": "v1,AAAA"})
    bodies = (b"{", b"[]", b"{}", b'{"eventType": 7}', event("payment.succeeded", ""))
    malformed = [
        await live.webhook(body, event_id=f"msg_m{number}") for number, body in enumerate(bodies)
    ]

    assert nobody.code == (404, "provider_not_found")
    assert unsigned.code == (401, "signature_invalid")
    assert [each.code for each in malformed] == [(400, "malformed_body")] * len(bodies)
    assert journal_rows(server) == before


async def test_an_event_of_an_unknown_type_is_kept(live: Live, server: Server):
    received = await live.metric("paygate_webhooks_received_total")

    answer = await live.webhook(event("payout.paid", "po_1"), event_id="msg_unknown")

    assert answer.status == 200
    assert await live.metric("paygate_webhooks_received_total") == received + 1


async def test_an_event_seen_before_is_200_and_changes_nothing(live: Live, server: Server):
    paid = await live.pay()
    data = {"amountMinor": 300, "currency": "USD", "parentTransactionID": paid["providerTxnID"]}
    body = event("refund.succeeded", "re_seen", data)
    await live.webhook(body, event_id="msg_seen")
    await live.until_payment(paid["id"], lambda seen: seen["amountRefunded"] == 3)
    before = journal_rows(server)

    again = await live.webhook(body, event_id="msg_seen")

    assert again.status == 200
    assert journal_rows(server) == before
    renamed = await live.webhook(body, event_id="msg_seen_again")
    assert renamed.status == 200
    assert (await live.payment(paid["id"]))["amountRefunded"] == 3


@pytest.mark.parametrize("event_type", ["payment.failed", "payment.authorized"])
async def test_an_older_event_never_moves_a_payment_backwards(live: Live, event_type: str):
    paid = await live.pay()
    (key,) = await live.call_keys(paid["id"])
    data = {"amountMinor": 1000, "currency": "USD", "reference": key}

    answer = await live.webhook(
        event(event_type, paid["providerTxnID"], data), event_id=f"msg_old_{event_type[8:]}"
    )

    assert answer.status == 200
    await live.done(paid["id"], "refund")
    ended = await live.agreed(paid["id"])
    assert (ended["status"], ended["attention"]) == ("success", None)


async def test_an_event_about_an_unknown_transaction_waits_for_it(live: Live):
    await live.fault("webhook_drop", count=20)
    await live.fault("hang_after_effect", operation="charge", delayMs=1_500)
    begun = await live.pay(wait_s=None)
    (key,) = await live.call_keys(begun["id"])
    booked = await live.until(
        live.ledger, lambda lines: any(line["idempotencyKey"] == key for line in lines)
    )
    (charge,) = [each["providerTxnID"] for each in booked if each["idempotencyKey"] == key]
    parked = await live.metric("paygate_webhooks_parked")
    # No reference: the provider's id alone says which payment it is about.
    refund = {"amountMinor": 100, "currency": "USD", "parentTransactionID": charge}

    answer = await live.webhook(event("payment.succeeded", charge), event_id="msg_early")
    late = await live.webhook(event("refund.succeeded", "re_1", refund), event_id="msg_early_re")

    assert (answer.status, late.status) == (200, 200)
    assert await live.metric("paygate_webhooks_parked") >= parked + 1
    ended = await live.until_status(begun["id"], "success")
    await live.until(
        lambda: live.metric("paygate_webhooks_parked"), lambda count: count <= parked + 1
    )
    assert (await types(live, ended["id"])).count("call_approved") == 1


async def test_an_event_with_another_amount_is_no_success(live: Live):
    await live.fault("webhook_drop", count=20)
    await live.fault("pending", operation="charge", delayMs=2_500)
    begun = await live.pay(wait_s=None)
    known = await live.until_payment(begun["id"], lambda seen: seen["expectedBy"] is not None)
    (key,) = await live.call_keys(begun["id"])
    data = {"amountMinor": 1, "currency": "USD", "reference": key}
    charge = known["providerTxnID"] or next(
        each["data"]["providerTxnID"]
        for each in await live.events(begun["id"])
        if each["type"] == "call_pending"
    )

    await live.webhook(event("payment.succeeded", charge, data), event_id="msg_amount")

    doubted = await live.until_payment(begun["id"], lambda seen: seen["attention"] is not None)
    assert doubted["attention"] == "amount_mismatch"
    assert doubted["status"] != "success"
    ended = await live.at_rest(begun["id"])
    assert ended["status"] in ("cancelled", "review", "authorized")
    listed = await live.get(f"/api/transactions?paymentID={begun['id']}", key=OPERATOR)
    assert [each["type"] for each in listed.body["data"]] == ["reverse", "payment"]
