"""How a provider does: circuits for each operation, pauses it asks for, permits, budget."""

from typing import Final

import pytest

from paygate_actors.breaker import CALLS_MIN, OPEN_S, TRIAL_S, Breaker, Circuit
from paygate_actors.health import QUIET_S_MAX, Health, Operation
from paygate_actors.outcomes import Declined, Outcome, Unknown
from paygate_actors.retry_budget import SHARE_MILLI, TOKENS_MAX, RetryBudget
from paygate_engine.clock import ManualClock

LOST: Final = Unknown(reason="timeout")
NO_FUNDS: Final = Declined(code="insufficient_funds")


class Watched:
    """A health on a clock that the test moves, and the changes that it told."""

    def __init__(self, *, concurrency: int = 4) -> None:
        self.clock = ManualClock()
        self.told: list[tuple[Operation, Circuit]] = []
        self.health = Health(
            self.clock,
            deadline_s=2.0,
            concurrency=concurrency,
            on_change=lambda operation, circuit: self.told.append((operation, circuit)),
        )

    def hears(self, outcome: Outcome, *, times: int = CALLS_MIN, seconds: float = 0.1) -> None:
        for _ in range(times):
            self.health.record("charge", outcome, seconds=seconds)


def test_failing_refunds_leave_charges_alone():
    watched = Watched()

    for _ in range(CALLS_MIN):
        watched.health.record("refund", LOST, seconds=0.1)

    assert watched.health.circuits["refund"].circuit == "open"
    assert watched.health.circuits["charge"].circuit == "closed"
    assert watched.health.behind is None
    assert watched.told == [("refund", "open")]


def test_payers_declines_are_good_answers():
    watched = Watched()

    watched.hears(NO_FUNDS, times=100)

    assert watched.health.behind is None
    assert watched.health.circuits["charge"].success_rate_milli == 1_000


def test_slow_calls_count_against_it_though_they_succeed():
    watched = Watched()

    watched.hears(NO_FUNDS, seconds=1.0)

    charge = watched.health.circuits["charge"]
    assert (charge.success_rate_milli, charge.slow_rate_milli) == (1_000, 1_000)
    assert watched.health.behind == "circuit_open"


def test_calls_that_take_less_than_half_the_deadline_are_not_slow():
    watched = Watched()

    watched.hears(NO_FUNDS, seconds=0.99)

    assert watched.health.behind is None


def test_slow_calls_that_leave_the_window_are_forgotten():
    breaker = Breaker(ManualClock(), slow_s=1.0)
    for seconds in [0.1] * CALLS_MIN + [1.5] * CALLS_MIN:
        breaker.record(well=True, seconds=seconds)
    assert breaker.slow_rate_milli == 500

    for _ in range(100):
        breaker.record(well=True, seconds=0.1)

    assert (breaker.slow_rate_milli, breaker.circuit) == (0, "closed")


# ------------------------------------------------------------------ the trial


def test_half_open_one_payment_tries_it_out_and_others_wait_for_its_answer():
    watched = Watched()
    watched.hears(LOST)
    watched.clock.advance(OPEN_S)
    charge = watched.health.circuits["charge"]
    assert (charge.circuit, watched.health.behind) == ("half_open", None)

    charge.try_out()

    assert watched.health.behind == "circuit_open"
    watched.hears(NO_FUNDS, times=1)
    assert (charge.circuit, watched.health.behind) == ("closed", None)
    assert watched.told == [("charge", "open"), ("charge", "closed")]


def test_a_trial_that_fails_opens_it_for_as_long_again():
    watched = Watched()
    watched.hears(LOST)
    watched.clock.advance(OPEN_S)
    charge = watched.health.circuits["charge"]
    charge.try_out()

    watched.hears(LOST, times=1)

    assert charge.circuit == "open"
    watched.clock.advance(OPEN_S)
    assert watched.health.behind is None, "another may try"


def test_a_trial_that_nobody_heard_of_again_is_not_waited_for():
    watched = Watched()
    watched.hears(LOST)
    watched.clock.advance(OPEN_S)
    watched.health.circuits["charge"].try_out()

    watched.clock.advance(TRIAL_S)

    assert watched.health.behind is None


def test_a_closed_circuit_tries_nothing_out():
    watched = Watched()

    watched.health.circuits["charge"].try_out()

    assert watched.health.behind is None


def test_a_probe_that_is_answered_ends_the_wait():
    watched = Watched()
    watched.hears(LOST)

    watched.health.circuits["charge"].probed()

    assert watched.health.circuits["charge"].circuit == "half_open"


# ------------------------------------------------------------------ pauses and permits


@pytest.mark.parametrize(
    "outcome",
    [
        Declined(code="too_many_requests", conclusive=False, retry_after_s=7.0),
        Unknown(reason="server_error", retry_after_s=7.0),
    ],
)
def test_a_provider_is_left_alone_for_as_long_as_it_asks(outcome: Outcome):
    watched = Watched()

    watched.hears(outcome, times=1)

    assert (watched.health.quiet_s, watched.health.behind) == (7.0, "told_to_wait")
    watched.clock.advance(7.0)
    assert (watched.health.quiet_s, watched.health.behind) == (0.0, None)


def test_a_shorter_pause_does_not_end_a_longer_one():
    watched = Watched()
    watched.hears(Unknown(reason="server_error", retry_after_s=9.0), times=1)

    watched.hears(Unknown(reason="server_error", retry_after_s=1.0), times=1)

    assert watched.health.quiet_s == 9.0


def test_nobody_can_ask_to_be_left_alone_for_ever():
    watched = Watched()

    watched.hears(Unknown(reason="server_error", retry_after_s=1e12), times=1)

    assert watched.health.quiet_s == QUIET_S_MAX


def test_it_is_full_when_as_many_wait_as_there_are_permits():
    watched = Watched(concurrency=4)
    watched.health.running = 4
    watched.health.waiting = 3
    assert watched.health.behind is None

    watched.health.waiting = 4

    assert watched.health.behind == "full"
    watched.health.concurrency = 8
    assert watched.health.behind is None, "an operator gave it more"


# ------------------------------------------------------------------ the budget


def test_repetitions_are_a_share_of_what_is_sent():
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(10 * TOKENS_MAX)) == TOKENS_MAX

    for _ in range(1_000 // SHARE_MILLI):
        budget.earn()

    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_long_peace_saves_no_storm():
    budget = RetryBudget()

    for _ in range(100_000):
        budget.earn()

    assert budget.left == TOKENS_MAX
