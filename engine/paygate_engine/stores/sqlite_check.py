"""Looking for damage: rows that are not what was written, and pages that are no database's.

Rows are read a page of them at a time, so that no long read keeps the write-ahead log from being
taken over into the database, and by their names, so that one under a damaged name is seen by its
checksum or by its place. Runs on the reader's thread.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import Struct

from paygate_engine.stores.base import Claim, Document, Item, Posted, Wake
from paygate_engine.stores.row_reading import to_claim, to_document, to_item, to_wake
from paygate_engine.stores.rules import page_size
from paygate_engine.stores.sqlite_feeds import to_post
from paygate_engine.stores.sqlite_read import to_event

# Of one look at the whole file; the first few tell the story.
FINDINGS_MAX: Final = 10

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


class _Table(NamedTuple):
    """How a table is walked: its columns, how many of them name a row, and what a row may be."""

    name: str
    columns: str
    keys: int
    first: Row
    look: Callable[[Row], bool]
    stream: int | None


def _sound(read: Callable[[Row], Document | Claim | Item | Posted | Wake]) -> Callable[[Row], bool]:
    return lambda row: read(row).sound


def _sound_event(row: Row) -> bool:
    return to_event(row)[1]


_TABLES: Final[tuple[_Table, ...]] = (
    _Table(
        "events",
        "stream, seq, at_us, kind, body, crc",
        2,
        ("", 0),
        _sound_event,
        0,
    ),
    _Table(
        "documents",
        "kind, id, scope, f1, f2, f3, f4, body, crc",
        2,
        ("", ""),
        _sound(to_document),
        1,
    ),
    _Table("claims", "name, stream, body, crc", 1, ("",), _sound(to_claim), 1),
    _Table(
        "items",
        "queue, id, key, at_us, body, crc",
        2,
        ("", ""),
        _sound(to_item),
        None,
    ),
    _Table("wakes", "stream, at_us, crc", 1, ("",), _sound(to_wake), 0),
    _Table("posts", "feed, n, at_us, body, crc", 2, ("", 0), _sound(to_post), None),
)


def check_rows(connection: sqlite3.Connection, place: Place, limit: int) -> Looked:
    """Hold the next rows against their checksums, and against the order that they must be in."""
    table = _TABLES[place.table]
    names = ", ".join(table.columns.split(", ")[: table.keys])
    marks = ", ".join("?" * table.keys)
    rows: list[Row] = connection.execute(
        f"SELECT {table.columns} FROM {table.name} WHERE ({names}) > ({marks})"  # noqa: S608  # of ours
        f" ORDER BY {names} LIMIT ?",
        (*(place.after or table.first), page_size(limit)),
    ).fetchall()
    damage: list[Damage] = []
    before = place.after or table.first
    for row in rows:
        key = row[: table.keys]
        if not (_follows(before, key) and table.look(row)):
            damage.append(_damage(table, row))
        before = key
    following = None
    if len(rows) == limit and _follows(place.after or table.first, before):
        following = Place(table=place.table, after=before)
    elif place.table + 1 < len(_TABLES):
        following = Place(table=place.table + 1)
    return Looked(rows=len(rows), damage=tuple(damage), following=following)


def check_pages(connection: sqlite3.Connection, *, thorough: bool) -> list[str]:
    """What SQLite finds wrong with its file: `FINDINGS_MAX` sentences at most, none if it is sound.

    `thorough` also holds every index against its table, which takes several times as long.
    """
    pragma = "integrity_check" if thorough else "quick_check"
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}({FINDINGS_MAX})")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _follows(before: Row, key: Row) -> bool:
    try:
        return before < key
    except TypeError:
        return False  # a name of another type than names have


def _damage(table: _Table, row: Row) -> Damage:
    name = " ".join(str(part) for part in row[: table.keys])
    stream = "" if table.stream is None else str(row[table.stream])
    return Damage(table=table.name, name=name, stream=stream)
