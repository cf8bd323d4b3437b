"""Rows of a database as records, each held against its checksum.

A damaged row may hold anything; what is made of it says that it is not sound.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from paygate_engine.stores.base import AuditEntry, AuditRow, Claim, Document, Item, Wake
from paygate_engine.stores.checksums import claim_crc, document_crc, item_crc, wake_crc

Row = Sequence[Any]


def to_document(row: Row) -> Document:
    """The document in (kind, id, scope, f1, f2, f3, f4, body, crc)."""
    kind, of_id, scope, *columns, body, crc = row
    facets = tuple(column for column in columns if column is not None)
    found = Document(kind=kind, id=of_id, scope=scope, facets=facets, body=body)
    return found if document_crc(found) == crc else replace(found, sound=False)


def to_claim(row: Row) -> Claim:
    """The claim in (name, stream, body, crc)."""
    name, stream, body, crc = row
    found = Claim(name=name, stream=stream, body=body)
    return found if claim_crc(found) == crc else replace(found, sound=False)


def to_item(row: Row) -> Item:
    """The item in (queue, id, key, at_us, body, crc)."""
    queue, of_id, key, at_us, body, crc = row
    found = Item(queue=queue, id=of_id, key=key, at_us=at_us, body=body)
    return found if item_crc(found) == crc else replace(found, sound=False)


def to_wake(row: Row) -> Wake:
    """The wake in (stream, at_us, crc)."""
    stream, at_us, crc = row
    found = Wake(stream=stream, at_us=at_us)
    return found if wake_crc(found) == crc else replace(found, sound=False)


def to_audit_row(row: Row) -> AuditRow:
    """The row in (n, at_us, who, what, stream, why, first_seq, events, digest, hash)."""
    n, at_us, who, what, stream, why, first_seq, events, digest, digest_of_row = row
    entry = AuditEntry(at_us=at_us, who=who, what=what, stream=stream, why=why)
    return AuditRow(
        n=n, entry=entry, first_seq=first_seq, events=events, digest=digest, hash=digest_of_row
    )
