"""Looking for damage in a SQLite store: its rows, and pages that are no database's.

Rows are read a page of them at a time, so that no long read keeps the write-ahead log from being
taken over into the database. Runs on the reader's thread.
"""

import sqlite3
from typing import Any, Final

from paygate_engine.stores.row_check import Looked, Place, Table, look_at, sound
from paygate_engine.stores.row_reading import to_claim, to_document, to_item, to_wake
from paygate_engine.stores.rules import page_size
from paygate_engine.stores.sqlite_feeds import to_post
from paygate_engine.stores.sqlite_read import to_event

# Of one look at the whole file; the first few tell the story.
FINDINGS_MAX: Final = 10

Row = tuple[Any, ...]


def _sound_event(row: Row) -> bool:
    return to_event(row)[1]


_TABLES: Final[tuple[Table, ...]] = (
    Table(
        "events",
        "stream, seq, at_us, kind, body, crc",
        2,
        ("", 0),
        _sound_event,
        0,
    ),
    Table(
        "documents",
        "kind, id, scope, f1, f2, f3, f4, body, crc",
        2,
        ("", ""),
        sound(to_document),
        1,
    ),
    Table("claims", "name, stream, body, crc", 1, ("",), sound(to_claim), 1),
    Table(
        "items",
        "queue, id, key, at_us, body, crc",
        2,
        ("", ""),
        sound(to_item),
        None,
    ),
    Table("wakes", "stream, at_us, crc", 1, ("",), sound(to_wake), 0),
    Table("posts", "feed, n, at_us, body, crc", 2, ("", 0), sound(to_post), None),
)


def check_rows(connection: sqlite3.Connection, place: Place, limit: int) -> Looked:
    """Hold the next rows against their checksums, and against the order that they must be in."""
    table = _TABLES[place.table]
    names, marks = table.names, ", ".join("?" * table.keys)
    rows: list[Row] = connection.execute(
        f"SELECT {table.columns} FROM {table.name} WHERE ({names}) > ({marks})"  # noqa: S608  # of ours
        f" ORDER BY {names} LIMIT ?",
        (*(place.after or table.first), page_size(limit)),
    ).fetchall()
    return look_at(_TABLES, place, rows, limit=limit)


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
