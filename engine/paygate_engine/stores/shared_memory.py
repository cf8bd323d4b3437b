"""A database of many nodes in memory, and the stores that nodes have of it: for tests and worlds.

Theory of operation. `MemoryCluster` is the database: one set of tables, the seats, who owns what,
and a clock, which is the database's time. `node` gives one process its store. It is deterministic:
no threads, no chance, and every call is complete when it returns. Two things alone wait: `hear`,
and `commit` while its node is unplugged, since a commit must know how it ended.

`unplug` takes the way to the database away from one node, as a broken cable does, until `plug_in`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from paygate_engine.clock import Clock
from paygate_engine.errors import Overloaded, StoreFailed
from paygate_engine.stores.base import AuditRow, Conflict, Kind, Unit, Wake
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.memory_seats import MemorySeats
from paygate_engine.stores.memory_tables import MemoryTables
from paygate_engine.stores.rules import add, page_size, tally_moves
from paygate_engine.stores.shared import ADOPT_MAX, LEASE_S, Beat, NodeRow, Seat

# Words that wait for somebody to hear them; what is said beyond that is lost, as words may be.
HEARD_MAX = 1_000
# How long `hear` waits: whoever listens has something else to look at, too, now and then.
HEAR_S = 5.0


class MemoryCluster:
    """The database: `node` gives a store of it. Kinds as for any store, `watched` by name.

    `clock` tells the database's time; a lease lasts `lease_s`.
    """

    def __init__(
        self,
        kinds: Sequence[Kind] = (),
        *,
        clock: Clock,
        watched: Iterable[str] = (),
        lease_s: float = LEASE_S,
    ) -> None:
        self.tables = MemoryTables(kinds)
        self.seats = MemorySeats(clock=clock, lease_s=lease_s)
        self.owners: dict[str, int] = {}  # epochs, by open stream
        self.tallies: dict[str, tuple[int, int]] = {}
        self.duties: dict[str, int] = {}
        self.bulletin = 0
        self.stores: dict[SharedMemoryStore, None] = {}  # those that are open
        self._watched = frozenset(watched)

    def node(self) -> "SharedMemoryStore":
        """A store for one process; not open yet."""
        return SharedMemoryStore(self)

    def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]], seat: Seat
    ) -> list[Conflict | None]:
        """Commit a group of a node's, and what follows from it. Raises `Fenced`."""
        self.seats.living(seat.epoch)
        answers = self.tables.commit(units, audit, chain=seat.chain, tallied=self._tallied)
        if any(answers):
            return answers
        for stream, move in tally_moves(units).items():
            self.tallies[stream] = add(self._tallied(stream), move)
        for unit in units:
            self.bulletin += sum(document.kind in self._watched for document in unit.documents)
            for touched in (*unit.events, *unit.wakes):
                self._own(touched.stream, seat.epoch)
        return answers

    def adopt(self, epoch: int, limit: int) -> list[Wake]:
        """Make open streams of nobody who lives this epoch's, by name. Raises `Fenced`."""
        self.seats.living(epoch)
        live, wakes = self.seats.live(), self.tables.wakes
        orphans = sorted(stream for stream in wakes if self.owners.get(stream) not in live)
        taken = orphans[: page_size(limit)]
        self.owners |= dict.fromkeys(taken, epoch)
        return [Wake(stream=stream, at_us=wakes[stream]) for stream in taken]

    def take_duty(self, epoch: int, name: str) -> bool:
        """Give a duty that nobody who lives has; whether it is this epoch's. Raises `Fenced`."""
        self.seats.living(epoch)
        if self.duties.get(name) not in self.seats.live():
            self.duties[name] = epoch
        return self.duties[name] == epoch

    def rows(self) -> list[NodeRow]:
        """All seats, by number."""
        return self.seats.rows(Counter(self.owners.values()))

    def _own(self, stream: str, epoch: int) -> None:
        if stream in self.tables.wakes:
            self.owners[stream] = epoch
        else:
            self.owners.pop(stream, None)

    def _tallied(self, stream: str) -> tuple[int, int]:
        return self.tallies.get(stream, (0, 0))


class SharedMemoryStore(MemoryStore):
    """A `SharedStore`: what one process has of a `MemoryCluster`."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(tables=cluster.tables)
        self._cluster = cluster
        self._seat: Seat | None = None
        self._plugged: asyncio.Future[None] | None = None  # while unplugged
        self._heard: dict[str, None] = {}
        self._ear: asyncio.Future[None] | None = None  # of who listens

    @property
    def seat(self) -> Seat | None:
        """The own place, once joined; it is remembered when it was lost or given back."""
        return self._seat

    @property
    def away(self) -> bool:
        """Whether it is unplugged."""
        return self._plugged is not None

    def unplug(self) -> None:
        """Take the way to the database away: what asks it is `Overloaded`, commits wait."""
        if self._plugged is None:
            self._plugged = asyncio.get_running_loop().create_future()

    def plug_in(self) -> None:
        """Give the way to the database back."""
        if self._plugged is not None:
            self._plugged.set_result(None)
            self._plugged = None

    async def open(self) -> None:
        """Take calls, and hear what is said."""
        await super().open()
        self._cluster.stores[self] = None

    async def close(self) -> None:
        """Take no more calls; the seat is kept until it is lost."""
        await super().close()
        self._cluster.stores.pop(self, None)

    async def join(self, name: str) -> Seat:
        """Take the lowest seat that is free, or a new one, under a new epoch."""
        self._check_open()
        self._seat = self._cluster.seats.join(name)
        return self._seat

    async def leave(self) -> None:
        """Give the seat back, if the database can be reached."""
        if self._seat is not None and not self.away:
            self._cluster.seats.leave(self._seat.epoch)

    async def beat(self) -> Beat:
        """Prolong the own lease."""
        return self._cluster.seats.beat(self._epoch(), bulletin=self._cluster.bulletin)

    async def bury(self) -> list[int]:
        """End every epoch whose lease ran out. Raises `Fenced` where the own one is over."""
        return self._cluster.seats.bury(self._epoch())

    async def adopt(self, *, limit: int = ADOPT_MAX) -> list[Wake]:
        """Take over open streams of nobody who lives, by name. Raises `Fenced`, as `bury` does."""
        return self._cluster.adopt(self._epoch(), limit)

    async def take_duty(self, name: str) -> bool:
        """Whether the named duty is the own now. Raises `Fenced`, as `bury` does."""
        return self._cluster.take_duty(self._epoch(), name)

    async def drop_duty(self, name: str) -> None:
        """Give a duty back."""
        if self._cluster.duties.get(name) == self._epoch():
            del self._cluster.duties[name]

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Apply the group, or nothing of it where a unit conflicts; while unplugged, wait."""
        while self._plugged is not None:
            # Shielded, since whoever waits may be cancelled, and others wait for the same plug.
            await asyncio.shield(self._plugged)
        self._check_open()
        return self._cluster.commit(units, audit, self._joined())

    async def nodes(self) -> list[NodeRow]:
        """All seats, by number."""
        self._check_open()
        return self._cluster.rows()

    async def chains(self) -> list[str]:
        """The names of all audit chains that have a row, in order."""
        self._check_open()
        return sorted(self.tables.chains)

    async def audit_rows(
        self, *, after_n: int = 0, limit: int = 1_000, chain: str | None = None
    ) -> list[AuditRow]:
        """A chain in order, a page at a time; None: the own one."""
        self._check_open()
        return self.tables.chain_page(self._chain(chain), after_n=after_n, limit=limit)

    async def audit_head(self, *, chain: str | None = None) -> tuple[int, bytes]:
        """Number and hash of a chain's newest row."""
        self._check_open()
        return self.tables.chain_head(self._chain(chain))

    async def tally(self, stream: str) -> tuple[int, int] | None:
        """A stream's limit and what is used of it."""
        self._check_open()
        return self._cluster.tallies.get(stream)

    async def hear(self) -> Sequence[str]:
        """Wait for words, `HEAR_S` by the running loop's time; empty where nobody said any.

        One listens at a time.
        """
        if not self._heard:
            self._ear = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(HEAR_S):
                    await self._ear
            except TimeoutError:
                return ()
            finally:
                self._ear = None
        heard, self._heard = tuple(self._heard), {}
        return heard

    def say(self, *words: str) -> None:
        """Let all other open stores that can be reached hear these words."""
        if self.away:
            return
        for other in self._cluster.stores:
            if other is not self and not other.away:
                other.listen(words)

    def listen(self, words: Sequence[str]) -> None:
        """Take in what another one said."""
        for word in words:
            if len(self._heard) < HEARD_MAX:
                self._heard[word] = None
        if self._ear is not None and not self._ear.done():
            self._ear.set_result(None)

    def _check_open(self) -> None:
        super()._check_open()
        if self.away:
            raise Overloaded("the database cannot be reached")

    def _joined(self) -> Seat:
        if self._seat is None:
            raise StoreFailed("this node has not joined: it may read only")
        return self._seat

    def _epoch(self) -> int:
        """The own epoch, for a call that goes to the database."""
        self._check_open()
        return self._joined().epoch

    def _chain(self, named: str | None) -> str:
        return self._joined().chain if named is None else named
