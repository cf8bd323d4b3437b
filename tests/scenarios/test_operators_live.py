"""What operators may do over real HTTP: correct a status, turn providers off, read everything."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
from live_gateway import OPERATOR, Live, Server, payment_request, serving, visiting

pytestmark = pytest.mark.slow

REASON = "Seen at the bank."
ON = {"isActive": True, "acceptsCharges": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    flags = ("--sandbox-latency-ms", "10", "--sandbox-find-lag-ms", "100")
    with serving(tmp_path_factory.mktemp("operators"), *flags) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        for provider in ("sandbox", "sandbox_backup"):
            await switch(client, provider, **ON)
        yield client


async def switch(live: Live, provider: str, **switches: bool) -> dict[str, Any]:
    """Turn a provider's switches."""
    path = f"/api/providers/{provider}"
    answer = await live.call("POST", path, switches, key=OPERATOR)
    assert answer.status == 200, answer.text
    return answer.body


async def correct(live: Live, transaction_id: str, status: str, **more: object) -> Any:
    """Ask for a correction."""
    path = f"/api/transactions/{transaction_id}/status"
    body = {"status": status, "reason": REASON, **more}
    return await live.call("POST", path, body, key=OPERATOR)


async def in_doubt(live: Live, *, lookups: int) -> dict[str, Any]:
    """Make a payment that was charged, of which nobody heard, and which look-ups cannot find."""
    await live.fault("webhook_drop", count=100)
    await live.fault("reset_after_effect", operation="charge")
    await live.fault("error_500", operation="find", count=lookups)
    begun = await live.pay(wait_s=None)
    return await live.until_payment(begun["id"], lambda seen: seen["inDoubt"])


async def test_a_correction_that_the_provider_confirms_is_made(live: Live):
    await live.fault("webhook_drop", count=100)
    await live.fault("pending", operation="charge", delayMs=600)
    begun = await live.pay(wait_s=None)
    await live.until(
        live.ledger,
        lambda lines: any(
            line["idempotencyKey"].startswith(begun["transactionID"]) for line in lines
        ),
    )

    answer = await correct(live, begun["transactionID"], "success")

    assert (answer.status, answer.body["status"]) == (200, "success")
    assert (await live.agreed(begun["id"]))["status"] == "success"


async def test_a_correction_that_the_provider_contradicts_is_refused(live: Live):
    begun = await in_doubt(live, lookups=1_000)
    await live.clear_faults()
    await live.fault("webhook_drop", count=100)

    answer = await correct(live, begun["transactionID"], "failed")

    assert answer.code == (409, "provider_disagrees")
    assert (await live.agreed(begun["id"]))["status"] == "success"


async def test_a_correction_without_an_answer_is_refused_and_changes_nothing(live: Live):
    begun = await in_doubt(live, lookups=1_000)

    answer = await correct(live, begun["transactionID"], "failed")

    assert answer.code == (409, "provider_disagrees")
    still = await live.payment(begun["id"])
    assert (still["status"], still["inDoubt"]) == ("processing", True)
    await live.clear_faults()
    assert (await live.agreed(begun["id"]))["status"] == "success"


async def test_an_assertion_stands_until_the_providers_truth_comes_and_wins(live: Live):
    begun = await in_doubt(live, lookups=1_000)

    answer = await correct(live, begun["transactionID"], "failed", force=True)

    asserted = await live.payment(begun["id"])
    assert (answer.status, answer.body["status"]) == (200, "failed")
    # Shown as the operator says, and asked about all the same.
    assert (asserted["status"], asserted["inDoubt"]) == ("failed", True)
    await live.clear_faults()
    ended = await live.agreed(begun["id"])
    first = await live.transaction(begun["transactionID"])
    assert (ended["status"], first["status"]) == ("success", "success")
    assert await live.effects(begun["id"]) == [("charge", 1000)]


async def test_an_asserted_refund_keeps_its_headroom(live: Live):
    paid = (await live.pay())["id"]
    await live.fault("webhook_drop", count=100)
    await live.fault("reset_after_effect", operation="refund")
    await live.fault("error_500", operation="find", count=1_000)
    refund = await live.operate(paid, "refund", {"amount": 6})
    await live.until_payment(paid, lambda seen: seen["inDoubt"])

    answer = await correct(live, refund.body["id"], "failed", force=True)

    more = await live.operate(paid, "refund", {"amount": 6})
    assert (answer.status, answer.body["status"]) == (200, "failed")
    assert more.code == (422, "refund_exceeds_remaining")
    await live.clear_faults()
    ended = await live.agreed(paid)
    assert (await live.transaction(refund.body["id"]))["status"] == "success"
    assert ended["amountRefunded"] == 6


@pytest.mark.parametrize("force", [False, True])
async def test_what_is_final_cannot_be_corrected(live: Live, *, force: bool):
    paid = await live.pay()

    answer = await correct(live, paid["transactionID"], "failed", force=force)

    assert answer.code == (409, "illegal_transition")


async def test_nothing_becomes_pending_again(live: Live):
    paid = await live.pay()

    answer = await correct(live, paid["transactionID"], "pending")

    assert answer.code == (422, "validation_failed")
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/status"]


async def test_a_provider_that_is_off_is_not_called(live: Live):
    held = (await live.pay(captureMethod="manual"))["id"]

    shown = await switch(live, "sandbox", isActive=False)

    paid = await live.pay()
    pinned = await live.process(payment_request(provider="sandbox"))
    assert (shown["isActive"], shown["acceptsCharges"]) == (False, True)
    assert paid["provider"] == "sandbox_backup"
    assert pinned.code == (422, "no_provider")
    # What is open there waits for the provider to be on again; nothing is lost.
    capture = await live.operate(held, "capture")
    await switch(live, "sandbox", isActive=True)
    assert (await live.settled(capture.body["id"]))["status"] == "success"


async def test_a_provider_without_new_charges_still_refunds_and_hears(live: Live):
    paid = (await live.pay())["id"]
    await switch(live, "sandbox", acceptsCharges=False)

    refund = await live.done(paid, "refund", {"amount": 1})
    other = await live.pay()

    assert refund["status"] == "success"
    assert other["provider"] == "sandbox_backup"
    assert (await live.agreed(paid))["amountRefunded"] == 1


async def test_where_no_provider_takes_charges_a_payment_is_refused(live: Live):
    for provider in ("sandbox", "sandbox_backup"):
        await switch(live, provider, acceptsCharges=False)
    calls = len(await live.calls())

    answer = await live.process(payment_request(), idempotency_key="nobody")

    assert answer.code == (422, "no_provider")
    assert len(await live.calls()) == calls
    await switch(live, "sandbox_backup", **ON)
    assert (await live.process(payment_request(), idempotency_key="nobody")).status == 201


async def test_switches_outlast_a_restart(tmp_path: Path):
    with serving(tmp_path) as first:
        async with visiting(first) as live:
            await switch(live, "sandbox", acceptsCharges=False)

    with serving(tmp_path) as second:
        async with visiting(second) as live:
            shown = (await live.get("/api/providers")).body["data"][0]
            paid = await live.pay()

    assert (shown["isActive"], shown["acceptsCharges"]) == (True, False)
    assert paid["provider"] == "sandbox_backup"
