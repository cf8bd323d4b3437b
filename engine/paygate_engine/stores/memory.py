"""A store that forgets everything with its process: for tests, simulations and yardsticks.

It keeps every promise of a store but durability, and it is deterministic: no threads, no clock,
and no method ever gives up the loop. What was written survives `close` and `open`, so that a
test can play a restart.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec.structs import replace

from paygate_engine.errors import StoreFailed
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
    Document,
    Done,
    Event,
    FeedEnds,
    Item,
    Kind,
    Posted,
    Query,
    Unit,
    Wake,
)
from paygate_engine.stores.rules import Kinds, find_conflicts, page_size

_GENESIS = (0, bytes(32))


class MemoryStore:
    """A `Store` in dictionaries; every call is complete when it returns."""

    def __init__(self, kinds: Sequence[Kind] = ()) -> None:
        self._kinds = Kinds(kinds)
        self._open = False
        self._streams: dict[str, dict[int, Event]] = {}
        self._documents: dict[str, dict[str, Document]] = {}
        self._ids: dict[str, list[str]] = {}  # of each kind, sorted
        self._links: dict[tuple[str, str, str], list[str]] = {}  # ids, sorted
        self._claims: dict[str, Claim] = {}
        self._items: dict[str, dict[str, Item]] = {}
        self._undone: dict[str, list[str]] = {}  # ids of each queue, sorted
        self._done_us: dict[str, dict[str, int]] = {}
        self._wakes: dict[str, int] = {}
        self._feeds: dict[str, deque[Posted]] = {}
        self._feed_ends: dict[str, int] = {}
        self._audit: list[AuditRow] = []

    @property
    def log_bytes(self) -> int:
        """There is no log."""
        return 0

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
        for unit in units:
            for document in unit.documents:
                self._kinds.check(document)
        answers = find_conflicts(units, self)
        if any(answers):
            return answers
        rows = [row for of_unit in audit for row in of_unit]
        if any(row.n != len(self._audit) + at for at, row in enumerate(rows, 1)):
            raise StoreFailed("an audit row is out of turn: somebody else extends the chain")
        for unit in units:
            self._apply(unit)
        self._audit += rows
        return answers

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number, in order."""
        self._check_open()
        events = self._streams.get(stream, {})
        return [events[seq] for seq in sorted(events) if seq > after_seq]

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The document as committed, or None."""
        self._check_open()
        return self._documents.get(kind, {}).get(id)

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        self._check_open()
        demanded = self._kinds.positions(query)
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
        return self._claims.get(name)

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items of a queue that are not done, by id."""
        self._check_open()
        items, undone = self._items.get(queue, {}), self._undone.get(queue, [])
        start = bisect_right(undone, after_id)
        return [items[item_id] for item_id in undone[start : start + page_size(limit)]]

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams by name, a page at a time."""
        self._check_open()
        names = sorted(name for name in self._wakes if name > after)[: page_size(limit)]
        return [Wake(stream=name, at_us=self._wakes[name]) for name in names]

    async def audit_rows(self, *, after_n: int = 0, limit: int = 1_000) -> list[AuditRow]:
        """The chain in order, a page at a time."""
        self._check_open()
        start = max(0, after_n)
        return self._audit[start : start + page_size(limit)]

    async def audit_head(self) -> tuple[int, bytes]:
        """Number and hash of the newest audit row."""
        self._check_open()
        return (self._audit[-1].n, self._audit[-1].hash) if self._audit else _GENESIS

    async def event_count(self) -> int:
        """How many events there are in all streams."""
        self._check_open()
        return sum(map(len, self._streams.values()))

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items done before a time, the oldest first; how many went."""
        self._check_open()
        done = self._done_us.get(queue, {})
        old = sorted((at_us, item_id) for item_id, at_us in done.items() if at_us < done_before_us)[
            : page_size(limit)
        ]
        for _, item_id in old:
            del self._items[queue][item_id], done[item_id]
        return len(old)

    async def forget_claims(self, names: Sequence[str]) -> None:
        """Delete claims that bind no more."""
        self._check_open()
        for name in names:
            self._claims.pop(name, None)

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts behind a number, the oldest first."""
        self._check_open()
        kept = self._feeds.get(feed, deque())
        first = self._feed_ends.get(feed, 0) - len(kept) + 1
        start = max(0, after_n + 1 - first)
        return list(islice(kept, start, start + page_size(limit)))

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where the feed begins and ends."""
        self._check_open()
        last = self._feed_ends.get(feed, 0)
        return FeedEnds(first=last - len(self._feeds.get(feed, ())) + 1, last=last)

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of all feeds that ever had a post, in order."""
        self._check_open()
        return sorted(name for name in self._feed_ends if name > after)[: page_size(limit)]

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts, as far as all are older than a time; how many went."""
        self._check_open()
        kept = self._feeds.get(feed, deque())
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
        ids, documents = self._ids.get(kind, []), self._documents.get(kind, {})
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

    # What is taken: this store is the `Taken` of its own groups.

    def has_event(self, stream: str, seq: int) -> bool:
        """Whether the stream has an event of this number."""
        return seq in self._streams.get(stream, {})

    def holder(self, name: str) -> str | None:
        """The stream that holds the claim, or None."""
        claim = self._claims.get(name)
        return None if claim is None else claim.stream

    def has_item(self, queue: str, id: str) -> bool:  # noqa: A002 - as in Taken
        """Whether the id was ever put into the queue and not forgotten."""
        return id in self._items.get(queue, {})

    def _check_open(self) -> None:
        if not self._open:
            raise StoreFailed("the store is not open")

    def _apply(self, unit: Unit) -> None:
        for event in unit.events:
            self._streams.setdefault(event.stream, {})[event.seq] = event
        for document in unit.documents:
            self._put(document)
        for claim in unit.claims:
            self._claims[claim.name] = replace(claim, replaces=None)
        for item in unit.items:
            self._items.setdefault(item.queue, {})[item.id] = item
            insort(self._undone.setdefault(item.queue, []), item.id)
        for done in unit.done:
            self._finish(done)
        for post in unit.posts:
            n = self._feed_ends[post.feed] = self._feed_ends.get(post.feed, 0) + 1
            posted = Posted(feed=post.feed, n=n, at_us=post.at_us, body=post.body)
            self._feeds.setdefault(post.feed, deque()).append(posted)
        for wake in unit.wakes:
            if wake.at_us is None:
                self._wakes.pop(wake.stream, None)
            else:
                self._wakes[wake.stream] = wake.at_us

    def _put(self, document: Document) -> None:
        of_kind = self._documents.setdefault(document.kind, {})
        if document.id not in of_kind:
            insort(self._ids.setdefault(document.kind, []), document.id)
        of_kind[document.id] = replace(document, links=())
        for name, value in document.links:
            ids = self._links.setdefault((document.kind, name, value), [])
            at = bisect_left(ids, document.id)
            if at == len(ids) or ids[at] != document.id:
                ids.insert(at, document.id)

    def _finish(self, done: Done) -> None:
        undone = self._undone.get(done.queue, [])
        at = bisect_left(undone, done.id)
        if at < len(undone) and undone[at] == done.id:
            del undone[at]
            self._done_us.setdefault(done.queue, {})[done.id] = done.at_us

    def _newest_first(self, query: Query) -> Iterator[Document]:
        if query.link is None:
            ids = self._ids.get(query.kind, [])
        else:
            ids = self._links.get((query.kind, *query.link), [])
        first = 0 if query.id_from is None else bisect_left(ids, query.id_from)
        last = len(ids) if query.id_before is None else bisect_left(ids, query.id_before)
        documents = self._documents.get(query.kind, {})
        for at in range(last - 1, first - 1, -1):
            yield documents[ids[at]]
