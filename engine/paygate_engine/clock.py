"""Time and chance, handed in: what is timed asks a `Clock`, so that a test can move it.

`SystemClock` and `system_rng` are the only places that take either from the machine.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Protocol

US_PER_S = 1_000_000


class Clock(Protocol):
    """Where time comes from."""

    def now_us(self) -> int:
        """UTC, in microseconds since the epoch. It may step when the machine's clock is set."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment, never going backwards: for durations and deadlines."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now_us(self) -> int:
        """UTC, in microseconds since the epoch."""
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()  # noqa: TID251 - this class is where everybody else gets it from


def system_rng() -> random.Random:
    """The machine's randomness, good enough for ids that nobody may guess."""
    return random.SystemRandom()


def system_bytes(count: int) -> bytes:
    """That many bytes of the machine's randomness, good enough for keys and nonces."""
    return os.urandom(count)


class ManualClock:
    """A clock that stands still until a test moves it. It starts at `now_us`, 0 s monotonic.

    Whoever keeps timers (the actor system does) says so with `watch` and is called at each move.
    """

    __slots__ = ("_monotonic_us", "_now_us", "_watchers")

    def __init__(self, now_us: int = 1_767_225_600 * US_PER_S) -> None:
        self._now_us = now_us
        self._monotonic_us = 0
        self._watchers: list[Callable[[], None]] = []

    def now_us(self) -> int:
        """UTC, in microseconds since the epoch."""
        return self._now_us

    def monotonic_s(self) -> float:
        """Seconds by which the clock was moved so far."""
        return self._monotonic_us / US_PER_S

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and let the watchers fire what is due.

        Raises ValueError for a negative step: nothing in the engine has to bear that.
        """
        if seconds < 0:
            raise ValueError("a clock only goes forward")
        step_us = round(seconds * US_PER_S)
        self._now_us += step_us
        self._monotonic_us += step_us
        for watcher in self._watchers:
            watcher()

    def set(self, now_us: int) -> None:
        """Set the time of day, as people and time servers do: no time passes, and nothing fires."""
        self._now_us = now_us

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called after each move."""
        self._watchers.append(watcher)
