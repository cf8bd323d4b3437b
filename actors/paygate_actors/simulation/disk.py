"""The disk: it outlives processes, it is slow, it fails, and it may take a group or lose it.

A process holds a `DiskHandle`; whatever it does after it was killed reaches nobody. A group that
was being written at that moment is on the disk, or is not: the dice say.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from paygate_actors.projection import KINDS
from paygate_actors.record import Payment
from paygate_actors.simulation.durable import Die, Standing
from paygate_actors.simulation.faults import Dice
from paygate_actors.simulation.room import Room
from paygate_engine.errors import Corrupt, StoreFailed, StoreFull
from paygate_engine.simulation import Process
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
    Document,
    Event,
    FeedEnds,
    Item,
    Posted,
    Query,
    Unit,
    Wake,
)
from paygate_engine.stores.memory import MemoryStore

# A sync on a good day, and on one when the disk is busy.
_SYNC_S: Final = (0.0005, 0.01)
_SLOW_SYNC_S: Final = (0.2, 4.0)
# A reader's thread takes about this long; it also lets other things happen in between.
_READ_S: Final = 0.0002

Committed = Callable[[Sequence[Unit], Sequence[Sequence[AuditRow]]], None]


class Disk:
    """What is durable. `committed` hears of each group at the moment at which it is."""

    def __init__(self, room: Room, dice: Dice, committed: Committed) -> None:
        self.store = MemoryStore(KINDS)
        self.room = room
        self._dice = dice
        self._committed = committed

    def handle(self, process: Process, *, name: str, die: Die) -> "DiskHandle":
        """Let a process open it; there is one at a time, so it needs no name."""
        del process, name
        return DiskHandle(self, dice=self._dice, die=die)

    async def furnish(self, unit: Unit) -> None:
        """Open it, and put in what was there before the first process."""
        await self.store.open()
        await self.store.commit([unit], [()])

    def standing(self, process: Process | None) -> Standing | None:
        """Whoever is alone stands by no epoch."""
        del process

    def lives(self, epoch: int) -> bool:
        """Whoever is alone lives by no epoch."""
        return epoch == 0

    async def check(self, payments: Mapping[str, Payment]) -> None:
        """Nothing lies beside streams and documents here."""
        del payments

    async def write(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Make a group durable, now."""
        answers = await self.store.commit(units, audit)
        if not any(answers):
            self._committed(units, audit)
        return answers


class DiskHandle:
    """The disk as one process has it open: a `Store`. `die` ends that process."""

    def __init__(self, disk: Disk, *, dice: Dice, die: Die) -> None:
        self._disk = disk
        self._dice = dice
        self._die = die
        self._under_way: tuple[Sequence[Unit], Sequence[Sequence[AuditRow]]] | None = None

    @property
    def log_bytes(self) -> int:
        """There is no log."""
        return 0

    @property
    def away(self) -> bool:
        """It is here."""
        return False

    async def open(self) -> None:
        """Open it."""
        await self._disk.store.open()

    async def close(self) -> None:
        """Leave it to the next process."""

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Write and sync a group, or fail at it."""
        dice, disk = self._dice, self._disk
        if disk.room.is_out():
            raise StoreFull("simulated")
        self._under_way = units, audit
        slow = dice.strikes("slow_sync", weight=0.3)
        await asyncio.sleep(dice.between(*(_SLOW_SYNC_S if slow else _SYNC_S)))
        if dice.strikes("commit_lost", weight=0.05):
            self._under_way = None
            self._die("before the group is on the disk")
            await self._never()
        if dice.strikes("sync_failed", weight=0.03):
            await self._settle()
            raise StoreFailed("simulated: the sync failed")
        answers = await disk.write(units, audit)
        self._under_way = None
        if dice.strikes("commit_unknown", weight=0.05):
            self._die("after the group is on the disk, before anybody was told")
            await self._never()
        return answers

    async def killed(self) -> None:
        """The process was killed: what it was writing is there, or it is not."""
        await self._settle()

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number."""
        await self._reading()
        return await self._disk.store.read_stream(stream, after_seq=after_seq)

    async def read_streams(self, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
        """Many streams at once."""
        await self._reading()
        return await self._disk.store.read_streams(streams)

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The document as committed."""
        await self._reading()
        return await self._disk.store.read_document(kind, id)

    def peek_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """None: a read takes its time in a world."""
        return None

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        await self._reading()
        return await self._disk.store.query(query)

    async def read_claim(self, name: str) -> Claim | None:
        """Who holds the name."""
        await self._reading()
        return await self._disk.store.read_claim(name)

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items that are not done."""
        return await self._disk.store.waiting(queue, after_id=after_id, limit=limit)

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams."""
        await self._reading()
        return await self._disk.store.open_streams(after=after, limit=limit)

    async def audit_rows(self, *, after_n: int = 0, limit: int = 1_000) -> list[AuditRow]:
        """The chain, a page at a time."""
        return await self._disk.store.audit_rows(after_n=after_n, limit=limit)

    async def audit_head(self) -> tuple[int, bytes]:
        """The end of the chain."""
        return await self._disk.store.audit_head()

    async def event_count(self) -> int:
        """How many events there are."""
        return await self._disk.store.event_count()

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items that were done long ago."""
        return await self._disk.store.forget(
            queue=queue, done_before_us=done_before_us, limit=limit
        )

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts of a feed behind a number."""
        await self._reading()
        return await self._disk.store.read_feed(feed, after_n=after_n, limit=limit)

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where a feed begins and ends."""
        await self._reading()
        return await self._disk.store.feed_ends(feed)

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of feeds."""
        return await self._disk.store.feeds(after=after, limit=limit)

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts."""
        return await self._disk.store.forget_posts(feed=feed, before_us=before_us, limit=limit)

    async def forget_documents(
        self, *, kind: str, id_before: str, facet: str | None = None, limit: int = 1_000
    ) -> int:
        """Delete documents with smaller ids."""
        return await self._disk.store.forget_documents(
            kind=kind, id_before=id_before, facet=facet, limit=limit
        )

    async def _reading(self) -> None:
        await asyncio.sleep(_READ_S * (1.0 + 4.0 * self._dice.rng.random()))

    async def _settle(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None and self._dice.rng.random() < 0.5:  # noqa: PLR2004 - a coin
            await self._disk.write(*under_way)

    async def _never(self) -> None:
        await asyncio.get_running_loop().create_future()
