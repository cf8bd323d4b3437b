"""Token buckets on the injected clock: so many requests a second for each name, with a burst.

Our own, because the libraries for this read the wall clock themselves and could not be simulated.
"""

from collections import OrderedDict

from paygate_engine.clock import Clock

# About 20 MB of buckets. Beyond it the one that was used longest ago is forgotten, which fills
# it: whoever is that quiet had a full one anyway, unless an attacker commands more names.
NAMES_MAX = 100_000


class TokenBuckets:
    """A bucket of `burst` tokens for every name, refilled by `per_s` a second."""

    __slots__ = ("_burst", "_clock", "_levels", "_per_s")

    def __init__(self, clock: Clock, *, per_s: float, burst: float) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = burst
        # Name to (level, when it was that), least recently used first.
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take a token. 0: taken; else how many seconds until there is one (nothing taken)."""
        now = self._clock.monotonic_s()
        level, at = self._levels.pop(name, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_s)
        taken = level >= 1
        self._levels[name] = (level - 1 if taken else level, now)
        if len(self._levels) > NAMES_MAX:
            self._levels.popitem(last=False)
        return 0 if taken else (1 - level) / self._per_s

    def give_back(self, name: str) -> None:
        """Undo a `take` that took one: it was for nothing that is to be slowed down."""
        level, at = self._levels.get(name, (self._burst, 0.0))
        self._levels[name] = (min(self._burst, level + 1), at)
