"""How a provider does at one operation: a window of recent calls, and a circuit.

The circuit opens when most recent calls failed or took too long, and only ever changes the order
in which providers are tried for *new* charges. It never drops an intent: look-ups, refunds and
what is in doubt go on, and when every circuit is open the best provider is tried all the same.
A payer's decline is a good answer: it says nothing against the provider.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from paygate_engine.clock import Clock

Circuit = Literal["closed", "open", "half_open"]

# Enough calls to tell a bad provider from bad luck, few enough to notice within seconds.
WINDOW: Final = 100
CALLS_MIN: Final = 20
BAD_SHARE: Final = 2  # one in two
# How long a provider is left in peace before one charge is tried there again.
OPEN_S: Final = 15.0
# A trial that nobody heard of again (its process of a payment failed) is not waited for longer.
TRIAL_S: Final = 60.0


class _Past(NamedTuple):
    well: bool
    slow: bool
    seconds: float


class Breaker:
    """The health of one operation at one provider, on the system's clock. `record` is O(1).

    `slow_s`: a call that takes as long counts against the provider; None: none does. `on_change`
    hears the circuit that begins: `closed` or `open`; half open is what an open one becomes by
    itself.
    """

    __slots__ = (
        "_bad",
        "_calls",
        "_clock",
        "_failed",
        "_on_change",
        "_opened_s",
        "_slow_s",
        "_trial_s",
    )

    def __init__(
        self,
        clock: Clock,
        *,
        slow_s: float | None = None,
        on_change: Callable[[Circuit], None] | None = None,
    ) -> None:
        self._clock = clock
        self._slow_s = slow_s
        self._on_change = on_change
        self._calls: deque[_Past] = deque(maxlen=WINDOW)
        self._failed = 0
        self._bad = 0
        self._opened_s: float | None = None
        self._trial_s: float | None = None

    @property
    def circuit(self) -> Circuit:
        """Closed: normal. Open: tried last. Half open: the next call decides."""
        if self._opened_s is None:
            return "closed"
        if self._clock.monotonic_s() - self._opened_s < OPEN_S:
            return "open"
        return "half_open"

    @property
    def holds_back(self) -> bool:
        """Whether others should be tried first: open, or half open while a trial is out."""
        match self.circuit:
            case "closed":
                return False
            case "open":
                return True
            case "half_open":
                trial_s = self._trial_s
                return trial_s is not None and self._clock.monotonic_s() - trial_s < TRIAL_S

    def try_out(self) -> None:
        """A payment goes there first now: while half open, it is the trial that decides."""
        if self.circuit == "half_open" and not self.holds_back:
            self._trial_s = self._clock.monotonic_s()

    def probed(self) -> None:
        """Something else was answered well there: an open circuit need not wait any longer."""
        if self.circuit == "open":
            self._opened_s = self._clock.monotonic_s() - OPEN_S
            if self._on_change is not None:
                self._on_change("half_open")

    def record(self, *, well: bool, seconds: float) -> None:
        """Note how a call went: `well` is false where the provider did not answer sensibly."""
        past = _Past(well, self._slow_s is not None and seconds >= self._slow_s, seconds)
        if len(self._calls) == WINDOW:
            oldest = self._calls[0]
            self._failed -= not oldest.well
            self._bad -= oldest.slow or not oldest.well
        self._calls.append(past)
        bad = past.slow or not well
        self._failed += not well
        self._bad += bad
        if self._opened_s is not None:
            if self.circuit == "half_open":
                self._settle(well=not bad)
        elif len(self._calls) >= CALLS_MIN and self._bad * BAD_SHARE > len(self._calls):
            self._open()

    @property
    def success_rate_milli(self) -> int | None:
        """The share of recent calls that were answered sensibly, in thousandths; None: no calls."""
        if not self._calls:
            return None
        return 1_000 * (len(self._calls) - self._failed) // len(self._calls)

    @property
    def slow_rate_milli(self) -> int | None:
        """The share of recent calls that took too long, in thousandths; None: no calls."""
        if not self._calls:
            return None
        return 1_000 * sum(past.slow for past in self._calls) // len(self._calls)

    @property
    def p99_ms(self) -> int | None:
        """The 99th percentile of recent calls' durations in milliseconds; None: no calls."""
        if not self._calls:
            return None
        durations = sorted(past.seconds for past in self._calls)
        return round(1_000 * durations[min(len(durations) - 1, len(durations) * 99 // 100)])

    def _open(self) -> None:
        self._opened_s = self._clock.monotonic_s()
        self._trial_s = None
        if self._on_change is not None:
            self._on_change("open")

    def _settle(self, *, well: bool) -> None:
        if not well:
            self._open()
            return
        self._opened_s = self._trial_s = None
        self._calls.clear()
        self._failed = self._bad = 0
        if self._on_change is not None:
            self._on_change("closed")
