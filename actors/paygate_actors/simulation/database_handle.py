"""A node's side of the database: a `SharedStore` over a cable on which everything gets lost.

Every call is a trip (`database_trips.py`), made for certain or in the hope of an answer.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from paygate_actors.simulation.database_trips import Cable, Trips
from paygate_actors.simulation.durable import Die
from paygate_engine.errors import Corrupt, Overloaded, StoreFailed, StoreFull
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
from paygate_engine.stores.shared import ADOPT_MAX, Beat, NodeRow, Seat
from paygate_engine.stores.shared_memory import SharedMemoryStore

if TYPE_CHECKING:
    from paygate_actors.simulation.database import Database

T = TypeVar("T")

# Words that nobody listened to so far; more of them say nothing that these do not.
_HEARD_MAX: Final = 1_000


class DatabaseHandle:
    """The database as one process has it open: a `SharedStore`. `die` ends that process."""

    def __init__(self, database: "Database", *, cable: Cable, die: Die) -> None:
        self.cable = cable
        self._database = database
        self._die = die
        self._trips = Trips(database, cable)
        self._inner: SharedMemoryStore = database.cluster.node()
        self._seat: Seat | None = None
        self._heard: dict[str, None] = {}
        self._ear = asyncio.Event()

    # ------------------------------------------------------------------ what it is

    @property
    def log_bytes(self) -> int:
        """There is no log."""
        return 0

    @property
    def away(self) -> bool:
        """Whether it could not be reached just now, or a group is being asked for."""
        return self._trips.away

    @property
    def seat(self) -> Seat | None:
        """The own place, once joined."""
        return self._seat

    async def killed(self) -> None:
        """The process was killed: what it has sent arrives all the same."""

    async def open(self) -> None:
        """Open it."""
        await self._trips.ask(self._inner.open)

    async def close(self) -> None:
        """Leave it to the others."""
        await self._inner.close()

    # ------------------------------------------------------------------ the node

    async def join(self, name: str) -> Seat:
        """Take a seat under a new epoch."""

        async def join() -> Seat:
            seat = await self._inner.join(name)
            self._database.joined(seat)
            return seat

        self._seat = seat = await self._trips.ask(join)
        self._trips.epoch = seat.epoch
        return seat

    async def leave(self) -> None:
        """Give the seat back, if the database can be reached."""
        seat = self._seat
        if seat is None:
            return

        async def leave() -> None:
            if seat.epoch in self._database.cluster.seats.live():
                await self._inner.leave()
                self._database.ended((seat.epoch,), "left")

        with suppress(Overloaded):
            await self._trips.ask(leave)

    async def beat(self) -> Beat:
        """Prolong the own lease."""

        async def beat() -> Beat:
            found = await self._inner.beat()
            self._database.beaten(self._joined().epoch)
            return found

        return await self._trips.ask(beat, often=True)

    async def bury(self) -> list[int]:
        """End every epoch whose lease ran out."""

        async def bury() -> list[int]:
            buried = await self._inner.bury()
            self._database.ended(buried, "buried")
            return buried

        return await self._trips.ask(bury, often=True)

    async def adopt(self, *, limit: int = ADOPT_MAX) -> list[Wake]:
        """Take over open streams of nobody who lives; as certain as a commit."""
        self._joined()
        return await self._trips.certainly(lambda: self._inner.adopt(limit=limit), often=True)

    async def take_duty(self, name: str) -> bool:
        """Whether the named duty is the own now."""
        return await self._trips.ask(lambda: self._inner.take_duty(name), often=True)

    async def drop_duty(self, name: str) -> None:
        """Give a duty back."""
        await self._trips.ask(lambda: self._inner.drop_duty(name))

    async def nodes(self) -> list[NodeRow]:
        """All seats."""
        return await self._trips.ask(self._inner.nodes)

    async def chains(self) -> list[str]:
        """The names of all audit chains."""
        return await self._trips.ask(self._inner.chains)

    async def tally(self, stream: str) -> tuple[int, int] | None:
        """A stream's limit and what is used of it."""
        return await self._trips.ask(lambda: self._inner.tally(stream))

    async def hear(self) -> Sequence[str]:
        """Wait for words, for as long as it takes: a world has no time to look up in vain."""
        await self._ear.wait()
        self._ear.clear()
        heard, self._heard = tuple(self._heard), {}
        return heard

    def say(self, *words: str) -> None:
        """Let the other nodes hear these words, if they can be reached."""
        database = self._database
        if not database.dice.strikes("words_lost", weight=3):
            self._trips.carry(database.said, self, words)

    def listen(self, words: Sequence[str]) -> None:
        """Take in what another one said. Called from outside."""
        for word in words:
            if len(self._heard) < _HEARD_MAX:
                self._heard[word] = None
        self._ear.set()

    # ------------------------------------------------------------------ writing

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Have a group written, once for certain, or fail at it."""
        dice, database, seat = self._database.dice, self._database, self._joined()
        if database.room.is_out():
            raise StoreFull("simulated")
        if dice.strikes("commit_lost", weight=0.05):
            self._die("before the group is on its way")
            await self._never()

        async def write() -> list[Conflict | None]:
            return database.commit(units, audit, seat)

        answers = await self._trips.certainly(write)
        if dice.strikes("commit_unknown", weight=0.05):
            self._die("after the group is there, before anybody was told")
            await self._never()
        return answers

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items that were done long ago."""
        return await self._trips.ask(
            lambda: self._inner.forget(queue=queue, done_before_us=done_before_us, limit=limit)
        )

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts."""
        return await self._trips.ask(
            lambda: self._inner.forget_posts(feed=feed, before_us=before_us, limit=limit)
        )

    async def forget_documents(
        self, *, kind: str, id_before: str, facet: str | None = None, limit: int = 1_000
    ) -> int:
        """Delete documents with smaller ids."""
        return await self._trips.ask(
            lambda: self._inner.forget_documents(
                kind=kind, id_before=id_before, facet=facet, limit=limit
            )
        )

    # ------------------------------------------------------------------ reading

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number."""
        return await self._trips.ask(lambda: self._inner.read_stream(stream, after_seq=after_seq))

    async def read_streams(self, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
        """Many streams at once."""
        return await self._trips.ask(lambda: self._inner.read_streams(streams))

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The document as committed."""
        return await self._trips.ask(lambda: self._inner.read_document(kind, id))

    def peek_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """None: the database must be asked."""
        return None

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        return await self._trips.ask(lambda: self._inner.query(query))

    async def read_claim(self, name: str) -> Claim | None:
        """Who holds the name."""
        return await self._trips.ask(lambda: self._inner.read_claim(name))

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items that are not done."""
        return await self._trips.ask(
            lambda: self._inner.waiting(queue, after_id=after_id, limit=limit), often=True
        )

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams."""
        return await self._trips.ask(lambda: self._inner.open_streams(after=after, limit=limit))

    async def audit_rows(
        self, *, after_n: int = 0, limit: int = 1_000, chain: str | None = None
    ) -> list[AuditRow]:
        """A chain, a page at a time."""
        return await self._trips.ask(
            lambda: self._inner.audit_rows(after_n=after_n, limit=limit, chain=chain)
        )

    async def audit_head(self, *, chain: str | None = None) -> tuple[int, bytes]:
        """The end of a chain."""
        return await self._trips.ask(lambda: self._inner.audit_head(chain=chain))

    async def event_count(self) -> int:
        """How many events there are."""
        return await self._trips.ask(self._inner.event_count)

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts of a feed behind a number."""
        return await self._trips.ask(
            lambda: self._inner.read_feed(feed, after_n=after_n, limit=limit)
        )

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where a feed begins and ends."""
        return await self._trips.ask(lambda: self._inner.feed_ends(feed))

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of feeds."""
        return await self._trips.ask(lambda: self._inner.feeds(after=after, limit=limit))

    # ------------------------------------------------------------------ private

    def _joined(self) -> Seat:
        if self._seat is None:
            raise StoreFailed("this node has not joined")
        return self._seat

    async def _never(self) -> None:
        await asyncio.get_running_loop().create_future()
