"""Reading from SQLite: statements and how their rows become records. Runs on the reader's thread.

Each read is one statement, and so sees the database as it stood between two groups.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any

from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import (
    AuditEntry,
    AuditRow,
    Claim,
    Document,
    Event,
    Item,
    Query,
    Wake,
)
from paygate_engine.stores.rules import page_size
from paygate_engine.stores.sqlite_write import event_crc

_GENESIS = (0, bytes(32))
_FACET_COLUMNS = ("f1", "f2", "f3", "f4")
_DOCUMENT = "SELECT d.kind, d.id, d.scope, d.f1, d.f2, d.f3, d.f4, d.body FROM documents d"
# CROSS JOIN: the links are walked in their own order, which is that of the ids.
_LINKED = (
    "SELECT d.kind, d.id, d.scope, d.f1, d.f2, d.f3, d.f4, d.body FROM links l"
    " CROSS JOIN documents d ON d.kind = l.kind AND d.id = l.id"
)
_AUDIT = "SELECT n, at_us, who, what, stream, why, first_seq, events, digest, hash FROM audit"


def stream_events(connection: sqlite3.Connection, stream: str) -> list[Event]:
    """All events of a stream, in order; raises `Corrupt` for one that is changed or missing."""
    rows = connection.execute(
        "SELECT seq, at_us, kind, body, crc FROM events WHERE stream = ? ORDER BY seq", (stream,)
    )
    events: list[Event] = []
    for place, (seq, at_us, kind, body, crc) in enumerate(rows, 1):
        event = Event(stream=stream, seq=seq, at_us=at_us, kind=kind, body=body)
        if seq != place:
            raise Corrupt(f"stream {stream}: event {place} is missing")
        if crc != event_crc(event):
            raise Corrupt(f"stream {stream}: event {seq} is not what was written there")
        events.append(event)
    return events


def document(connection: sqlite3.Connection, kind: str, of_id: str) -> Document | None:
    """The document of this kind and id."""
    row = connection.execute(f"{_DOCUMENT} WHERE d.kind = ? AND d.id = ?", (kind, of_id)).fetchone()
    return None if row is None else _to_document(row)


def page_of(
    connection: sqlite3.Connection, query: Query, demanded: Mapping[int, str]
) -> list[Document]:
    """The page that the query asks for; `demanded` are its facets by position."""
    statement, parameters = page_statement(query, demanded)
    return [_to_document(row) for row in connection.execute(statement, parameters)]


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
    statement = "SELECT stream, body FROM claims WHERE name = ?"
    row = connection.execute(statement, (name,)).fetchone()
    return None if row is None else Claim(name=name, stream=row[0], body=row[1])


def waiting_items(
    connection: sqlite3.Connection, queue: str, after_id: str, limit: int
) -> list[Item]:
    """Items of a queue that are not done, by id."""
    rows = connection.execute(
        "SELECT id, key, at_us, body FROM items"
        " WHERE queue = ? AND done_us IS NULL AND id > ? ORDER BY id LIMIT ?",
        (queue, after_id, page_size(limit)),
    )
    return [
        Item(queue=queue, id=of_id, key=key, at_us=at_us, body=body)
        for of_id, key, at_us, body in rows
    ]


def open_wakes(connection: sqlite3.Connection, after: str, limit: int) -> list[Wake]:
    """Open streams by name."""
    rows = connection.execute(
        "SELECT stream, at_us FROM wakes WHERE stream > ? ORDER BY stream LIMIT ?",
        (after, page_size(limit)),
    )
    return [Wake(stream=stream, at_us=at_us) for stream, at_us in rows]


def audit_page(connection: sqlite3.Connection, after_n: int, limit: int) -> list[AuditRow]:
    """The chain in order, behind row `after_n`."""
    rows = connection.execute(
        f"{_AUDIT} WHERE n > ? ORDER BY n LIMIT ?", (after_n, page_size(limit))
    )
    return [_to_audit_row(row) for row in rows]


def audit_end(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Number and hash of the newest audit row."""
    row = connection.execute("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1").fetchone()
    return _GENESIS if row is None else (row[0], row[1])


def event_count(connection: sqlite3.Connection) -> int:
    """How many events there are, by the smallest index: the time is that of a walk."""
    count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    return count


def _index(query: Query, demanded: Mapping[int, str]) -> str:
    """Name the index: left alone, SQLite walks all documents of the kind, newest first."""
    if query.scope is not None:
        # A tenant's list never walks through other tenants' documents.
        return " INDEXED BY documents_by_scope"
    if 0 in demanded:
        return " INDEXED BY documents_by_facet"
    return ""


def _to_document(row: tuple[Any, ...]) -> Document:
    kind, of_id, scope, *columns, body = row
    facets = tuple(column for column in columns if column is not None)
    return Document(kind=kind, id=of_id, scope=scope, facets=facets, body=body)


def _to_audit_row(row: tuple[Any, ...]) -> AuditRow:
    n, at_us, who, what, stream, why, first_seq, events, digest, digest_of_row = row
    entry = AuditEntry(at_us=at_us, who=who, what=what, stream=stream, why=why)
    return AuditRow(
        n=n, entry=entry, first_seq=first_seq, events=events, digest=digest, hash=digest_of_row
    )
