import asyncio
import random
from collections.abc import AsyncIterator

import msgspec
import pytest

from paygate_actors.config import Fraud
from paygate_actors.fraud import FraudActor, Score
from paygate_actors.fraud_rules import FraudRules
from paygate_actors.messages import FraudCheck, ScoreRequest
from paygate_actors.money import Money
from paygate_actors.scorer import REMEMBERED_MAX, Scorer
from paygate_engine.clock import ManualClock
from paygate_engine.system import ActorSystem

REQUEST = ScoreRequest(
    merchant="merchant_a",
    amount=Money(10_000, "USD"),
    has_card=True,
    number_valid=True,
    expired=False,
    fingerprint="card",
)
ONE_A_MINUTE = Fraud(velocity_card_max=1, velocity_window_s=60)


def rules(config: Fraud) -> FraudRules:
    return FraudRules(config, fingerprint=lambda number: f"fingerprint of {number}")


def scorer(config: Fraud = ONE_A_MINUTE) -> Scorer:
    return Scorer(config, rules(config))


@pytest.fixture
async def system() -> AsyncIterator[ActorSystem]:
    made = ActorSystem(loop=asyncio.get_running_loop(), clock=ManualClock(), rng=random.Random(1))
    yield made
    await made.stop_all()


def test_a_check_only_counts_nothing():
    counted = scorer()

    checks = [counted.check(REQUEST, transaction_id=None, now_us=1) for _ in range(5)]

    assert {check.factors for check in checks} == {()}
    assert {check.transaction_id for check in checks} == {None}


def test_payments_are_counted_and_a_check_sees_it():
    counted = scorer()
    first = counted.check(REQUEST, transaction_id="txn_1", now_us=1)

    second = counted.check(REQUEST, transaction_id="txn_2", now_us=2)
    only = counted.check(REQUEST, transaction_id=None, now_us=3)

    assert first.factors == ()
    assert second.factors == only.factors == ("card_velocity",)


def test_a_transaction_is_scored_and_counted_once_however_often_it_is_asked_for():
    """Trap of the seed: scored twice, each under a random id that nobody can look up."""
    counted = scorer()

    first = counted.check(REQUEST, transaction_id="txn_1", now_us=1)
    again = counted.check(REQUEST, transaction_id="txn_1", now_us=2)

    assert again is first
    assert first.transaction_id == "txn_1"
    assert first.factors == ()


def test_what_is_remembered_is_bounded():
    counted = scorer(Fraud(velocity=False))
    first = counted.check(REQUEST, transaction_id="txn_first", now_us=1)
    for place in range(REMEMBERED_MAX - 1):
        counted.check(REQUEST, transaction_id=f"txn_{place}", now_us=1)

    assert counted.check(REQUEST, transaction_id="txn_first", now_us=2) is first
    counted.check(REQUEST, transaction_id="txn_one_more", now_us=2)
    assert counted.check(REQUEST, transaction_id="txn_first", now_us=2) is not first


def test_velocity_can_be_turned_off():
    counted = scorer(msgspec.structs.replace(ONE_A_MINUTE, velocity=False))

    checks = [counted.check(REQUEST, transaction_id=f"txn_{n}", now_us=n) for n in range(5)]

    assert {check.factors for check in checks} == {()}


def test_a_blocked_try_counts_too():
    config = msgspec.structs.replace(ONE_A_MINUTE, block_score_milli=0)
    counted = scorer(config)

    assert counted.check(REQUEST, transaction_id="txn_1", now_us=1).blocked
    assert counted.check(REQUEST, transaction_id="txn_2", now_us=2).factors == ("card_velocity",)


async def test_the_actor_answers_with_a_check_at_the_systems_time(system: ActorSystem):
    actor = FraudActor.start(system, "fraud", ONE_A_MINUTE, rules(ONE_A_MINUTE))

    check = await actor.ask(Score(request=REQUEST, transaction_id="txn_1"), timeout=5)

    assert check == FraudCheck(
        transaction_id="txn_1",
        score_milli=0,
        risk_level="low",
        factors=(),
        blocked=False,
        created_at_us=system.clock.now_us(),
    )


async def test_the_actor_slides_its_window_on_the_systems_clock(system: ActorSystem):
    actor = FraudActor.start(system, "fraud", ONE_A_MINUTE, rules(ONE_A_MINUTE))
    assert isinstance(system.clock, ManualClock)

    async def factors(transaction_id: str) -> tuple[str, ...]:
        score = Score(request=REQUEST, transaction_id=transaction_id)
        return (await actor.ask(score, timeout=5)).factors

    assert await factors("txn_1") == ()
    assert await factors("txn_2") == ("card_velocity",)
    system.clock.advance(60)
    assert await factors("txn_3") == ()


async def test_simultaneous_payments_with_one_card_are_counted_one_by_one(system: ActorSystem):
    config = Fraud(velocity_card_max=10)
    actor = FraudActor.start(system, "fraud", config, rules(config))

    checks = await asyncio.gather(
        *(
            actor.ask(Score(request=REQUEST, transaction_id=f"txn_{n}"), timeout=5)
            for n in range(50)
        )
    )

    assert sum("card_velocity" in check.factors for check in checks) == 40
