"""Writing to SQLite: one group, one transaction. All of it runs on the writer's thread.

What a failed transaction means is decided here, where it can be proved:

* a name that is taken: rolled back, and the units that are in the way are named;
* no room (`SQLITE_FULL`): rolled back, by SQLite or by us, and looked at again: `StoreFull`;
* all else is left to the caller as it is: nobody knows what is on the disk.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from paygate_engine.errors import StoreFailed, StoreFull
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
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
    wake_crc,
)
from paygate_engine.stores.rules import find_conflicts
from paygate_engine.stores.sqlite_feeds import put_posts
from paygate_engine.stores.sqlite_rows import Rows

T = TypeVar("T")

_TAKEN = frozenset((sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE))
# The lower byte of an extended result code is the plain one.
_PLAIN_CODE = 0xFF

_EVENTS = Rows("INSERT INTO events (stream, seq, at_us, kind, body, crc) VALUES", 6)
_DOCUMENTS = Rows(
    "INSERT INTO documents (kind, id, scope, f1, f2, f3, f4, body, crc) VALUES",
    9,
    " ON CONFLICT (kind, id) DO UPDATE SET scope = excluded.scope, f1 = excluded.f1,"
    " f2 = excluded.f2, f3 = excluded.f3, f4 = excluded.f4, body = excluded.body,"
    " crc = excluded.crc",
)
_LINKS = Rows("INSERT INTO links (kind, name, value, id) VALUES", 4, " ON CONFLICT DO NOTHING")
_CLAIMS = Rows("INSERT INTO claims (name, stream, body, crc) VALUES", 4)
# Changes no row where the name is held by another stream than the one it is taken over from.
_TAKE_OVER = (
    "INSERT INTO claims (name, stream, body, crc) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET stream = excluded.stream, body = excluded.body,"
    " crc = excluded.crc"
    " WHERE claims.stream = ?"
)
_ITEMS = Rows("INSERT INTO items (queue, id, key, at_us, body, crc) VALUES", 6)
_DONE = Rows(
    "WITH done (queue, id, at_us) AS (VALUES",
    3,
    ") UPDATE items SET done_us = done.at_us FROM done"
    " WHERE items.queue = done.queue AND items.id = done.id AND items.done_us IS NULL",
)
_WAKE = Rows(
    "INSERT INTO wakes (stream, at_us, crc) VALUES",
    3,
    " ON CONFLICT (stream) DO UPDATE SET at_us = excluded.at_us, crc = excluded.crc",
)
_SLEEP = Rows("DELETE FROM wakes WHERE stream IN (VALUES", 1, ")")
_AUDIT = Rows(
    "INSERT INTO audit (n, at_us, who, what, stream, why, first_seq, events, digest, hash) VALUES",
    10,
)
_AUDIT_END = "SELECT n FROM audit ORDER BY n DESC LIMIT 1"
_FORGET = (
    "DELETE FROM items WHERE (queue, id) IN (SELECT queue, id FROM items"
    " WHERE queue = ? AND done_us < ? ORDER BY done_us, id LIMIT ?)"
)
_FORGET_DOCUMENTS = (
    "DELETE FROM documents WHERE (kind, id) IN (SELECT kind, id FROM documents"
    " WHERE kind = ? AND id < ? ORDER BY id LIMIT ?)"
)
_FORGET_DOCUMENTS_OF = (
    "DELETE FROM documents WHERE (kind, id) IN (SELECT kind, id FROM documents"
    " INDEXED BY documents_by_facet WHERE kind = ? AND f1 = ? AND id < ? ORDER BY id LIMIT ?)"
)


class _NameTaken(Exception):
    """A claim changed no row: somebody else holds its name."""


def write_group(
    connection: sqlite3.Connection, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
) -> list[Conflict | None]:
    """Commit the group, or nothing of it and say which units conflict.

    Raises `StoreFull`, and `StoreFailed` or `sqlite3.Error` where the outcome is not known.
    """
    rows = [row for of_unit in audit for row in of_unit]

    def work(connection: sqlite3.Connection) -> None:
        _insert(connection, units)
        _extend_audit(connection, rows)

    try:
        transact(connection, work)
    except (sqlite3.IntegrityError, _NameTaken) as error:
        if isinstance(error, sqlite3.IntegrityError) and error.sqlite_errorcode not in _TAKEN:
            raise
        # Between the rollback and this look nobody else writes: the lock is ours.
        answers = find_conflicts(units, _Taken(connection))
        if not any(answers):
            raise StoreFailed(f"a group was refused, but no unit conflicts: {error}") from error
        return answers
    return [None] * len(units)


def forget_items(
    connection: sqlite3.Connection, queue: str, done_before_us: int, limit: int
) -> int:
    """Delete items done before a time, the oldest first; how many went."""
    parameters = (queue, done_before_us, limit)
    return transact(connection, lambda connection: connection.execute(_FORGET, parameters).rowcount)


def forget_documents(
    connection: sqlite3.Connection, kind: str, id_before: str, facet: str | None, limit: int
) -> int:
    """Delete documents with smaller ids, the oldest first; how many went."""

    def work(connection: sqlite3.Connection) -> int:
        if facet is None:
            return connection.execute(_FORGET_DOCUMENTS, (kind, id_before, limit)).rowcount
        return connection.execute(_FORGET_DOCUMENTS_OF, (kind, facet, id_before, limit)).rowcount

    return transact(connection, work)


def transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` in a transaction of its own; rolled back where it raises.

    Raises `StoreFull` for a full disk; then the database is as it was, and readable.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = work(connection)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        if error.sqlite_errorcode & _PLAIN_CODE != sqlite3.SQLITE_FULL:
            raise
        connection.execute(_AUDIT_END).fetchall()  # a disk that cannot be read is not just full
        raise StoreFull(str(error)) from error
    except BaseException:
        _roll_back(connection)
        raise
    return result


def _roll_back(connection: sqlite3.Connection) -> None:
    # Many errors make SQLite roll back by itself; what remains open is ours to end.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _insert(connection: sqlite3.Connection, units: Sequence[Unit]) -> None:
    """Write everything but the audit rows; raises where a name is taken."""
    # Of several versions of one document, and of several wakes of one stream, the last one
    # counts; of several ends of one item the first one does.
    documents = {(document.kind, document.id): document for document in _documents(units)}
    wakes = {wake.stream: wake for unit in units for wake in unit.wakes}
    done: dict[tuple[str, str], int] = {}
    for unit in units:
        for each in unit.done:
            done.setdefault((each.queue, each.id), each.at_us)

    _EVENTS.put(connection, [_event_row(event) for unit in units for event in unit.events])
    _insert_claims(connection, [claim for unit in units for claim in unit.claims])
    _ITEMS.put(connection, [_item_row(item) for unit in units for item in unit.items])
    _DONE.put(connection, [(*key, at_us) for key, at_us in done.items()])
    _DOCUMENTS.put(connection, [_document_row(document) for document in documents.values()])
    _LINKS.put(connection, list(dict.fromkeys(_link_rows(units))))
    put_posts(connection, [post for unit in units for post in unit.posts])
    awake = [wake for wake in wakes.values() if wake.at_us is not None]
    _WAKE.put(connection, [(wake.stream, wake.at_us, wake_crc(wake)) for wake in awake])
    _SLEEP.put(connection, [(wake.stream,) for wake in wakes.values() if wake.at_us is None])


def _insert_claims(connection: sqlite3.Connection, claims: Sequence[Claim]) -> None:
    rows = [
        (claim.name, claim.stream, claim.body, claim_crc(claim), claim.replaces) for claim in claims
    ]
    if all(claim.replaces is None for claim in claims):
        _CLAIMS.put(connection, [row[:4] for row in rows])
    # One by one, in order: what one unit takes over, the next one may take over from it.
    elif connection.executemany(_TAKE_OVER, rows).rowcount != len(rows):
        raise _NameTaken


def _extend_audit(connection: sqlite3.Connection, rows: Sequence[AuditRow]) -> None:
    if not rows:
        return
    end = connection.execute(_AUDIT_END).fetchone()
    if rows[0].n != (end[0] if end else 0) + 1:
        raise StoreFailed("an audit row is out of turn: somebody else extends the chain")
    _AUDIT.put(connection, [_audit_row(row) for row in rows])


def _documents(units: Sequence[Unit]) -> Iterator[Document]:
    return chain.from_iterable(unit.documents for unit in units)


def _event_row(event: Event) -> tuple[object, ...]:
    return (event.stream, event.seq, event.at_us, event.kind, event.body, event_crc(event))


def _item_row(item: Item) -> tuple[object, ...]:
    return (item.queue, item.id, item.key, item.at_us, item.body, item_crc(item))


def _document_row(document: Document) -> tuple[object, ...]:
    f1, f2, f3, f4, *_ = (*document.facets, None, None, None, None)
    names = (document.kind, document.id, document.scope)
    return (*names, f1, f2, f3, f4, document.body, document_crc(document))


def _link_rows(units: Sequence[Unit]) -> Iterator[tuple[object, ...]]:
    for document in _documents(units):
        for name, value in document.links:
            yield (document.kind, name, value, document.id)


def _audit_row(row: AuditRow) -> tuple[object, ...]:
    entry = row.entry
    text = (entry.who, entry.what, entry.stream, entry.why)
    return (row.n, entry.at_us, *text, row.first_seq, row.events, row.digest, row.hash)


class _Taken:
    """What the database holds, for `find_conflicts`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def has_event(self, stream: str, seq: int) -> bool:
        statement = "SELECT 1 FROM events WHERE stream = ? AND seq = ?"
        return self._connection.execute(statement, (stream, seq)).fetchone() is not None

    def holder(self, name: str) -> str | None:
        statement = "SELECT stream FROM claims WHERE name = ?"
        row = self._connection.execute(statement, (name,)).fetchone()
        return None if row is None else row[0]

    def has_item(self, queue: str, id: str) -> bool:  # noqa: A002 - as in Taken
        statement = "SELECT 1 FROM items WHERE queue = ? AND id = ?"
        return self._connection.execute(statement, (queue, id)).fetchone() is not None
