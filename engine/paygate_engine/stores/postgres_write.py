"""A group as one statement for PostgreSQL: the arrays that it is made of, and what is in its way.

Computes only; sending is `postgres_commit.py`. Rows of one table are sorted by what makes them
unique, so that two nodes that want the same rows wait for each other in one direction.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec.structs import replace

from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Document,
    Event,
    Item,
    Unit,
)
from paygate_engine.stores.checksums import (
    claim_crc,
    document_crc,
    event_crc,
    item_crc,
    told_crc,
    wake_crc,
)
from paygate_engine.stores.postgres_durability import DURABLY
from paygate_engine.stores.rules import may_take, tally_moves

Row = tuple[Any, ...]
Columns = list[tuple[Any, ...]]

# The arguments of `paygate.commit_group_1`: seat, epoch, turn, chain, watched, and the columns.
COMMIT = f"SELECT paygate.commit_group_1({', '.join(f'${n}' for n in range(1, 70))}), {DURABLY}"


class _Muddled(Exception):
    """Units of the group stand in each other's way, so that it cannot be written as it is."""


def columns_of(units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]) -> Columns | None:
    """The columns of all rows of a group, in the order of the function's parameters.

    None where two units of the group claim one name against each other. What else two units both
    take the database finds.
    """
    events = [event for unit in units for event in unit.events]
    documents = {(each.kind, each.id): each for unit in units for each in unit.documents}
    wakes = {wake.stream: wake for unit in units for wake in unit.wakes}
    try:
        plain, taken = _claims(claim for unit in units for claim in unit.claims)
    except _Muddled:
        return None
    items, done = _items(units)
    moves = tally_moves(units)
    awake = [wake for wake in wakes.values() if wake.at_us is not None]
    closed = sorted(wake.stream for wake in wakes.values() if wake.at_us is None)
    touched = sorted({event.stream for event in events} - wakes.keys())
    return [
        *_turned(7, sorted(map(_event_row, events))),
        *_turned(4, plain),
        *_turned(5, taken),
        *_turned(7, items),
        *_turned(3, done),
        *_turned(9, [_document_row(documents[key]) for key in sorted(documents)]),
        *_turned(4, sorted(set(_link_rows(units)))),
        *_turned(3, sorted((wake.stream, wake.at_us, wake_crc(wake)) for wake in awake)),
        tuple(closed),
        tuple(touched),
        *_turned(3, [(stream, *moves[stream]) for stream in sorted(moves)]),
        *_turned(10, [_audit_row(row) for of_unit in audit for row in of_unit]),
        *_post_columns(units),
    ]


def watches(units: Iterable[Unit], watched: frozenset[str]) -> bool:
    """Whether the group moves the bulletin."""
    return any(document.kind in watched for unit in units for document in unit.documents)


def _turned(width: int, rows: Sequence[Row]) -> Columns:
    """Rows as columns."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _claims(claims: Iterable[Claim]) -> tuple[list[Row], list[Row]]:
    """Claims of free names, and those that are taken over from somebody, each by name.

    What one unit takes over, the next one may take over from it: of such only the newest holder
    is written, and taken over from whom the first one names.
    """
    newest: dict[str, Claim] = {}
    for claim in claims:
        before = newest.get(claim.name)
        if before is not None:
            if not may_take(claim, before.stream):
                raise _Muddled
            newest[claim.name] = replace(claim, replaces=before.replaces)
        else:
            newest[claim.name] = claim
    plain: list[Row] = []
    taken: list[Row] = []
    for name in sorted(newest):
        claim = newest[name]
        row = (name, claim.stream, claim.body, claim_crc(claim))
        if claim.replaces is None:
            plain.append(row)
        else:
            taken.append((*row, claim.replaces))
    return plain, taken


def _items(units: Sequence[Unit]) -> tuple[list[Row], list[Row]]:
    """Items, and what is done of those that are there already; each by queue and id.

    An item that is done in the same group is put in as done: parts of one statement do not see
    each other's rows.
    """
    done: dict[tuple[str, str], int] = {}
    for unit in units:
        for each in unit.done:
            done.setdefault((each.queue, each.id), each.at_us)
    rows: list[Row] = []
    for unit in units:
        rows += [_item_row(item, done.pop((item.queue, item.id), None)) for item in unit.items]
    rows.sort(key=lambda row: row[:2])
    return rows, [(*key, done[key]) for key in sorted(done)]


def _post_columns(units: Sequence[Unit]) -> Columns:
    """Feeds with how many posts each gets, and the posts: each counted back from the newest."""
    posts = [post for unit in units for post in unit.posts]
    counts: dict[str, int] = {}
    for post in posts:
        counts[post.feed] = counts.get(post.feed, 0) + 1
    left = dict(counts)
    rows: list[Row] = []
    for post in posts:
        left[post.feed] -= 1
        crc = told_crc(post.feed, post.at_us, post.body)
        rows.append((post.feed, left[post.feed], post.at_us, post.body, crc))
    return [*_turned(2, sorted(counts.items())), *_turned(5, rows)]


def _event_row(event: Event) -> Row:
    row = (event.stream, event.seq, event.at_us, event.kind, event.body)
    return (*row, event.epoch, event_crc(event))


def _item_row(item: Item, done_us: int | None) -> Row:
    row = (item.queue, item.id, item.key, item.at_us, item.body, item_crc(item))
    return (*row, done_us)


def _document_row(document: Document) -> Row:
    f1, f2, f3, f4, *_ = (*document.facets, None, None, None, None)
    names = (document.kind, document.id, document.scope)
    return (*names, f1, f2, f3, f4, document.body, document_crc(document))


def _link_rows(units: Sequence[Unit]) -> Iterator[Row]:
    for document in chain.from_iterable(unit.documents for unit in units):
        for name, value in document.links:
            yield (document.kind, name, value, document.id)


def _audit_row(row: AuditRow) -> Row:
    entry = row.entry
    text = (entry.who, entry.what, entry.stream, entry.why)
    return (row.n, entry.at_us, *text, row.first_seq, row.events, row.digest, row.hash)


class Prefetched:
    """What the database holds of all that a group wants, for `find_conflicts`."""

    __slots__ = ("_events", "_holders", "_items", "_tallies")

    def __init__(
        self,
        events: Iterable[tuple[str, int]],
        holders: Mapping[str, str],
        items: Iterable[tuple[str, str]],
        tallies: Mapping[str, tuple[int, int]],
    ) -> None:
        self._events = frozenset(events)
        self._holders = holders
        self._items = frozenset(items)
        self._tallies = tallies

    def has_event(self, stream: str, seq: int) -> bool:
        """Whether the stream has an event of this number."""
        return (stream, seq) in self._events

    def holder(self, name: str) -> str | None:
        """The stream that holds the claim, or None."""
        return self._holders.get(name)

    def has_item(self, queue: str, id: str) -> bool:  # noqa: A002 - as in Taken
        """Whether the id was ever put into the queue and not forgotten."""
        return (queue, id) in self._items

    def tally(self, stream: str) -> tuple[int, int]:
        """Limit and used of a stream."""
        return self._tallies.get(stream, (0, 0))
