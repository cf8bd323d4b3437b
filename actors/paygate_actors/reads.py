"""Reading what is committed: payments, transactions, histories, checks, keys. Nothing moves here.

Every answer is narrowed to what the caller may see; what belongs to another merchant is answered
exactly as if it did not exist.
"""

import base64
import binascii
from collections.abc import Sequence
from itertools import takewhile
from typing import Final, assert_never

from msgspec.structs import replace

from paygate_actors import events as e
from paygate_actors.damage import Mender, fold
from paygate_actors.desk_messages import DeskEntry
from paygate_actors.messages import (
    ApiKey,
    Caller,
    EventView,
    Fault,
    Filters,
    FraudCheck,
    PaymentPage,
    PaymentView,
    Refusal,
    TransactionPage,
    TransactionView,
)
from paygate_actors.payment import PaymentActor
from paygate_actors.projection import (
    API_KEY,
    DESK,
    FRAUD,
    LISTED,
    PAYMENT,
    TRANSACTION,
    payment_in,
    read_desk,
    read_fraud,
    read_key,
    read_payment,
    read_transaction,
)
from paygate_actors.remembering import Remembered
from paygate_actors.views import event_view, payment_view
from paygate_engine.ids import Ids
from paygate_engine.region import Region
from paygate_engine.stores.base import PAGE_MAX, Document, Query, Store

NO_PAYMENT: Final = Refusal(code="payment_not_found", detail="No such payment.")
NO_TRANSACTION: Final = Refusal(code="transaction_not_found", detail="No such transaction.")
# What `attention` says of a payment that is parked: its record is damaged, or it kept failing.
SET_ASIDE: Final = "set_aside"
# Ours have 30 characters; what is longer is no id, and is not looked for.
ID_MAX: Final = 64
# Keys are made by hand: more than a page of them is not expected, and is not shown.
KEYS_MAX: Final = 1_000


class Reads:
    """The reading half of the front."""

    def __init__(
        self,
        store: Store,
        payments: Region[PaymentActor],
        mender: Mender,
        *,
        alone: bool = True,
    ) -> None:
        self._store = store
        self._payments = payments
        self._mender = mender
        # Where other nodes write too, what is in memory here may be older than what was told there.
        self._alone = alone
        self._live_views = Remembered(payment_view)
        self._stored_views = Remembered(payment_in)

    async def look(self, payment_id: str) -> PaymentView | None:
        """The payment as committed, whoever it belongs to."""
        return self._live(payment_id) or await self._stored(payment_id)

    def _live(self, payment_id: str) -> PaymentView | None:
        live = self._payments.active(payment_id) if self._alone else None
        if live is None or live.payment is None or live.recording:
            # Who read a transaction, or a list, may have been told what is just being recorded.
            return None
        return self._live_views.of(payment_id, live.payment)

    async def _stored(self, payment_id: str) -> PaymentView | None:
        if len(payment_id) > ID_MAX:
            return None
        return self._in(await self._mender.read(PAYMENT, payment_id))

    def _in(self, document: Document | None) -> PaymentView | None:
        if document is None:
            return None
        return self._shown(self._stored_views.of(document.id, document.body))

    def payment_now(self, caller: Caller, payment_id: str) -> PaymentView | None:
        """The payment, if it is the caller's and can be told at once.

        None says nothing: ask `payment`.
        """
        if len(payment_id) > ID_MAX:
            return None
        view = self._live(payment_id) or self._in(self._mender.peek(PAYMENT, payment_id))
        return view if view is not None and _sees(caller, view.merchant) else None

    async def payment(self, caller: Caller, payment_id: str) -> PaymentView | Refusal:
        """The payment, if it is the caller's."""
        view = self._live(payment_id) or await self._stored(payment_id)
        if view is None or not _sees(caller, view.merchant):
            return NO_PAYMENT
        return view

    async def payment_at(
        self, caller: Caller, payment_id: str, at_us: int
    ) -> PaymentView | Refusal:
        """The payment at an instant, if it is the caller's: its events up to then, and no other.

        An event that a clock, put back, dates before its forerunner counts from the latter on.
        """
        # Whose it is comes first: what is wrong with another's payment is not the caller's to know.
        view = await self.payment(caller, payment_id)
        if isinstance(view, Refusal):
            return view
        events = await self._store.read_stream(payment_id)
        payment = fold(payment_id, [*takewhile(lambda event: event.at_us <= at_us, events)])
        return NO_PAYMENT if payment is None else payment_view(payment)

    async def desk(
        self, caller: Caller, filters: Filters
    ) -> tuple[Sequence[DeskEntry], str | None] | Refusal:
        """A page of the desk as committed."""
        found = await self._page(DESK, "pay", caller, filters, (("state", LISTED),), ())
        if isinstance(found, Refusal):
            return found
        documents, cursor = found
        return tuple(map(read_desk, documents)), cursor

    async def payments(self, caller: Caller, filters: Filters) -> PaymentPage | Refusal:
        """A page of the caller's payments."""
        where = _where(("status", filters.status), ("provider", filters.provider))
        links = _where(("order_id", filters.order_id), ("customer_id", filters.customer_id))
        found = await self._page(PAYMENT, "pay", caller, filters, where, links)
        if isinstance(found, Refusal):
            return found
        documents, cursor = found
        views = tuple(self._shown(read_payment(document)) for document in documents)
        return PaymentPage(items=views, next_cursor=cursor)

    async def transaction(self, caller: Caller, transaction_id: str) -> TransactionView | Refusal:
        """The transaction, if it is the caller's."""
        if len(transaction_id) > ID_MAX:
            return NO_TRANSACTION
        document = await self._mender.read(TRANSACTION, transaction_id)
        if document is None or not _sees(caller, document.scope):
            return NO_TRANSACTION
        return read_transaction(document)

    async def transactions(self, caller: Caller, filters: Filters) -> TransactionPage | Refusal:
        """A page of the caller's transactions."""
        where = _where(
            ("status", filters.status),
            ("type", filters.type),
            ("provider", filters.provider),
            ("currency", filters.currency),
        )
        links = _where(("payment_id", filters.payment_id))
        found = await self._page(TRANSACTION, "txn", caller, filters, where, links)
        if isinstance(found, Refusal):
            return found
        documents, cursor = found
        return TransactionPage(items=tuple(map(read_transaction, documents)), next_cursor=cursor)

    async def events(self, caller: Caller, payment_id: str) -> tuple[EventView, ...] | Refusal:
        """The payment's whole history, from the journal."""
        view = await self.payment(caller, payment_id)
        if isinstance(view, Refusal):
            return view
        return tuple(
            event_view(event.seq, event.at_us, _public(caller, e.decode(event.kind, event.body)))
            for event in await self._store.read_stream(payment_id)
        )

    async def fraud_of(self, caller: Caller, transaction_id: str) -> FraudCheck | Refusal:
        """The check of the transaction's payment."""
        view = await self.transaction(caller, transaction_id)
        if isinstance(view, Refusal):
            return view
        first = "txn" + view.payment_id.removeprefix("pay")
        document = await self._mender.read(FRAUD, first)
        return NO_TRANSACTION if document is None else read_fraud(document)

    async def key(self, digest: str) -> ApiKey | None:
        """The API key with this digest."""
        query = Query(kind=API_KEY, link=("digest", digest), limit=1)
        for document in await self._mender.all_of(await self._store.query(query)):
            key = read_key(document)
            # The link that it was found by has no checksum of its own.
            return key if key.digest == digest else None
        return None

    async def keys(self) -> tuple[ApiKey, ...]:
        """All API keys, newest first."""
        found = await self._store.query(Query(kind=API_KEY, limit=KEYS_MAX))
        return tuple(map(read_key, await self._mender.all_of(found)))

    def _shown(self, view: PaymentView) -> PaymentView:
        """The payment as committed; of one that is set aside a person must know."""
        if not self._payments.is_parked(view.id):
            return view
        return replace(view, attention=SET_ASIDE)

    async def _page(
        self,
        kind: str,
        prefix: str,
        caller: Caller,
        filters: Filters,
        where: tuple[tuple[str, str], ...],
        links: tuple[tuple[str, str], ...],
    ) -> tuple[Sequence[Document], str | None] | Refusal:
        before = None if filters.to_us is None else _floor(prefix, filters.to_us)
        if filters.cursor is not None:
            after = _read_cursor(filters.cursor, prefix)
            if after is None:
                fault = Fault(pointer="/cursor", code="bad_cursor", detail="Not a cursor of ours.")
                return Refusal(
                    code="validation_failed", detail="The cursor is not valid.", faults=(fault,)
                )
            before = after if before is None else min(before, after)
        scope = None if caller.role == "operator" else caller.merchant
        found = await self._store.query(
            Query(
                kind=kind,
                scope=scope,
                where=where,
                link=links[0] if links else None,
                id_from=None if filters.from_us is None else _floor(prefix, filters.from_us),
                id_before=before,
                limit=filters.limit + 1 if len(links) < 2 else PAGE_MAX,  # noqa: PLR2004
            )
        )
        # A damaged row may have been found under a merchant's name that was never its own.
        whole = [it for it in await self._mender.all_of(found) if scope in (None, it.scope)]
        if len(links) > 1:
            # Found by its order, which has fewer payments than a page; narrowed down to the payer.
            found = whole = [
                document
                for document in whole
                if read_payment(document).metadata.get("customerID") == filters.customer_id
            ]
        if len(found) <= filters.limit:
            return whole, None
        beyond = found[filters.limit].id
        # The page ends before the row that it does not show, whichever rows could not be mended.
        return [it for it in whole if it.id > beyond], _cursor(found[filters.limit - 1].id)


def _sees(caller: Caller, merchant: str) -> bool:
    return caller.role == "operator" or caller.merchant == merchant


def _public(caller: Caller, event: e.PaymentEvent) -> e.PaymentEvent:
    """The event without the operators' own: who they are, their notes, rules and providers."""
    if caller.role == "operator":
        return event
    match event:
        case e.AttentionCleared():
            return replace(event, by=None, note="")
        case e.Reviewed():
            return replace(event, by="", note="")
        case e.StatusAsserted():
            return replace(event, by="", reason="")
        case e.TransactionOpened(origin="operator"):
            return replace(event, by="")
        case e.CallStarted():
            return replace(event, route=None)
        case (
            e.PaymentCreated()
            | e.FraudScored()
            | e.CallPrepared()
            | e.CallInDoubt()
            | e.CallPending()
            | e.ActionRequested()
            | e.CallApproved()
            | e.CredentialNoted()
            | e.CallDeclined()
            | e.Moved()
            | e.TransactionOpened()
            | e.TransactionSettled()
            | e.AttentionRaised()
        ):
            return event
        case _:
            assert_never(event)


def _where(*pairs: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs if value is not None)


def _floor(prefix: str, at_us: int) -> str:
    # Before 1970 there were no payments, and after 2112 there are none yet.
    return Ids.floor(prefix, min(max(at_us, 0), (1 << 52) - 1))


def _cursor(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, prefix: str) -> str | None:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        Ids.time_of(text)
    except (binascii.Error, ValueError):
        return None
    return text if text.startswith(prefix + "_") else None
