"""A store that forgets everything with its process: for tests, simulations and yardsticks.

It keeps every promise of a store but durability, and it is deterministic: no threads, no clock,
and no method ever gives up the loop. What was written survives `close` and `open`, so that a
test can play a restart.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from paygate_engine.errors import Corrupt, StoreFailed
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
from paygate_engine.stores.memory_tables import MemoryTables
from paygate_engine.stores.rules import page_size

# The only chain of who writes alone.
_CHAIN = ""


class MemoryStore:
    """A `Store` in dictionaries; every call is complete when it returns.

    `tables` are those of somebody else that this one shall share; its own, for `kinds`, otherwise.
    """

    def __init__(self, kinds: Sequence[Kind] = (), *, tables: MemoryTables | None = None) -> None:
        self.tables = MemoryTables(kinds) if tables is None else tables
        self._open = False

    @property
    def log_bytes(self) -> int:
        """There is no log."""
        return 0

    @property
    def away(self) -> bool:
        """It is here."""
        return False

    async def open(self) -> None:
        """Take calls."""
        self._open = True

    async def close(self) -> None:
        """Take no more calls; what was written stays for the next `open`."""
        self._open = False

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Apply the group, or nothing of it where a unit conflicts."""
        self._check_open()
        return self.tables.commit(units, audit, chain=_CHAIN)

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number, in order."""
        self._check_open()
        events = self.tables.streams.get(stream, {})
        return [events[seq] for seq in sorted(events) if seq > after_seq]

    async def read_streams(self, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
        """Many streams at once."""
        return {stream: await self.read_stream(stream) for stream in streams}

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The document as committed, or None."""
        return self.peek_document(kind, id)

    def peek_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The same: all that there is can be said at once."""
        self._check_open()
        return self.tables.documents.get(kind, {}).get(id)

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        self._check_open()
        demanded = self.tables.kinds.positions(query)
        limit = page_size(query.limit)
        page: list[Document] = []
        for document in self._newest_first(query):
            if len(page) == limit:
                break
            if query.scope is not None and document.scope != query.scope:
                continue
            if all(document.facets[at] == value for at, value in demanded.items()):
                page.append(document)
        return page

    async def read_claim(self, name: str) -> Claim | None:
        """Who holds the name."""
        self._check_open()
        return self.tables.claims.get(name)

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items of a queue that are not done, by id."""
        self._check_open()
        items, undone = self.tables.items.get(queue, {}), self.tables.undone.get(queue, [])
        start = bisect_right(undone, after_id)
        return [items[item_id] for item_id in undone[start : start + page_size(limit)]]

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams by name, a page at a time."""
        self._check_open()
        names = sorted(name for name in self.tables.wakes if name > after)[: page_size(limit)]
        return [Wake(stream=name, at_us=self.tables.wakes[name]) for name in names]

    async def audit_rows(self, *, after_n: int = 0, limit: int = 1_000) -> list[AuditRow]:
        """The chain in order, a page at a time."""
        self._check_open()
        return self.tables.chain_page(_CHAIN, after_n=after_n, limit=limit)

    async def audit_head(self) -> tuple[int, bytes]:
        """Number and hash of the newest audit row."""
        self._check_open()
        return self.tables.chain_head(_CHAIN)

    async def event_count(self) -> int:
        """How many events there are in all streams."""
        self._check_open()
        return sum(map(len, self.tables.streams.values()))

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items done before a time, the oldest first; how many went."""
        self._check_open()
        done = self.tables.done_us.get(queue, {})
        old = sorted((at_us, item_id) for item_id, at_us in done.items() if at_us < done_before_us)[
            : page_size(limit)
        ]
        for _, item_id in old:
            del self.tables.items[queue][item_id], done[item_id]
        return len(old)

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts behind a number, the oldest first."""
        self._check_open()
        kept = self.tables.feeds.get(feed, deque())
        first = self.tables.feed_ends.get(feed, 0) - len(kept) + 1
        start = max(0, after_n + 1 - first)
        return list(islice(kept, start, start + page_size(limit)))

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where the feed begins and ends."""
        self._check_open()
        last = self.tables.feed_ends.get(feed, 0)
        return FeedEnds(first=last - len(self.tables.feeds.get(feed, ())) + 1, last=last)

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of all feeds that ever had a post, in order."""
        self._check_open()
        return sorted(name for name in self.tables.feed_ends if name > after)[: page_size(limit)]

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts, as far as all are older than a time; how many went."""
        self._check_open()
        kept = self.tables.feeds.get(feed, deque())
        gone = 0
        while kept and kept[0].at_us < before_us and gone < page_size(limit):
            kept.popleft()
            gone += 1
        return gone

    async def forget_documents(
        self, *, kind: str, id_before: str, facet: str | None = None, limit: int = 1_000
    ) -> int:
        """Delete documents with smaller ids, the oldest first; how many went."""
        self._check_open()
        ids, documents = self.tables.ids.get(kind, []), self.tables.documents.get(kind, {})
        found = (
            of_id
            for of_id in ids[: bisect_left(ids, id_before)]
            if facet is None or documents[of_id].facets[:1] == (facet,)
        )
        old = list(islice(found, page_size(limit)))
        for of_id in old:
            del ids[bisect_left(ids, of_id)]
            del documents[of_id]
        return len(old)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreFailed("the store is not open")

    def _newest_first(self, query: Query) -> Iterator[Document]:
        if query.link is None:
            ids = self.tables.ids.get(query.kind, [])
        else:
            ids = self.tables.links.get((query.kind, *query.link), [])
        first = 0 if query.id_from is None else bisect_left(ids, query.id_from)
        last = len(ids) if query.id_before is None else bisect_left(ids, query.id_before)
        documents = self.tables.documents.get(query.kind, {})
        for at in range(last - 1, first - 1, -1):
            yield documents[ids[at]]
