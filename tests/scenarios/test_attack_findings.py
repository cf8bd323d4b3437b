"""What an outsider's attack on the running gateway found, kept from coming back."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from live_gateway import DECLINED, OPERATOR, Live, Server, event, payment_request, serving, visiting

pytestmark = pytest.mark.slow

_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest_asyncio.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as visitor:
        yield visitor


async def report(live: Live, event_type: str, named: str, **data: object) -> None:
    """Tell the gateway, as the provider, what happened to `named`."""
    body = event(event_type, named, data)

    answer = await live.webhook(body, event_id=f"attack_{next(_numbers)}")

    assert answer.status == 200, answer.text


async def test_a_key_finds_its_payment_after_a_restart_although_no_provider_takes_charges(
    tmp_path: Path,
):
    """The promise of a key does not depend on where a new charge could go."""
    request = payment_request()
    with serving(tmp_path) as before:
        async with visiting(before) as live:
            first = await live.process(request, idempotency_key="order-1")
            for provider in ("sandbox", "sandbox_backup"):
                path = f"/api/providers/{provider}"
                off = await live.call("POST", path, {"acceptsCharges": False}, key=OPERATOR)
                assert off.status == 200, off.text

    with serving(tmp_path) as after:
        async with visiting(after) as live:
            again = await live.process(request, idempotency_key="order-1")
            other = await live.process(request, idempotency_key="order-2")

    assert again.code == (201, None), again.text
    assert again.body["id"] == first.body["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.code == (422, "no_provider")


async def test_a_reused_key_names_the_method_when_a_card_comes_again_as_its_own_token(live: Live):
    first = await live.process(payment_request(), idempotency_key="card-then-token")
    token = first.body["paymentMethod"]["token"]
    request = payment_request(paymentMethod={"type": "token", "token": token})

    again = await live.process(request, idempotency_key="card-then-token")

    assert again.code == (422, "idempotency_key_reused")
    assert [fault["pointer"] for fault in again.body["errors"]] == ["/paymentMethod/type"]


@pytest.mark.parametrize("seconds", ["31", "999999999", "99999999999999999999"])
async def test_a_wait_is_clamped_however_long_it_is(live: Live, seconds: str):
    headers = {"Prefer": f"wait={seconds}"}

    made = await live.call("POST", "/api/payments/process", payment_request(), headers=headers)

    assert made.headers["Preference-Applied"] == "wait=30"
    assert made.body["status"] == "success"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_of_a_key_is_known_in_any_case(live: Live, scheme: str):
    headers = {"Authorization": f"{scheme} {OPERATOR}"}

    found = await live.call("GET", "/api/payments", key=None, headers=headers)

    assert found.status == 200


async def test_refunds_that_a_provider_made_are_all_booked_though_events_name_only_the_charge(
    live: Live,
):
    payment = await live.pay()
    charge = payment["providerTxnID"]
    for minor in (300, 400, 300):
        await report(live, "refund.succeeded", charge, amountMinor=minor, currency="USD")
    seen = await live.until_payment(
        payment["id"], lambda found: found["amountRefunded"] >= Decimal("10.00")
    )

    refunds = await live.transactions(payment["id"], type="refund")

    assert seen["amountRefunded"] == Decimal("10.00")
    assert [refund["amount"] for refund in refunds] == [Decimal(3), Decimal(4), Decimal(3)]
    assert {refund["origin"] for refund in refunds} == {"provider"}


async def test_a_provider_that_does_not_know_a_charge_is_not_held_to_be_sick(live: Live):
    """It answers at once and sensibly: new charges must not turn away from it."""
    strays = 12
    payments = await asyncio.gather(*(live.pay(DECLINED) for _ in range(strays)))
    for payment in payments:
        (key,) = await live.call_keys(payment["id"])
        data: dict[str, Any] = {"reference": key, "amountMinor": 1000, "currency": "USD"}
        await report(live, "payment.succeeded", f"ch_unheard_{payment['id']}", **data)

    async def refusals() -> int:
        calls = await live.calls()
        return sum("void" in str(call) for call in calls)

    # Each stray's void is tried again and again: until far more calls failed than went well.
    await live.until(refusals, lambda seen: seen > 4 * strays)
    health = (await live.get("/api/providers", key=OPERATOR)).body["data"][0]
    paid = await live.pay()

    assert (health["id"], health["circuit"]) == ("sandbox", "closed")
    assert paid["provider"] == "sandbox"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("card 6011 0009 9013 9424 given back", None), ("x" * 5_000, "x" * 200), ("asked", "asked")],
)
async def test_a_providers_reason_is_cut_and_never_shows_a_card_number(
    live: Live, reason: str, shown: str | None
):
    payment = await live.pay()
    told: dict[str, Any] = {"amountMinor": 100, "currency": "USD", "reason": reason}

    await report(live, "refund.succeeded", payment["providerTxnID"], **told)

    await live.until_payment(payment["id"], lambda seen: seen["amountRefunded"] == Decimal(1))
    (refund,) = await live.transactions(payment["id"], type="refund")
    assert refund["reason"] == shown


async def test_an_asserted_status_is_no_longer_pending_and_cannot_be_asserted_otherwise(live: Live):
    """Nobody flips a transaction to and fro while the provider is silent."""
    await live.fault("hang_after_effect", operation="charge", delayMs=30_000)
    await live.fault("webhook_drop", operation="charge")
    await live.fault("error_500", operation="find", count=1_000)
    payment = await live.pay(wait_s=None)
    path = f"/api/transactions/{payment['transactionID']}/status"

    async def assert_status(status: str) -> tuple[int, str | None]:
        body = {"status": status, "reason": "Seen at the bank.", "force": True}
        return (await live.call("POST", path, body, key=OPERATOR)).code

    answers = [await assert_status(status) for status in ("failed", "failed", "success")]

    assert answers == [(200, None), (200, None), (409, "illegal_transition")]
    events = [each["type"] for each in await live.events(payment["id"])]
    assert events.count("status_asserted") == 1
    await live.clear_faults()
    settled = await live.agreed(payment["id"])
    assert settled["status"] == "success"
