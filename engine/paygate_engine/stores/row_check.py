"""Looking for rows that are not what was written: a page at a time, by checksum and by place.

Rows are read by their names, so that one under a damaged name is seen by its checksum or by its
place. How a page is read is each store's business.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from paygate_engine.stores.base import Claim, Document, Item, Posted, Wake

Row = tuple[Any, ...]


class Damage(Struct, frozen=True, kw_only=True):
    """A row that is not what was written, by its table and what names it there.

    `stream` is the one that an event belongs to, and what a document, claim or wake is about as
    far as it says so; it may be damaged itself.
    """

    table: str
    name: str
    stream: str = ""


class Place(Struct, frozen=True, kw_only=True):
    """Where a check of the rows goes on: which table, behind which row. By default: the start."""

    table: int = 0
    after: tuple[object, ...] = ()


class Looked(Struct, frozen=True, kw_only=True):
    """What one page of rows showed; `following` None: that was the last one."""

    rows: int
    damage: tuple[Damage, ...]
    following: Place | None


class Table(NamedTuple):
    """How a table is walked: its columns, how many of them name a row, and what a row may be.

    `first` comes before every name; `stream` is the column that says what a row is about.
    """

    name: str
    columns: str
    keys: int
    first: Row
    look: Callable[[Row], bool]
    stream: int | None

    @property
    def names(self) -> str:
        """The columns that name a row."""
        return ", ".join(self.columns.split(", ")[: self.keys])


def sound(read: Callable[[Row], Document | Claim | Item | Posted | Wake]) -> Callable[[Row], bool]:
    """Whether what is read out of a row is sound, as a function of the row."""
    return lambda row: read(row).sound


def _as_it_is(key: Row) -> Row:
    return key


def look_at(
    tables: Sequence[Table],
    place: Place,
    rows: Sequence[Row],
    *,
    limit: int,
    stored: Callable[[Row], Row] = _as_it_is,
) -> Looked:
    """Hold the rows of a page, of which `limit` were asked for, against what they must be.

    `stored` gives a name as the database keeps it, by which it puts rows in order.
    """
    table = tables[place.table]
    damage: list[Damage] = []
    before = start = place.after or table.first
    for row in rows:
        key = tuple(row[: table.keys])
        if not (follows(stored(before), stored(key)) and table.look(row)):
            damage.append(_damage(table, row))
        before = key
    following = None
    if len(rows) == limit and follows(stored(start), stored(before)):
        following = Place(table=place.table, after=before)
    elif place.table + 1 < len(tables):
        following = Place(table=place.table + 1)
    return Looked(rows=len(rows), damage=tuple(damage), following=following)


def follows(before: Row, key: Row) -> bool:
    """Whether a row's name comes behind another one; False for one of another type than names."""
    try:
        return before < key
    except TypeError:
        return False


def _damage(table: Table, row: Row) -> Damage:
    name = " ".join(str(part) for part in row[: table.keys])
    stream = "" if table.stream is None else str(row[table.stream])
    return Damage(table=table.name, name=name, stream=stream)
