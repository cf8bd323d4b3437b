"""A provider's health: the window, and the circuit that only changes the order."""

from paygate_actors.breaker import CALLS_MIN, OPEN_S, WINDOW, Breaker
from paygate_engine.clock import ManualClock


def failing(breaker: Breaker, calls: int) -> None:
    for _ in range(calls):
        breaker.record(well=False, seconds=2.0)


def test_a_provider_without_calls_is_closed_and_has_no_figures():
    breaker = Breaker(ManualClock())

    assert (breaker.circuit, breaker.success_rate_milli, breaker.p99_ms) == ("closed", None, None)


def test_a_few_failures_do_not_open_it():
    breaker = Breaker(ManualClock())

    failing(breaker, CALLS_MIN - 1)

    assert breaker.circuit == "closed"


def test_it_opens_when_most_recent_calls_fail():
    breaker = Breaker(ManualClock())

    failing(breaker, CALLS_MIN)

    assert breaker.circuit == "open"
    assert breaker.success_rate_milli == 0


def test_half_of_them_failing_is_not_most():
    breaker = Breaker(ManualClock())

    for _ in range(WINDOW):
        breaker.record(well=True, seconds=0.1)
        breaker.record(well=False, seconds=0.1)

    assert breaker.circuit == "closed"
    assert breaker.success_rate_milli == 500


def test_old_calls_leave_the_window():
    breaker = Breaker(ManualClock())
    failing(breaker, CALLS_MIN - 1)

    for _ in range(WINDOW):
        breaker.record(well=True, seconds=0.1)

    assert breaker.success_rate_milli == 1_000


def test_after_a_while_one_call_decides_for_the_better():
    clock = ManualClock()
    breaker = Breaker(clock)
    failing(breaker, CALLS_MIN)
    clock.advance(OPEN_S)

    assert breaker.circuit == "half_open"
    breaker.record(well=True, seconds=0.1)

    assert breaker.circuit == "closed"
    failing(breaker, CALLS_MIN - 1)
    assert breaker.circuit == "closed", "the failures of before are forgotten"


def test_after_a_while_one_call_decides_for_the_worse():
    clock = ManualClock()
    breaker = Breaker(clock)
    failing(breaker, CALLS_MIN)
    clock.advance(OPEN_S)

    breaker.record(well=False, seconds=0.1)

    assert breaker.circuit == "open"


def test_calls_that_end_while_it_is_open_do_not_close_it():
    clock = ManualClock()
    breaker = Breaker(clock)
    failing(breaker, CALLS_MIN)

    for _ in range(WINDOW):
        breaker.record(well=True, seconds=0.1)

    assert breaker.circuit == "open"


def test_the_p99_is_of_the_slowest_of_a_hundred():
    breaker = Breaker(ManualClock())
    for milliseconds in range(1, WINDOW + 1):
        breaker.record(well=True, seconds=milliseconds / 1_000)

    assert breaker.p99_ms == WINDOW
