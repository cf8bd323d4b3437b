"""The timer wheel: coarse, cheap timers by the hundred thousand, fired a bounded number at a time.

A timer costs two places in a list (a `loop.call_later` costs 240 bytes and ten times the time).
The owner looks, when its timer fires, whether it still matters. An ask that was answered blanks its
own place, so that the wheel does not keep the reply alive; and a `Timer` can be taken back, so that
nobody who sleeps by then is woken for nothing.
"""

import heapq
import logging
from collections.abc import Callable
from typing import Any, Final

# Deadlines of asks and payments are seconds long; a hundredth of that is exact enough.
RESOLUTION_S: Final = 0.01
# Firing costs about a microsecond each: a thousand keep one turn near a millisecond.
FIRED_PER_TICK_MAX: Final = 1_000

_logger = logging.getLogger(__name__)

Bucket = list[Any]


class Timer:
    """The last two places of `bucket`, as `Wheel.add` gave it: a timer that can be taken back."""

    __slots__ = ("_bucket", "_place")

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._place = len(bucket) - 2

    def cancel(self) -> None:
        """Let it not fire; nothing happens where it has."""
        self._bucket[self._place] = self._bucket[self._place + 1] = None


class Wheel:
    """Timers in buckets of `RESOLUTION_S`; never early, late by one bucket plus the queue."""

    __slots__ = ("_buckets", "_due", "_firing", "_place")

    def __init__(self) -> None:
        self._buckets: dict[int, Bucket] = {}
        self._due: list[int] = []
        self._firing: Bucket = []
        self._place = 0

    def add(self, when_s: float, fn: Callable[[Any], object], arg: Any) -> Bucket:
        """Call `fn(arg)` once the clock says `when_s`. The last two places of the reply are it."""
        tick = int(when_s / RESOLUTION_S) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = bucket = []
            heapq.heappush(self._due, tick)
        bucket.append(fn)
        bucket.append(arg)
        return bucket

    def next_due_s(self) -> float | None:
        """When the next timers fire, in the clock's seconds; None for an empty wheel."""
        if self._firing:
            return 0.0
        return self._due[0] * RESOLUTION_S if self._due else None

    def fire(self, now_s: float, *, fired_max: int = FIRED_PER_TICK_MAX) -> bool:
        """Fire what is due, at most `fired_max`; True when more is due already.

        A timer that raises is logged; the others fire all the same.
        """
        for _ in range(fired_max):
            if self._place >= len(self._firing) and not self._next_bucket(now_s):
                return False
            place = self._place
            self._place = place + 2
            fn, arg = self._firing[place], self._firing[place + 1]
            if fn is None:
                continue
            try:
                fn(arg)
            except Exception:
                _logger.exception("a timer failed")
        return self._place < len(self._firing) or self._next_bucket(now_s)

    def __len__(self) -> int:
        """How many timers wait, answered asks included."""
        waiting = sum(len(bucket) for bucket in self._buckets.values())
        return (waiting + len(self._firing) - self._place) // 2

    def _next_bucket(self, now_s: float) -> bool:
        self._firing = []
        self._place = 0
        if not self._due or self._due[0] * RESOLUTION_S > now_s:
            return False
        self._firing = self._buckets.pop(heapq.heappop(self._due))
        return True
