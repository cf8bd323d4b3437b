"""Every row of a SQLite store as PostgreSQL's tables take it, a page at a time, by its name.

Each row is held against its checksum first. What differs between the two: an event has an epoch
(0: of before there were nodes), a wake an owner (0: nobody, so that whoever comes first adopts
it), an audit row its chain, and a post's number is in its checksum in another way.

Runs on the reader's thread.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from msgspec import Struct

from paygate_engine.stores.base import Kind
from paygate_engine.stores.checksums import told_crc
from paygate_engine.stores.row_check import Damage, Place, follows
from paygate_engine.stores.row_reading import to_claim, to_document, to_item, to_wake
from paygate_engine.stores.sqlite_feeds import to_post
from paygate_engine.stores.sqlite_read import to_event

# What an embedded store's only chain is called beside those of seats, whose names are numbers: as
# it was called before, so that its published ends are still known as its own.
EMBEDDED_CHAIN: Final = ""
# Rows of a page: some megabytes, and a tenth of a second of each side's time.
PAGE_ROWS: Final = 5_000

Row = tuple[Any, ...]


class Page(Struct, frozen=True, kw_only=True):
    """Sound rows of one table, as `columns` of PostgreSQL's, in the order of their names.

    `damage` names the others. `ends`: the table has no more rows. `following` None: there is
    nothing behind at all.
    """

    table: str
    columns: tuple[str, ...]
    rows: list[Row]
    damage: tuple[Damage, ...]
    ends: bool
    following: Place | None


class _Table(NamedTuple):
    """How a table is walked, and what becomes of a row; None: it is not what was written."""

    name: str
    columns: str
    keys: int
    first: Row
    moved: Callable[[Row], Row | None]
    target: str


def _event(row: Row) -> Row | None:
    stream, seq, at_us, kind, body, crc = row
    return (stream, seq, at_us, kind, body, 0, crc) if to_event(row)[1] else None


def _document(row: Row) -> Row | None:
    return row if to_document(row).sound else None


def _claim(row: Row) -> Row | None:
    return row if to_claim(row).sound else None


def _item(row: Row) -> Row | None:
    *covered, done_us = row
    sound = to_item(covered).sound and isinstance(done_us, int | None)
    return row if sound else None


def _wake(row: Row) -> Row | None:
    return (*row, 0) if to_wake(row).sound else None


def _post(row: Row) -> Row | None:
    feed, n, at_us, body, _ = row
    crc = told_crc(feed, at_us, body)
    return (feed, n, at_us, body, crc ^ n) if to_post(row).sound and crc is not None else None


def _of_types(*types: type) -> Callable[[Row], Row | None]:
    """For rows without a checksum: at least nothing that no such row can hold."""

    def moved(row: Row) -> Row | None:
        return row if all(map(isinstance, row, types)) else None

    return moved


def _audit(row: Row) -> Row | None:
    typed = _of_types(int, int, str, str, str, str, int, int, bytes, bytes)(row)
    return None if typed is None else (EMBEDDED_CHAIN, *typed)


_TABLES: Final[tuple[_Table, ...]] = (
    _Table(
        "events",
        "stream, seq, at_us, kind, body, crc",
        2,
        ("", 0),
        _event,
        "stream, seq, at_us, kind, body, epoch, crc",
    ),
    _Table(
        "documents",
        "kind, id, scope, f1, f2, f3, f4, body, crc",
        2,
        ("", ""),
        _document,
        "kind, id, scope, f1, f2, f3, f4, body, crc",
    ),
    _Table(
        "links",
        "kind, name, value, id",
        4,
        ("", "", "", ""),
        _of_types(str, str, str, str),
        "kind, name, value, id",
    ),
    _Table("claims", "name, stream, body, crc", 1, ("",), _claim, "name, stream, body, crc"),
    _Table(
        "items",
        "queue, id, key, at_us, body, crc, done_us",
        2,
        ("", ""),
        _item,
        "queue, id, key, at_us, body, crc, done_us",
    ),
    _Table("wakes", "stream, at_us, crc", 1, ("",), _wake, "stream, at_us, crc, owner"),
    _Table("feeds", "feed, n", 1, ("",), _of_types(str, int), "feed, n"),
    _Table("posts", "feed, n, at_us, body, crc", 2, ("", 0), _post, "feed, n, at_us, body, crc"),
    _Table(
        "audit",
        "n, at_us, who, what, stream, why, first_seq, events, digest, hash",
        1,
        (0,),
        _audit,
        "chain, n, at_us, who, what, stream, why, first_seq, events, digest, hash",
    ),
)
TABLES: Final = tuple(table.name for table in _TABLES)
"""The names of all tables that are moved, on both sides."""


def read_page(connection: sqlite3.Connection, place: Place, limit: int = PAGE_ROWS) -> Page:
    """The next rows from a place on; start at `Place()`."""
    table = _TABLES[place.table]
    names = ", ".join(table.columns.split(", ")[: table.keys])
    marks = ", ".join("?" * table.keys)
    before = start = place.after or table.first
    found: list[Row] = connection.execute(
        f"SELECT {table.columns} FROM {table.name} WHERE ({names}) > ({marks})"  # noqa: S608  # of ours
        f" ORDER BY {names} LIMIT ?",
        (*start, limit),
    ).fetchall()
    rows: list[Row] = []
    damage: list[Damage] = []
    for row in found:
        key = row[: table.keys]
        moved = table.moved(row) if follows(before, key) else None
        if moved is None:
            damage.append(Damage(table=table.name, name=" ".join(map(str, key))))
        else:
            rows.append(moved)
        before = key
    following = None
    ends = len(found) < limit or not follows(start, before)
    if not ends:
        following = Place(table=place.table, after=before)
    elif place.table + 1 < len(_TABLES):
        following = Place(table=place.table + 1)
    return Page(
        table=table.name,
        columns=tuple(table.target.split(", ")),
        rows=rows,
        damage=tuple(damage),
        ends=ends,
        following=following,
    )


def read_counts(connection: sqlite3.Connection) -> Mapping[str, int]:
    """How many rows each table has."""
    return {
        name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608  # of ours
        for name in TABLES
    }


def read_kinds(connection: sqlite3.Connection) -> list[Kind]:
    """All kinds of documents that were ever written there, with their facets."""
    rows: list[tuple[str, str]] = connection.execute("SELECT name, facets FROM kinds").fetchall()
    return [Kind(name=name, facets=tuple(filter(None, text.split(",")))) for name, text in rows]
