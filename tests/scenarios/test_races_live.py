"""Many at once on one payment: limits hold, one wins, and nothing is done twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from decimal import Decimal

import pytest
from live_gateway import Live, Server, serving, visiting

pytestmark = pytest.mark.slow

AT_ONCE = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    # Without a window for voids the provider has always settled already.
    flags = ("--sandbox-latency-ms", "30", "--sandbox-void-window-s", "0")
    with serving(tmp_path_factory.mktemp("races"), *flags) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def test_of_twenty_refunds_of_sixty_percent_at_once_one_wins(live: Live):
    paid = (await live.pay())["id"]

    answers = await asyncio.gather(
        *(live.operate(paid, "refund", {"amount": 6}) for _ in range(AT_ONCE))
    )

    ended = await live.agreed(paid)
    codes = Counter(answer.code for answer in answers)
    assert codes == {(201, None): 1, (422, "refund_exceeds_remaining"): AT_ONCE - 1}
    assert ended["amountRefunded"] == 6
    assert await live.effects(paid) == [("charge", 1000), ("refund", 600)]


async def test_several_refunds_may_be_pending_at_once_up_to_the_last_cent(live: Live):
    paid = (await live.pay())["id"]

    answers = await asyncio.gather(
        *(live.operate(paid, "refund", {"amount": 0.9}) for _ in range(AT_ONCE))
    )

    taken = [answer for answer in answers if answer.status == 201]
    ended = await live.agreed(paid)
    assert len(taken) == 11
    assert {answer.body["status"] for answer in taken} == {"pending"}
    assert ended["amountRefunded"] == Decimal("9.90")
    assert len(await live.effects(paid)) == 12


async def test_of_twenty_captures_at_once_one_wins(live: Live):
    held = (await live.pay(captureMethod="manual"))["id"]

    answers = await asyncio.gather(
        *(live.operate(held, "capture", {"amount": 5}) for _ in range(AT_ONCE))
    )

    codes = Counter(answer.status for answer in answers)
    ended = await live.agreed(held)
    assert codes == {201: 1, 409: AT_ONCE - 1}
    assert (ended["status"], ended["amountCaptured"]) == ("success", 5)
    assert await live.effects(held) == [("authorize", 1000), ("capture", 500)]


async def test_a_capture_and_a_reverse_at_once_do_not_both_happen(live: Live):
    held = [(await live.pay(captureMethod="manual"))["id"] for _ in range(5)]

    for payment_id in held:
        answers = await asyncio.gather(
            live.operate(payment_id, "capture"), live.operate(payment_id, "reverse")
        )

        assert sorted(answer.status for answer in answers) == [201, 409]
        assert (await live.agreed(payment_id))["status"] in ("success", "cancelled")
        assert len(await live.effects(payment_id)) == 2


async def test_refunds_and_a_reverse_at_once_never_give_back_more_than_was_taken(live: Live):
    paid = [(await live.pay())["id"] for _ in range(5)]

    for payment_id in paid:
        answers = await asyncio.gather(
            *(live.operate(payment_id, "refund", {"amount": 6}) for _ in range(4)),
            *(live.operate(payment_id, "reverse", {"orRefund": True}) for _ in range(4)),
        )

        taken = [answer for answer in answers if answer.status == 201]
        assert len(taken) == 1
        assert {answer.status for answer in answers} <= {201, 409, 422}
        ended = await live.agreed(payment_id)
        given_back = [minor for _, minor in (await live.effects(payment_id))[1:]]
        assert sum(given_back) <= 1000
        assert ended["amountRefunded"] <= 10


async def test_a_reverse_after_the_window_fails_and_names_the_refund(live: Live):
    paid = (await live.pay())["id"]

    reverse = await live.done(paid, "reverse")

    ended = await live.agreed(paid)
    assert (reverse["status"], reverse["failure"]["code"]) == ("failed", "use_refund")
    assert ended["status"] == "success"
    assert await live.effects(paid) == [("charge", 1000)]


async def test_a_reverse_that_may_be_a_refund_goes_on_as_one(live: Live):
    paid = (await live.pay())["id"]

    reverse = await live.done(paid, "reverse", {"orRefund": True, "reason": "Late."})

    (refund,) = await live.transactions(paid, type="refund")
    ended = await live.agreed(paid)
    assert (reverse["status"], refund["reason"]) == ("cancelled", "Late.")
    assert (ended["status"], ended["amountRefunded"]) == ("success", 10)
    assert await live.effects(paid) == [("charge", 1000), ("refund", 1000)]


async def test_a_reverse_and_its_charge_cross_and_the_payment_ends_once(live: Live):
    for delay_ms in (0, 20, 60):
        await live.fault("slow", operation="charge", delayMs=delay_ms)
        begun = (await live.pay(wait_s=None, captureMethod="manual"))["id"]

        await asyncio.gather(*(live.operate(begun, "reverse") for _ in range(5)))

        ended = await live.agreed(begun)
        assert ended["status"] == "cancelled"
        assert await live.effects(begun) == [("authorize", 1000), ("void", 1000)]
