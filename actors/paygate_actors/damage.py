"""Rows of the store that are not what was written: named once each, and mended where events tell.

What lists show follows from the events, so a damaged row of theirs is made anew out of the
journal when it is read; the payment's next change writes it over. Nothing else can be made anew:
a card, an API key or a provider's switches count as missing then, and a person is told.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from paygate_actors import events as e
from paygate_actors.draft import payment_of_first
from paygate_actors.evolving import evolve
from paygate_actors.messages import FraudCheck
from paygate_actors.projection import (
    DESK,
    FRAUD,
    PAYMENT,
    TRANSACTION,
    documents,
    fraud_document,
    read_transaction,
)
from paygate_actors.record import Payment
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Document, Event, Store

# Names of damaged rows that are kept; a disk that spoils more than these is not worth a list.
NAMED_MAX: Final = 1_000

_log = structlog.get_logger("paygate.damage")


class DamageBook:
    """Every damaged row that anybody met since the start, each told once."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], None] = {}

    def note(self, table: str, name: str) -> None:
        """Remember a row by its table and its name, and call a person, once."""
        row = (table, name)
        if row in self.rows or len(self.rows) >= NAMED_MAX:
            return
        self.rows[row] = None
        _log.critical("row_damaged", table=table, row=name)


class Mender:
    """Gives documents that can be relied on."""

    def __init__(self, store: Store, book: DamageBook) -> None:
        self._store = store
        self.book = book

    async def read(self, kind: str, of_id: str) -> Document | None:
        """The document as committed, or as its payment's events say; None: there is none.

        Raises `Corrupt` where these are damaged as well.
        """
        document = await self._store.read_document(kind, of_id)
        if document is None and kind == PAYMENT:
            # Its row may lie there under a damaged name: who has events is there.
            return await self._made_anew(kind, of_id, (of_id,))
        return None if document is None else await self.mended(document)

    def peek(self, kind: str, of_id: str) -> Document | None:
        """The document as committed, if that can be said at once and it is sound.

        None says nothing: ask `read`.
        """
        document = self._store.peek_document(kind, of_id)
        return None if document is None or not document.sound else document

    async def all_of(self, found: Sequence[Document]) -> list[Document]:
        """The documents of a page, without those that nothing sound is known of."""
        kept: list[Document] = []
        for document in found:
            try:
                whole = await self.mended(document)
            except Corrupt:
                continue  # its payment is set aside; the others are served
            if whole is not None:
                kept.append(whole)
        return kept

    async def mended(self, document: Document) -> Document | None:
        """The document itself if it is sound; else as the events say; None: they say nothing."""
        if document.sound:
            return document
        self.book.note("documents", f"{document.kind} {document.id}")
        return await self._made_anew(document.kind, document.id, _payments_of(document))

    async def _made_anew(
        self, kind: str, of_id: str, payment_ids: Sequence[str]
    ) -> Document | None:
        for payment_id in payment_ids:
            events = await self._store.read_stream(payment_id)
            for made in _documents_of(payment_id, events):
                if (made.kind, made.id) == (kind, of_id):
                    return made
        return None


def fold(payment_id: str, events: Sequence[Event]) -> Payment | None:
    """The payment after these events; None where there are none."""
    payment: Payment | None = None
    for event in events:
        recorded = e.decode(event.kind, event.body)
        payment = evolve(payment, recorded, id=payment_id, at_us=event.at_us, epoch=event.epoch)
    return payment


def _payments_of(document: Document) -> list[str]:
    """Where the payment of a damaged document may be: what is found there is looked at closely."""
    if document.kind in (PAYMENT, DESK):
        return [document.id]
    if document.kind not in (TRANSACTION, FRAUD) or not document.id.startswith("txn_"):
        return []
    named = [payment_of_first(document.id)]
    if document.kind == TRANSACTION:
        # What it was about may be in the damaged part.
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, TypeError):
            named.append(read_transaction(document).payment_id)
    return named


def _documents_of(payment_id: str, events: Sequence[Event]) -> Iterator[Document]:
    payment = fold(payment_id, events)
    if payment is None:
        return
    yield from documents(None, payment)
    for event in events:
        recorded = e.decode(event.kind, event.body)
        if isinstance(recorded, e.FraudScored):
            check = FraudCheck(
                transaction_id=payment.created.transaction_id,
                score_milli=recorded.score_milli,
                risk_level=recorded.risk_level,
                factors=recorded.factors,
                blocked=recorded.blocked,
                created_at_us=event.at_us,
                static_only=recorded.static_only,
            )
            yield fraud_document(payment.created.merchant, check)
