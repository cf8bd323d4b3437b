"""What a memory store holds, in dictionaries: one set of tables, written to by whole groups.

A store is a handle on tables; several handles may share one set, as several processes share a
database (`shared_memory.py`). Reading is the handles' business.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace

from paygate_engine.errors import StoreFailed
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
    Document,
    Done,
    Event,
    Item,
    Kind,
    Posted,
    Unit,
)
from paygate_engine.stores.rules import Kinds, Tallied, find_conflicts, page_size

_GENESIS = (0, bytes(32))


class MemoryTables:
    """Everything that was committed; these tables are the `Taken` of the groups they take in."""

    def __init__(self, kinds: Sequence[Kind] = ()) -> None:
        self.kinds = Kinds(kinds)
        self.streams: dict[str, dict[int, Event]] = {}
        self.documents: dict[str, dict[str, Document]] = {}
        self.ids: dict[str, list[str]] = {}  # of each kind, sorted
        self.links: dict[tuple[str, str, str], list[str]] = {}  # ids, sorted
        self.claims: dict[str, Claim] = {}
        self.items: dict[str, dict[str, Item]] = {}
        self.undone: dict[str, list[str]] = {}  # ids of each queue, sorted
        self.done_us: dict[str, dict[str, int]] = {}
        self.wakes: dict[str, int] = {}
        self.feeds: dict[str, deque[Posted]] = {}
        self.feed_ends: dict[str, int] = {}
        self.chains: dict[str, list[AuditRow]] = {}

    def commit(
        self,
        units: Sequence[Unit],
        audit: Sequence[Sequence[AuditRow]],
        *,
        chain: str,
        tallied: Tallied | None = None,
    ) -> list[Conflict | None]:
        """Apply the group, or nothing of it where a unit conflicts; its rows extend `chain`."""
        for unit in units:
            for document in unit.documents:
                self.kinds.check(document)
        answers = find_conflicts(units, self, tallied=tallied)
        if any(answers):
            return answers
        rows = [row for of_unit in audit for row in of_unit]
        before = len(self.chains.get(chain, ()))
        if any(row.n != before + at for at, row in enumerate(rows, 1)):
            raise StoreFailed("an audit row is out of turn: somebody else extends the chain")
        for unit in units:
            self._apply(unit)
        if rows:
            self.chains.setdefault(chain, []).extend(rows)
        return answers

    def chain_page(self, chain: str, *, after_n: int, limit: int) -> list[AuditRow]:
        """Rows of a chain behind a number, in order."""
        start = max(0, after_n)
        return self.chains.get(chain, [])[start : start + page_size(limit)]

    def chain_head(self, chain: str) -> tuple[int, bytes]:
        """Number and hash of a chain's newest row."""
        rows = self.chains.get(chain)
        return (rows[-1].n, rows[-1].hash) if rows else _GENESIS

    def has_event(self, stream: str, seq: int) -> bool:
        """Whether the stream has an event of this number."""
        return seq in self.streams.get(stream, {})

    def holder(self, name: str) -> str | None:
        """The stream that holds the claim, or None."""
        claim = self.claims.get(name)
        return None if claim is None else claim.stream

    def has_item(self, queue: str, id: str) -> bool:  # noqa: A002 - as in Taken
        """Whether the id was ever put into the queue and not forgotten."""
        return id in self.items.get(queue, {})

    def _apply(self, unit: Unit) -> None:
        for event in unit.events:
            self.streams.setdefault(event.stream, {})[event.seq] = event
        for document in unit.documents:
            self._put(document)
        for claim in unit.claims:
            self.claims[claim.name] = replace(claim, replaces=None)
        for item in unit.items:
            self.items.setdefault(item.queue, {})[item.id] = item
            insort(self.undone.setdefault(item.queue, []), item.id)
        for done in unit.done:
            self._finish(done)
        for post in unit.posts:
            n = self.feed_ends[post.feed] = self.feed_ends.get(post.feed, 0) + 1
            posted = Posted(feed=post.feed, n=n, at_us=post.at_us, body=post.body)
            self.feeds.setdefault(post.feed, deque()).append(posted)
        for wake in unit.wakes:
            if wake.at_us is None:
                self.wakes.pop(wake.stream, None)
            else:
                self.wakes[wake.stream] = wake.at_us

    def _put(self, document: Document) -> None:
        of_kind = self.documents.setdefault(document.kind, {})
        if document.id not in of_kind:
            insort(self.ids.setdefault(document.kind, []), document.id)
        of_kind[document.id] = replace(document, links=())
        for name, value in document.links:
            ids = self.links.setdefault((document.kind, name, value), [])
            at = bisect_left(ids, document.id)
            if at == len(ids) or ids[at] != document.id:
                ids.insert(at, document.id)

    def _finish(self, done: Done) -> None:
        undone = self.undone.get(done.queue, [])
        at = bisect_left(undone, done.id)
        if at < len(undone) and undone[at] == done.id:
            del undone[at]
            self.done_us.setdefault(done.queue, {})[done.id] = done.at_us
