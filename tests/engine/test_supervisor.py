"""Supervision: strategies, intensity, backoff, escalation, order of starting and stopping."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from paygate_engine.actor import BlockingActor, LoopActor, handles
from paygate_engine.clock import ManualClock
from paygate_engine.supervisor import Backoff, Directive, Supervisor
from paygate_engine.system import ActorSystem


class Boom:
    pass


class Service(LoopActor):
    """Writes down its life in a list that the test gives it."""

    def __init__(self, system: ActorSystem, key: str, book: list[str], parent: Any = None) -> None:
        super().__init__(system, key, parent)
        self.book = book
        self.handled = 0

    def on_start(self) -> None:
        self.book.append(f"+{self.key}")

    def on_stop(self) -> None:
        self.book.append(f"-{self.key}")

    @handles(Boom)
    def boom(self, _message: Boom) -> None:
        raise ValueError(self.key)

    @handles(int)
    async def count(self, number: int) -> int:
        await asyncio.sleep(0)
        self.handled += number
        return self.handled


class Thread(BlockingActor):
    """The same, on a thread."""

    def __init__(self, system: ActorSystem, key: str, book: list[str], parent: Any = None) -> None:
        super().__init__(system, key, parent)
        self.book = book
        self.handled = 0

    def on_start(self) -> None:
        self.handled = 0
        self.book.append(f"+{self.key}")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Boom):
            raise ValueError(self.key)  # noqa: TRY004 - planted
        self.handled += message
        return self.handled


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the engine has no event for every state
            await asyncio.sleep(0)


async def boom(ref: Any) -> None:
    with pytest.raises(ValueError, match=ref.key if hasattr(ref, "key") else ""):
        await ref.ask(Boom())


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        ("one_for_one", ["+b"]),
        ("one_for_all", ["+a", "+b", "+c"]),
        ("rest_for_one", ["+b", "+c"]),
    ],
)
async def test_a_failure_restarts_those_that_the_strategy_names_in_order(
    system: ActorSystem, strategy: Any, restarted: list[str]
) -> None:
    book: list[str] = []
    house = Supervisor(system, "house", strategy=strategy)
    refs = [house.start(Service, key, book) for key in "abc"]
    for ref in refs:
        await ref.ask(1)
    book.clear()

    await boom(refs[1])

    assert book == restarted
    counts = [await ref.ask(0) for ref in refs]
    assert counts == [0 if f"+{key}" in restarted else 1 for key in "abc"]


async def test_what_waits_in_the_inbox_is_handled_after_the_restart(system: ActorSystem) -> None:
    house = Supervisor(system, "house")
    ref = house.start(Service, "a", [])
    ref.tell(1)
    ref.tell(Boom())
    waiting = ref.ask(5)

    assert await waiting == 5
    assert await ref.ask(1) == 6
    assert system.dead_letters.counts["failed", "Boom"] == 1


async def test_a_scheduled_message_of_a_sibling_survives_the_restart(system: ActorSystem) -> None:
    house = Supervisor(system, "house", strategy="one_for_all")
    first, second = house.start(Service, "a", []), house.start(Service, "b", [])
    first.tell(Boom())
    asked = second.ask(3)

    assert await asked == 3


async def test_delays_grow_to_their_limit_and_carry_jitter(
    system: ActorSystem, clock: ManualClock
) -> None:
    system.rng = random.Random(1)
    book: list[str] = []
    backoff = Backoff(first_s=1.0, delay_s_max=3.0, jitter=0.5)
    house = Supervisor(system, "house", backoff=backoff, restarts_max=9, within_s=100)
    ref = house.start(Service, "a", book)
    delays: list[float] = []
    for _ in range(4):
        await boom(ref)
        began_s = clock.monotonic_s()
        started = len(book)
        while len(book) == started:
            clock.advance(0.01)
        delays.append(clock.monotonic_s() - began_s)

    for delay_s, full_s in zip(delays, (1.0, 2.0, 3.0, 3.0), strict=True):
        assert full_s / 2 <= delay_s <= full_s + 0.03
    assert abs(delays[2] - delays[3]) > 0.02


async def test_messages_wait_during_the_delay(system: ActorSystem, clock: ManualClock) -> None:
    house = Supervisor(system, "house", backoff=Backoff(first_s=1.0))
    ref = house.start(Service, "a", [])
    await boom(ref)
    asked = ref.ask(2, timeout=10.0)
    for _ in range(5):
        await asyncio.sleep(0)

    early = asked.done()
    clock.advance(1.1)

    assert not early
    assert await asked == 2


async def test_too_many_failures_at_the_root_are_fatal_once_and_end_all_children(
    clock: ManualClock,
) -> None:
    fatal: list[BaseException] = []
    system = ActorSystem(
        loop=asyncio.get_running_loop(),
        clock=clock,
        rng=random.Random(1),
        on_fatal=fatal.append,
    )
    book: list[str] = []
    house = Supervisor(system, "house", restarts_max=2, within_s=10)
    refs = [house.start(Service, key, book) for key in "ab"]
    for _ in range(3):
        await boom(refs[0])

    assert [str(error) for error in fatal] == ["a"]
    assert [ref.is_alive() for ref in refs] == [False, False]
    assert book[-2:] == ["-b", "-a"]


async def test_failures_spread_over_time_are_no_reason_to_give_up(
    system: ActorSystem, clock: ManualClock
) -> None:
    house = Supervisor(system, "house", restarts_max=2, within_s=10)
    ref = house.start(Service, "a", [])

    for _ in range(9):
        await boom(ref)
        clock.advance(6)

    assert system.failure is None
    assert ref.is_alive()


async def test_an_escalated_failure_restarts_the_whole_branch(system: ActorSystem) -> None:
    book: list[str] = []
    root = Supervisor(system, "root", strategy="one_for_one")
    branch = Supervisor(system, "branch", restarts_max=0, parent=root)
    refs = [branch.start(Service, key, book) for key in "ab"]
    other = root.start(Service, "c", book)
    for ref in (*refs, other):
        await ref.ask(1)
    book.clear()

    await boom(refs[1])

    assert book == ["+a", "+b"]
    assert [await ref.ask(0) for ref in (*refs, other)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("directive", "alive", "count"), [("RESUME", True, 1), ("STOP", False, None)]
)
async def test_the_directive_decides(
    system: ActorSystem, directive: str, alive: object, count: int | None
) -> None:
    house = Supervisor(system, "house", decide=lambda _error: Directive[directive])
    ref = house.start(Service, "a", [])
    await ref.ask(1)

    await boom(ref)

    assert ref.is_alive() is alive
    if alive:
        assert await ref.ask(0) == count
    else:
        assert house.children == []


async def test_children_stop_in_reverse_after_what_is_in_their_inboxes(
    system: ActorSystem,
) -> None:
    book: list[str] = []
    house = Supervisor(system, "house")
    refs = [house.start(Service, key, book) for key in "abc"]
    asked = refs[0].ask(1)
    book.clear()

    await house.stop()

    assert book == ["-c", "-b", "-a"]
    assert await asked == 1


async def test_a_blocking_child_is_restarted_on_its_thread_and_keeps_its_inbox(
    system: ActorSystem,
) -> None:
    book: list[str] = []
    house = Supervisor(system, "house")
    ref = house.start(Thread, "t", book)
    assert await ref.ask(2) == 2
    ref.tell(Boom())
    waiting = ref.ask(5)

    assert await waiting == 5
    assert book == ["+t", "+t"]
    await house.stop()
    assert not ref.is_alive()
