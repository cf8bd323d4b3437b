"""The database's time as a clock: nodes whose own clocks are hours apart agree on what time it is.

Between two answers of the database it is carried forward by the machine's monotonic clock, which
nobody sets. The machine's wall clock counts only until the first answer.
"""

from paygate_engine.clock import US_PER_S, Clock

# Answers differ by the time that they travel, some milliseconds; so small a step back is not taken:
# the clock stands still until time has caught up. A standby that takes over may be an hour behind,
# and to stand still for an hour would be worse than to go back.
STAND_STILL_S = 1.0


class ClusterClock:
    """A `Clock` that `set` brings to the database's time. `monotonic_s` is the machine's."""

    __slots__ = ("_clock", "_floor_us", "_set_at_s", "_set_us")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set_at_s = clock.monotonic_s()
        self._set_us = clock.now_us()
        self._floor_us = 0

    def now_us(self) -> int:
        """UTC, in microseconds since the epoch, as the database has it. Only `set` may step it."""
        self._floor_us = max(self._floor_us, self._carried_us())
        return self._floor_us

    def monotonic_s(self) -> float:
        """Seconds of the machine, never going backwards."""
        return self._clock.monotonic_s()

    def set(self, now_us: int, *, at_s: float) -> None:
        """Say what the database's time was when the monotonic clock showed `at_s`."""
        self._set_us, self._set_at_s = now_us, at_s
        if self._floor_us - self._carried_us() > STAND_STILL_S * US_PER_S:
            self._floor_us = 0

    def _carried_us(self) -> int:
        passed_s = self._clock.monotonic_s() - self._set_at_s
        return self._set_us + round(passed_s * US_PER_S)
