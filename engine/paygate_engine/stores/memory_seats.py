"""The seats of a cluster in memory: who joined, who lives, who is late, who is buried.

Every rule of `shared.py` about epochs and leases is here; what a node owns and writes is not.
"""

from msgspec import Struct

from paygate_engine.clock import US_PER_S, Clock
from paygate_engine.errors import Fenced
from paygate_engine.stores.shared import Beat, NodeRow, NodeState, Seat


class Sitter(Struct, kw_only=True):
    """Who has a seat. `over` is None for an epoch that lives.

    It has beaten without a pause since `steady_us`. Times are the database's, in microseconds.
    """

    seat: int
    epoch: int
    name: str
    joined_us: int
    beat_us: int
    steady_us: int
    over: NodeState | None = None


class MemorySeats:
    """All seats, by number from 1. `clock` tells the database's time; a lease lasts `lease_s`."""

    def __init__(self, *, clock: Clock, lease_s: float) -> None:
        self._clock = clock
        self._lease_us = round(lease_s * US_PER_S)
        self._sitters: list[Sitter] = []
        self._epochs = 0

    def join(self, name: str) -> Seat:
        """Give the lowest seat that is free, or a new one, under the next epoch."""
        now_us = self._clock.now_us()
        self._epochs += 1
        free = next((each.seat for each in self._sitters if each.over), len(self._sitters) + 1)
        sitter = Sitter(
            seat=free,
            epoch=self._epochs,
            name=name,
            joined_us=now_us,
            beat_us=now_us,
            steady_us=now_us,
        )
        self._sitters[free - 1 : free] = [sitter]
        return Seat(seat=free, epoch=sitter.epoch, chain=str(free), now_us=now_us)

    def leave(self, epoch: int) -> None:
        """End an epoch, unless it is over already."""
        for sitter in self._sitters:
            if sitter.epoch == epoch and not sitter.over:
                sitter.over = "left"

    def living(self, epoch: int) -> Sitter:
        """Who lives under this epoch. Raises `Fenced` where it is over."""
        for sitter in self._sitters:
            if sitter.epoch == epoch and not sitter.over:
                return sitter
        raise Fenced(f"epoch {epoch} is over: others have taken its place")

    def live(self) -> frozenset[int]:
        """The epochs that are not over."""
        return frozenset(each.epoch for each in self._sitters if not each.over)

    def beat(self, epoch: int, *, bulletin: int) -> Beat:
        """Prolong the lease of an epoch. Raises `Fenced`."""
        sitter, now_us = self.living(epoch), self._clock.now_us()
        if self._is_late(sitter, now_us):
            sitter.steady_us = now_us
        sitter.beat_us = now_us
        return Beat(now_us=now_us, live=self.live(), newest=self._epochs, bulletin=bulletin)

    def bury(self, epoch: int) -> list[int]:
        """End all epochs whose lease ran out, if this one may judge. Raises `Fenced`."""
        judge, now_us = self.living(epoch), self._clock.now_us()
        if self._is_late(judge, now_us) or now_us - judge.steady_us < self._lease_us:
            return []
        late = [each for each in self._sitters if not each.over and self._is_late(each, now_us)]
        for sitter in late:
            sitter.over = "buried"
        return [sitter.epoch for sitter in late]

    def rows(self, open_streams: dict[int, int]) -> list[NodeRow]:
        """All seats, by number; `open_streams` are how many each epoch owns."""
        now_us = self._clock.now_us()
        return [
            NodeRow(
                seat=each.seat,
                epoch=each.epoch,
                name=each.name,
                state=each.over or ("late" if self._is_late(each, now_us) else "live"),
                joined_us=each.joined_us,
                beat_us=each.beat_us,
                lease_until_us=each.beat_us + self._lease_us,
                open_streams=open_streams.get(each.epoch, 0),
            )
            for each in self._sitters
        ]

    def _is_late(self, sitter: Sitter, now_us: int) -> bool:
        return now_us >= sitter.beat_us + self._lease_us
