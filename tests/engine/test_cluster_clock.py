"""The database's time as a clock, carried on between two answers."""

from paygate_engine.clock import US_PER_S, ManualClock
from paygate_engine.cluster_clock import STAND_STILL_S, ClusterClock


def test_a_cluster_clock_goes_on_between_answers_by_the_monotonic_clock():
    machine = ManualClock(now_us=9_999_999)
    clock = ClusterClock(machine)
    before_us = clock.now_us()

    clock.set(50 * US_PER_S, at_s=machine.monotonic_s())
    machine.advance(2.5)

    assert before_us == 9_999_999
    assert clock.now_us() == 52_500_000
    assert clock.monotonic_s() == 2.5


def test_a_cluster_clock_that_runs_ahead_a_little_stands_still():
    machine = ManualClock()
    clock = ClusterClock(machine)
    clock.set(50 * US_PER_S, at_s=0.0)
    assert clock.now_us() == 50 * US_PER_S

    clock.set(50 * US_PER_S - 400_000, at_s=0.0)
    stands_us = clock.now_us()
    machine.advance(0.3)
    still_us = clock.now_us()
    machine.advance(0.3)

    assert stands_us == still_us == 50 * US_PER_S
    assert clock.now_us() == 50 * US_PER_S + 200_000


def test_a_cluster_clock_follows_a_database_that_goes_back_far():
    machine = ManualClock()
    clock = ClusterClock(machine)
    clock.set(50 * US_PER_S, at_s=0.0)
    clock.now_us()
    back_us = round((50 - STAND_STILL_S) * US_PER_S) - 1

    clock.set(back_us, at_s=0.0)

    assert clock.now_us() == back_us
