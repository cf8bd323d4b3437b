"""The timer wheel: never early, all of them, a bounded number at a time."""

import asyncio
import random

import pytest

from paygate_engine.clock import ManualClock, SystemClock
from paygate_engine.system import LONG_S, ActorSystem
from paygate_engine.timers import FIRED_PER_TICK_MAX, RESOLUTION_S, Timer, Wheel


def test_no_timer_is_early_and_none_is_later_than_a_bucket() -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201 - shown when it fails
    rng = random.Random(seed)
    wheel = Wheel()
    fired: list[tuple[float, float]] = []
    now_s = 0.0
    for _ in range(500):
        when_s = rng.uniform(0, 3)
        wheel.add(when_s, lambda when_s: fired.append((when_s, now_s)), when_s)

    while len(fired) < 500:
        now_s += 0.001
        wheel.fire(now_s)

    assert all(0 <= late[1] - late[0] <= RESOLUTION_S + 0.0011 for late in fired)


def test_a_tick_fires_at_most_so_many_and_says_that_more_are_due() -> None:
    wheel = Wheel()
    fired: list[int] = []
    for number in range(25):
        wheel.add(0.005 * (number % 3), fired.append, number)

    more = [wheel.fire(1.0, fired_max=10) for _ in range(4)]

    assert more == [True, True, False, False]
    assert sorted(fired) == list(range(25))
    assert len(wheel) == 0


def test_a_timer_set_while_timers_fire_is_not_lost() -> None:
    wheel = Wheel()
    fired: list[str] = []
    wheel.add(0.0, lambda _: wheel.add(0.0, fired.append, "inner"), None)

    wheel.fire(0.5)
    wheel.fire(1.0)

    assert fired == ["inner"]


def test_a_timer_that_was_taken_back_fires_not_and_its_neighbours_do() -> None:
    wheel = Wheel()
    fired: list[int] = []
    timers = [Timer(wheel.add(0.0, fired.append, number)) for number in range(3)]

    timers[1].cancel()
    wheel.fire(0.5)
    timers[0].cancel()

    assert fired == [0, 2]


async def test_a_reminder_comes_unless_it_is_taken_back() -> None:
    clock = ManualClock()
    system = ActorSystem(loop=asyncio.get_running_loop(), clock=clock)
    said: list[str] = []
    system.remind(1.0, said.append, "came")
    system.remind(1.0, said.append, "taken back").cancel()

    clock.advance(2)
    system.tick()

    assert said == ["came"]


def test_a_timer_that_raises_does_not_take_others_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wheel = Wheel()
    fired: list[int] = []
    wheel.add(0.0, lambda _: 1 / 0, None)
    wheel.add(0.0, fired.append, 1)

    wheel.fire(1.0)

    assert fired == [1]
    assert "a timer failed" in caplog.text


async def test_a_storm_of_timers_leaves_the_loop_its_turns(
    system: ActorSystem, clock: ManualClock
) -> None:
    fired: list[int] = []
    for number in range(FIRED_PER_TICK_MAX * 3):
        system.after(1.0, fired.append, number)

    clock.advance(1.1)
    counts: list[int] = []
    while len(fired) < FIRED_PER_TICK_MAX * 3:
        counts.append(len(fired))
        await asyncio.sleep(0)

    assert counts == [FIRED_PER_TICK_MAX, FIRED_PER_TICK_MAX * 2]


async def test_timers_fire_by_the_loop_in_real_time_in_order_of_their_times() -> None:
    loop = asyncio.get_running_loop()
    system = ActorSystem(loop=loop, clock=SystemClock(), rng=random.Random(1))
    fired: list[str] = []
    done = asyncio.Event()
    system.after(0.06, lambda _: done.set(), None)
    system.after(0.03, fired.append, "second")
    system.after(0.0, fired.append, "first")

    await asyncio.wait_for(done.wait(), 5)

    assert fired == ["first", "second"]


async def test_timers_of_a_stopped_system_fire_no_more() -> None:
    clock = ManualClock()
    system = ActorSystem(loop=asyncio.get_running_loop(), clock=clock, rng=random.Random(1))
    fired: list[str] = []
    system.after(1.0, fired.append, "before")
    await system.stop_all()

    system.after(1.0, fired.append, "after")
    clock.advance(5.0)

    assert fired == []


async def test_a_task_that_is_cut_off_by_the_end_leaves_no_other_one_behind() -> None:
    system = ActorSystem(loop=asyncio.get_running_loop())
    done: list[str] = []

    async def read_back() -> None:
        done.append("read")

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            system.spawn_task(read_back())

    system.spawn_task(call())
    await asyncio.sleep(0)

    await system.stop_all()
    await asyncio.sleep(0)

    assert done == []


async def test_timers_of_hours_share_the_second_in_which_they_fire() -> None:
    clock = ManualClock()
    system = ActorSystem(clock=clock, rng=random.Random(1))
    fired: list[tuple[float, float]] = []

    def fire(due_s: float) -> None:
        fired.append((clock.monotonic_s(), clock.monotonic_s() - due_s))

    for number in range(1_000):
        delay_s = LONG_S + 1 + number / 100
        system.after(delay_s, fire, delay_s)
    clock.advance(LONG_S)
    for _ in range(1_500):
        clock.advance(0.01)

    assert len(fired) == 1_000
    assert len({at_s for at_s, _ in fired}) <= 12
    assert min(late_s for _, late_s in fired) >= 0
    assert max(late_s for _, late_s in fired) <= 1.0 + 3 * RESOLUTION_S
