"""How fast a provider is asked what became of calls: no faster than it takes well.

After a restart, or when a provider comes back, thousands of payments want to ask at once. Each
takes a turn first. Turns are given out evenly, so that the provider is not stormed, its limit is
left to those who pay now, and nobody asks twice before everybody asked once.
"""

from typing import Final

from paygate_actors.providers.base import Capabilities
from paygate_engine.clock import Clock

# So many seconds' worth of turns may be taken at once after a quiet time: a few dozen payments in
# doubt are asked about as if they were alone.
BURST_S: Final = 0.5
# While turns are held, the first one comes no sooner. Whoever has one that comes while they still
# are takes another: a second keeps that cheap, and costs no more than a second when they are not.
HELD_S: Final = 1.0


class Asking:
    """The turns of all providers. `held`: nobody asks now, not even who has a turn."""

    __slots__ = ("_clock", "_free_s", "held")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_s: dict[str, float] = {}
        self.held = False

    def turn_s(self, provider: str, can: Capabilities) -> float:
        """Take the next turn; in how many seconds it comes, 0: now. Nobody else gets it."""
        now_s = self._clock.monotonic_s()
        first_s = now_s + HELD_S if self.held else now_s - BURST_S
        turn_s = max(self._free_s.get(provider, first_s), first_s)
        self._free_s[provider] = turn_s + 1 / can.asks_per_s
        return max(0.0, turn_s - now_s)
