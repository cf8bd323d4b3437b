"""Walks a store, payment by payment, and holds each against `proof` and `proof_books`.

Reads only, a page at a time, beside running servers too: a payment that moves while it is read is
read again. Payments are never held in memory together; a provider's books are.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from paygate_actors.chains import chains_of, rows_of
from paygate_actors.nodes import as_shared
from paygate_actors.projection import DESK, PAYMENT, TRANSACTION, wake_at_us
from paygate_actors.proof import (
    Proof,
    Violation,
    prove,
    prove_claim,
    prove_documents,
    prove_tally,
    prove_wake,
)
from paygate_actors.proof_books import Books, prove_books
from paygate_engine import chain
from paygate_engine.errors import Corrupt, NotFound
from paygate_engine.stores.base import PAGE_MAX, AuditRow, Document, Query, Store

# A payment waits for a disk between two changes, and is read from memory: this never happens.
LOOKS_MAX: Final = 20


async def prove_all(store: Store, books: Books | None) -> AsyncIterator[Proof]:
    """Prove every listed payment, the newest first."""
    async for document in pages(store, Query(kind=PAYMENT, limit=PAGE_MAX)):
        yield await _prove(store, document.id, books)


async def prove_one(store: Store, payment_id: str, books: Books | None) -> Proof:
    """Prove one payment. Raises `NotFound`."""
    if await store.read_document(PAYMENT, payment_id) is None and not await _has_events(
        store, payment_id
    ):
        raise NotFound(f"there is no payment {payment_id}")
    proof = await _prove(store, payment_id, books)
    if books is not None and proof.payment is not None:
        proof.violations.extend(books.left_over(proof.payment))
    return proof


async def walk_chain(
    store: Store, heads: Mapping[int, bytes], *, on_row: Callable[[int], None] | None = None
) -> chain.Head | chain.Fault:
    """Walk the whole audit chain; also events that no row covers are a fault.

    `on_row` hears the number of each row that is walked.
    """
    # Counted first: a running server adds both, and adds them together.
    events = await store.event_count()
    covered = 0

    async def rows() -> AsyncIterator[AuditRow]:
        nonlocal covered
        async for row in chain.rows_of(store):
            covered += row.events
            if on_row is not None:
                on_row(row.n)
            yield row

    found = await chain.verify(rows(), store.read_stream, heads)
    if isinstance(found, chain.Head) and covered < events:
        text = f"{events} events are stored, and the rows cover {covered}: rows were cut off"
        return chain.Fault(n=found.n + 1, text=text)
    return found


async def unlisted(store: Store) -> AsyncIterator[Violation]:
    """Name every payment that the audit chain saw being made and no list shows."""
    for name in await chains_of(store):
        async for row in rows_of(store, name):
            stream = row.entry.stream
            if row.first_seq != 1 or not stream.startswith("pay_"):
                continue
            if await store.read_document(PAYMENT, stream) is None:
                text = "the audit chain tells of its creation, and it is not listed"
                yield Violation(subject=stream, rule="projection", text=text)


async def pages(store: Store, query: Query) -> AsyncIterator[Document]:
    """Every document that the query asks for, whatever its limit, a page at a time."""
    while page := await store.query(query):
        for document in page:
            yield document
        if query.id_before is not None and page[-1].id >= query.id_before:
            return  # a damaged name, which would lead back: the walk over all rows tells of it
        query = msgspec.structs.replace(query, id_before=page[-1].id)


async def _prove(store: Store, payment_id: str, books: Books | None) -> Proof:
    proof = await _look(store, payment_id)
    for _ in range(LOOKS_MAX):
        # A running server may have moved it between two reads: then it has more events by now.
        if not proof.violations or not await _moved(store, proof):
            break
        proof = await _look(store, payment_id)
    if books is not None:
        prove_books(proof, books)
    return proof


async def _look(store: Store, payment_id: str) -> Proof:
    try:
        events = await store.read_stream(payment_id)
    except Corrupt as error:
        proof = Proof(payment_id=payment_id)
        proof.break_("sequence", str(error))
        return proof
    proof = prove(payment_id, events)
    if proof.payment is None:
        return proof
    query = Query(kind=TRANSACTION, link=("payment_id", payment_id), limit=PAGE_MAX)
    found = [document async for document in pages(store, query)]
    listed = await store.read_document(PAYMENT, payment_id)
    desk = await store.read_document(DESK, payment_id)
    prove_documents(proof, [*found, *(each for each in (listed, desk) if each is not None)])
    if proof.payment.created.key is not None:
        claim = await store.read_claim(proof.payment.created.key.name)
        holder = None if claim is None else await store.read_document(PAYMENT, claim.stream)
        prove_claim(proof, claim, holder_is_there=holder is not None)
    if wake_at_us(proof.payment) is not None:
        prove_wake(proof, is_woken=await _is_woken(store, payment_id))
    shared = as_shared(store)
    if shared is not None:
        prove_tally(proof, await shared.tally(payment_id))
    return proof


async def _is_woken(store: Store, payment_id: str) -> bool:
    # Ids are of one length and hold letters and digits: between this name and the id is none.
    before = f"{payment_id[:-1]}{chr(ord(payment_id[-1]) - 1)}\x7f"
    found = await store.open_streams(after=before, limit=1)
    return bool(found) and found[0].stream == payment_id


async def _has_events(store: Store, payment_id: str) -> bool:
    try:
        return bool(await store.read_stream(payment_id))
    except Corrupt:
        return True


async def _moved(store: Store, proof: Proof) -> bool:
    try:
        return len(await store.read_stream(proof.payment_id)) != proof.events
    except Corrupt:
        return False
