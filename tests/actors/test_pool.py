"""A provider's pool: so many calls at a time, pauses it asks for, repetitions, probes."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Final

import pytest
from bank_rig import Bank, Heard, done

from paygate_actors.breaker import CALLS_MIN
from paygate_actors.card import SealedCard
from paygate_actors.health import Health
from paygate_actors.money import Money
from paygate_actors.outcomes import Declined, Outcome, Prepared, Unknown
from paygate_actors.pool import (
    CHARGE_PAUSE_S_MAX,
    MAY_ACT_S,
    QUEUE_WAIT_S,
    REPEATS_MAX,
    ProviderPool,
)
from paygate_actors.pool_messages import NO_PERMIT, Answered, Charge, GoOn, Perform
from paygate_actors.probing import PROBE_KEY, PROBE_S, watched
from paygate_engine.clock import ManualClock
from paygate_engine.stores.base import AuditEntry
from paygate_engine.supervisor import Supervisor
from paygate_engine.system import ActorSystem

AMOUNT: Final = Money(10_000, "USD")
TURNED_AWAY: Final = Declined(code="too_many_requests", retryable=True, conclusive=False)
PAUSE: Final = Declined(
    code="too_many_requests", retryable=True, conclusive=False, retry_after_s=3.0
)
LOST: Final = Unknown(reason="timeout")
PATIENCE_S: Final = 5.0


class Counter:
    """A bank with one pool in front of it, on a clock that the test moves."""

    def __init__(self, *, concurrency: int = 2, queue_max: int = 100) -> None:
        self.clock = ManualClock()
        self.bank = Bank()
        self.told: dict[str, Outcome | Prepared] = {}
        self.noted: list[AuditEntry] = []
        self.may_act = True
        self.system = ActorSystem(
            loop=asyncio.get_running_loop(), clock=self.clock, rng=random.Random(3)
        )
        self.health = watched(
            "bank",
            deadline_s=60.0,
            concurrency=concurrency,
            finds=True,
            is_active=lambda: True,
            system=self.system,
            note=self.noted.append,
        )
        pools = Supervisor(self.system, "pools")
        self.pool: ProviderPool = pools.start(
            ProviderPool,
            "pool:bank",
            provider=self.bank,
            queue_max=queue_max,
            open_kept=self._nothing_kept,
            report=self._hear,
            health=self.health,
            may_act=lambda: self.may_act,
        )

    async def _nothing_kept(self, token: str, merchant: str) -> None:
        return None

    def _hear(self, payment_id: str, answered: Answered) -> None:
        assert answered.key not in self.told, "each job is answered once"
        self.told[answered.key] = answered.outcome

    def hand(self, *jobs: Perform | GoOn) -> None:
        """Hand jobs over."""
        for job in jobs:
            ref = self.system.get("pool:bank")
            assert ref is not None
            ref.tell(job)

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def wait(self, seconds: float, *, step_s: float = 0.1) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            await self.settle()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let it run until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110  # nobody would set an event
                await asyncio.sleep(0)


@pytest.fixture
async def counter() -> AsyncGenerator[Counter]:
    made = Counter()
    yield made
    made.bank.hang_up()
    await made.system.stop_all()


def refund(number: int = 1) -> Perform:
    return Perform(
        payment_id="pay_1", key=f"r{number}", verb="refund", amount=AMOUNT, target="ch_1"
    )


def charge(number: int = 1) -> Perform:
    card = SealedCard("4242424242424242", "123")
    of = Charge(method_kind="card", merchant="m", capture=True, card=card)
    return Perform(payment_id="pay_1", key=f"c{number}", verb="charge", amount=AMOUNT, charge=of)


def first_then(*answers: Outcome) -> Callable[[str], Outcome]:
    """Answer so, one call after another, and by doing it from then on."""
    left = list(answers)
    return lambda key: left.pop(0) if left else done(key)


# ------------------------------------------------------------------ permits


async def test_nothing_leaves_while_the_node_may_not_act_and_all_of_it_after_that(counter: Counter):
    counter.may_act = False
    counter.hand(charge(), refund())
    await counter.wait(1)
    before = counter.bank.verbs()

    counter.may_act = True
    counter.hand(GoOn())
    await counter.settle()

    assert before == []
    assert counter.bank.verbs() == ["charge", "refund"]


async def test_a_pause_that_nobody_noticed_holds_nothing_up(counter: Counter):
    counter.may_act = False
    counter.hand(charge())
    await counter.settle()

    counter.may_act = True
    await counter.wait(2 * MAY_ACT_S)

    assert counter.bank.verbs() == ["charge"]


async def test_what_waits_too_long_for_a_node_that_may_not_act_never_left(counter: Counter):
    counter.may_act = False
    counter.hand(charge(1), charge(2))
    await counter.wait(QUEUE_WAIT_S + 2, step_s=1.0)

    counter.may_act = True
    counter.hand(GoOn())
    await counter.settle()

    assert counter.bank.verbs() == []
    assert counter.told == {"c1": NO_PERMIT, "c2": NO_PERMIT}


async def test_no_more_calls_are_out_than_there_are_permits(counter: Counter):
    counter.bank.says["charge"] = None

    counter.hand(*(charge(n) for n in range(5)))
    await counter.settle()

    assert len(counter.bank.heard) == 2
    assert (counter.health.running, counter.health.waiting) == (2, 3)
    counter.bank.hang_up()
    await counter.until(lambda: len(counter.bank.heard) == 4)


async def test_more_permits_are_used_as_soon_as_a_call_ends(counter: Counter):
    counter.bank.says["charge"] = None
    counter.hand(*(charge(n) for n in range(6)))
    await counter.settle()

    counter.health.concurrency = 10
    counter.bank.hang_up()
    await counter.settle()

    assert len(counter.bank.heard) == 6


async def test_what_finds_no_place_never_leaves():
    counter = Counter(concurrency=1, queue_max=1)
    counter.bank.says["charge"] = None

    counter.hand(charge(1), charge(2), charge(3))
    await counter.settle()

    assert counter.told == {"c3": NO_PERMIT}
    counter.bank.hang_up()
    await counter.system.stop_all()


# ------------------------------------------------------------------ repetitions


async def test_a_refund_that_was_turned_away_is_sent_again_under_its_key(counter: Counter):
    counter.bank.says["refund"] = first_then(TURNED_AWAY, TURNED_AWAY)

    counter.hand(refund())
    await counter.wait(5)

    assert counter.bank.heard == [Heard("refund", "r1")] * 3
    assert counter.told == {"r1": done("r1")}


async def test_it_is_not_sent_again_before_the_provider_wants_it(counter: Counter):
    counter.bank.says["refund"] = first_then(PAUSE)

    counter.hand(refund())
    await counter.wait(2.9)
    assert len(counter.bank.heard) == 1

    await counter.wait(2.0)
    assert len(counter.bank.heard) == 2


async def test_what_is_always_turned_away_ends_as_what_it_is(counter: Counter):
    counter.bank.says["refund"] = TURNED_AWAY

    counter.hand(refund())
    await counter.wait(30)

    assert len(counter.bank.heard) == 1 + REPEATS_MAX
    assert counter.told == {"r1": TURNED_AWAY}


async def test_without_a_budget_nothing_is_sent_again(counter: Counter):
    counter.bank.says["refund"] = TURNED_AWAY
    while counter.health.budget.spend():
        pass

    counter.hand(refund())
    await counter.wait(5)

    assert len(counter.bank.heard) == 1


@pytest.mark.parametrize("outcome", [LOST, Declined(code="card_declined")])
async def test_what_may_have_been_done_or_was_looked_at_is_never_sent_again(
    counter: Counter, outcome: Outcome
):
    counter.bank.says["refund"] = outcome

    counter.hand(refund())
    await counter.wait(30)

    assert counter.bank.heard == [Heard("refund", "r1")]


async def test_a_charge_that_was_turned_away_may_go_elsewhere_at_once(counter: Counter):
    counter.bank.says["charge"] = TURNED_AWAY

    counter.hand(charge())
    await counter.settle()

    assert counter.told == {"c1": TURNED_AWAY}


# ------------------------------------------------------------------ pauses


async def test_while_the_provider_wants_a_pause_all_wait_and_go_on_after_it(counter: Counter):
    counter.bank.says["charge"] = first_then(PAUSE)
    counter.hand(charge(1))
    await counter.settle()

    counter.hand(charge(2), refund(2))
    await counter.wait(2.9)
    assert len(counter.bank.heard) == 1

    await counter.wait(0.3)
    assert counter.bank.verbs() == ["charge", "charge", "refund"]


async def test_a_charge_does_not_wait_for_the_end_of_a_long_pause(counter: Counter):
    pause_s = CHARGE_PAUSE_S_MAX + 1
    counter.bank.says["charge"] = first_then(
        Declined(code="too_many_requests", conclusive=False, retry_after_s=pause_s)
    )
    counter.hand(charge(1))
    await counter.settle()

    counter.hand(charge(2))
    await counter.settle()

    assert counter.told["c2"] == NO_PERMIT


async def test_who_waits_too_long_is_told_that_nothing_left(counter: Counter):
    counter.bank.says["refund"] = first_then(
        Unknown(reason="server_error", retry_after_s=QUEUE_WAIT_S + 5)
    )
    counter.hand(refund(1))
    await counter.settle()

    counter.hand(refund(2))
    await counter.wait(QUEUE_WAIT_S + 6, step_s=1.0)

    assert counter.told["r2"] == NO_PERMIT
    assert len(counter.bank.heard) == 1


# ------------------------------------------------------------------ probes


async def fails(counter: Counter, health: Health) -> None:
    counter.bank.says["charge"] = LOST
    counter.hand(*(charge(n) for n in range(CALLS_MIN)))
    await counter.until(lambda: health.circuits["charge"].circuit == "open")


async def test_an_open_circuit_is_probed_by_a_look_up_and_half_opens_when_it_is_answered(
    counter: Counter,
):
    await fails(counter, counter.health)
    counter.bank.says["find"] = Unknown(reason="server_error")

    await counter.wait(PROBE_S + 0.2)
    assert counter.bank.of("find") == [Heard("find", PROBE_KEY)]
    assert counter.health.circuits["charge"].circuit == "open"

    counter.bank.says["find"] = Unknown(reason="not_visible")
    await counter.wait(PROBE_S + 0.2)
    assert counter.health.circuits["charge"].circuit == "half_open"
    said = [(each.stream, each.what) for each in counter.noted]
    assert said == [("bank", "circuit charge open"), ("bank", "circuit charge half_open")]


async def test_a_circuit_that_is_not_open_is_not_probed(counter: Counter):
    await fails(counter, counter.health)
    counter.health.circuits["charge"].probed()

    await counter.wait(3 * PROBE_S)

    assert counter.bank.of("find") == []
