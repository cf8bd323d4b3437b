"""The reply to an ask: a `pykka.Future` that the loop can await and other threads can wait for.

It is completed on the loop's thread only. A second completion (the answer to an ask that has
expired) raises nothing into the replier; it is counted as the dead letter `late_reply`.
"""

import asyncio
import functools
import sys
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pykka

from paygate_engine.errors import AskTimeout

if TYPE_CHECKING:
    from paygate_engine.system import ActorSystem
    from paygate_engine.timers import Bucket

T = TypeVar("T")
M = TypeVar("M")
ExcInfo = tuple[Any, BaseException | None, Any]

_PENDING: Final = 0
_VALUE: Final = 1
_ERROR: Final = 2


class LoopFuture(pykka.Future[T]):
    """A value or an exception that comes later. Await it on the loop, `get` it elsewhere.

    Pykka's own constructor is not called: it would add a dictionary to each ask.
    """

    __slots__ = ("_bucket", "_event", "_place", "_state", "_system", "_value", "_waiters")

    _system: "ActorSystem | None"
    _bucket: "Bucket | None"

    def __init__(self, system: "ActorSystem | None" = None) -> None:
        self._system = system
        self._state = _PENDING
        self._value: Any = None
        self._waiters: list[Callable[[LoopFuture[T]], object]] | None = None
        self._event: threading.Event | None = None
        self._bucket = None
        self._place = 0

    def __repr__(self) -> str:
        return f"<LoopFuture {('pending', 'done', 'failed')[self._state]}>"

    def done(self) -> bool:
        """Whether there is a value or an exception."""
        return self._state != _PENDING

    def exception(self) -> BaseException | None:
        """The exception, or None while there is none."""
        return self._value if self._state == _ERROR else None

    def set(self, value: T | None = None) -> None:
        """Complete it with a value, on the loop's thread."""
        self._finish(_VALUE, value)

    def set_exception(self, exc_info: ExcInfo | BaseException | None = None) -> None:
        """Complete it with an exception: one, Pykka's triple, or the one being handled."""
        error = exc_info if isinstance(exc_info, BaseException) else (exc_info or sys.exc_info())[1]
        self._finish(_ERROR, error)

    def get(self, *, timeout: float | None = None) -> T:
        """The value, waited for at most `timeout` seconds (None: for ever) off the loop's thread.

        Raises the exception that it was completed with, `pykka.Timeout`, or RuntimeError where
        waiting would block the loop that is to bring the value.
        """
        if self._state == _PENDING:
            self._block(timeout)
        if self._state != _ERROR:
            return self._value
        error: BaseException = self._value
        try:
            raise error
        finally:
            # The error's frames lead here: this one must not lead back to the error.
            del self, error

    def __await__(self) -> Generator[Any, None, T]:
        if self._state == _PENDING:
            waiter = asyncio.get_running_loop().create_future()
            self.add_done_callback(functools.partial(_wake, waiter))
            yield from waiter
        if self._state != _ERROR:
            return self._value
        error: BaseException = self._value
        try:
            raise error
        finally:
            # The error's frames lead here: this one must not lead back to the error.
            del self, error

    __iter__ = __await__

    def add_done_callback(self, fn: Callable[["LoopFuture[T]"], object]) -> None:
        """Call `fn(self)` on completion, inside `set`; at once if it is done. On the loop only."""
        if self._system is not None:
            self._system.check_thread()
        if self._state != _PENDING:
            fn(self)
        elif self._waiters is None:
            self._waiters = [fn]
        else:
            self._waiters.append(fn)

    def expire_at(self, bucket: "Bucket") -> None:
        """The last two places of `bucket` are this ask's deadline; they are blanked when done."""
        self._bucket = bucket
        self._place = len(bucket) - 2

    def expire(self) -> None:
        """Its deadline has come: fail with `AskTimeout` unless it is done."""
        if self._state == _PENDING:
            self._finish(_ERROR, AskTimeout("no answer within the deadline"))

    def map(self, func: Callable[[T], M]) -> "LoopFuture[M]":
        """A future of `func(value)`; it fails as this one does, or with what `func` raises."""
        mapped: LoopFuture[M] = LoopFuture(self._system)

        def pass_on(done: LoopFuture[T]) -> None:
            try:
                mapped.set(func(done.get()))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the future's now
                mapped.set_exception(error)

        self.add_done_callback(pass_on)
        return mapped

    def filter(self: "LoopFuture[Any]", func: Callable[[Any], bool]) -> "LoopFuture[Any]":
        """A future of the list of those elements that `func` says yes to."""
        return self.map(lambda values: [value for value in values if func(value)])

    def reduce(
        self: "LoopFuture[Any]", func: Callable[[Any, Any], Any], *args: Any
    ) -> "LoopFuture[Any]":
        """A future of the elements folded by `func`, from `args[0]` on where it is given."""
        return self.map(lambda values: functools.reduce(func, values, *args))

    def join(self, *futures: pykka.Future[Any]) -> "LoopFuture[Any]":
        """A future of the list of the values of this one and `futures`; the first error wins."""
        parts = (self, *cast("tuple[LoopFuture[Any], ...]", futures))
        joined: LoopFuture[Any] = LoopFuture(self._system)
        missing = len(parts)

        def count(done: LoopFuture[Any]) -> None:
            nonlocal missing
            missing -= 1
            error = done.exception()
            if joined.done():
                return
            if error is not None:
                joined.set_exception(error)
            elif not missing:
                joined.set([part.get() for part in parts])

        for part in parts:
            part.add_done_callback(count)
        return joined

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Refused: a hook computes while it blocks the caller. Use `map`."""
        raise NotImplementedError("a LoopFuture takes no get hook; use map()")

    def _finish(self, state: int, value: Any) -> None:
        if self._state != _PENDING:
            if self._system is not None:
                self._system.dead_letters.put("late_reply", "", value)
            return
        self._value = value
        self._state = state
        bucket = self._bucket
        if bucket is not None:
            bucket[self._place] = bucket[self._place + 1] = None
            self._bucket = None
        waiters = self._waiters
        if waiters is not None:
            self._waiters = None
            for waiter in waiters:
                waiter(self)
        if self._event is not None:
            self._event.set()

    def _block(self, timeout: float | None) -> None:
        system = self._system
        if system is not None and threading.get_ident() == system.thread_id:
            raise RuntimeError("get() on the loop's thread would wait for ever; await it")
        event = self._event
        if event is None:
            self._event = event = threading.Event()
        # The state is looked at again after the event is in place: the loop sets the state first
        # and looks for an event afterwards, so that one of the two sees the other.
        if self._state == _PENDING and not event.wait(timeout):
            raise pykka.Timeout(f"{timeout} seconds")


def _wake(waiter: "asyncio.Future[None]", _done: object) -> None:
    if not waiter.done():
        waiter.set_result(None)
