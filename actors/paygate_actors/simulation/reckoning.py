"""The last reckoning: when everything works again and time has passed, what must be true.

Nothing is open that no person was called for; the providers' books and ours agree to the last
minor unit; what was promised to anybody is found; every event is where the chain says.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from paygate_actors import events as e
from paygate_actors.evolving import evolve
from paygate_actors.giving_back import owed
from paygate_actors.inbox import read_stored
from paygate_actors.projection import INBOX, PAYMENT, TRANSACTION, read_payment
from paygate_actors.record import Call, Payment, refused_in_review
from paygate_actors.simulation.accounts import Account, News
from paygate_actors.simulation.books import Charge
from paygate_actors.simulation.clients import Promise
from paygate_actors.simulation.ledger import Ledger
from paygate_actors.simulation.tracing import Violation
from paygate_actors.sums import disputed, refunded
from paygate_actors.views import payment_view
from paygate_engine import chain
from paygate_engine.stores.base import PAGE_MAX, AuditRow, Item, Query
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.shared_memory import SharedMemoryStore

Providers = Mapping[str, Account]

# What a person is told of, and need not decide: nothing else may rest on it.
_TOLD: Final = frozenset(
    {
        "disputed",
        "refunded_by_provider",
        "captured_by_provider",
        "cancelled_by_provider",
        "refund_failed",
    }
)


async def check_store(store: MemoryStore, ledger: Ledger) -> None:
    """The chain verifies, and every stream folds to its document. Raises `Violation`."""
    for rows in await _chains(store):
        found = await chain.verify(rows, store.read_stream)
        if isinstance(found, chain.Fault):
            raise Violation("the audit chain verifies", found.text)
    for payment_id, known in ledger.payments.items():
        folded: Payment | None = None
        for event in await store.read_stream(payment_id):
            recorded = e.decode(event.kind, event.body)
            folded = evolve(folded, recorded, id=payment_id, at_us=event.at_us, epoch=event.epoch)
        document = await store.read_document(PAYMENT, payment_id)
        if folded != known or document is None or read_payment(document) != payment_view(known):
            raise Violation("the events fold to the projection", payment_id, subject=payment_id)


async def check_promises(store: MemoryStore, ledger: Ledger, promises: Iterable[Promise]) -> int:
    """Everything acknowledged is found; how many promises there were. Raises `Violation`."""
    count = 0
    for promise in promises:
        count += 1
        payment = ledger.payments.get(promise.payment_id)
        if payment is None or payment.created.merchant != promise.merchant:
            raise Violation(
                "what was acknowledged is found", str(promise), subject=promise.payment_id
            )
        if promise.transaction_id is not None:
            document = await store.read_document(TRANSACTION, promise.transaction_id)
            if document is None:
                raise Violation(
                    "what was acknowledged is found", str(promise), subject=promise.payment_id
                )
    query = Query(kind=PAYMENT, limit=PAGE_MAX)
    listed = {document.id for document in await store.query(query)}
    if listed != set(ledger.payments):
        raise Violation("every payment is listed", f"{len(listed)} of {len(ledger.payments)}")
    return count


async def check_webhooks(store: MemoryStore, ledger: Ledger, notices: Mapping[str, News]) -> None:
    """Each acknowledged webhook was kept, and applied. Raises `Violation`."""
    for each in notices.values():
        lost = each.acknowledged - ledger.received
        if lost:
            raise Violation("an acknowledged webhook is kept", ", ".join(sorted(lost)))
    waiting = [item for item in await store.waiting(INBOX) if not _of_no_consequence(item)]
    if waiting:
        raise Violation("every webhook is applied", ", ".join(item.id for item in waiting))


async def _chains(store: MemoryStore) -> list[AsyncIterator[AuditRow]]:
    if not isinstance(store, SharedMemoryStore):
        return [chain.rows_of(store)]
    return [_rows(store, name) for name in await store.chains()]


async def _rows(store: SharedMemoryStore, name: str) -> AsyncIterator[AuditRow]:
    n = 0
    while page := await store.audit_rows(after_n=n, chain=name):
        for row in page:
            yield row
        n = page[-1].n


def _of_no_consequence(item: Item) -> bool:
    # Of a request that somebody on the way doubled, one copy was refused unread (429) and the
    # other declined: the decline has an id that we never heard, and a bare event names nothing
    # else. It stays parked, a person is alerted, and no money moved.
    event = read_stored(item).event
    return event.event_type == "payment.failed" and event.reference is None


def open_still(payment: Payment, providers: Providers) -> str | None:
    """What is open on the payment; None for one that is at rest, or waits for a person.

    A hold that its merchant may capture is at rest. So is what an operator has said the end of,
    as long as its provider has never heard of it, or cannot be asked: whoever insists there has the
    last word until a webhook says otherwise.
    """
    if any(concern.code not in _TOLD for concern in payment.concerns):
        return None
    calls = [call for call in payment.calls if call.unresolved]
    said = {txn.id for txn in payment.txns if txn.asserted is not None}
    heard_of = {call.transaction_id for call in calls if _knows(providers, call)}
    waits = {txn.id for txn in payment.txns[1:] if txn.status == "pending"}
    waits |= {call.transaction_id for call in calls}
    if payment.status in ("requires_action", "review"):
        return payment.status  # a deadline ends it, whatever anybody says
    if payment.status in ("pending", "processing"):
        waits.add(payment.txns[0].id)
    still = sorted(waits - (said - heard_of))
    return f"{payment.status}: {', '.join(still)}" if still else None


def may_still_move(payment: Payment, providers: Providers) -> bool:
    """Whether something comes to it by itself: the end of a hold, or what a person waits for.

    A person was called for everything but a hold; that does not end a deadline or a pursuit.
    """
    if payment.status in ("requires_action", "review"):
        return True
    if any(call.unresolved for call in payment.calls):
        return True
    prefix = payment.txns[0].id + "-"
    return any(
        charge.status == "authorized"
        for provider in providers.values()
        for charge in provider.books.of_keys(prefix)
    )


def _knows(providers: Providers, call: Call) -> bool:
    provider = providers.get(call.provider)
    return provider is not None and not provider.blind and provider.books.ever(call.key)


def check_rest(payment: Payment, providers: Providers) -> None:
    """Nothing is open that no person was called for. Raises `Violation`."""
    still = open_still(payment, providers)
    if still is not None:
        raise Violation("nothing stays open without a person", still, subject=payment.id)


def check_books(payment: Payment, providers: Providers) -> None:
    """Hold one payment against the providers' books. Raises `Violation`."""
    if payment.attention is not None and any(call.unresolved for call in payment.calls):
        return  # a person was called because nobody knows
    prefix = payment.txns[0].id + "-"
    for name, provider in providers.items():
        for charge in provider.books.of_keys(prefix):
            own = (payment.provider, payment.provider_txn_id) == (name, charge.id)
            if own and payment.status not in ("failed", "cancelled"):
                _check_own(payment, charge)
                _check_disputed(payment, charge)
            elif charge.live and not (_flagged(payment) or _insisted(payment, providers)):
                raise Violation(
                    "nothing is kept for a payment that is over",
                    f"{payment.status}, but {charge.id} is {charge.status}"
                    f" and keeps {charge.kept_minor}",
                    subject=payment.id,
                )
    if payment.status == "success" and payment.provider_txn_id is None:
        raise Violation("a success has a charge", payment.id, subject=payment.id)
    refused = refused_in_review(payment)
    if payment.status == "success" and refused is not None:
        raise Violation("what was declined is no success", refused.id, subject=payment.id)


def _check_own(payment: Payment, charge: Charge) -> None:
    captured = charge.captured_minor if charge.status == "captured" else 0
    if payment.captured_minor != captured:
        raise Violation(
            "the books agree on what was captured",
            f"ours {payment.captured_minor}, {charge.id} {captured}",
            subject=payment.id,
        )
    if refunded(payment) != charge.refunded_minor and payment.captured_minor:
        raise Violation(
            "the books agree on what was refunded",
            f"ours {refunded(payment)}, {charge.id} {charge.refunded_minor}",
            subject=payment.id,
        )


def _check_disputed(payment: Payment, charge: Charge) -> None:
    if disputed(payment) != charge.taken_back_minor:
        raise Violation(
            "the books agree on what is disputed",
            f"ours {disputed(payment)}, {charge.id} {charge.taken_back_minor}",
            subject=payment.id,
        )


def _flagged(payment: Payment) -> bool:
    """Whether a person was called because the provider would not give it back, and cannot either.

    What can be given back again he has given back by now.
    """
    undone = [txn for txn in payment.txns if txn.type == "reverse" and txn.status == "failed"]
    return bool(payment.concerns) and bool(undone) and owed(payment) is None


def _insisted(payment: Payment, providers: Providers) -> bool:
    """Whether an operator insists on the end of giving it back, of which its provider never heard.

    Whatever he says: from then on nothing is sent any more, and it is his to see to.
    """
    said = {txn.id for txn in payment.txns if txn.type == "reverse" and txn.asserted is not None}
    return any(
        call.unresolved and call.transaction_id in said and not _knows(providers, call)
        for call in payment.calls
    )
