"""Every fault of a provider, on every call: in the end the gateway and the books say the same.

While a call's outcome is not known the payment says so (`inDoubt`) and never `failed`; no key ever
has two effects, and nothing is `failed` while money moved. `Live.agreed` asserts the last three.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest
from live_gateway import MERCHANT, Live, Server, minor, payment_request, serving, visiting

pytestmark = pytest.mark.slow

# Longer than the gateway's deadline for a call.
HANG_MS = 2_400
BEFORE = ("reset_before_effect", "hang_before_effect", "error_500", "too_many_requests")
AFTER = ("reset_after_effect", "hang_after_effect", "garbage", "slow", "pending")
CHANGED = ("error_500_stored", "wrong_amount", "decline")
FAULTS = (*BEFORE, *AFTER, *CHANGED)
# The gateway hears nothing that it understands, so it cannot know.
IN_DOUBT = (
    *("reset_before_effect", "hang_before_effect", "error_500", "reset_after_effect"),
    *("hang_after_effect", "garbage", "error_500_stored"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    # The lag is long enough that "not found" comes before the truth, as in life.
    flags = ("--sandbox-latency-ms", "5", "--sandbox-find-lag-ms", "1200")
    with serving(tmp_path_factory.mktemp("unknown"), *flags) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def struck(
    live: Live, operation: str, fault: str, begin: Callable[[], Awaitable[str]]
) -> str:
    """Begin something whose call the fault strikes; return its id once the fault is spent."""
    delay = {"delayMs": HANG_MS if fault.startswith("hang") else 300}
    await live.fault(fault, operation=operation, **delay)
    begun = await begin()

    async def spent() -> bool:
        standing = (await live.control("GET", "/faults"))["data"]
        return all(each["fault"] == "webhook_drop" for each in standing)

    await live.until(spent, lambda is_spent: is_spent)
    return begun


async def deafen(live: Live) -> None:
    """Lose every webhook from now on, so that look-ups alone can tell what happened."""
    await live.fault("webhook_drop", count=1_000)


async def faults_on(live: Live, operation: str, payments: list[str]) -> dict[str, set[str]]:
    """Say which faults struck each payment, and assert that each fault struck one of them.

    A call that is sent again may meet the fault that was meant for the next payment.
    """
    lines = [line for line in await live.calls() if line["operation"] == operation]
    struck: dict[str, set[str]] = {}
    for payment_id in payments:
        keys = await live.call_keys(payment_id)
        mine = [line["fault"] for line in lines if line["idempotencyKey"] in keys]
        struck[payment_id] = {fault for fault in mine if fault is not None}
    assert set().union(*struck.values()) >= set(FAULTS), struck
    return struck


@pytest.mark.parametrize("hears", [True, False])
@pytest.mark.parametrize("operation", ["charge", "authorize"])
async def test_every_fault_of_a_charge_ends_as_the_books_say(
    live: Live, operation: str, *, hears: bool
):
    if not hears:
        await deafen(live)
    how = "automatic" if operation == "charge" else "manual"

    async def begin() -> str:
        return (await live.pay(wait_s=None, captureMethod=how))["id"]

    begun = [await struck(live, operation, fault, begin) for fault in FAULTS]
    ended = await asyncio.gather(*map(live.agreed, begun))

    faults = await faults_on(live, operation, begun)
    for payment in ended:
        met = faults[payment["id"]]
        moved = await live.effects(payment["id"])
        if "decline" in met:
            assert (payment["status"], moved) == ("failed", []), met
        elif "wrong_amount" in met:
            assert (payment["status"], payment["attention"]) == ("cancelled", "amount_mismatch")
            assert moved == [(operation, 999), ("void", 999)], met
        else:
            assert payment["status"] == {"automatic": "success"}.get(how, "authorized"), met
            assert moved == [(operation, 1000)], met


@pytest.mark.parametrize("fault", IN_DOUBT)
async def test_what_is_not_known_is_in_doubt_and_not_failed(live: Live, fault: str):
    async def begin() -> str:
        return (await live.pay(wait_s=None))["id"]

    await deafen(live)
    payment_id = await struck(live, "charge", fault, begin)

    doubted = await live.until_payment(payment_id, lambda seen: seen["inDoubt"])
    assert (doubted["status"], doubted["failure"]) == ("processing", None)
    assert (await live.agreed(payment_id))["status"] == "success"
    events = [each["type"] for each in await live.events(payment_id)]
    assert events.count("call_in_doubt") == 1


async def test_a_doubt_is_never_failed_over(live: Live):
    await live.fault("reset_after_effect", operation="charge")

    ended = await live.agreed((await live.pay(wait_s=None))["id"])

    assert ended["status"] == "success"
    assert len(await live.call_keys(ended["id"])) == 1


@pytest.mark.parametrize("hears", [True, False])
@pytest.mark.parametrize("operation", ["capture", "refund", "void"])
async def test_every_fault_of_a_follow_up_ends_as_the_books_say(
    live: Live, operation: str, *, hears: bool
):
    if not hears:
        await deafen(live)
    how = "manual" if operation == "capture" else "automatic"
    verb = {"void": "reverse"}.get(operation, operation)
    begun: list[str] = []
    for fault in FAULTS:
        payment_id = (await live.pay(captureMethod=how))["id"]

        async def begin(payment_id: str = payment_id) -> str:
            answer = await live.operate(payment_id, verb)
            assert answer.status == 201, answer.text
            return answer.body["id"]

        begun.append(await struck(live, operation, fault, begin))

    settled = await asyncio.gather(*map(live.settled, begun))
    faults = await faults_on(live, operation, [txn["paymentID"] for txn in settled])
    for txn in settled:
        payment = await live.agreed(txn["paymentID"])
        assert_followed(verb, faults[payment["id"]], txn, payment)


def assert_followed(verb: str, met: set[str], txn: dict[str, Any], payment: dict[str, Any]) -> None:
    """Faults leave the operation done or declined, and the payment where that puts it."""
    before = {"capture": "authorized"}.get(verb, "success")
    after = {"reverse": "cancelled"}.get(verb, "success")
    if met & {"decline", "error_500_stored"}:
        assert (payment["status"], txn["status"]) == (before, "failed"), (met, payment)
        assert txn["failure"] is not None
    elif "wrong_amount" in met:
        # A capture of another amount is no success: all of it is given back.
        status = {"capture": "cancelled"}.get(verb, after)
        told = (payment["status"], payment["attention"])
        assert told == (status, "amount_mismatch"), (met, payment)
    else:
        assert (payment["status"], txn["status"]) == (after, "success"), (met, payment)
        assert txn["failure"] is None


@pytest.mark.parametrize(
    "fault",
    [
        *("reset_before_effect", "hang_before_effect", "error_500", "too_many_requests"),
        *("reset_after_effect", "hang_after_effect", "garbage", "slow"),
    ],
)
async def test_a_look_up_that_fails_says_nothing_and_is_made_again(live: Live, fault: str):
    await deafen(live)
    await live.fault("reset_after_effect", operation="charge")
    await live.fault(fault, operation="find", delayMs=HANG_MS)
    payment_id = (await live.pay(wait_s=None))["id"]

    ended = await live.agreed(payment_id)

    (key,) = await live.call_keys(payment_id)
    looked = [
        line["fault"]
        for line in await live.calls()
        if line["operation"] == "find" and line["idempotencyKey"] == key
    ]
    assert ended["status"] == "success"
    assert await live.effects(payment_id) == [("charge", 1000)]
    assert fault in looked


async def test_faults_in_a_row_are_outlasted_with_one_effect(live: Live):
    for fault in ("reset_before_effect", "error_500", "too_many_requests", "garbage"):
        await live.fault(fault, operation="charge", provider="sandbox")
    await live.fault("error_500", operation="find")

    ended = await live.agreed((await live.pay(wait_s=None, provider="sandbox"))["id"])

    assert ended["status"] == "success"
    assert await live.effects(ended["id"]) == [("charge", 1000)]


async def test_a_wrong_amount_is_booked_as_a_fact_and_never_called_success(live: Live):
    await live.fault("wrong_amount", operation="charge")

    ended = await live.agreed((await live.pay(wait_s=None))["id"])

    statuses = [each["data"]["fact"] for each in await live.events(ended["id"]) if "moved" in each]
    reverse = (await live.transactions(ended["id"], type="reverse"))[0]
    assert (ended["status"], ended["attention"]) == ("cancelled", "amount_mismatch")
    assert "captured" not in statuses
    assert (reverse["origin"], reverse["status"]) == ("system", "success")
    assert minor(ended["amountAuthorized"]) == 999


@pytest.mark.parametrize("fault", ["slow", "hang_after_effect", "pending", "reset_before_effect"])
async def test_a_reverse_during_a_charge_is_taken_and_done_as_soon_as_it_can_be(
    live: Live, fault: str
):
    await live.fault(fault, operation="charge", delayMs=HANG_MS)
    payment_id = (await live.pay(wait_s=None))["id"]

    reverse = await live.operate(payment_id, "reverse", {"reason": "Changed my mind."})

    early = await live.payment(payment_id)
    done = await live.settled(reverse.body["id"])
    ended = await live.agreed(payment_id)
    assert (reverse.status, reverse.body["status"]) == (201, "pending")
    assert early["status"] == "processing"
    assert (done["status"], ended["status"]) == ("success", "cancelled")
    assert await live.effects(payment_id) == [("charge", 1000), ("void", 1000)]


async def test_a_reverse_during_a_charge_that_is_declined_is_cancelled(live: Live):
    await live.fault("slow", operation="charge", delayMs=800)
    payment_id = (await live.pay("4000000000000002", wait_s=None))["id"]

    reverse = await live.operate(payment_id, "reverse")

    done = await live.settled(reverse.body["id"])
    assert (done["status"], (await live.agreed(payment_id))["status"]) == ("cancelled", "failed")
    assert await live.effects(payment_id) == []


async def test_repeating_a_request_in_doubt_joins_it(live: Live):
    await deafen(live)
    await live.fault("hang_after_effect", operation="charge", delayMs=HANG_MS)
    first = await live.process(payment_request(), idempotency_key="doubt", wait_s=None)
    await live.until_payment(first.body["id"], lambda seen: seen["inDoubt"])

    again = await live.process(payment_request(), idempotency_key="doubt", wait_s=20, key=MERCHANT)

    assert (again.body["id"], again.body["status"]) == (first.body["id"], "success")
    assert await live.effects(first.body["id"]) == [("charge", 1000)]
