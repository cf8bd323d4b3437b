"""What the engine costs, beside a fixed yardstick loop and a bare deque actor of the same run.

Times vary with the machine and with what runs beside; the ratios hardly do. `main` prints the
table at full size; the tests run tiny sizes and assert ratios and counts, never times.

A figure is the best of several rounds: noise only ever adds.
"""

import asyncio
import gc
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from paygate_engine.actor import LightActor, handles
from paygate_engine.clock import SystemClock
from paygate_engine.entity import Entity, Outcome
from paygate_engine.region import Region
from paygate_engine.stores.base import Event, Unit
from paygate_engine.system import ActorSystem

ROUNDS = 5
# A message of the engine may cost this many yardsticks (measured: 7); the slack is for noise.
TELL_YARDSTICKS_MAX = 20.0
STOP_GROWTH_MAX = 3.0
IDLE_BYTES_MAX = 1_024


class Sizes(NamedTuple):
    """How much is done: messages, actors alive, lives lived."""

    messages: int
    actors: int
    few: int
    lives: int


FULL = Sizes(messages=500_000, actors=100_000, few=1_000, lives=50_000)
TINY = Sizes(messages=20_000, actors=4_000, few=400, lives=500)


class Counter(LightActor):
    """Counts."""

    __slots__ = ("count",)

    def __init__(self, system: ActorSystem, key: str, parent: Any = None) -> None:
        super().__init__(system, key, parent)
        self.count = 0

    @handles(int)
    def on_int(self, number: int) -> int:
        """Count."""
        self.count += number
        return self.count


class Bare:
    """The least that can be called an actor on a loop: a deque, and `call_soon` when it wakes."""

    __slots__ = ("count", "loop", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: deque[int] = deque()
        self.count = 0

    def tell(self, number: int) -> None:
        """Put a number in; wake up if need be."""
        if not self.queue:
            self.loop.call_soon(self.run)
        self.queue.append(number)

    def run(self) -> None:
        """Add all numbers up."""
        while self.queue:
            self.count += self.queue.popleft()


class Payment(Entity):
    """An entity with the fields of a payment, each with a value of its own."""

    __slots__ = (
        "account",
        "amount_minor",
        "attempt",
        "captured_minor",
        "created_us",
        "currency",
        "merchant",
        "method",
        "provider",
        "provider_txn_id",
        "refunded_minor",
        "status",
        "txn_id",
        "updated_us",
    )

    def __init__(self, system: ActorSystem, key: str) -> None:
        super().__init__(system, key)
        self.txn_id = "txn_" + key
        self.merchant = "merchant_a"
        self.account = "acct_" + key[-12:]
        self.method = "tok_" + key[-20:]
        self.provider = "sandbox"
        self.provider_txn_id = "ch_" + key[-24:]
        self.status = "processing"
        self.currency = "EUR"
        self.amount_minor = 10_000 + len(system)
        self.captured_minor = 0
        self.refunded_minor = 0
        self.attempt = 1
        self.created_us = system.clock.now_us()
        self.updated_us = self.created_us

    def forget(self) -> None:
        """Drop what events made."""
        self.captured_minor = 0

    def replay(self, event: Event) -> None:
        """Fold a capture in."""
        self.captured_minor += int(event.body)

    def may_sleep(self) -> bool:
        """Whether it is final."""
        return self.status == "success"

    @handles(int)
    def capture(self, minor: int) -> None:
        """Record a capture, then answer."""
        event = Event(
            stream=self.key, seq=self.seq + 1, at_us=0, kind="captured", body=b"%d" % minor
        )
        asker = self.asker()

        def then() -> None:
            self.replay(event)
            self.status = "success"
            if asker is not None:
                asker.set(self.captured_minor)

        self.persist(Unit(events=(event,)), then)


class Nowhere:
    """A journal that commits at once and keeps nothing: the engine alone is measured."""

    def append(self, unit: Unit, done: Callable[[Outcome], None]) -> None:
        """Commit at once."""
        asyncio.get_running_loop().call_soon(done, None)

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Nothing was kept."""
        return []


def yardstick_ns() -> float:
    """Nanoseconds of one round of a fixed loop: a call, an append, a popleft."""

    def work(queue: deque[int]) -> int:
        queue.append(1)
        return queue.popleft()

    queue: deque[int] = deque()
    rounds = 200_000
    return best(lambda: repeat(work, queue, rounds)) / rounds * 1e9


def repeat(work: Callable[[Any], Any], arg: Any, times: int) -> None:
    for _ in range(times):
        work(arg)


def best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest of `ROUNDS` rounds."""
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


async def best_async(work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """The same, for a coroutine."""
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        took.append(time.perf_counter() - began)
    return min(took)


def make_system() -> ActorSystem:
    return ActorSystem(loop=asyncio.get_running_loop(), clock=SystemClock(), rng=random.Random(1))


async def tell_ns(messages: int, *, targets: int) -> float:
    """Nanoseconds a message, sent and handled, to `targets` actors in turn."""
    system = make_system()
    refs = [Counter.start(system, f"c{number}") for number in range(targets)]
    burst = refs if targets > 1 else refs * 500
    waves = max(1, messages // len(burst))

    async def work() -> None:
        for _ in range(waves):
            for ref in burst:
                ref.tell(1)
            while system.ready:  # noqa: ASYNC110 - an event would be measured as well
                await asyncio.sleep(0)

    took_s = await best_async(work)
    handled = system.stats.handled
    await system.stop_all()
    assert handled == waves * len(burst) * ROUNDS
    return took_s / (waves * len(burst)) * 1e9


async def bare_tell_ns(messages: int, *, targets: int) -> float:
    """The same for the bare deque actor."""
    loop = asyncio.get_running_loop()
    actors = [Bare(loop) for _ in range(targets)]
    burst = actors if targets > 1 else actors * 500
    waves = max(1, messages // len(burst))

    async def work() -> None:
        for _ in range(waves):
            for actor in burst:
                actor.tell(1)
            await asyncio.sleep(0)

    return await best_async(work) / (waves * len(burst)) * 1e9


async def ask_ns(messages: int, *, together: int) -> float:
    """Nanoseconds an ask with a deadline, `together` of them in flight."""
    system = make_system()
    ref = Counter.start(system, "c")
    waves = max(1, messages // together)

    async def work() -> None:
        for _ in range(waves):
            for future in [ref.ask(1, timeout=5.0) for _ in range(together)]:
                await future

    took_s = await best_async(work)
    await system.stop_all()
    return took_s / (waves * together) * 1e9


class Spawned(NamedTuple):
    """Of `actors` payments: microseconds to spawn one, resident bytes each, to stop one."""

    spawn_us: float
    idle_bytes: float
    stop_us: float


async def spawn(actors: int, *, stops: int) -> Spawned:
    """Spawn `actors` payments, weigh them, stop `stops` of them in random order."""
    system = make_system()
    region: Region[Payment] = Region(system, Nowhere(), lambda key: Payment(system, key))
    ids = [system.ids.new("pay") for _ in range(actors)]
    gc.collect()
    gc.freeze()
    before = resident_bytes()
    began = time.perf_counter()
    for each in ids:
        region.create(each)
    spawned_s = time.perf_counter() - began
    grown = resident_bytes() - before
    gc.unfreeze()
    random.Random(1).shuffle(ids)
    cells = [system.cells[each] for each in ids[:stops]]
    began = time.perf_counter()
    for cell in cells:
        cell.box_stop()
    stopped_s = time.perf_counter() - began
    assert len(region) == actors - stops
    cells.clear()
    system.cells.clear()
    return Spawned(spawned_s / actors * 1e6, grown / actors, stopped_s / stops * 1e6)


async def stop_growth(sizes: Sizes) -> tuple[float, float]:
    """Microseconds of a stop with many alive and with few; the best of several rounds each."""
    many = few = float("inf")
    for _ in range(3):
        many = min(many, (await spawn(sizes.actors, stops=sizes.few // 2)).stop_us)
        for _ in range(5):
            few = min(few, (await spawn(sizes.few, stops=sizes.few // 2)).stop_us)
    return many, few


async def cyclic_garbage(lives: int) -> tuple[int, float]:
    """Objects in cycles after so many whole lives (created, asked, recorded, asleep); us a life."""
    system = make_system()
    region: Region[Payment] = Region(
        system, Nowhere(), lambda key: Payment(system, key), linger_max=0
    )
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        for _ in range(lives // 50):
            keys = [system.ids.new("pay") for _ in range(50)]
            for key in keys:
                region.create(key)
            asks = [region.ask(key, 5, timeout=5.0) for key in keys]
            assert [await ask for ask in asks] == [5] * 50
        took_s = time.perf_counter() - began
        found = gc.collect()
    finally:
        gc.enable()
    assert len(region) == 0
    await system.stop_all()
    return found, took_s / lives * 1e6


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(sizes: Sizes) -> list[tuple[str, str, str, str]]:
    """All figures as rows of the table: what, figure, ratio, goal."""
    # First, while the heap is still small: freed memory would be reused and weigh nothing.
    spawned = await spawn(sizes.actors, stops=sizes.few)
    stick = yardstick_ns()
    one, spread = [await tell_ns(sizes.messages, targets=n) for n in (1, 1_000)]
    bare_one, bare_spread = [await bare_tell_ns(sizes.messages, targets=n) for n in (1, 1_000)]
    ask_one = await ask_ns(sizes.messages // 20, together=1)
    ask_many = await ask_ns(sizes.messages // 5, together=1_000)
    many, few = await stop_growth(sizes)
    found, life_us = await cyclic_garbage(sizes.lives)

    def row(what: str, ns: float, bare: float | None, goal: str) -> tuple[str, str, str, str]:
        beside = f"{ns / stick:5.1f} yardsticks"
        if bare is not None:
            beside += f", {ns / bare:4.2f} x bare"
        return what, f"{1e9 / ns:>11,.0f} /s", beside, goal

    return [
        ("yardstick", f"{stick:>11.1f} ns", "", ""),
        row("tell, one target", one, bare_one, ">= 500,000 /s"),
        row("tell, 1,000 targets", spread, bare_spread, ">= 500,000 /s"),
        row("ask, one at a time", ask_one, None, ""),
        row("ask, 1,000 in flight", ask_many, None, ""),
        ("spawn a payment", f"{spawned.spawn_us:>11.2f} us", "", "< 5 us"),
        (f"idle of {sizes.actors:,}", f"{spawned.idle_bytes:>11,.0f} bytes", "", "<= 1,024 bytes"),
        (f"stop of {sizes.actors:,}", f"{many:>11.2f} us", f"{many / few:5.2f} x few", "<= 3 x"),
        (f"{sizes.lives:,} lives", f"{life_us:>11.1f} us each", f"{found:>5} in cycles", "0"),
    ]


def main() -> None:
    """Print the table at full size."""
    rows = asyncio.run(measure(FULL))
    print(f"engine, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs")
    for what, figure, beside, goal in rows:
        print(f"  {what:<24}{figure:<22}{beside:<34}{goal}")


async def test_a_message_costs_a_bounded_number_of_yardsticks() -> None:
    stick = yardstick_ns()

    one = await tell_ns(TINY.messages, targets=1)
    spread = await tell_ns(TINY.messages, targets=1_000)

    assert one / stick < TELL_YARDSTICKS_MAX
    assert spread / stick < TELL_YARDSTICKS_MAX


async def test_an_idle_payment_weighs_less_than_a_kilobyte() -> None:
    spawned = await spawn(FULL.actors // 2, stops=10)

    assert spawned.idle_bytes <= IDLE_BYTES_MAX


async def test_a_stop_does_not_grow_with_the_number_alive() -> None:
    many, few = await stop_growth(TINY)

    assert many / few < STOP_GROWTH_MAX


async def test_a_life_leaves_nothing_in_cycles() -> None:
    found, _ = await cyclic_garbage(TINY.lives)

    assert found == 0


if __name__ == "__main__":
    main()
