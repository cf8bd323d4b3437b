"""What a gateway does about a provider of two steps, one without look-ups, and one without keys."""

from collections.abc import Callable
from pathlib import Path

from bank_rig import KEY_WINDOW_S, OPERATOR, done
from two_step_rig import SECOND, TIMEOUT, cancelled, first_of, object_of, two_banks, unconfirmed

from paygate_actors.desk_messages import DeskEntry, MarkNotCharged
from paygate_actors.messages import Refusal
from paygate_actors.outcomes import ActionRequired, Declined, Outcome, Unknown
from paygate_actors.pool_messages import NO_PERMIT, Answered
from paygate_actors.providers.base import OperationTerms
from paygate_actors.pursuit import UNSEEN_MARGIN_S

# Longer than a payer waits, and than what is unconfirmed is confirmed again.
PATIENCE_S = 300.0
# After this a person is called.
FLAG_S = 1_000.0
ACTION_S = 900.0


async def test_what_is_prepared_is_confirmed_by_its_id(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        payment_id = await rig.pay()

        view = await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["prepare", "charge"]
        assert rig.bank.confirmed == [object_of(rig.bank.heard[0].key)]
        assert view.provider == "bank"


async def test_a_confirmation_that_died_with_the_gateway_is_looked_at_and_made_again(
    tmp_path: Path,
):
    async with two_banks(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until_heard("prepare", "charge")
        await rig.crash()
        rig.bank.says |= {"charge": done, "find": unconfirmed}

        await rig.start()
        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["prepare", "charge", "find", "charge"]
        assert len(set(rig.bank.confirmed)) == 1


async def test_a_preparation_that_died_with_the_gateway_is_made_again_and_asks_nobody(
    tmp_path: Path,
):
    async with two_banks(tmp_path) as rig:
        prepares, rig.bank.prepares = rig.bank.prepares, None
        payment_id = await rig.pay()
        await rig.until_heard("prepare")
        await rig.crash()
        rig.bank.prepares = prepares

        await rig.start()
        await rig.pass_time(5, step_s=1)
        await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["prepare", "prepare", "charge"]


async def test_a_provider_that_prepares_nothing_loses_the_payment_to_the_next(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.prepares = lambda _: TIMEOUT
        payment_id = await rig.pay()

        await rig.pass_time(60, step_s=1)
        view = await rig.until_status(payment_id, "success")

        assert (view.provider, set(rig.bank.verbs())) == (SECOND, {"prepare"})
        assert rig.second.verbs() == ["charge"]


async def test_what_nobody_confirms_is_cancelled_there_before_the_payment_fails(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says |= {"charge": TIMEOUT, "find": unconfirmed, "void": None}
        payment_id = await rig.pay()

        await rig.pass_time(PATIENCE_S, step_s=1)
        before = await rig.view(payment_id)
        rig.bank.says["void"] = cancelled
        rig.bank.hang_up()
        await rig.pass_time(PATIENCE_S, step_s=1)
        view = await rig.until_status(payment_id, "failed")

        assert (before.status, before.in_doubt) == ("processing", True)
        assert set(rig.bank.cancelled) == {rig.bank.confirmed[0]}
        assert view.failure is not None
        assert view.failure.code == "not_confirmed"
        assert rig.second.heard == [], "minutes later nobody is charged elsewhere"


async def test_a_confirmation_that_was_only_slow_is_not_cancelled(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says |= {"charge": TIMEOUT, "find": Unknown(reason="in_progress")}
        payment_id = await rig.pay()

        await rig.pass_time(PATIENCE_S, step_s=1)
        rig.bank.says["find"] = done
        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert rig.bank.cancelled == []


async def test_without_a_cvv_what_is_prepared_is_cancelled_and_tried_elsewhere(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.can(takes_no_cvv=False)
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until_heard("prepare", "charge")
        await rig.crash()
        rig.bank.says |= {"find": unconfirmed, "void": cancelled}

        await rig.start()
        await rig.until_asked()
        view = await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["prepare", "charge", "find", "void"]
        assert view.provider == SECOND
        assert view.provider_txn_id == f"ch_{rig.second.heard[0].key}"


async def test_where_nothing_can_be_looked_up_the_same_key_is_the_question(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.can(steps=1, finds=False)
        rig.bank.says["charge"] = TIMEOUT
        payment_id = await rig.pay()
        await rig.pass_time(20, step_s=1)
        rig.bank.says["charge"] = done

        await rig.pass_time(20, step_s=1)
        await rig.until_status(payment_id, "success")

        assert set(rig.bank.verbs()) == {"charge"}
        assert len({call.key for call in rig.bank.heard}) == 1


async def test_where_nothing_can_be_looked_up_a_forgotten_key_is_for_a_person(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.can(steps=1, finds=False)
        rig.bank.says["charge"] = TIMEOUT
        payment_id = await rig.pay()
        await rig.until_heard("charge")
        await rig.crash()
        rig.clock.advance(KEY_WINDOW_S - UNSEEN_MARGIN_S)

        await rig.start()
        await rig.pass_time(FLAG_S)
        view = await rig.view(payment_id)

        assert rig.bank.verbs() == ["charge"]
        assert (view.status, view.attention) == ("processing", "in_doubt")


async def test_a_person_is_called_also_where_nobody_can_ever_be_asked(tmp_path: Path):
    # Nothing is sent and nobody is asked: only the time passes.
    async with two_banks(tmp_path) as rig:
        blind = OperationTerms(key_window_s=None, finds=False)
        rig.can(steps=1, operations={"charge": blind})
        rig.bank.says["charge"] = TIMEOUT
        payment_id = await rig.pay()

        await rig.pass_time(FLAG_S)

        assert rig.bank.verbs() == ["charge"]
        assert (await rig.view(payment_id)).attention == "in_doubt"


async def test_what_takes_no_key_is_never_sent_again(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.can(steps=1, key_window_s=0.0)
        rig.bank.says["charge"] = TIMEOUT
        payment_id = await rig.pay()

        await rig.until_asked(5)
        rig.bank.says["find"] = done
        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert rig.bank.verbs().count("charge") == 1


async def test_an_operator_s_word_cancels_what_is_prepared_first(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says |= {"charge": TIMEOUT, "find": Unknown(reason="server_error")}
        payment_id = await rig.pay()
        await rig.pass_time(PATIENCE_S, step_s=1)
        rig.bank.says |= {"find": unconfirmed, "void": cancelled}
        mark = MarkNotCharged(caller=OPERATOR, payment_id=payment_id, reason="Not at the bank.")

        first = await rig.gateway.front.mark_not_charged(mark)
        view = await rig.until_status(payment_id, "failed")
        again = await rig.gateway.front.mark_not_charged(mark)

        assert isinstance(first, Refusal)
        assert first.code == "still_may_succeed"
        assert len(rig.bank.cancelled) == 1
        assert view.failure is not None
        assert isinstance(again, DeskEntry)


async def test_a_decline_while_it_is_cancelled_is_the_provider_s_own_word(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says |= {"charge": TIMEOUT, "find": unconfirmed, "void": None}
        payment_id = await rig.pay()
        await rig.pass_time(PATIENCE_S, step_s=1)
        rig.bank.says["find"] = Declined(code="card_declined")

        await rig.pass_time(60, step_s=1)
        view = await rig.until_status(payment_id, "failed")

        assert view.failure is not None
        assert view.failure.code == "card_declined"


async def test_what_an_operator_has_ended_before_it_was_prepared_is_not_charged(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.prepares = None
        payment_id = await rig.pay()
        await rig.until_heard("prepare")

        await rig.assert_failed(first_of(payment_id))
        view = await rig.until_status(payment_id, "failed")
        rig.bank.hang_up()
        await rig.pass_time(PATIENCE_S, step_s=1)

        assert not view.in_doubt
        assert "charge" not in rig.bank.verbs()
        assert rig.second.heard == []


async def test_what_an_operator_has_ended_is_cancelled_and_not_confirmed_again(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says |= {"charge": TIMEOUT, "find": Unknown(reason="server_error")}
        payment_id = await rig.pay()
        await rig.until_heard("prepare", "charge")
        await rig.assert_failed(first_of(payment_id))
        lost: list[Outcome] = [TIMEOUT, TIMEOUT]
        rig.bank.says |= {
            "find": unconfirmed,
            "void": lambda key: lost.pop() if lost else cancelled(key),
        }

        await rig.pass_time(60, step_s=1)
        view = await rig.view(payment_id)

        assert (view.status, view.in_doubt) == ("failed", False)
        assert rig.bank.verbs().count("charge") == 1
        assert len(rig.bank.cancelled) == 3, "its own answer may get lost as well"
        assert rig.second.heard == []


async def test_an_account_that_takes_one_step_now_confirms_nothing_of_before(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until_heard("prepare", "charge")
        await rig.crash()
        rig.can(steps=1)
        rig.bank.says["charge"] = done

        await rig.start()
        await rig.pass_time(PATIENCE_S, step_s=1)

        assert rig.bank.verbs().count("charge") == 1
        assert (await rig.view(payment_id)).in_doubt


async def test_what_an_operator_has_ended_while_it_was_prepared_is_not_confirmed(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.prepares = None
        payment_id = await rig.pay()
        await rig.until_heard("prepare")
        await rig.assert_success(payment_id)

        rig.bank.prepared_late()
        await rig.pass_time(PATIENCE_S, step_s=1)

        assert rig.bank.confirmed == []
        assert rig.bank.cancelled == [], "somebody has said that it is a success"


async def test_an_answer_to_the_first_step_says_nothing_of_the_second(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until_heard("prepare", "charge")
        key = rig.bank.heard[0].key

        late = Answered(key=key, outcome=NO_PERMIT, source="prepare")
        rig.gateway.letters.report(payment_id, late)
        await rig.pass_time(5, step_s=1)

        assert rig.second.heard == [], "the confirmation is on its way"
        assert (await rig.view(payment_id)).status == "processing"


async def test_what_the_payer_has_approved_is_confirmed_with_the_same_key(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        asks = payer_is_asked(rig.clock.now_us())
        rig.bank.says |= {"charge": asks, "find": asks}
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "requires_action")
        await rig.until_asked(2)
        before = rig.bank.verbs().count("charge")
        rig.bank.says |= {"charge": done, "find": unconfirmed}

        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert before == 1, "not before they have approved it"
        assert [call.key for call in rig.bank.of("charge")] == [rig.bank.heard[0].key] * 2
        assert len(set(rig.bank.confirmed)) == 1


async def test_what_the_payer_has_approved_too_late_is_cancelled_and_not_confirmed(tmp_path: Path):
    async with two_banks(tmp_path) as rig:
        asks = payer_is_asked(rig.clock.now_us())
        rig.bank.says |= {"charge": asks, "find": asks, "void": None}
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "requires_action")
        await rig.pass_time(ACTION_S)
        rig.bank.says["find"] = unconfirmed

        await rig.pass_time(PATIENCE_S, step_s=1)
        rig.bank.says["void"] = cancelled
        rig.bank.hang_up()
        await rig.pass_time(60, step_s=1)
        await rig.until_status(payment_id, "cancelled")

        assert rig.bank.verbs().count("charge") == 1


def payer_is_asked(now_us: int) -> Callable[[str], Outcome]:
    return lambda key: ActionRequired(
        provider_txn_id=object_of(key),
        url="https://bank.invalid/confirm",
        expires_at_us=now_us + round(ACTION_S * 1_000_000),
    )
