"""Holds, captures, voids and refunds: what a provider allows, and what it books."""

import pytest
from sandbox_rig import CONFIRM, Rig, sandbox_rig

from paygate_engine.clock import ManualClock


async def declined(
    rig: Rig, noun: str, charge_id: str, *, minor: int | None = None, key: str = "refused"
) -> str:
    """Make a follow-up that must be refused without an effect; gives the code."""
    before = await rig.effects()
    status, answer = await rig.follow(noun, key, charge_id, minor=minor)
    assert status in (402, 409)
    assert await rig.effects() == before
    return answer["error"]["code"]


async def test_a_partial_capture_takes_its_part_and_releases_the_rest():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k", capture=False)

        status, answer = await rig.follow("captures", "c", charge_id, minor=400)

        assert (status, answer["id"], answer["amountMinor"]) == (200, charge_id, 400)
        assert await rig.effects() == [("authorize", "k", 1_000), ("capture", "c", 400)]
        assert await declined(rig, "captures", charge_id, minor=1) == "already_captured"
        assert (
            await declined(rig, "refunds", charge_id, minor=401, key="again") == "amount_too_large"
        )


async def test_a_capture_over_the_hold_is_declined_and_the_hold_stays():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k", capture=False)

        code = await declined(rig, "captures", charge_id, minor=1_001)

        assert code == "amount_too_large"
        assert (await rig.follow("captures", "c", charge_id, minor=1_000))[0] == 200


async def test_refunds_never_exceed_what_was_captured():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k")
        await rig.follow("refunds", "r1", charge_id, minor=600)

        over = await declined(rig, "refunds", charge_id, minor=401)
        status, answer = await rig.follow("refunds", "r2", charge_id)

        assert over == "amount_too_large"
        assert (status, answer["amountMinor"], answer["chargeID"]) == (200, 400, charge_id)
        assert answer["id"] != charge_id
        assert await declined(rig, "refunds", charge_id, key="again") == "amount_too_large"


async def test_a_void_undoes_the_whole_and_leaves_nothing_to_do():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k")

        status, answer = await rig.follow("voids", "v", charge_id)

        assert (status, answer["amountMinor"]) == (200, 1_000)
        assert await rig.effects() == [("charge", "k", 1_000), ("void", "v", 1_000)]
        assert (await rig.found("k"))["status"] == "cancelled"
        assert (await rig.found("v"))["status"] == "succeeded"
        assert await declined(rig, "refunds", charge_id) == "charge_cancelled"
        assert await declined(rig, "voids", charge_id, key="again") == "charge_cancelled"


async def test_a_void_after_the_window_is_already_settled():
    clock = ManualClock()
    async with sandbox_rig(clock=clock, void_window_s=60) as rig:
        inside = await rig.charged("k1")
        outside = await rig.charged("k2")

        clock.advance(60)
        on_time, _ = await rig.follow("voids", "v1", inside)
        clock.advance(0.001)
        late, answer = await rig.follow("voids", "v2", outside)

        assert (on_time, late) == (200, 409)
        assert answer["error"]["code"] == "already_settled"
        assert (await rig.found("v2"))["declineCode"] == "already_settled"


async def test_a_void_after_a_refund_is_declined():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k")
        await rig.follow("refunds", "r", charge_id, minor=1)

        assert await declined(rig, "voids", charge_id) == "charge_refunded"


async def test_a_void_of_an_unconfirmed_payment_moves_nothing_and_is_no_error():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k", number=CONFIRM)

        status, _ = await rig.follow("voids", "v", charge_id)

        assert status == 200
        assert await rig.effects() == []
        assert (await rig.found("k"))["status"] == "cancelled"
        assert (await rig.found("v"))["status"] == "succeeded"


@pytest.mark.parametrize("noun", ["captures", "voids", "refunds"])
async def test_a_pending_payment_refuses_follow_ups_without_keeping_their_key(noun: str):
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        await rig.fault("pending", operation="charge", delayMs=1_000)
        charge_id = await rig.charged("k")

        code = await declined(rig, noun, charge_id)

        assert code == "operation_pending"
        assert (await rig.get("/operations/refused"))[0] == 404


async def test_a_hold_that_nobody_captures_expires():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        charge_id = await rig.charged("k", capture=False)

        clock.advance(7 * 24 * 3_600)
        await rig.until(lambda found: found["status"] == "cancelled", "/operations/k")

        assert await declined(rig, "captures", charge_id) == "charge_cancelled"


async def test_a_charge_of_the_other_account_does_not_exist_here():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k")

        status, _ = await rig.follow("refunds", "r", charge_id, provider="sandbox_backup")

        assert status == 404
        assert await rig.effects() == [("charge", "k", 1_000)]
