"""Traps that a Pykka actor meets on an asyncio loop; each was seen to bite, none does here."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from paygate_engine.actor import LightActor, LoopActor, handles
from paygate_engine.clock import ManualClock
from paygate_engine.dead_letters import LOGGED_MAX, SILENCE_S, DeadLetters
from paygate_engine.future import LoopFuture
from paygate_engine.system import ActorSystem


class Echo(LightActor):
    __slots__ = ()

    @handles(int)
    def on_int(self, number: int) -> int:
        return number

    @handles(str)
    def on_str(self, name: str) -> None:
        raise {"cancel": asyncio.CancelledError, "exit": SystemExit, "value": ValueError}[name]

    @handles(float)
    def on_float(self, _again: float) -> None:
        self.actor_ref.tell(1)
        self.actor_ref.tell(2)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the engine has no event for every state
            await asyncio.sleep(0)


async def test_waiting_on_the_loops_thread_is_refused_instead_of_deadlocking(
    system: ActorSystem,
) -> None:
    ref = Echo.start(system, "e")

    with pytest.raises(RuntimeError, match="loop's thread"):
        ref.ask(1, block=True)
    with pytest.raises(RuntimeError, match="loop's thread"):
        ref.stop(block=True)
    with pytest.raises(RuntimeError, match="loop's thread"):
        Echo.start(system, "other").actor_stopped.wait()


async def test_awaiting_a_reply_leaves_the_loop_to_others(system: ActorSystem) -> None:
    class Slow(LoopActor):
        @handles(int)
        async def on_int(self, number: int) -> int:
            await gate.wait()
            return number

    gate = asyncio.Event()
    asked = system.spawn_task(_await(Slow.start(system, "s").ask(1)))
    turns = 0
    while turns < 10:
        await asyncio.sleep(0)
        turns += 1

    assert not asked.done()
    gate.set()
    assert await asked == 1


async def test_the_directory_keeps_an_actor_alive_and_its_end_lets_it_go(
    system: ActorSystem,
) -> None:
    ref = Echo.start(system, "e")
    cell = weakref.ref(system.cells["e"])

    gc.collect()
    kept = cell() is not None
    await ref.stop()
    del ref
    await asyncio.sleep(0)

    assert kept
    assert cell() is None


@pytest.mark.parametrize("name", ["cancel", "value"])
async def test_an_error_ends_its_actor_alone_and_answers_the_asker(
    system: ActorSystem, name: str
) -> None:
    bystander = Echo.start(system, "bystander")
    thread = pykka.ThreadingActor.start()
    asked = Echo.start(system, "e").ask(name)

    with pytest.raises((asyncio.CancelledError, ValueError)):
        await asked

    assert bystander.is_alive()
    assert thread.is_alive()
    thread.stop()


def test_system_exit_leaves_the_loop_after_its_actor_was_answered() -> None:
    loop = asyncio.new_event_loop()
    system = ActorSystem(loop=loop, clock=ManualClock(), rng=random.Random(1))
    asked = Echo.start(system, "e").ask("exit")
    other = Echo.start(system, "other").ask(1)

    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.sleep(1))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    assert isinstance(asked.exception(), SystemExit)
    assert other.get() == 1


async def test_an_actor_may_tell_itself_more_than_once(system: ActorSystem) -> None:
    ref = Echo.start(system, "e")

    ref.tell(1.0)

    assert await ref.ask(5) == 5
    assert system.stats.handled == 4


async def test_tells_left_at_the_end_are_dead_letters(system: ActorSystem) -> None:
    ref = Echo.start(system, "e")
    stopped = ref.stop()
    ref.tell(1)
    ref.tell(2)

    await stopped

    assert system.dead_letters.counts["dead", "int"] == 2


async def test_two_systems_in_one_process_know_nothing_of_each_other(system: ActorSystem) -> None:
    other = ActorSystem(loop=asyncio.get_running_loop(), clock=ManualClock(), rng=random.Random(1))

    Echo.start(system, "e")
    Echo.start(other, "e")

    assert system.get("e") != other.get("e")
    await other.stop_all()
    assert len(system) == 1


async def test_several_may_await_one_reply_and_a_cancelled_one_harms_nobody() -> None:
    future: LoopFuture[int] = LoopFuture()
    first, second = (asyncio.create_task(_await(future)) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    future.set(7)

    assert await second == 7
    assert first.cancelled()
    assert await future == 7


async def test_futures_are_mapped_without_waiting() -> None:
    numbers: LoopFuture[list[int]] = LoopFuture()
    total = numbers.map(sum)
    even = numbers.filter(lambda number: number % 2 == 0)
    product = numbers.reduce(lambda one, two: one * two, 10)
    both = numbers.join(total)
    failing = numbers.map(lambda _numbers: 1 // 0)

    numbers.set([1, 2, 3, 4])

    assert [await total, await even, await product] == [10, [2, 4], 240]
    assert await both == [[1, 2, 3, 4], 10]
    with pytest.raises(ZeroDivisionError):
        await failing


async def test_a_task_that_fails_is_counted_and_logged(
    system: ActorSystem, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("nobody awaits this")

    system.spawn_task(fail())
    await until(lambda: system.stats.tasks_failed)

    assert "nobody awaits this" in caplog.text


def test_the_system_fails_once(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[BaseException] = []
    loop = asyncio.new_event_loop()
    system = ActorSystem(
        loop=loop, clock=ManualClock(), rng=random.Random(1), on_fatal=heard.append
    )
    first = OSError("disk")

    system.fail(first)
    system.fail(OSError("again"))
    loop.close()

    assert heard == [first]
    assert system.failure is first


def test_a_storm_of_dead_letters_is_ten_lines_and_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    letters = DeadLetters(clock)
    for number in range(1_000):
        letters.put("dead", "a", number)

    storm = len(caplog.records)
    clock.advance(SILENCE_S + 1)
    letters.put("dead", "a", 1)

    assert storm == LOGGED_MAX
    assert "990 more" in caplog.records[-2].message
    assert letters.total("dead") == 1_001


async def test_the_oldest_wait_is_never_understated(
    system: ActorSystem, clock: ManualClock
) -> None:
    waits: list[tuple[float, float]] = []

    class Late(LightActor):
        __slots__ = ()

        @handles(float)
        def on_float(self, sent_s: float) -> None:
            waits.append((system.oldest_wait_s(), clock.monotonic_s() - sent_s))
            clock.advance(0.0002)

    refs = [Late.start(system, f"l{number}") for number in range(50)]
    idle = system.oldest_wait_s()
    for _ in range(4):
        for ref in refs:
            ref.tell(clock.monotonic_s())
        await asyncio.sleep(0)
    await until(lambda: len(waits) == 200)

    assert idle == 0
    assert max(truth for _, truth in waits) > 0.009
    # The last one to be taken leaves nobody behind: then the answer is 0.
    assert all(said >= truth - 0.0001 for said, truth in waits if said)
    assert max(said for said, _ in waits) <= 2.5 * max(truth for _, truth in waits)


async def _await(future: Any) -> Any:
    return await future
