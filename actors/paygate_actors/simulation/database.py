"""The database of a world of several nodes: outside of all processes, and reached over cables.

It is a `MemoryCluster`, whose clock is the world's true time. What was sent to it goes its way
whatever becomes of the sender: it arrives though that is frozen or dead by then, and what it did
is done though no answer comes back. `database_handle.py` is a node's side of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from typing import Final, TypeVar

from paygate_actors.projection import KINDS, WATCHED
from paygate_actors.record import Payment
from paygate_actors.simulation.database_handle import DatabaseHandle
from paygate_actors.simulation.database_trips import Cable
from paygate_actors.simulation.disk import Committed
from paygate_actors.simulation.durable import Die, Standing
from paygate_actors.simulation.faults import Dice, Options
from paygate_actors.simulation.room import Room
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_actors.sums import disputed, refunds_reserved, returned
from paygate_engine.clock import US_PER_S
from paygate_engine.simulation import Process, SimulatedClock, VirtualLoop
from paygate_engine.stores.base import AuditRow, Conflict, Unit
from paygate_engine.stores.shared import Seat
from paygate_engine.stores.shared_memory import MemoryCluster, SharedMemoryStore

T = TypeVar("T")

# An outage is shorter than the shortest lease, or longer than the longest.
_DOWN_S: Final = (0.5, 90.0)


class Database:
    """The database. `committed` hears of each group at the moment at which it is."""

    def __init__(
        self,
        loop: VirtualLoop,
        dice: Dice,
        committed: Committed,
        *,
        room: Room,
        options: Options,
        trace: Trace,
        outside: Context,
        violate: Callable[[Violation], None],
    ) -> None:
        self.loop = loop
        self.dice = dice
        self.trace = trace
        self.outside = outside
        self.down_until_s = 0.0
        self.cables: dict[str, Cable] = {}
        self.room = room
        self.cluster = MemoryCluster(
            KINDS, clock=SimulatedClock(loop), watched=WATCHED, lease_s=options.lease_s
        )
        self._lease_us = round(options.lease_s * US_PER_S)
        self._committed = committed
        self._violate = violate
        self._observer = self.cluster.node()
        self._handles: dict[Process, DatabaseHandle] = {}
        # Kept apart from the cluster's own books, so that one mistake is not made twice.
        self._over: set[int] = set()
        self._beaten_us: dict[int, int] = {}

    @property
    def store(self) -> SharedMemoryStore:
        """All that is durable."""
        return self._observer

    def handle(self, process: Process, *, name: str, die: Die) -> DatabaseHandle:
        """Let a process open it."""
        cable = self.cables.setdefault(name, Cable())
        made = DatabaseHandle(self, cable=cable, die=die)
        self._handles[process] = made
        return made

    async def furnish(self, unit: Unit) -> None:
        """Open it, and put in what was there before the first node: an operator's own work."""
        await self._observer.open()
        first = self.cluster.node()
        await first.open()
        seat = await first.join("operator")
        self.cluster.commit([unit], [()], seat)
        await first.leave()
        await first.close()

    # ------------------------------------------------------------------ what arrives

    def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]], seat: Seat
    ) -> list[Conflict | None]:
        """Make a group durable, now. Raises `Fenced`."""
        answers = self.cluster.commit(units, audit, seat)
        if not any(answers):
            self._check_epochs(units, seat)
            self._committed(units, audit)
        return answers

    def joined(self, seat: Seat) -> None:
        """A node joined."""
        self._beaten_us[seat.epoch] = self._now_us()

    def beaten(self, epoch: int) -> None:
        """A beat arrived."""
        self._beaten_us[epoch] = self._now_us()

    def ended(self, epochs: Iterable[int], why: str) -> None:
        """Epochs are over."""
        for epoch in epochs:
            self.trace.note(f"epoch {epoch} is over: {why}")
            late_us = self._now_us() - self._beaten_us[epoch]
            if why == "buried" and late_us < self._lease_us:
                self._violate(Violation("who beats is not buried", f"epoch {epoch}"))
            self._over.add(epoch)

    def said(self, speaker: DatabaseHandle, words: Sequence[str]) -> None:
        """Bring words to all who listen, and can be reached."""
        for process, handle in self._handles.items():
            if handle is not speaker and not process.dead and self.passes(handle.cable, "from"):
                handle.listen(words)

    # ------------------------------------------------------------------ the ways to it

    def passes(self, cable: Cable, way: str) -> bool:
        """Whether anything gets through over this cable, `to` the database or `from` it."""
        if self.dice.healed:
            return True
        now_s = self.loop.time()
        until_s = cable.to_until_s if way == "to" else cable.from_until_s
        return now_s >= max(until_s, self.down_until_s)

    def lives(self, epoch: int) -> bool:
        """Whether an epoch is not over."""
        return epoch in self.cluster.seats.live() and epoch not in self._over

    def go_down(self) -> None:
        """Let nobody reach it for a while."""
        seconds = self.dice.between(*_DOWN_S)
        self.down_until_s = self.loop.time() + seconds
        self.trace.note(f"the database is down for {seconds:.1f} s")

    # ------------------------------------------------------------------ looking

    def standing(self, process: Process | None) -> Standing | None:
        """How the node stands that is this process."""
        handle = None if process is None else self._handles.get(process)
        if handle is None or handle.seat is None:
            return None
        epoch = handle.seat.epoch
        late = self._now_us() - self._beaten_us[epoch] >= self._lease_us
        thawed = process is not None and process.thawed_s == self.loop.time()
        return Standing(epoch=epoch, certain=not late and epoch not in self._over, thawed=thawed)

    async def check(self, payments: Mapping[str, Payment]) -> None:
        """Tallies are what payments say, and whatever is open is somebody's who lives."""
        for payment in payments.values():
            used = refunds_reserved(payment) + returned(payment) + disputed(payment)
            meant = (max(payment.captured_minor, used), used)
            kept = self.cluster.tallies.get(payment.id, (0, 0))
            if kept != meant:
                raise Violation(
                    "tallies are what the payments say", f"{kept}, not {meant}", subject=payment.id
                )
        live = self.cluster.seats.live() - self._over
        for stream in self.cluster.tables.wakes:
            owner = self.cluster.owners.get(stream)
            if owner not in live:
                raise Violation(
                    "whatever is open has an owner who lives", f"epoch {owner}", subject=stream
                )

    def _check_epochs(self, units: Sequence[Unit], seat: Seat) -> None:
        if seat.epoch in self._over:
            self._violate(
                Violation("nothing is committed under an epoch that is over", f"{seat.epoch}")
            )
        for unit in units:
            for event in unit.events:
                if event.epoch != seat.epoch:
                    told = f"{event.epoch} by {seat.epoch}"
                    self._violate(
                        Violation("an event has its node's epoch", told, subject=event.stream)
                    )

    def _now_us(self) -> int:
        return SimulatedClock(self.loop).now_us()
