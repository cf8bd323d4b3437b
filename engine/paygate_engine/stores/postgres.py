"""The shared store: a PostgreSQL database that many nodes write to.

Groups go over one connection, whose outcomes are certain (`postgres_commit.py`); everything else
goes over a few others (`postgres_pool.py`). Only the primary is read, since a standby shows a past
in which a payment may not have been refunded yet.

The first error that says that the store itself is broken (damage, a schema that is not ours) makes
it refuse everything: the process must end, as it must when its epoch is over. A database that is
away is no such error: commits wait for it, reads raise `Overloaded`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from paygate_engine.clock import US_PER_S, system_rng
from paygate_engine.errors import (
    Corrupt,
    EngineError,
    Fenced,
    Overloaded,
    StoreFailed,
    StoreFull,
    StoreRefused,
)
from paygate_engine.stores import postgres_check, postgres_forget, postgres_read, postgres_schema
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
    Document,
    Event,
    FeedEnds,
    Item,
    Kind,
    Posted,
    Query,
    Unit,
    Wake,
)
from paygate_engine.stores.postgres_commit import COMMIT_S, Committer
from paygate_engine.stores.postgres_link import CONNECT_S, Answered, Links, Lost, Unreachable
from paygate_engine.stores.postgres_nodes import Nodes
from paygate_engine.stores.postgres_pool import READ_S, READERS, Pool
from paygate_engine.stores.postgres_words import Words
from paygate_engine.stores.row_check import Looked, Place
from paygate_engine.stores.row_reading import to_wake
from paygate_engine.stores.rules import Kinds, page_size
from paygate_engine.stores.shared import ADOPT_MAX, LEASE_S, Beat, NodeRow, Seat

T = TypeVar("T")

# A node that ends gives its seat back if that takes no longer than this; if not, it is buried.
LEAVE_S = 2.0

_log = logging.getLogger(__name__)


class PostgresStore:
    """A `SharedStore` in the database that the DSN names, which must exist; hosts by commas.

    `read_only` looks on: it creates nothing and never joins. `statements` are kept prepared by each
    connection; it must stay 0 behind a pooler. `durable=False` takes a server that forgets commits,
    for tests alone. `on_failed` hears once that the store has failed, so that the process ends.
    """

    def __init__(
        self,
        dsn: str,
        kinds: Sequence[Kind],
        *,
        watched: Sequence[str] = (),
        read_only: bool = False,
        rng: random.Random | None = None,
        on_failed: Callable[[StoreFailed], None] | None = None,
        lease_s: float = LEASE_S,
        connect_s: float = CONNECT_S,
        commit_s: float = COMMIT_S,
        read_s: float = READ_S,
        readers: int = READERS,
        statements: int = 0,
        durable: bool = True,
    ) -> None:
        self.read_only = read_only
        self._durable = durable
        self._on_failed = on_failed
        self._kind_list = tuple(kinds)
        self._kinds = Kinds(kinds)
        self._links = Links(dsn, statements=statements, writes=not read_only, connect_s=connect_s)
        rng = rng or system_rng()
        self._pool = Pool(self._links, rng, size=readers, read_s=read_s)
        self._committer = Committer(self._links, rng, watched=frozenset(watched), commit_s=commit_s)
        self._nodes = Nodes(self._pool, lease_us=round(lease_s * US_PER_S))
        self._words = Words(self._links, self._pool)
        self._seat: Seat | None = None
        self._left = False
        self._told = False
        self._open = False
        self._failed: StoreFailed | None = None
        self._writing: set[asyncio.Task[Any]] = set()

    @property
    def log_bytes(self) -> int:
        """The server's log is the server's business."""
        return 0

    @property
    def seat(self) -> Seat | None:
        """The own place, once joined."""
        return self._seat

    @property
    def away(self) -> bool:
        """Whether the database cannot be reached just now, or a commit's outcome is being asked."""
        return self._links.away or self._committer.asking or self._committer.shut_out

    async def open(self) -> None:
        """Look at the server, and bring the schema up to date. Raises `StoreRefused`."""
        try:
            link = await self._links.connect()
            try:
                await postgres_schema.check_server(link, durable=self._durable)
                if self.read_only:
                    await postgres_schema.check(link, self._kind_list)
                else:
                    await postgres_schema.upgrade(link, self._kind_list)
            finally:
                link.end()
        except Unreachable as error:
            if error.refused:
                raise StoreRefused(f"PostgreSQL refuses the login: {error}") from error
            raise StoreRefused(f"the database cannot be reached ({error}): start it") from error
        except (Lost, Answered) as error:
            raise StoreRefused(f"the database was not opened ({error})") from error
        self._committer.open()
        self._words.open()
        self._open = True

    async def close(self) -> None:
        """End all connections. Idempotent. What is being written is not waited for.

        The seat stays taken: who means to end calls `leave` before.
        """
        self._open = False
        self._committer.close()
        if self._writing:
            await asyncio.wait(self._writing)
        self._words.close()
        self._pool.close()

    # Nodes

    async def join(self, name: str) -> Seat:
        """Take a free seat, or a new one, under a new epoch. Raises `Overloaded`."""
        self._check_writable()
        seat = await self._do(self._nodes.join(name))
        self._committer.begin()
        self._words.name(seat.epoch)
        self._seat, self._left = seat, False
        return seat

    async def leave(self) -> None:
        """Give the seat back: what is open may be adopted at once. Idempotent; never waits long."""
        seat = self._seat
        if seat is None or self._left or not self._open:
            return
        self._left = True
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._nodes.leave(seat)
        except (EngineError, TimeoutError) as error:
            _log.warning("seat %s was not given back, and will run out: %s", seat.seat, error)

    async def beat(self) -> Beat:
        """Prolong the own lease. Raises `Fenced` where it was buried, `Overloaded` when away."""
        return await self._do(self._nodes.beat(self._joined()))

    async def bury(self) -> list[int]:
        """End every epoch whose lease ran out; those that this call ended."""
        return await self._do(self._nodes.bury(self._joined()))

    async def adopt(self, *, limit: int = ADOPT_MAX) -> list[Wake]:
        """Take over open streams whose owner is over; at most `limit`. Waits as a commit does."""
        rows = await self._write(self._committer.adopt(self._joined(), page_size(limit)))
        return sorted((to_wake(row) for row in rows), key=lambda wake: wake.stream)

    async def take_duty(self, name: str) -> bool:
        """Whether the named duty is the own now: it was, or it was nobody's who lives."""
        return await self._do(self._nodes.take_duty(self._joined(), name))

    async def drop_duty(self, name: str) -> None:
        """Give a duty back."""
        await self._do(self._nodes.drop_duty(self._joined(), name))

    async def nodes(self) -> list[NodeRow]:
        """All seats, by number."""
        return await self._do(self._nodes.rows())

    async def chains(self) -> list[str]:
        """The names of all audit chains, in order."""
        return await self._do(self._nodes.chains())

    async def hear(self) -> Sequence[str]:
        """News from other nodes, or nothing after a while. Only a hint to look."""
        self._check_usable()
        return await self._words.hear()

    def say(self, *words: str) -> None:
        """Let the other nodes hear these words soon, if they can be reached. Never waits."""
        if self._open:
            self._words.say(words)

    # Writing

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Commit a group in one statement, or nothing of it where a unit conflicts.

        Waits for as long as the database is away. Who is cancelled meanwhile is not told how it
        ended; the group goes on.
        """
        seat = self._joined()
        for unit in units:
            for document in unit.documents:
                self._kinds.check(document)
        return await self._write(self._committer.commit(seat, units, audit))

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items done before a time, the oldest first; how many went."""
        self._check_writable()
        work = postgres_forget.forget_items(self._pool.run, queue, done_before_us, page_size(limit))
        return await self._do(work)

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts, as far as all are older than a time; how many went."""
        self._check_writable()
        work = postgres_forget.forget_posts(self._pool.run, feed, before_us, page_size(limit))
        return await self._do(work)

    async def forget_documents(
        self, *, kind: str, id_before: str, facet: str | None = None, limit: int = 1_000
    ) -> int:
        """Delete documents with smaller ids, the oldest first; how many went."""
        self._check_writable()
        work = postgres_forget.forget_documents(
            self._pool.run, kind, id_before, facet, page_size(limit)
        )
        return await self._do(work)

    # Reading

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number, in order. Raises `Corrupt` for one that changed."""
        return await self._do(postgres_read.stream_events(self._pool.run, stream, after_seq))

    async def read_streams(self, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
        """Many streams at once, each whole, or why it is not."""
        return await self._do(postgres_read.events_of_streams(self._pool.run, streams))

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The document as committed, or None."""
        return await self._do(postgres_read.document(self._pool.run, kind, id))

    def peek_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """None: the database must be asked."""
        return None

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        demanded = self._kinds.positions(query)
        return await self._do(postgres_read.page_of(self._pool.run, query, demanded))

    async def read_claim(self, name: str) -> Claim | None:
        """Who holds the name."""
        return await self._do(postgres_read.claim(self._pool.run, name))

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items of a queue that are not done, by id."""
        return await self._do(postgres_read.waiting_items(self._pool.run, queue, after_id, limit))

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams by name, a page at a time, whoever owns them."""
        return await self._do(postgres_read.open_wakes(self._pool.run, after, limit))

    async def audit_rows(
        self, *, after_n: int = 0, limit: int = 1_000, chain: str | None = None
    ) -> list[AuditRow]:
        """A chain in order, a page at a time; None: the own one."""
        name = self._chain(chain)
        if name is None:
            return []
        return await self._do(postgres_read.audit_page(self._pool.run, name, after_n, limit))

    async def audit_head(self, *, chain: str | None = None) -> tuple[int, bytes]:
        """Number and hash of a chain's newest row; (0, 32 zero bytes) for an empty chain."""
        name = self._chain(chain)
        if name is None:
            return postgres_read.GENESIS
        return await self._do(postgres_read.audit_end(self._pool.run, name))

    async def event_count(self) -> int:
        """How many events there are in all streams."""
        return await self._do(postgres_read.event_count(self._pool.run))

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts behind a number, the oldest first."""
        return await self._do(postgres_read.feed_page(self._pool.run, feed, after_n, limit))

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where the feed begins and ends."""
        return await self._do(postgres_read.feed_ends(self._pool.run, feed))

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of all feeds that ever had a post, in order."""
        return await self._do(postgres_read.feed_names(self._pool.run, after, limit))

    async def tally(self, stream: str) -> tuple[int, int] | None:
        """A stream's limit and what is used of it; None where nothing was ever tallied."""
        return await self._do(postgres_read.tally(self._pool.run, stream))

    async def check_rows(self, place: Place, *, limit: int = 1_000) -> Looked:
        """Hold the next rows, events first, against their checksums; start at `Place()`."""
        return await self._do(postgres_check.check_rows(self._pool.run, place, limit))

    async def _do(self, work: Awaitable[T]) -> T:
        """Do what needs a store that is open and sound; whatever breaks it breaks it for good."""
        try:
            self._check_usable()
            return await work
        except (Corrupt, Overloaded, StoreFull, StoreRefused, asyncio.CancelledError):
            raise
        except Fenced as error:
            # The node must end. Reading harms nobody, and each write is fenced by the database.
            self._tell(error)
            raise
        except ValueError:
            raise  # an argument that is no value for a database: nothing was sent
        except BaseException as error:
            raise self._fail(error) from error
        finally:
            # A coroutine that was never begun would be warned of.
            if asyncio.iscoroutine(work):
                work.close()

    async def _write(self, work: Awaitable[T]) -> T:
        """Do it in a task of its own, which goes on when whoever asked for it is cancelled."""
        task = asyncio.ensure_future(self._do(work))
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked for it may have gone

    def _joined(self) -> Seat:
        self._check_usable()
        self._check_writable()
        if self._seat is None:
            raise StoreFailed("nothing is written before the node has joined")
        return self._seat

    def _chain(self, name: str | None) -> str | None:
        if name is not None:
            return name
        # Before the node has joined there is no own chain, and no other is taken for it.
        return None if self._seat is None else self._seat.chain

    def _check_writable(self) -> None:
        if self.read_only:
            raise StoreRefused("the database was opened to be read only")

    def _check_usable(self) -> None:
        if self._failed is not None:
            raise StoreFailed("the store has failed before") from self._failed
        if not self._open:
            raise StoreFailed("the store is not open")

    def _fail(self, error: BaseException) -> StoreFailed:
        if not self._open:
            return error if isinstance(error, StoreFailed) else StoreFailed(f"closed: {error!r}")
        if self._failed is None:
            self._failed = (
                error
                if isinstance(error, StoreFailed)
                else StoreFailed(f"PostgreSQL: {type(error).__name__}: {error}")
            )
            self._tell(self._failed)
        return self._failed

    def _tell(self, failure: StoreFailed) -> None:
        if self._on_failed is not None and not self._told:
            self._told = True
            self._on_failed(failure)
