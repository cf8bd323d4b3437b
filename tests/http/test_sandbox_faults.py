"""Every fault, and what it leaves in the books."""

import asyncio

import aiohttp
import pytest
from sandbox_rig import Rig, sandbox_rig

from paygate_engine.clock import ManualClock

ONE_CHARGE = [("charge", "k", 1_000)]


async def cut_off(rig: Rig, key: str = "k") -> None:
    """Charge and expect that the connection breaks without an answer."""
    with pytest.raises(aiohttp.ClientError):
        await rig.charge(key)


@pytest.mark.parametrize("fault", ["reset_before_effect", "hang_before_effect"])
async def test_a_call_lost_before_its_effect_does_nothing_and_keeps_no_key(fault: str):
    async with sandbox_rig() as rig:
        await rig.fault(fault, delayMs=10)

        await cut_off(rig)

        assert await rig.effects() == []
        assert (await rig.get("/operations/k"))[0] == 404
        assert (await rig.charge("k", minor=5))[0] == 200


@pytest.mark.parametrize("fault", ["reset_after_effect", "hang_after_effect"])
async def test_a_call_lost_after_its_effect_was_done_once(fault: str):
    async with sandbox_rig() as rig:
        await rig.fault(fault, delayMs=10)

        await cut_off(rig)
        status, _ = await rig.charge("k")

        assert status == 200
        assert await rig.effects() == ONE_CHARGE


async def test_a_hang_after_the_effect_books_before_it_hangs():
    async with sandbox_rig() as rig:
        await rig.fault("hang_after_effect", delayMs=60_000)
        call = asyncio.create_task(rig.charge("k"))

        await rig.until(lambda ledger: len(ledger["data"]) == 1, "/ledger")

        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def test_a_500_did_nothing_and_the_same_key_works_afterwards():
    async with sandbox_rig() as rig:
        await rig.fault("error_500")

        first, _ = await rig.charge("k")
        before = await rig.effects()
        second, _ = await rig.charge("k")

        assert (first, before, second) == (500, [], 200)


async def test_a_stored_500_answers_so_for_ever_and_is_found_as_failed():
    async with sandbox_rig() as rig:
        await rig.fault("error_500_stored")

        answers = [(await rig.charge("k"))[0] for _ in range(3)]

        assert answers == [500, 500, 500]
        assert (await rig.found("k"))["status"] == "failed"
        assert await rig.effects() == []


async def test_too_many_requests_says_when_to_come_back_and_keeps_no_key():
    async with sandbox_rig() as rig, aiohttp.ClientSession(rig.sandbox.url) as session:
        await rig.fault("too_many_requests")

        async with session.post(
            "/providers/sandbox/charges",
            json={"amountMinor": 1, "currency": "USD", "capture": True, "wallet": {"id": "w"}},
            headers={"Idempotency-Key": "k"},
        ) as response:
            refused = (response.status, response.headers["Retry-After"])

        assert refused == (429, "1")
        assert (await rig.charge("k"))[0] == 200


async def test_garbage_comes_after_the_effect():
    async with sandbox_rig() as rig:
        await rig.fault("garbage")

        with pytest.raises(ValueError):  # noqa: PT011 - whatever json says of nonsense
            await rig.charge("k")

        assert await rig.effects() == ONE_CHARGE
        assert (await rig.charge("k"))[1]["status"] == "succeeded"


@pytest.mark.parametrize(("minor", "booked"), [(1_000, 999), (1, 2)])
async def test_a_wrong_amount_is_booked_and_answered(minor: int, booked: int):
    async with sandbox_rig() as rig:
        await rig.fault("wrong_amount")

        _, answer = await rig.charge("k", minor=minor)

        assert answer["amountMinor"] == booked
        assert await rig.effects() == [("charge", "k", booked)]


async def test_a_slow_call_takes_its_time_and_then_works():
    async with sandbox_rig() as rig:
        await rig.fault("slow", delayMs=100)
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        status, _ = await rig.charge("k")

        assert status == 200
        assert loop.time() - began_s >= 0.1


@pytest.mark.parametrize("noun", ["captures", "voids", "refunds"])
async def test_any_operation_can_be_declined(noun: str):
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k", capture=noun == "refunds")
        await rig.fault("decline", operation=noun.removesuffix("s"))

        first, answer = await rig.follow(noun, "f1", charge_id)
        second, _ = await rig.follow(noun, "f2", charge_id)

        assert (first, answer["error"]["code"], second) == (402, "card_declined", 200)
        assert len(await rig.effects()) == 2


async def test_a_pending_charge_says_so_and_moves_money_when_its_time_has_come():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        await rig.fault("pending", delayMs=5_000)

        _, answer = await rig.charge("k")
        waiting = (await rig.found("k"))["status"]
        before = await rig.effects()
        clock.advance(5)
        found = await rig.until(lambda it: it["status"] != "pending", "/operations/k")

        assert (answer["status"], waiting, before) == ("pending", "pending", [])
        assert answer["expectedBy"] is not None
        assert found["status"] == "succeeded"
        assert await rig.effects() == ONE_CHARGE


async def test_a_pending_charge_on_a_bad_card_ends_failed():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        await rig.fault("pending", delayMs=5_000)
        _, answer = await rig.charge("k", number="4000000000009995")

        clock.advance(5)
        found = await rig.until(lambda it: it["status"] != "pending", "/operations/k")

        assert answer["status"] == "pending"
        assert (found["status"], found["declineCode"]) == ("failed", "insufficient_funds")
        assert await rig.effects() == []


async def test_pending_refunds_hold_their_sum():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        charge_id = await rig.charged("k")
        await rig.fault("pending", operation="refund", delayMs=5_000)
        await rig.follow("refunds", "r1", charge_id, minor=700)

        over, _ = await rig.follow("refunds", "r2", charge_id, minor=301)
        void, _ = await rig.follow("voids", "v", charge_id)
        clock.advance(5)
        await rig.until(lambda it: it["status"] == "succeeded", "/operations/r1")

        assert (over, void) == (402, 409)
        assert await rig.effects() == [*ONE_CHARGE, ("refund", "r1", 700)]
        assert (await rig.follow("refunds", "r3", charge_id, minor=300))[0] == 200


async def test_a_pending_capture_keeps_others_out_until_it_ends():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        charge_id = await rig.charged("k", capture=False)
        await rig.fault("pending", operation="capture", delayMs=5_000)
        await rig.follow("captures", "c", charge_id, minor=900)

        void, _ = await rig.follow("voids", "v", charge_id)
        clock.advance(5)
        await rig.until(lambda it: it["status"] == "succeeded", "/operations/c")
        void_later, _ = await rig.follow("voids", "v", charge_id)

        assert (void, void_later) == (409, 200)
        assert await rig.effects() == [
            ("authorize", "k", 1_000),
            ("capture", "c", 900),
            ("void", "v", 900),
        ]


async def test_a_fault_strikes_as_often_as_it_says_and_only_whom_it_names():
    async with sandbox_rig() as rig:
        await rig.fault("error_500", provider="sandbox_backup", operation="charge", count=2)

        spared, _ = await rig.charge("a")
        hold, _ = await rig.charge("b", provider="sandbox_backup", capture=False)
        struck = [(await rig.charge("c", provider="sandbox_backup"))[0] for _ in range(3)]

        assert (spared, hold, struck) == (200, 200, [500, 500, 200])


async def test_look_ups_are_struck_only_where_the_fault_names_them():
    async with sandbox_rig() as rig:
        await rig.charge("k")
        await rig.fault("error_500")

        spared, _ = await rig.get("/operations/k")
        await rig.fault("error_500", operation="find")
        struck, _ = await rig.get("/operations/k")

        assert (spared, struck) == (200, 500)


async def test_a_probable_fault_strikes_the_same_calls_under_the_same_seed():
    async def outcomes(seed: int) -> list[int]:
        async with sandbox_rig(seed=seed) as rig:
            await rig.fault("error_500", probability=0.5, count=1_000)
            return [(await rig.charge(f"k{n}"))[0] for n in range(40)]

    first, again, other = await outcomes(7), await outcomes(7), await outcomes(8)

    assert first == again != other
    assert set(first) == {200, 500}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"fault": "explode"}',
        b'{"fault": "decline", "count": 0}',
        b'{"fault": "decline", "probability": 1.5}',
        b'{"fault": "decline", "delayMS": 5}',
        b'{"fault": "decline", "provider": "stripe"}',
        b'{"fault": "decline", "operation": "find"}',
        b'{"fault": "slow", "operation": "dispute"}',
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_with_a_sentence(body: bytes):
    async with sandbox_rig() as rig:
        status, answer = await rig.post("/faults", body)

        assert status == 400
        assert answer["error"]["message"].endswith(".")
        assert (await rig.get("/faults"))[1]["data"] == []


async def test_deleted_faults_strike_no_more():
    async with sandbox_rig() as rig:
        await rig.fault("error_500", count=5)

        await rig.delete("/faults")

        assert (await rig.charge("k"))[0] == 200


async def test_what_is_pending_can_be_made_to_end_early_and_spread_out():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        await rig.fault("pending", count=2, delayMs=3_600_000)
        await rig.charge("first")
        await rig.charge("second")

        said = await rig.post("/pending/end", {"afterMs": 5_000, "withinMs": 10_000})
        clock.advance(5)
        await rig.until(lambda found: found["status"] == "succeeded", "/operations/first")

        assert said == (200, {"ending": 2})
        assert (await rig.found("second"))["status"] == "pending"
        clock.advance(5)
        await rig.until(lambda found: found["status"] == "succeeded", "/operations/second")
        assert [key for _, key, _ in await rig.effects()] == ["first", "second"]


async def test_an_end_beyond_an_hour_is_refused_and_ends_nothing():
    async with sandbox_rig() as rig:
        await rig.fault("pending", delayMs=3_600_000)
        await rig.charge("k")

        status, _ = await rig.post("/pending/end", {"afterMs": 3_600_001})

        assert status == 400
        assert await rig.effects() == []
