"""Looking for damaged rows in PostgreSQL, a page at a time.

The server checks its pages where `initdb --data-checksums` said so, and not what is in them.
"""

from typing import Any, Final

from paygate_engine.stores.postgres_read import Run, to_event, to_post
from paygate_engine.stores.postgres_text import to_server
from paygate_engine.stores.row_check import Looked, Place, Table, look_at, sound
from paygate_engine.stores.row_reading import to_claim, to_document, to_item, to_wake
from paygate_engine.stores.rules import page_size

Row = tuple[Any, ...]


def _stored(key: Row) -> Row:
    return tuple(map(to_server, key))


def _sound_event(row: Row) -> bool:
    return to_event(row)[1]


_TABLES: Final[tuple[Table, ...]] = (
    Table(
        "events",
        "stream, seq, at_us, kind, body, epoch, crc",
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


async def check_rows(run: Run, place: Place, limit: int) -> Looked:
    """Hold the next rows against their checksums, and against the order that they must be in."""
    table = _TABLES[place.table]
    marks = ", ".join(f"${n}" for n in range(1, table.keys + 1))
    rows = await run(
        f"SELECT {table.columns} FROM paygate.{table.name}"  # noqa: S608 - names of ours
        f" WHERE ({table.names}) > ({marks}) ORDER BY {table.names} LIMIT ${table.keys + 1}",
        *(place.after or table.first),
        page_size(limit),
    )
    return look_at(_TABLES, place, rows, limit=limit, stored=_stored)
