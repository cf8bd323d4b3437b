"""Reading from SQLite: statements and how their rows become records.

Runs on the reader's thread; what reads one row by its primary key, on the loop's. Each read is one
statement, read to its end, and so sees the database as it stood between two groups. A damaged row
may hold anything, text that is no UTF-8 too: `lenient` reads it, and its checksum does not fit.
"""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Document,
    Event,
    Item,
    Query,
    Wake,
)
from paygate_engine.stores.checksums import event_crc
from paygate_engine.stores.row_reading import (
    Row,
    to_audit_row,
    to_claim,
    to_document,
    to_item,
    to_wake,
)
from paygate_engine.stores.rules import page_size, whole

T = TypeVar("T")

_GENESIS = (0, bytes(32))
_FACET_COLUMNS = ("f1", "f2", "f3", "f4")
_DOCUMENT = "SELECT d.kind, d.id, d.scope, d.f1, d.f2, d.f3, d.f4, d.body, d.crc FROM documents d"
# CROSS JOIN: the links are walked in their own order, which is that of the ids.
_LINKED = (
    "SELECT d.kind, d.id, d.scope, d.f1, d.f2, d.f3, d.f4, d.body, d.crc"
    " FROM links l"
    " CROSS JOIN documents d ON d.kind = l.kind AND d.id = l.id"
)
_AUDIT = "SELECT n, at_us, who, what, stream, why, first_seq, events, digest, hash FROM audit"


def lenient(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    """Do the work; again, with a stand-in for each odd byte, where a text in a row is no UTF-8."""
    try:
        return work(connection)
    except sqlite3.OperationalError as error:
        # Raised by the module itself, without a code of SQLite's.
        if hasattr(error, "sqlite_errorcode"):
            raise
    connection.text_factory = _decoded
    try:
        return work(connection)
    finally:
        connection.text_factory = str


def _decoded(raw: bytes) -> str:
    return raw.decode(errors="replace")


def events_of_streams(
    connection: sqlite3.Connection, streams: Collection[str]
) -> dict[str, list[Event] | Corrupt]:
    """Of each stream its events, or why they cannot be read."""
    found: dict[str, list[Event] | Corrupt] = {}
    for stream in streams:
        try:
            found[stream] = stream_events(connection, stream)
        except Corrupt as error:
            found[stream] = error
    return found


def stream_events(connection: sqlite3.Connection, stream: str, after_seq: int = 0) -> list[Event]:
    """Events behind a number, in order; raises `Corrupt` for one that is changed or missing."""
    rows = connection.execute(
        "SELECT seq, at_us, kind, body, crc FROM events WHERE stream = ? AND seq > ? ORDER BY seq",
        (stream, after_seq),
    ).fetchall()  # a statement that is left in its midst would keep the reader at an old state
    return whole((to_event((stream, *row)) for row in rows), stream, after_seq=after_seq)


def document(connection: sqlite3.Connection, kind: str, of_id: str) -> Document | None:
    """The document of this kind and id."""
    statement = f"{_DOCUMENT} WHERE d.kind = ? AND d.id = ?"
    rows = connection.execute(statement, (kind, of_id)).fetchall()
    return to_document(rows[0]) if rows else None


def page_of(
    connection: sqlite3.Connection, query: Query, demanded: Mapping[int, str]
) -> list[Document]:
    """The page that the query asks for; `demanded` are its facets by position."""
    statement, parameters = page_statement(query, demanded)
    return [to_document(row) for row in connection.execute(statement, parameters)]


def page_statement(query: Query, demanded: Mapping[int, str]) -> tuple[str, list[Any]]:
    """The statement of a page and its parameters. No value is ever part of the text."""
    key = "d" if query.link is None else "l"
    start = _DOCUMENT + _index(query, demanded) if query.link is None else _LINKED
    conditions = [f"{key}.kind = ?"]
    parameters: list[Any] = [query.kind]

    def demand(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if query.link is not None:
        demand("l.name = ? AND l.value = ?", *query.link)
    if query.scope is not None:
        demand("d.scope = ?", query.scope)
    for position, value in sorted(demanded.items()):
        demand(f"d.{_FACET_COLUMNS[position]} = ?", value)
    if query.id_from is not None:
        demand(f"{key}.id >= ?", query.id_from)
    if query.id_before is not None:
        demand(f"{key}.id < ?", query.id_before)
    where = " AND ".join(conditions)
    parameters.append(page_size(query.limit))
    return f"{start} WHERE {where} ORDER BY {key}.id DESC LIMIT ?", parameters


def claim(connection: sqlite3.Connection, name: str) -> Claim | None:
    """Who holds the name."""
    statement = "SELECT name, stream, body, crc FROM claims WHERE name = ?"
    rows = connection.execute(statement, (name,)).fetchall()
    return to_claim(rows[0]) if rows else None


def waiting_items(
    connection: sqlite3.Connection, queue: str, after_id: str, limit: int
) -> list[Item]:
    """Items of a queue that are not done, by id."""
    rows = connection.execute(
        "SELECT id, key, at_us, body, crc FROM items INDEXED BY items_waiting"
        " WHERE queue = ? AND done_us IS NULL AND id > ? ORDER BY id LIMIT ?",
        (queue, after_id, page_size(limit)),
    )
    return [to_item((queue, *row)) for row in rows]


def open_wakes(connection: sqlite3.Connection, after: str, limit: int) -> list[Wake]:
    """Open streams by name."""
    rows = connection.execute(
        "SELECT stream, at_us, crc FROM wakes WHERE stream > ? ORDER BY stream LIMIT ?",
        (after, page_size(limit)),
    )
    return [to_wake(row) for row in rows]


def audit_page(connection: sqlite3.Connection, after_n: int, limit: int) -> list[AuditRow]:
    """The chain in order, behind row `after_n`."""
    rows = connection.execute(
        f"{_AUDIT} WHERE n > ? ORDER BY n LIMIT ?", (after_n, page_size(limit))
    )
    return [to_audit_row(row) for row in rows]


def audit_end(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Number and hash of the newest audit row."""
    row = connection.execute("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1").fetchone()
    return _GENESIS if row is None else (row[0], row[1])


def event_count(connection: sqlite3.Connection) -> int:
    """How many events there are, by the smallest index: the time is that of a walk."""
    count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    return count


def to_event(row: Row) -> tuple[Event, bool]:
    """The event in (stream, seq, at_us, kind, body, crc), and whether it is what was written."""
    stream, seq, at_us, kind, body, crc = row
    event = Event(stream=stream, seq=seq, at_us=at_us, kind=kind, body=body)
    return event, event_crc(event) == crc


def _index(query: Query, demanded: Mapping[int, str]) -> str:
    """Name the index: left alone, SQLite walks all documents of the kind, newest first."""
    if query.scope is not None:
        # A tenant's list never walks through other tenants' documents.
        return " INDEXED BY documents_by_scope"
    if 0 in demanded:
        return " INDEXED BY documents_by_facet"
    return ""
