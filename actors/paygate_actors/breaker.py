"""How a provider does: a window of recent calls, and a circuit that opens when most of them fail.

The circuit only changes the order in which providers are tried for *new* charges. It never drops
an intent: look-ups, refunds and what is in doubt go on, and when every circuit is open the best
provider is tried all the same.
"""

from collections import deque
from typing import Final, Literal

from paygate_engine.clock import Clock

Circuit = Literal["closed", "open", "half_open"]

# Enough calls to tell a bad provider from bad luck, few enough to notice within seconds.
WINDOW: Final = 100
CALLS_MIN: Final = 20
FAILED_SHARE: Final = 2  # one in two
# How long a provider is left in peace before one charge is tried there again.
OPEN_S: Final = 15.0


class Breaker:
    """The health of one provider, on the system's clock. `record` is O(1)."""

    __slots__ = ("_calls", "_clock", "_failed", "_opened_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: deque[tuple[bool, float]] = deque(maxlen=WINDOW)
        self._failed = 0
        self._opened_s: float | None = None

    @property
    def circuit(self) -> Circuit:
        """Closed: normal. Open: tried last. Half open: the next call decides."""
        if self._opened_s is None:
            return "closed"
        if self._clock.monotonic_s() - self._opened_s < OPEN_S:
            return "open"
        return "half_open"

    def record(self, *, well: bool, seconds: float) -> None:
        """Note how a call went: `well` is false where the provider did not answer sensibly."""
        if len(self._calls) == WINDOW and not self._calls[0][0]:
            self._failed -= 1
        self._calls.append((well, seconds))
        self._failed += not well
        if self._opened_s is not None:
            if self.circuit == "half_open":
                self._settle(well=well)
        elif len(self._calls) >= CALLS_MIN and self._failed * FAILED_SHARE > len(self._calls):
            self._opened_s = self._clock.monotonic_s()

    @property
    def success_rate_milli(self) -> int | None:
        """The share of recent calls that were answered sensibly, in thousandths; None: no calls."""
        if not self._calls:
            return None
        return 1_000 * (len(self._calls) - self._failed) // len(self._calls)

    @property
    def p99_ms(self) -> int | None:
        """The 99th percentile of recent calls' durations in milliseconds; None: no calls."""
        if not self._calls:
            return None
        durations = sorted(seconds for _, seconds in self._calls)
        return round(1_000 * durations[min(len(durations) - 1, len(durations) * 99 // 100)])

    def _settle(self, *, well: bool) -> None:
        if well:
            self._opened_s = None
            self._calls.clear()
            self._failed = 0
        else:
            self._opened_s = self._clock.monotonic_s()
