"""The audit chain: each row's hash covers the row before it, the entry, and the entry's events.

    digest = SHA-256(each event of the entry's stream in the unit, field by field)
    hash   = SHA-256(hash of the row before, number, entry, which events, digest)

Every field is hashed with its length before it, so that no two different rows give the same
bytes. Whoever changes, removes, inserts or swaps rows, or changes an event that a row covers,
must compute all later rows anew, and then `heads` gives them away.

This module computes; it reads and writes nothing.
"""

import hashlib
import struct
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import AuditEntry, AuditRow, Event, Store, Unit

# The hash before the first row, as `Store.audit_head` gives it for an empty chain.
GENESIS = bytes(32)
# Two 64-bit numbers and four lengths: the part of a hashed row or event that has a fixed size.
_EVENT = struct.Struct(">IqqII")
_ROW = struct.Struct(">qqIIIIqq")
_EPOCH = struct.Struct(">q")
_NO_EVENTS = hashlib.sha256().digest()
# Rows that are walked at a time, with all events of their streams: some megabytes at the most.
WALKED_MAX = 200


class Head(Struct, frozen=True, kw_only=True):
    """The newest row of a chain, by number and hash; number 0 for an empty chain."""

    n: int = 0
    hash: bytes = GENESIS


class Fault(Struct, frozen=True, kw_only=True):
    """The first row that is not as it was written, and a sentence that says what is wrong."""

    n: int
    text: str


class Chain:
    """Links units behind a head. A plain value: nothing happens but computing."""

    __slots__ = ("head",)

    def __init__(self, head: Head) -> None:
        self.head = head

    def link(self, units: Sequence[Unit]) -> list[tuple[AuditRow, ...]]:
        """The rows of each unit, in order; the head moves behind the last of them."""
        n, newest = self.head.n, self.head.hash
        linked: list[tuple[AuditRow, ...]] = []
        for unit in units:
            rows: list[AuditRow] = []
            for entry in unit.audit:
                n += 1
                row = _next_row(n, newest, entry, unit.events)
                newest = row.hash
                rows.append(row)
            linked.append(tuple(rows))
        self.head = Head(n=n, hash=newest)
        return linked


def events_digest(events: Sequence[Event]) -> bytes:
    """SHA-256 over every field of the events, in order."""
    if not events:
        return _NO_EVENTS
    parts: list[bytes] = []
    for event in events:
        stream, kind, body = event.stream.encode(), event.kind.encode(), event.body
        fixed = _EVENT.pack(len(stream), event.seq, event.at_us, len(kind), len(body))
        parts += (fixed, stream, kind, body)
        if event.epoch:  # an event of the only node has none
            parts.append(_EPOCH.pack(event.epoch))
    return hashlib.sha256(b"".join(parts)).digest()


def row_hash(before: bytes, row: AuditRow) -> bytes:
    """The hash that the row must have behind a row with the hash `before`."""
    entry = row.entry
    who, what = entry.who.encode(), entry.what.encode()
    stream, why = entry.stream.encode(), entry.why.encode()
    lengths = (len(who), len(what), len(stream), len(why))
    fixed = _ROW.pack(row.n, entry.at_us, *lengths, row.first_seq, row.events)
    return hashlib.sha256(b"".join((before, fixed, who, what, stream, why, row.digest))).digest()


async def rows_of(store: Store, after_n: int = 0) -> AsyncIterator[AuditRow]:
    """The store's own chain behind row `after_n` (0: the whole), read a page at a time."""
    n = after_n
    while page := await store.audit_rows(after_n=n):
        for row in page:
            yield row
        n = page[-1].n


class Walked:
    """A store's own chain and the events that it covers, both read a page at a time.

    `pause` is awaited between pages: a long chain is walked beside other work.
    """

    def __init__(self, store: Store, *, pause: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._pause = pause
        self._found: dict[str, list[Event] | Corrupt] = {}

    async def rows(self, after_n: int) -> AsyncIterator[AuditRow]:
        """The rows behind a number, in order."""
        n = after_n
        while page := await self._store.audit_rows(after_n=n, limit=WALKED_MAX):
            streams = {row.entry.stream: None for row in page if row.events}
            self._found = await self._store.read_streams(streams.keys())
            for row in page:
                yield row
            n = page[-1].n
            await self._pause()

    async def events_of(self, stream: str) -> Sequence[Event]:
        """The events of a stream that the newest page names. Raises `Corrupt`."""
        found = self._found[stream]
        if isinstance(found, Corrupt):
            raise found
        return found


async def verify(
    rows: AsyncIterable[AuditRow],
    events_of: Callable[[str], Awaitable[Sequence[Event]]],
    heads: Mapping[int, bytes] | None = None,
    *,
    start: Head | None = None,
    on_corrupt: Callable[[str, Corrupt], None] | None = None,
) -> Head | Fault:
    """Walk the chain from its first row, or from behind `start`; its head, or its first fault.

    `events_of` reads a stream (`Store.read_stream`). `heads` are hashes by row number that were
    published (`heads.read`): a chain that was cut short or computed anew misses them. Events that
    cannot be read are a fault, unless `on_corrupt` takes their stream and the error: then the walk
    goes on, and holds the other rows against the chain.
    """
    published = heads or {}
    head = start or Head()
    async for row in rows:
        text = _row_fault(head, row, published.get(row.n))
        try:
            text = text or await _events_fault(row, events_of)
        except Corrupt as error:
            if on_corrupt is None:
                text = f"{_covered(row)} cannot be read: {error}"
            else:
                on_corrupt(row.entry.stream, error)
        if text:
            return Fault(n=head.n + 1, text=text)
        head = Head(n=row.n, hash=row.hash)
    newest = max(published, default=0)
    if newest > head.n:
        text = f"the chain ends at row {head.n}, but row {newest} was published: it was cut short"
        return Fault(n=head.n + 1, text=text)
    return head


def _next_row(n: int, before: bytes, entry: AuditEntry, events: Sequence[Event]) -> AuditRow:
    covered = [event for event in events if event.stream == entry.stream]
    row = AuditRow(
        n=n,
        entry=entry,
        first_seq=covered[0].seq if covered else 0,
        events=len(covered),
        digest=events_digest(covered),
        hash=b"",
    )
    return msgspec.structs.replace(row, hash=row_hash(before, row))


def _row_fault(head: Head, row: AuditRow, published: bytes | None) -> str | None:
    if row.n != head.n + 1:
        return f"row {head.n + 1} is missing: row {row.n} comes in its place"
    if row_hash(head.hash, row) != row.hash:
        behind = f"it does not follow from row {head.n}" if head.n else "it is not the first row"
        return f"row {row.n} is not as it was written, or {behind}"
    if published is not None and published != row.hash:
        return f"row {row.n} is not the one that was published: the chain was computed anew"
    return None


async def _events_fault(
    row: AuditRow, events_of: Callable[[str], Awaitable[Sequence[Event]]]
) -> str | None:
    if not row.events:
        return None
    events = await events_of(row.entry.stream)
    last_seq = row.first_seq + row.events - 1
    covered = [event for event in events if row.first_seq <= event.seq <= last_seq]
    if events_digest(covered) != row.digest:
        return f"{_covered(row)} are not as they were written"
    return None


def _covered(row: AuditRow) -> str:
    last_seq = row.first_seq + row.events - 1
    return f"events {row.first_seq} to {last_seq} of {row.entry.stream}, which row {row.n} covers,"
