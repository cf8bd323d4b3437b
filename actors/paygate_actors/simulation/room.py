"""Room on the disk: it runs out, for seconds or for minutes, and comes back by itself."""

from typing import Final

from paygate_actors.simulation.faults import Dice, Options, seeded
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import VirtualLoop

_FULL_S: Final = (1.0, 30.0)
# As long as somebody needs who is called in the night.
_STAYS_FULL_S: Final = (60.0, 900.0)


class Room:
    """Whether there is any, asked at each group. For minutes it runs out once in a world."""

    def __init__(self, options: Options, *, loop: VirtualLoop, dice: Dice, trace: Trace) -> None:
        self._loop = loop
        self._dice = dice
        self._trace = trace
        self._minutes = seeded(options.seed, "minutes without room")
        self._full_until_s = 0.0
        self._stays_until_s: float | None = None

    def is_out(self) -> bool:
        """Whether there is none at the moment."""
        dice, now_s = self._dice, self._loop.time()
        if dice.strikes("disk_full", weight=0.05):
            self._full_until_s = now_s + dice.between(*_FULL_S)
        if self._stays_until_s is None and dice.strikes(
            "without_room", weight=0.1, by=self._minutes
        ):
            seconds = self._minutes.uniform(*_STAYS_FULL_S)
            self._stays_until_s = now_s + seconds
            self._trace.note(f"the disk is full for {seconds:.0f} s")
        if dice.enabled("disk_full") and now_s < self._full_until_s:
            return True
        stays_until_s = self._stays_until_s or 0.0
        return dice.enabled("without_room") and now_s < stays_until_s
