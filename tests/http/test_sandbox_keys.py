"""Idempotency keys, and the look-up that lags behind."""

import asyncio

from sandbox_rig import sandbox_rig

from paygate_engine.clock import ManualClock

DAY_S = 24 * 3_600


async def test_the_same_key_gives_the_same_answer_and_one_effect():
    async with sandbox_rig() as rig:
        first = await rig.charge("k")

        second = await rig.charge("k")

        assert first == second
        assert len(await rig.effects()) == 1


async def test_a_key_with_other_parameters_is_refused_even_if_only_the_cvv_is_missing():
    async with sandbox_rig() as rig:
        await rig.charge("k")

        other_amount = await rig.charge("k", minor=999)
        no_cvv = await rig.charge("k", card={"number": "4242424242424242"})

        for status, answer in (other_amount, no_cvv):
            assert (status, answer["error"]["code"]) == (400, "idempotency_error")
        assert await rig.effects() == [("charge", "k", 1_000)]


async def test_a_key_used_for_another_operation_is_refused():
    async with sandbox_rig() as rig:
        charge_id = await rig.charged("k", capture=False)

        status, answer = await rig.follow("captures", "k", charge_id)

        assert (status, answer["error"]["code"]) == (400, "idempotency_error")
        assert await rig.effects() == [("authorize", "k", 1_000)]


async def test_a_key_that_is_being_worked_on_is_in_progress():
    async with sandbox_rig() as rig:
        await rig.fault("slow", delayMs=300)
        first = asyncio.create_task(rig.charge("k"))
        await rig.until(lambda calls: len(calls["data"]) == 1, "/calls")

        status, answer = await rig.charge("k")

        assert (status, answer["error"]["code"]) == (409, "idempotency_in_progress")
        assert (await first)[0] == 200
        assert len(await rig.effects()) == 1


async def test_a_key_is_as_good_as_new_after_a_day():
    clock = ManualClock()
    async with sandbox_rig(clock=clock) as rig:
        await rig.charge("k")

        clock.advance(DAY_S - 1)
        await rig.charge("k")
        within = len(await rig.effects())
        clock.advance(1)
        await rig.charge("k")

        assert (within, len(await rig.effects())) == (1, 2)


async def test_the_two_accounts_do_not_share_keys():
    async with sandbox_rig() as rig:
        await rig.charge("k")
        await rig.charge("k", provider="sandbox_backup", minor=5)

        plain = await rig.found("k")
        named = (await rig.get("/operations/k?provider=sandbox_backup"))[1]

        assert (plain["provider"], plain["amountMinor"]) == ("sandbox", 1_000)
        assert (named["provider"], named["amountMinor"]) == ("sandbox_backup", 5)


async def test_the_look_up_sees_nothing_until_the_lag_has_passed():
    clock = ManualClock()
    async with sandbox_rig(clock=clock, find_lag_ms=2_000) as rig:
        await rig.charge("k")

        clock.advance(1.999)
        early, _ = await rig.get("/operations/k")
        clock.advance(0.001)
        late, _ = await rig.get("/operations/k")

        assert (early, late) == (404, 200)


async def test_a_malformed_call_keeps_no_key_and_repeats_no_value():
    async with sandbox_rig() as rig:
        status, answer = await rig.charge("k", card={"number": "4242 SECRET", "cvv": "1"})

        assert status == 400
        assert "SECRET" not in str(answer)
        assert (await rig.charge("k"))[0] == 200


async def test_a_call_without_a_key_is_refused():
    async with sandbox_rig() as rig:
        body = {"amountMinor": 1, "currency": "USD", "capture": True, "wallet": {"id": "w"}}

        status, _ = await rig.post("/providers/sandbox/charges", body)

        assert status == 400
        assert await rig.effects() == []


async def test_calls_lists_every_call_without_card_data():
    async with sandbox_rig() as rig:
        await rig.charge("k1")
        await rig.fault("error_500")
        await rig.charge("k2")
        await rig.get("/operations/k1")

        calls = await rig.calls()

        told = [(c["operation"], c["idempotencyKey"], c["answer"], c["fault"]) for c in calls]
        assert told == [
            ("charge", "k1", 200, None),
            ("charge", "k2", 500, "error_500"),
            ("find", "k1", 200, None),
        ]
        assert "4242424242424242" not in str(calls)
