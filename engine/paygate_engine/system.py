"""The actor system: run queue, directory, timers, injected time and randomness, fail-stop.

There are no globals: two systems in one process know nothing of each other. A system belongs to
one asyncio loop and to the thread that made it; only `tell_from_thread` and
`call_from_thread` may be called from others.

A simulator subclasses it: `turn` (what the loop calls while an actor is ready) and `pick` (which
ready actor is next) are the seams; `step` handles one message.
"""

import asyncio
import logging
import math
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import pykka

from paygate_engine.cell import Cell
from paygate_engine.clock import Clock, ManualClock, SystemClock, system_rng
from paygate_engine.cluster_clock import ClusterClock
from paygate_engine.dead_letters import DeadLetters
from paygate_engine.future import LoopFuture
from paygate_engine.ids import Ids
from paygate_engine.ref import LightRef
from paygate_engine.stats import Stats
from paygate_engine.timers import Timer, Wheel

# Messages handled of one actor before the next one's turn: fair, and cheap enough.
THROUGHPUT: Final = 8
# Then the loop polls its sockets; a ping past a flood of 500,000 messages took 3.5 ms at most.
SLICE_S: Final = 0.001
# Actors between two looks at the clock.
_LOOK_EVERY: Final = 8
# Timers that wait longer than this share the second in which they fire: those of a day are in tens
# of thousands of the wheel's buckets then, not in millions.
LONG_S: Final = 3_600.0
# How long `stop_all` waits for what an actor still has in its inbox.
STOP_TIMEOUT_S: Final = 5.0

_logger = logging.getLogger(__name__)


class ActorSystem:
    """Runs light actors on one loop. `on_fatal` is called once by the first `fail`.

    By default the running loop, the machine's clocks and its randomness; a simulator or a test
    brings its own.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        throughput: int = THROUGHPUT,
        slice_s: float = SLICE_S,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.clock = clock = clock or SystemClock()
        self.rng = rng = rng or system_rng()
        self.ids = Ids(clock, rng)
        self.dead_letters = DeadLetters(clock)
        self.stats = Stats()
        self.thread_id = threading.get_ident()
        self.ready: deque[Cell] = deque()
        self.armed = False
        self.cells: dict[str, Cell] = {}
        self.failure: BaseException | None = None
        self.interrupt: BaseException | None = None
        self.stop_waiters: dict[Cell, list[threading.Event]] = {}
        self._throughput = throughput
        self._slice_s = slice_s
        self._on_fatal = on_fatal
        self._wheel = Wheel()
        self._timer: asyncio.TimerHandle | None = None
        self._ticking = False
        self._timer_due_s = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._injected: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._inject_armed = False
        # See `oldest_wait_s`: everything still in the queue came after `_head_since_s`.
        self._head_since_s = 0.0
        self._mark_s = 0.0
        self._mark_left = 0
        self._stopped = False
        beneath = clock.beneath if isinstance(clock, ClusterClock) else clock
        self._by_hand = isinstance(beneath, ManualClock)
        if isinstance(beneath, ManualClock):
            beneath.watch(self.tick)

    # ------------------------------------------------------------------ directory

    def get(self, key: str) -> LightRef[Any] | None:
        """The live actor of that key, or None."""
        cell = self.cells.get(key)
        return None if cell is None else cell.actor_ref

    def __len__(self) -> int:
        """How many light actors live."""
        return len(self.cells)

    # ------------------------------------------------------------------ timers

    def after(self, delay_s: float, fn: Callable[[Any], object], arg: Any) -> None:
        """Call `fn(arg)` on the loop in `delay_s` seconds; it cannot be cancelled (`remind` can).

        Never early, late by a hundredth of a second plus what is in the way; by a second where it
        waits for more than `LONG_S`.
        """
        self._wheel.add(self._due_s(delay_s), fn, arg)
        self._arm_timer()

    def remind(self, delay_s: float, fn: Callable[[Any], object], arg: Any) -> Timer:
        """As `after`, for who may want to take it back."""
        timer = Timer(self._wheel.add(self._due_s(delay_s), fn, arg))
        self._arm_timer()
        return timer

    def expire_after(self, future: LoopFuture[Any], timeout_s: float) -> None:
        """Fail an ask's future with `AskTimeout` unless it is done in time."""
        due_s = self.clock.monotonic_s() + timeout_s
        future.expire_at(self._wheel.add(due_s, _expire, future))
        self._arm_timer()

    def tick(self) -> None:
        """Fire what is due: called by the loop's timer, and by a clock that is moved by hand."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stopped:
            return
        # What fires sets timers of its own: the loop's is set once, when all have done so.
        self._ticking = True
        try:
            more = self._wheel.fire(self.clock.monotonic_s())
        finally:
            self._ticking = False
        if more:
            self.loop.call_soon(self.tick)
        else:
            self._arm_timer()

    def _due_s(self, delay_s: float) -> float:
        due_s = self.clock.monotonic_s() + delay_s
        return due_s if delay_s <= LONG_S else math.ceil(due_s)

    def _arm_timer(self) -> None:
        if self._by_hand or self._stopped or self._ticking:
            return
        due_s = self._wheel.next_due_s()
        if due_s is None:
            return
        if self._timer is not None:
            if self._timer_due_s <= due_s:
                return
            self._timer.cancel()
        self._timer_due_s = due_s
        delay_s = max(0.0, due_s - self.clock.monotonic_s())
        self._timer = self.loop.call_later(delay_s, self.tick)

    # ------------------------------------------------------------------ running

    def arm(self) -> None:
        """See to it that `turn` runs: called by whoever made the first actor ready."""
        self.armed = True
        self._head_since_s = self._mark_s = self.clock.monotonic_s()
        self._mark_left = 0
        self.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Handle messages of ready actors until none is left or the slice is over."""
        ready = self.ready
        pop, push = ready.popleft, ready.append
        throughput = self._throughput
        clock = self.clock.monotonic_s
        started_s = clock()
        end_s = started_s + self._slice_s
        handled = taken = 0
        try:
            while ready:
                cell = pop()
                taken += 1
                handled += 1
                count = 1
                while cell.box_deliver():
                    if count == throughput:
                        push(cell)
                        break
                    count += 1
                    handled += 1
                if self.interrupt is not None:
                    self._raise_interrupt()
                if not taken % _LOOK_EVERY and clock() > end_s:
                    break
        finally:
            self._turn_ended(started_s, taken, handled)

    def _turn_ended(self, started_s: float, taken: int, handled: int) -> None:
        now_s = self.clock.monotonic_s()
        stats = self.stats
        stats.turns += 1
        stats.handled += handled
        stats.busy_s += now_s - started_s
        if not self.ready:
            self.armed = False
            return
        self._mark_left -= taken
        if self._mark_left <= 0:
            self._head_since_s = self._mark_s
            self._mark_s = now_s
            self._mark_left = len(self.ready)
        self.loop.call_soon(self.turn)

    def pick(self) -> Cell:
        """Take the next ready actor out of the queue. Only `step` asks; never when it is empty."""
        return self.ready.popleft()

    def step(self) -> bool:
        """Handle one message of one ready actor; False when none is ready."""
        if not self.ready:
            return False
        cell = self.pick()
        self.stats.handled += 1
        if cell.box_deliver():
            self.ready.append(cell)
        if self.interrupt is not None:
            self._raise_interrupt()
        return True

    def _raise_interrupt(self) -> None:
        error, self.interrupt = self.interrupt, None
        if error is not None:
            raise error

    def oldest_wait_s(self) -> float:
        """How long the actor at the head of the run queue has waited; 0 when nobody waits.

        No message is stamped: the length of the queue is noted now and then, and when that many
        were taken, the rest is known to be younger than the note. So the figure is never less
        than the truth, and at most about twice as much.
        """
        return max(0.0, self.clock.monotonic_s() - self._head_since_s) if self.ready else 0.0

    # ------------------------------------------------------------------ threads and tasks

    def check_thread(self) -> None:
        """Raise RuntimeError off the loop's thread."""
        if threading.get_ident() != self.thread_id:
            raise RuntimeError("call this on the loop's thread")

    def call_from_thread(self, fn: Callable[..., object], *args: Any) -> None:
        """Call `fn(*args)` on the loop soon, in order; one wake-up serves a whole burst.

        Raises `pykka.ActorDeadError` when the loop is closed.
        """
        self._injected.append((fn, args))
        if self._inject_armed:
            return
        self._inject_armed = True
        try:
            self.loop.call_soon_threadsafe(self._take_injected)
        except RuntimeError as error:
            raise pykka.ActorDeadError("the loop is closed") from error

    def tell_from_thread(self, cell: Cell, message: Any) -> None:
        """Put a message into an inbox from another thread.

        The sender cannot be told that the inbox is full or the actor dead: that becomes a dead
        letter, or the failure of the ask.
        """
        self.call_from_thread(_put_or_drop, cell, message)

    def _take_injected(self) -> None:
        # The flag goes down first: whoever appends after the last look wakes the loop again.
        self._inject_armed = False
        injected = self._injected
        self.stats.injected += len(injected)
        while injected:
            fn, args = injected.popleft()
            try:
                fn(*args)
            except Exception:
                _logger.exception("a call from another thread failed")

    def spawn_task(self, coro: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a coroutine beside the actors; a task that ends in an exception is logged."""
        task = self.loop.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        if self._stopped:
            # What was cut off has said so to an entity; that is read back no more.
            task.cancel()
        return task

    def _task_ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.stats.tasks_failed += 1
            _logger.error("a task failed", exc_info=error)

    # ------------------------------------------------------------------ ends

    def fail(self, error: BaseException) -> None:
        """Fail-stop: what went wrong leaves nothing to rely on. `on_fatal` hears it once."""
        if self.failure is not None:
            return
        self.failure = error
        _logger.critical("the actor system failed", exc_info=error)
        if self._on_fatal is not None:
            self._on_fatal(error)

    async def stop_all(
        self,
        *,
        timeout_s: float = STOP_TIMEOUT_S,
        last: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Stop every light actor, the youngest first, each after what is in its inbox.

        Whoever is not done within `timeout_s` in all is ended as it stands. Then `last` is
        awaited: what the actors left behind must come to its end by itself (a journal). Then all
        tasks are cancelled. Timers fire no more.
        """
        end_s = self.loop.time() + timeout_s
        for cell in reversed(list(self.cells.values())):
            if cell.box_idle():
                cell.box_stop()
            elif cell.alive:
                left_s = end_s - self.loop.time()
                await _stop_within(cell, left_s)
        if last is not None:
            await last()
        # Timers that are still set would wake entities of a system that has none any more.
        self._stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _stop_within(cell: Cell, left_s: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, left_s)):
            await cell.actor_ref.stop()
    except TimeoutError:
        cell.box_end()


def _expire(future: LoopFuture[Any]) -> None:
    future.expire()


def _put_or_drop(cell: Cell, message: Any) -> None:
    try:
        cell.box_put(message)
    except Exception:  # noqa: BLE001 - counted as a dead letter by box_put; nobody to raise it to
        return
