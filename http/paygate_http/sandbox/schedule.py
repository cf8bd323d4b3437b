"""What is to happen later, on the sandbox's clock: one heap and one task for all of it.

A hundred thousand pending payments are as many entries of a heap, not as many sleeping tasks.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable

from paygate_engine.clock import Clock

# How late a turn may come after somebody moved the clock by hand, which wakes nobody.
LOOK_S = 0.02

# A turn ends after this many, so that calls are answered while a backlog is worked off.
_TURN_MAX = 500

_log = logging.getLogger(__name__)


class Schedule:
    """Runs functions at their time. `settle` is awaited after each turn that ran any.

    `look_s`: how often the clock is looked at while nothing is due; infinity where nobody can
    move it.
    """

    def __init__(
        self, clock: Clock, *, settle: Callable[[], Awaitable[None]], look_s: float = LOOK_S
    ) -> None:
        self._clock = clock
        self._settle = settle
        self._look_s = look_s
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._added = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, due_us: int, work: Callable[[], None]) -> None:
        """Run `work` once the clock shows `due_us` (UTC microseconds) or later."""
        # The sequence keeps the order of equals, and keeps the heap from comparing functions.
        self._sequence += 1
        heapq.heappush(self._heap, (due_us, self._sequence, work))
        self._added.set()

    def clear(self) -> None:
        """Forget all of it."""
        self._heap.clear()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            if self._turn():
                await self._settle()
            self._added.clear()
            await self._wait()

    def _turn(self) -> int:
        done = 0
        while self._heap and self._heap[0][0] <= self._clock.now_us() and done < _TURN_MAX:
            _, _, work = heapq.heappop(self._heap)
            done += 1
            try:
                work()
            except Exception:  # noqa: BLE001 - logged with its traceback, and see below
                # One bad entry must not silence all the later ones; it is a bug, so say so.
                _log.exception("scheduled work of the sandbox failed")
        return done

    async def _wait(self) -> None:
        if not self._heap:
            await self._added.wait()
            return
        left_s = (self._heap[0][0] - self._clock.now_us()) / 1_000_000
        if left_s <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(min(left_s, self._look_s)):
                await self._added.wait()
        except TimeoutError:
            return
