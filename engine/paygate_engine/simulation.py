"""A world in one thread: virtual time, processes that can be killed, a seeded order of actors.

Theory of operation. Real code runs on a `VirtualLoop`: nothing waits, time jumps to the next
timer, and where there is neither work nor timer the run ends with `Stalled`, because a reply was
lost. Everything that code does later (tasks, timers, callbacks) inherits its context, and a
`Process` is a mark in that context. So a process can be killed at any step as `kill -9` kills it:
not one more line of its code runs, no `finally`, no `except`; and it can be frozen, as a stopped
process is, to go on later with whatever it was about to do. What is outside of all processes (the
disk, the providers, the clients) lives on.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

from paygate_engine.cell import Cell
from paygate_engine.clock import US_PER_S
from paygate_engine.loop_actor import LoopActor
from paygate_engine.marks import Ask
from paygate_engine.system import ActorSystem

T = TypeVar("T")

# 2026-01-01T00:00:00Z: any fixed moment will do, as long as it is the same in every run.
EPOCH_US: Final = 1_767_225_600 * US_PER_S

# Turns of the loop. A world that ends takes some tens of thousands; one with so many goes round in
# circles, and would do so for ever.
TURNS_MAX: Final = 5_000_000

_PROCESS: ContextVar["Process | None"] = ContextVar("simulated_process", default=None)


class Stalled(RuntimeError):
    """Nobody will ever be done: somebody waits for what will not come, or all goes in circles."""


class Killed(Exception):
    """The process that was called died before it answered."""


class _NoWaiting(selectors.SelectSelector):
    """Instead of waiting for sockets it moves the loop's time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.turns += 1
        if self.turns > TURNS_MAX:
            raise Stalled(f"after {TURNS_MAX:,} turns of the loop there is still something to do")
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set: a reply was lost")
        if timeout > 0:
            self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time. Threads and executors are refused."""

    def __init__(self) -> None:
        self._no_waiting = _NoWaiting()
        super().__init__(self._no_waiting)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._no_waiting.now_s

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Like asyncio's; of a dead process nothing is called any more."""
        process = _process_of(context)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        if process.dead:
            return _nothing(self)
        step = _Step(context or copy_context(), callback, args)
        step.handle = super().call_soon(process.guard, step, context=step.context)
        return step.handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Like asyncio's; of a dead process nothing is called any more."""
        process = _process_of(context)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(context or copy_context(), callback, args)
        timer = super().call_at(when, process.guard, step, context=step.context)
        step.handle = timer
        return timer

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        """Like asyncio's; the process that makes it owns it."""
        task = super().create_task(coro, **options)
        process = _process_of(options.get("context"))
        if process is not None:
            process.own(task)
        return task

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        # Asyncio would close a forgotten generator by a task, whenever the collector comes by: a
        # step that no seed decides.
        del agen

    def call_soon_threadsafe(self, *_args: Any, **_options: Any) -> asyncio.Handle:
        """Refused."""
        raise RuntimeError("there are no threads in a simulation")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Refused."""
        raise RuntimeError("there are no threads in a simulation")


class _Step:
    """Something that a process is about to do."""

    __slots__ = ("args", "callback", "context", "handle")

    handle: asyncio.Handle

    def __init__(
        self, context: Context, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self.context = context
        self.callback = callback
        self.args = args


class Process:
    """Something that runs on the loop until it is killed. Made and driven from outside of it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.dead = False
        self.thawed_s: float | None = None
        """When it last went on after it was frozen, in virtual seconds."""
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._loop = loop
        self._outside = copy_context()
        self._inside = copy_context()
        self._inside.run(_PROCESS.set, self)
        self._callers: dict[asyncio.Future[Any], None] = {}
        self._held: list[_Step] | None = None

    async def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `work()` inside, and give its result outside. Raises `Killed`, or what it raises.

        A caller that is cancelled meanwhile does not end the work: it has only hung up.
        """
        if self.dead:
            raise Killed
        answer: asyncio.Future[T] = self._loop.create_future()
        task = self._inside.run(self._loop.create_task, work())
        task.add_done_callback(lambda done: _pass_on(done, answer), context=self._outside)
        self._callers[answer] = None
        try:
            return await answer
        finally:
            del self._callers[answer]

    def kill(self) -> None:
        """End it now, in the middle of whatever it does; whoever waits for it hears `Killed`."""
        if self.dead:
            return
        self.dead = True
        self._held = None
        for caller in self._callers:
            if not caller.done():
                caller.set_exception(Killed())

    def freeze(self, seconds: float) -> None:
        """Let nothing of it run for a while; what becomes due meanwhile is done afterwards."""
        if self._held is None and not self.dead:
            self._held = []
            self._loop.call_later(seconds, self._thaw, context=self._outside)

    def own(self, task: "asyncio.Task[Any]") -> None:
        """Keep the task of this process until it is done."""
        self.tasks[task] = None
        task.add_done_callback(self._disown)

    def bury(self) -> None:
        """Give back what a dead process leaves in the interpreter. Call it outside of the loop."""
        closed: set[asyncio.Task[Any]] = set()
        while left := [task for task in self.tasks if not task.done() and task not in closed]:
            closed.update(left)
            for task in left:
                # Its `finally` blocks run now; nothing that they do reaches anybody, and what they
                # start is closed in its turn, before it was ever begun.
                self._inside.copy().run(_close, task.get_coro())

    def guard(self, step: _Step) -> None:
        """Take a step unless the process is dead; later, where it is frozen."""
        if self.dead:
            return
        if self._held is not None:
            self._held.append(step)
            return
        step.callback(*step.args)

    def _disown(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.pop(task, None)

    def _thaw(self) -> None:
        self.thawed_s = self._loop.time()
        held, self._held = self._held, None
        for step in held or ():
            # What was due first, when it goes on, may take back what was due after it.
            self._loop.call_soon(self._take, step, context=step.context)

    def _take(self, step: _Step) -> None:
        if not step.handle.cancelled():
            step.callback(*step.args)


def running() -> "Process | None":
    """The process whose code runs just now; None outside of all."""
    return _PROCESS.get()


class SimulatedClock:
    """The loop's virtual time as a clock, whose wall time may be set wrong by `offset_us`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.offset_us = 0

    def now_us(self) -> int:
        """UTC, in microseconds since the epoch."""
        return EPOCH_US + round(self._loop.time() * US_PER_S) + self.offset_us

    def monotonic_s(self) -> float:
        """Virtual seconds."""
        return self._loop.time()


class SimulatedSystem(ActorSystem):
    """One message of one ready actor per turn, picked by `order`; `watch(key, message)` sees it.

    The order of messages of one actor is kept, so every history that it makes is a legal one.
    """

    def __init__(
        self, *, order: random.Random, watch: Callable[[str, Any], None], **options: Any
    ) -> None:
        super().__init__(**options)
        self._order = order
        self._watch = watch

    def turn(self) -> None:
        """Handle one message, and come back as long as there are more."""
        self.step()
        if self.ready:
            self.loop.call_soon(self.turn)
        else:
            self.armed = False

    def pick(self) -> Cell:
        """Take any of the ready actors."""
        ready = self.ready
        if len(ready) > 1:
            ready.rotate(-self._order.randrange(len(ready)))
        cell = ready.popleft()
        message = cell.box_message
        self._watch(cell.key, message.message if type(message) is Ask else message)
        return cell

    def abandon(self) -> None:
        """Let go of what Pykka's registry holds of a system whose process was killed."""
        for cell in list(self.cells.values()):
            if isinstance(cell, LoopActor):
                cell.box_end()


def _process_of(context: Context | None) -> Process | None:
    return _PROCESS.get() if context is None else context.get(_PROCESS)


def _nothing(loop: asyncio.AbstractEventLoop) -> asyncio.Handle:
    handle = asyncio.Handle(_nothing, (), loop)
    handle.cancel()
    return handle


def _pass_on(done: "asyncio.Task[T]", answer: "asyncio.Future[T]") -> None:
    error = None if done.cancelled() else done.exception()
    if answer.done():
        return
    if done.cancelled():
        answer.set_exception(Killed())
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


def _close(coro: Any) -> None:
    try:
        coro.close()
    except RuntimeError:
        return  # it awaits something in a `finally`: let the interpreter forget it
