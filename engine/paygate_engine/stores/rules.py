"""Rules that every store keeps in the same way, so that its peers cannot differ in them.

Which unit of a group is left out, how long a page may be, and which facets a document has. How
rows are found is the store's business: it hands in a `Taken`, and a shared one its tallies.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import (
    FACETS_MAX,
    PAGE_MAX,
    Claim,
    Conflict,
    Document,
    Event,
    Kind,
    Query,
    Unit,
)

# A stream's limit and what is used of it, as a store has them; (0, 0) where there is no row.
Tallied = Callable[[str], tuple[int, int]]


class Taken(Protocol):
    """What a store holds already, as far as uniqueness is concerned."""

    def has_event(self, stream: str, seq: int) -> bool:
        """Whether the stream has an event of this number."""
        ...

    def holder(self, name: str) -> str | None:
        """The stream that holds the claim, or None."""
        ...

    def has_item(self, queue: str, id: str) -> bool:  # noqa: A002
        """Whether the id was ever put into the queue and not forgotten."""
        ...


class _Reserved:
    """What the accepted units of a group take, on top of what the store holds."""

    __slots__ = ("_below", "_tallied", "claims", "events", "items", "tallies")

    def __init__(self, below: Taken, tallied: Tallied | None) -> None:
        self._below = below
        self._tallied = tallied
        self.events: set[tuple[str, int]] = set()
        self.claims: dict[str, str] = {}
        self.items: set[tuple[str, str]] = set()
        self.tallies: dict[str, tuple[int, int]] = {}

    def above(self) -> "_Reserved":
        """A place for what one more unit takes, on top of this."""
        return _Reserved(self, None if self._tallied is None else self.tally)

    def has_event(self, stream: str, seq: int) -> bool:
        return (stream, seq) in self.events or self._below.has_event(stream, seq)

    def holder(self, name: str) -> str | None:
        return self.claims.get(name) or self._below.holder(name)

    def has_item(self, queue: str, id: str) -> bool:  # noqa: A002 - the protocol's name
        return (queue, id) in self.items or self._below.has_item(queue, id)

    def tally(self, stream: str) -> tuple[int, int]:
        found = self.tallies.get(stream)
        if found is None and self._tallied is not None:
            found = self._tallied(stream)
        return found or (0, 0)

    def broken_tally(self, unit: Unit) -> str | None:
        """The first stream whose rule the unit's moves would break; notes them down otherwise."""
        if self._tallied is None:
            return None
        for stream, move in tally_moves((unit,)).items():
            moved = add(self.tally(stream), move)
            if not may_stand(moved):
                return stream
            self.tallies[stream] = moved
        return None

    def merge(self, other: "_Reserved") -> None:
        self.events |= other.events
        self.claims |= other.claims
        self.items |= other.items
        self.tallies |= other.tallies


def find_conflicts(
    units: Sequence[Unit], taken: Taken, *, tallied: Tallied | None = None
) -> list[Conflict | None]:
    """What stands in the way of each unit, taken one after the other; None: nothing.

    A unit with a conflict is left out whole: what it would have taken is free for those behind it.
    Tallies count where the store keeps them (`tallied`). A group is seen by others all at once, so
    its sums decide: only where those break a rule the units are looked at one by one.
    """
    answers = _one_by_one(units, _Reserved(taken, None))
    if tallied is None:
        return answers
    accepted = (unit for unit, answer in zip(units, answers, strict=True) if answer is None)
    moves = tally_moves(accepted)
    if all(may_stand(add(tallied(stream), move)) for stream, move in moves.items()):
        return answers
    return _one_by_one(units, _Reserved(taken, tallied))


def tally_moves(units: Iterable[Unit]) -> dict[str, tuple[int, int]]:
    """By how much the units move each stream's limit and what is used of it, in all."""
    moves: dict[str, tuple[int, int]] = {}
    for unit in units:
        for tally in unit.tallies:
            before = moves.get(tally.stream, (0, 0))
            moves[tally.stream] = add(before, (tally.limit, tally.used))
    return moves


def add(tally: tuple[int, int], move: tuple[int, int]) -> tuple[int, int]:
    """A tally (limit, used) behind a move."""
    return tally[0] + move[0], tally[1] + move[1]


def may_stand(tally: tuple[int, int]) -> bool:
    """Whether a tally (limit, used) keeps its rule: never more used than the limit, nor below 0."""
    limit, used = tally
    return 0 <= used <= limit


def may_take(claim: Claim, holder: str | None) -> bool:
    """Whether a claim succeeds: the name is free, or held by the stream that it replaces."""
    return holder is None or holder == claim.replaces


def page_size(limit: int) -> int:
    """The number of rows that a caller who asks for `limit` gets at the most."""
    return max(0, min(limit, PAGE_MAX))


class Kinds:
    """The kinds of document that a store was made for; everything else is a caller's bug."""

    __slots__ = ("_facets",)

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._facets: Mapping[str, tuple[str, ...]] = {kind.name: kind.facets for kind in kinds}
        if len(self._facets) != len(kinds):
            raise ValueError("two kinds have one name")
        for kind in kinds:
            if len(kind.facets) > FACETS_MAX or len(set(kind.facets)) != len(kind.facets):
                raise ValueError(f"kind {kind.name}: at most {FACETS_MAX} different facets")

    def check(self, document: Document) -> None:
        """Raise `ValueError` for a document of an unknown kind or with another kind's facets."""
        if len(document.facets) != len(self._names(document.kind)):
            raise ValueError(f"{document.kind} {document.id}: facets do not fit the kind")

    def positions(self, query: Query) -> dict[int, str]:
        """What the query demands, by facet position; `ValueError` for a name that is no facet."""
        names = self._names(query.kind)
        demanded: dict[int, str] = {}
        for name, value in query.where:
            if name not in names:
                raise ValueError(f"{query.kind} has no facet {name!r}")
            position = names.index(name)
            if demanded.setdefault(position, value) != value:
                raise ValueError(f"{query.kind}: facet {name!r} is demanded twice")
        return demanded

    def _names(self, kind: str) -> tuple[str, ...]:
        try:
            return self._facets[kind]
        except KeyError:
            raise ValueError(f"unknown kind of document {kind!r}") from None


def whole(found: Iterable[tuple[Event, bool]], stream: str, *, after_seq: int = 0) -> list[Event]:
    """Events as read, each with whether it is sound; `Corrupt` for one that is not, or a gap."""
    events: list[Event] = []
    for place, (event, sound) in enumerate(found, after_seq + 1):
        if not sound:
            raise Corrupt(f"stream {stream}: event {event.seq} is not what was written there")
        if event.seq != place:
            raise Corrupt(f"stream {stream}: event {place} is missing")
        events.append(event)
    return events


def _one_by_one(units: Sequence[Unit], group: _Reserved) -> list[Conflict | None]:
    answers: list[Conflict | None] = []
    for unit in units:
        own = group.above()
        conflict = _reserve(unit, own)
        if conflict is None:
            group.merge(own)
        answers.append(conflict)
    return answers


def _reserve(unit: Unit, own: _Reserved) -> Conflict | None:
    """Note down in `own` what the unit takes, up to the first thing that is taken already."""
    for event in unit.events:
        if own.has_event(event.stream, event.seq):
            return Conflict(what="event", name=f"{event.stream}/{event.seq}")
        own.events.add((event.stream, event.seq))
    for claim in unit.claims:
        if not may_take(claim, own.holder(claim.name)):
            return Conflict(what="claim", name=claim.name)
        own.claims[claim.name] = claim.stream
    for item in unit.items:
        if own.has_item(item.queue, item.id):
            return Conflict(what="item", name=f"{item.queue}/{item.id}")
        own.items.add((item.queue, item.id))
    broken = own.broken_tally(unit)
    return None if broken is None else Conflict(what="tally", name=broken)
