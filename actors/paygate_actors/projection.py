"""From a decision to what is committed: events, documents, claim, wake-up and audit in one unit.

The projections are written in the same transaction as the events that they follow from, so a list
is never behind. Names of kinds, facets, links and queues are fixed here and nowhere else.
"""

from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.desk import desk_entry, listed
from paygate_actors.desk_messages import DeskEntry
from paygate_actors.draft import Draft
from paygate_actors.endpoints import ENDPOINT_KIND
from paygate_actors.messages import ApiKey, FraudCheck, PaymentView, TransactionView
from paygate_actors.outbox import DELIVERY_KIND, NOTHING, Told
from paygate_actors.record import Payment, Txn
from paygate_actors.states import FINAL
from paygate_actors.sums import unresolved
from paygate_actors.tallying import tally
from paygate_actors.views import payment_view, transaction_view
from paygate_engine.stores.base import (
    AuditEntry,
    Claim,
    Document,
    Done,
    Event,
    Kind,
    Unit,
    Wake,
)

PAYMENT: Final = "payment"
TRANSACTION: Final = "transaction"
FRAUD: Final = "fraud_check"
CARD: Final = "card"
PROVIDER_TOKEN: Final = "provider_token"  # noqa: S105 - the name of a kind
API_KEY: Final = "api_key"
PROVIDER: Final = "provider"
DESK: Final = "desk"
"""What is in doubt or asks for a person; a payment was here once or it has no such document."""
MODE: Final = "mode"
"""Sandbox or live: what the folder is stamped with."""
FETCHED: Final = "fetched"
"""Up to where a provider's own list of events was read, by the provider's id."""
KEY_NAMES: Final = "key_names"
"""The names of keys that verified a provider's webhooks, by the provider's id."""
PLACE: Final = "provider_place"
"""Which account a provider's name stands for, by that name."""

KINDS: Final = (
    Kind(name=PAYMENT, facets=("status", "provider")),
    Kind(name=TRANSACTION, facets=("status", "type", "provider", "currency")),
    Kind(name=FRAUD),
    Kind(name=CARD),
    Kind(name=PROVIDER_TOKEN),
    Kind(name=API_KEY),
    Kind(name=PROVIDER),
    Kind(name=DESK, facets=("state",)),
    Kind(name=MODE),
    Kind(name=FETCHED),
    Kind(name=PLACE),
    Kind(name=KEY_NAMES),
    ENDPOINT_KIND,
    DELIVERY_KIND,
)

# What nodes keep in memory of documents: when one is committed, the others read it anew.
WATCHED: Final = (PROVIDER, ENDPOINT_KIND.name)

LISTED: Final = "listed"
"""The state of what is on the desk now."""
GONE: Final = "gone"
"""The state of what was on the desk and is not any more."""

FINGERPRINT_LINK: Final = "fingerprint"
"""From the keyed hash of a provider's token to what is kept of it."""
CREDENTIAL_LINK: Final = "credential"
"""From a token of ours to the payments with which the payer agreed that it is kept."""

INBOX: Final = "webhook"
"""The queue of provider events that were taken in."""
RAW: Final = "webhook_raw"
"""The queue of webhooks as they came, byte for byte; what waits in it is kept, and no more."""

# A hold that nobody captures is asked about once a day: its expiry may have gone unreported.
HOLD_CHECK_US: Final = 24 * 3_600 * 1_000_000

_encode = msgspec.json.Encoder().encode
_payment_decoder = msgspec.json.Decoder(PaymentView)
_transaction_decoder = msgspec.json.Decoder(TransactionView)
_fraud_decoder = msgspec.json.Decoder(FraudCheck)
_desk_decoder = msgspec.json.Decoder(DeskEntry)
_key_decoder = msgspec.json.Decoder(ApiKey)


class StoredCard(Struct, frozen=True, kw_only=True):
    """A card as the vault keeps it: the number sealed, and what a charge needs beside it."""

    sealed: bytes
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None


class StoredToken(Struct, frozen=True, kw_only=True):
    """A provider's own token as the vault keeps it: sealed, and whose it is."""

    sealed: bytes
    provider: str


class Cause(Struct, frozen=True, kw_only=True):
    """Who made the decision happen, what was asked, and why: the audit's three questions."""

    who: str
    what: str
    why: str = ""


def unit(
    draft: Draft,
    *,
    seq: int,
    at_us: int,
    cause: Cause,
    claim: Claim | None = None,
    extra: tuple[Document, ...] = (),
    done: tuple[Done, ...] = (),
    told: Told = NOTHING,
    epoch: int = 0,
) -> Unit:
    """Everything that the decision changes. `seq` is the number of the newest event before it.

    `told` is what its merchant is told of it, in the same commit. `epoch` is that of the node.
    """
    payment = draft.payment
    wake = _wake(draft)
    # Without an event nothing conflicts: another node may have recorded more meanwhile, and its
    # documents must not be written over by those of an older state.
    changed = documents(draft.before, payment, view=draft.view) if draft.events else ()
    moved = None if epoch == 0 else tally(draft.before, payment)
    return Unit(
        events=tuple(
            Event(stream=payment.id, seq=number, at_us=at_us, kind=kind, body=body, epoch=epoch)
            for number, (kind, body) in enumerate(map(e.encode, draft.events), start=seq + 1)
        ),
        documents=(*changed, *extra, *told.documents),
        claims=() if claim is None else (claim,),
        items=told.items,
        done=done,
        posts=told.posts,
        wakes=() if wake is None else (wake,),
        tallies=() if moved is None else (moved,),
        audit=(
            AuditEntry(
                at_us=at_us, who=cause.who, what=cause.what, stream=payment.id, why=cause.why
            ),
        ),
    )


def wake_at_us(payment: Payment) -> int | None:
    """When the payment wants to be looked at though nothing arrives; None: it is over.

    Zero says "at once": something at a provider is not settled.
    """
    if unresolved(payment):
        return 0
    return None if payment.status in FINAL else look_at_us(payment) or 0


def look_at_us(payment: Payment) -> int | None:
    """When a deadline of the payment comes, whatever is asked meanwhile; None: there is none."""
    if payment.status in ("requires_action", "review"):
        return payment.expires_at_us
    return payment.updated_at_us + HOLD_CHECK_US if payment.status == "authorized" else None


def fraud_document(merchant: str, check: FraudCheck) -> Document:
    """The check, found by the id of its payment's own transaction."""
    assert check.transaction_id is not None
    return Document(kind=FRAUD, id=check.transaction_id, scope=merchant, body=_encode(check))


def card_document(merchant: str, token: str, card: StoredCard) -> Document:
    """A sealed card number in the vault, under its token."""
    return Document(kind=CARD, id=token, scope=merchant, body=msgspec.msgpack.encode(card))


def read_card(document: Document) -> StoredCard:
    """The card in its document."""
    return msgspec.msgpack.decode(document.body, type=StoredCard)


def token_document(merchant: str, token: str, stored: StoredToken, *, fingerprint: str) -> Document:
    """A provider's sealed token in the vault, under our own token of it; found by its hash too."""
    return Document(
        kind=PROVIDER_TOKEN,
        id=token,
        scope=merchant,
        links=((FINGERPRINT_LINK, fingerprint),),
        body=msgspec.msgpack.encode(stored),
    )


def read_token(document: Document) -> StoredToken:
    """The provider's token in its document."""
    return msgspec.msgpack.decode(document.body, type=StoredToken)


def key_document(key: ApiKey) -> Document:
    """An API key, found by its digest."""
    return Document(
        kind=API_KEY,
        id=key.id,
        scope=key.merchant,
        links=(("digest", key.digest),),
        body=_encode(key),
    )


def read_payment(document: Document) -> PaymentView:
    """The view in a payment's document."""
    return payment_in(document.body)


def payment_in(body: bytes) -> PaymentView:
    """The view in the body of a payment's document."""
    return _payment_decoder.decode(body)


def read_transaction(document: Document) -> TransactionView:
    """The view in a transaction's document."""
    return _transaction_decoder.decode(document.body)


def read_fraud(document: Document) -> FraudCheck:
    """The check in a fraud document."""
    return _fraud_decoder.decode(document.body)


def read_desk(document: Document) -> DeskEntry:
    """The entry in a document of the desk that is listed; what is gone left nothing there."""
    return _desk_decoder.decode(document.body)


def read_key(document: Document) -> ApiKey:
    """The API key in its document."""
    return _key_decoder.decode(document.body)


def charge_link(provider: str) -> str:
    """The name of the link from a provider's id to the transaction it belongs to."""
    return f"at {provider}"


def documents(
    before: Payment | None, payment: Payment, *, view: PaymentView | None = None
) -> tuple[Document, ...]:
    """The documents that change from `before` (None: all of them) to the payment as it is now.

    `view` is the payment's, where it has been built already.
    """
    created = payment.created
    links: tuple[tuple[str, str], ...] = ()
    if before is None:
        links = tuple(
            (name, created.metadata[field])
            for name, field in (("customer_id", "customerID"), ("order_id", "orderID"))
            if field in created.metadata
        )
        if created.store_credential and created.method.token is not None:
            links = (*links, (CREDENTIAL_LINK, created.method.token))
    view = view or payment_view(payment)
    main = Document(
        kind=PAYMENT,
        id=payment.id,
        scope=created.merchant,
        facets=(view.status, payment.provider or ""),
        links=links,
        body=_encode(view),
    )
    old = {} if before is None else {txn.id: txn for txn in before.txns}
    first_moved = before is None or before.provider_txn_id != payment.provider_txn_id
    changed = [
        txn
        for number, txn in enumerate(payment.txns)
        if old.get(txn.id) is not txn or (number == 0 and first_moved)
    ]
    return (main, *(_transaction(payment, txn) for txn in changed), *_desk(before, payment))


def _desk(before: Payment | None, payment: Payment) -> tuple[Document, ...]:
    # Most payments are never on it: then nothing is written, neither now nor later.
    was = before is not None and listed(before)
    now = listed(payment)
    if not (was or now):
        return ()
    return (
        Document(
            kind=DESK,
            id=payment.id,
            scope=payment.created.merchant,
            facets=(LISTED if now else GONE,),
            body=_encode(desk_entry(payment)) if now else b"",
        ),
    )


def _transaction(payment: Payment, txn: Txn) -> Document:
    view = transaction_view(payment, txn)
    links = {("payment_id", payment.id): None}
    if view.provider is not None and view.provider_txn_id is not None:
        links[charge_link(view.provider), view.provider_txn_id] = None
    # Also every attempt that was declined: its provider may yet say otherwise, by that id alone.
    for call in payment.calls:
        if call.transaction_id == txn.id and call.provider_txn_id is not None:
            links[charge_link(call.provider), call.provider_txn_id] = None
    return Document(
        kind=TRANSACTION,
        id=txn.id,
        scope=view.merchant,
        facets=(view.status, view.type, view.provider or "", view.currency),
        links=tuple(links),
        body=_encode(view),
    )


def _wake(draft: Draft) -> Wake | None:
    at_us = wake_at_us(draft.payment)
    if draft.before is None:
        return None if at_us is None else Wake(stream=draft.payment.id, at_us=at_us)
    if wake_at_us(draft.before) == at_us:
        return None
    return Wake(stream=draft.payment.id, at_us=at_us)
