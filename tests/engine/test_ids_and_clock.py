"""Ids sort by time and can be read back; the manual clock moves both of its hands."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_engine.clock import ManualClock, SystemClock
from paygate_engine.ids import ALPHABET, RANDOM_BITS, TIME_BITS, Ids


def test_ids_sort_by_the_time_of_their_making() -> None:
    clock = ManualClock()
    ids = Ids(clock, random.Random(1))
    made: list[str] = []
    for _ in range(200):
        made.append(ids.new("pay"))
        clock.advance(0.000_001)

    assert made == sorted(made)
    assert len({len(each) for each in made}) == 1
    assert set("".join(each.removeprefix("pay_") for each in made)) <= set(ALPHABET)


def test_the_time_of_an_id_is_that_of_its_making() -> None:
    clock = ManualClock(now_us=1_700_000_000_123_456)

    made = Ids(clock, random.Random(1)).new("txn")

    assert Ids.time_of(made) == 1_700_000_000_123_456


@given(at_us=st.integers(0, 2**TIME_BITS - 1), entropy=st.integers(0, 2**RANDOM_BITS - 1))
def test_every_time_that_an_id_can_hold_is_read_back(at_us: int, entropy: int) -> None:
    assert Ids.time_of(Ids.compose("pay", at_us=at_us, entropy=entropy)) == at_us


def test_the_floor_is_below_every_id_of_its_microsecond_and_above_those_before() -> None:
    clock = ManualClock()
    ids = Ids(clock, random.Random(1))
    before = [ids.new("pay") for _ in range(50)]
    clock.advance(0.000_001)
    after = [ids.new("pay") for _ in range(50)]

    floor = Ids.floor("pay", clock.now_us())

    assert max(before) < floor <= min(after)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay",
        "pay_",
        "pay_short",
        "_" + "0" * 26,
        "pay_" + "u" * 26,
        "pay_" + "0" * 27,
        "pay_" + "A" * 26,
        "pay_ " + "0" * 25,
        "pay_+" + "0" * 25,
        "pay_" + "\u0660" * 26,  # a digit of another script
        "pay_" + "0" * 26 + "\n",
    ],
)
def test_what_is_no_id_has_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        Ids.time_of(text)


def test_the_same_seed_makes_the_same_ids() -> None:
    one, two = (Ids(ManualClock(), random.Random(9)).new("pay") for _ in range(2))

    assert one == two


def test_a_million_in_one_microsecond_would_not_meet() -> None:
    ids = Ids(ManualClock(), random.Random(3))

    assert len({ids.new("x") for _ in range(10_000)}) == 10_000


def test_a_manual_clock_moves_both_hands_and_tells_its_watchers() -> None:
    clock = ManualClock()
    before = clock.now_us(), clock.monotonic_s()
    seen: list[float] = []
    clock.watch(lambda: seen.append(clock.monotonic_s()))

    clock.advance(1.5)

    assert clock.now_us() - before[0] == 1_500_000
    assert clock.monotonic_s() - before[1] == 1.5
    assert seen == [1.5]
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_the_machines_clock_is_after_2026_and_only_goes_forward() -> None:
    clock = SystemClock()

    readings = [clock.monotonic_s() for _ in range(100)]

    assert clock.now_us() > 1_760_000_000_000_000
    assert readings == sorted(readings)
