"""What a gateway may conclude after it died, and what it may not: on a clock moved by hand."""

from pathlib import Path
from typing import Any

import pytest
from bank_rig import AMOUNT, KEY_WINDOW_S, NOT_VISIBLE, BankRig, bank_rig, done

from paygate_actors.config import Fraud, Limits
from paygate_actors.money import Money
from paygate_actors.outcomes import ActionRequired, Approved, Outcome, Pending, Unknown

HOUR_S = 3_600.0


async def died_with_a_charge_out(rig: BankRig) -> str:
    """A payment whose charge the bank heard and never answered, and a new gateway."""
    rig.bank.says["charge"] = None
    payment_id = await rig.pay()
    await rig.until(lambda: rig.bank.verbs() == ["charge"])
    await rig.crash()
    return payment_id


async def test_it_asks_first_then_sends_again_under_the_same_key_without_the_cvv(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await died_with_a_charge_out(rig)
        rig.bank.says["charge"] = done

        await rig.start()
        await rig.until_asked()
        view = await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["charge", "find", "charge"]
        assert len({call.key for call in rig.bank.heard}) == 1
        assert [call.cvv for call in rig.bank.of("charge")] == ["123", None]
        assert await rig.reasons(payment_id) == ["restarted"]
        assert (view.in_doubt, view.amount_captured_minor) == (False, AMOUNT.minor)


async def test_while_the_process_lives_it_is_sent_again_with_the_cvv(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = Unknown(reason="reset")
        payment_id = await rig.pay()
        await rig.until(lambda: rig.gauge("paygate_in_doubt_calls") == 1)
        rig.bank.says["charge"] = done

        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert [call.cvv for call in rig.bank.of("charge")] == ["123", "123"]


async def test_what_a_look_up_finds_is_not_sent_again(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await died_with_a_charge_out(rig)
        rig.bank.says["find"] = done

        await rig.start()
        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["charge", "find"]


async def test_a_key_that_the_provider_knows_is_asked_about_and_never_charged_again(
    tmp_path: Path,
):
    async with bank_rig(tmp_path) as rig:
        payment_id = await died_with_a_charge_out(rig)
        rig.bank.says["charge"] = Unknown(reason="key_known")

        await rig.start()
        await rig.until_asked(50)

        still = await rig.view(payment_id)
        assert len(rig.bank.of("charge")) == 2
        assert (still.status, still.in_doubt) == ("processing", True)

        rig.bank.says["find"] = done
        await rig.until_asked()
        await rig.until_status(payment_id, "success")
        assert len(rig.bank.of("charge")) == 2


async def test_past_the_key_window_nothing_is_sent_again(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await died_with_a_charge_out(rig)
        rig.clock.advance(KEY_WINDOW_S)
        rig.bank.says["charge"] = done

        await rig.start()
        await rig.until_asked(20)

        view = await rig.view(payment_id)
        assert len(rig.bank.of("charge")) == 1
        assert (view.status, view.in_doubt, view.attention) == ("processing", True, "in_doubt")


@pytest.mark.parametrize(("early_s", "charges"), [(700.0, 2), (500.0, 1)])
async def test_a_key_near_the_end_of_its_window_is_left_alone(
    tmp_path: Path, early_s: float, charges: int
):
    async with bank_rig(tmp_path) as rig:
        await died_with_a_charge_out(rig)
        rig.clock.advance(KEY_WINDOW_S - early_s)
        rig.bank.says["charge"] = Unknown(reason="key_known")

        await rig.start()
        await rig.until_asked(5)

        assert len(rig.bank.of("charge")) == charges


async def test_what_is_in_doubt_for_too_long_is_put_before_a_person(tmp_path: Path):
    async with bank_rig(tmp_path, limits=Limits(in_doubt_flag_s=900)) as rig:
        payment_id = await died_with_a_charge_out(rig)
        rig.bank.says["charge"] = Unknown(reason="key_known")
        await rig.start()

        await rig.pass_time(880)
        before = await rig.view(payment_id)
        await rig.pass_time(40)
        after = await rig.view(payment_id)

        assert (before.attention, after.attention) == (None, "in_doubt")
        assert after.status == "processing"
        assert rig.gauge('paygate_in_doubt_amount{currency="USD"}') == 100
        assert rig.gauge("paygate_in_doubt_calls") == 1
        assert rig.gauge("paygate_in_doubt_oldest_seconds") == pytest.approx(920, abs=1)
        assert rig.gauge('paygate_attention_total{code="in_doubt"}') == 1

        rig.bank.says["find"] = done
        await rig.until_asked()
        await rig.until_status(payment_id, "success")
        assert rig.gauge("paygate_in_doubt_calls") == 0


async def test_asking_becomes_rarer_and_never_stops(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        await died_with_a_charge_out(rig)
        rig.bank.says["charge"] = Unknown(reason="key_known")
        await rig.start()

        await rig.pass_time(60, step_s=0.5)
        first = len(rig.bank.of("find"))
        await rig.pass_time(HOUR_S, step_s=0.5)
        later = len(rig.bank.of("find")) - first

        assert 12 <= first <= 20
        assert HOUR_S / 5.5 <= later <= HOUR_S / 4.4


@pytest.mark.parametrize("dead_s", [1.0, 2 * HOUR_S])
async def test_a_payer_who_never_confirms_keeps_the_deadline_over_a_restart(
    tmp_path: Path, dead_s: float
):
    async with bank_rig(tmp_path) as rig:
        deadline_us = rig.clock.now_us() + 900 * 1_000_000
        asked = ActionRequired(
            provider_txn_id="ch_1", url="https://bank.invalid/3ds", expires_at_us=deadline_us
        )
        rig.bank.says["charge"] = rig.bank.says["find"] = asked
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "requires_action")
        await rig.crash()
        rig.clock.advance(dead_s)

        await rig.start()
        while rig.clock.now_us() < deadline_us - 10_000_000:
            await rig.pass_time(10)
            assert rig.bank.of("void") == []
        await rig.pass_time(20)
        view = await rig.until_status(payment_id, "cancelled")

        assert len(rig.bank.of("charge")) == len(rig.bank.of("void")) == 1
        assert view.next_action is None


@pytest.mark.parametrize("dead_s", [1.0, 30 * HOUR_S])
async def test_held_funds_that_nobody_reviews_keep_their_day_over_a_restart(
    tmp_path: Path, dead_s: float
):
    async with bank_rig(tmp_path, fraud=Fraud(review_amount_usd_minor=1)) as rig:
        began_us = rig.clock.now_us()
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "review")
        await rig.crash()
        rig.clock.advance(dead_s)

        await rig.start()
        while rig.clock.now_us() < began_us + 86_390 * 1_000_000:
            await rig.pass_time(600, step_s=600)
            if rig.clock.now_us() < began_us + 86_400 * 1_000_000:
                assert rig.bank.of("void") == []
        await rig.pass_time(20)
        view = await rig.until_status(payment_id, "cancelled")

        assert len(rig.bank.of("charge")) == len(rig.bank.of("void")) == 1
        assert view.amount_captured_minor == 0


async def test_a_refund_that_is_pending_is_asked_about_after_a_restart(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "success")
        rig.bank.says["refund"] = Pending(provider_txn_id="re_1")
        await rig.refund(payment_id, 4_000)
        await rig.until(lambda: len(rig.bank.of("refund")) == 1)
        await rig.crash()

        def refunded(key: str) -> Outcome:
            return Approved(provider_txn_id="re_1", amount=Money(4_000, "USD"))

        rig.bank.says["find"] = refunded
        await rig.start()
        before = await rig.view(payment_id)
        await rig.until_asked()
        await rig.until(lambda: len(rig.gateway.house.in_doubt) == 0)
        view = await rig.view(payment_id)

        assert rig.bank.of("find")[0].key == rig.bank.of("refund")[0].key
        assert len(rig.bank.of("refund")) == 1
        assert (before.amount_refunded_minor, view.amount_refunded_minor) == (0, 4_000)
        assert view.status == "success"


async def test_a_capture_that_was_out_is_asked_about_and_sent_once_more(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay(manual=True)
        await rig.until_status(payment_id, "authorized")
        rig.bank.says["capture"] = None
        await rig.capture(payment_id)
        await rig.until(lambda: len(rig.bank.of("capture")) == 1)
        await rig.crash()
        rig.bank.says["capture"] = done

        await rig.start()
        await rig.pass_time(5, step_s=1)
        view = await rig.until_status(payment_id, "success")

        key = rig.bank.of("capture")[0].key
        about_it = [call.verb for call in rig.bank.heard if call.key == key]
        assert about_it == ["capture", "find", "capture"]
        assert len(rig.bank.of("capture")) == 2
        assert view.amount_captured_minor == AMOUNT.minor


async def test_a_provider_that_is_switched_off_is_not_called_and_then_is(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until(lambda: rig.bank.verbs() == ["charge"])
        await rig.switch(is_active=False)
        await rig.crash()
        rig.bank.says["find"] = done

        await rig.start()
        await rig.pass_time(600)
        silent = rig.bank.verbs()
        waiting = await rig.view(payment_id)
        await rig.switch(is_active=True)
        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert silent == ["charge"]
        assert (waiting.status, waiting.in_doubt) == ("processing", True)


async def test_recovering_twice_in_a_row_does_nothing_twice(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await died_with_a_charge_out(rig)
        for _ in range(3):
            await rig.start()
            await rig.crash()
        rig.bank.says["charge"] = done

        await rig.start()
        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["charge", "find", "charge"]
        assert await rig.reasons(payment_id) == ["restarted"]


# ---------------------------------------------------------------------- supervision


# Half of a surrogate pair, which no journal can write: whoever hears it fails in its handler.
NONSENSE = Approved(provider_txn_id="ch_\ud800", amount=AMOUNT, captured=True)


async def test_a_payment_whose_handler_fails_goes_on_from_the_journal(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await died_with_a_charge_out(rig)
        rig.bank.says["find"] = NONSENSE
        await rig.start()
        before = await rig.view(payment_id)

        await rig.until_asked(2)
        between = await rig.view(payment_id)
        rig.bank.says["find"] = done
        await rig.until_asked()
        view = await rig.until_status(payment_id, "success")

        assert between == before
        assert view.amount_captured_minor == AMOUNT.minor
        assert len(rig.bank.of("charge")) == 1
        assert rig.fatal == []


async def test_a_payment_that_keeps_failing_is_parked_and_the_others_go_on(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        sick = await died_with_a_charge_out(rig)
        rig.bank.says["find"] = NONSENSE
        await rig.start()

        await rig.until_asked(4)
        await rig.until(lambda: rig.gauge("paygate_parked_payments") == 1)
        rig.bank.says["charge"] = done
        well = await rig.pay()
        await rig.until_status(well, "success")
        await rig.crash()

        # A person put it right; whoever was parked is open still.
        rig.bank.says["find"] = done
        await rig.start()
        await rig.until_asked()
        await rig.until_status(sick, "success")


async def test_a_pool_that_fails_is_restarted_and_what_it_lost_is_asked_about(tmp_path: Path):
    async with bank_rig(tmp_path, limits=Limits(provider_concurrency=1)) as rig:
        rig.bank.says["charge"] = None
        first, second = await rig.pay(), await rig.pay()
        await rig.until(lambda: rig.gauge('paygate_provider_calls_waiting{provider="bank"}') == 1)
        assert len(rig.bank.of("charge")) == 1

        pool: Any = rig.gateway.system.cells["pool:bank"]
        pool.parent.child_failed(pool, RuntimeError("a planted bug"), None)
        await rig.pass_time(1, step_s=0.1)
        rig.bank.says["charge"] = done
        rig.bank.hang_up()
        rig.bank.says["find"] = NOT_VISIBLE
        await rig.pass_time(100, step_s=1)

        for payment_id in (first, second):
            await rig.until_status(payment_id, "success")
        keys = [call.key for call in rig.bank.of("charge")]
        assert sorted(keys.count(key) for key in set(keys)) == [1, 2]
        assert len(rig.bank.of("find")) >= 2
        assert (await rig.view(second)).in_doubt is False
        # The call that the failed pool had out came home as well, and is counted once.
        assert rig.gauge('paygate_provider_calls_running{provider="bank"}') == 0
        assert rig.fatal == []


async def test_an_adapter_that_raises_or_answers_nonsense_leaves_the_call_in_doubt(tmp_path: Path):
    """It may have charged before it failed: nothing is concluded, and the pool goes on."""

    def fail(key: str) -> Outcome:
        raise RuntimeError("a bug of the adapter's")

    def lie(key: str) -> Outcome:
        return "approved"  # pyright: ignore[reportReturnType]  # an untyped adapter's answer

    async with bank_rig(tmp_path) as rig:
        for bug in (fail, lie):
            rig.bank.says["charge"] = bug
            payment_id = await rig.pay()
            await rig.until(lambda: rig.gauge("paygate_in_doubt_calls") == 1)
            rig.bank.says["charge"] = done

            await rig.until_asked()

            await rig.until_status(payment_id, "success")
