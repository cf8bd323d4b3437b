"""What PayPal says, as its adapter reads it. Amounts: PayPal's own, major units as text.

Only the fields that decide something are read; PayPal adds others at any time. What the adapter
writes is in `paypal_bodies`.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from paygate_actors.money import Money
from paygate_actors.providers.paypal_amounts import from_paypal

_Id = Annotated[str, Meta(min_length=1, max_length=255)]
_Text = Annotated[str, Meta(max_length=255)]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


class Amount(Struct, frozen=True):
    """An amount of money."""

    currency_code: str
    value: str

    @property
    def money(self) -> Money:
        """The amount in our minor units. Raises `NotRepresentable`."""
        return from_paypal(self.value, self.currency_code)


class Link(Struct, frozen=True):
    """Where to go on; `rel` says what for."""

    href: Annotated[str, Meta(max_length=4_000)]
    rel: str


class Processor(Struct, frozen=True):
    """What the processor of a card said."""

    response_code: str | None = None


class NetworkReference(Struct, frozen=True):
    """The card network's name for a payment."""

    id: _Text | None = None


class RelatedIds(Struct, frozen=True):
    """The objects that one belongs to."""

    order_id: _Id | None = None


class Supplement(Struct, frozen=True):
    """What webhooks tell beside an object."""

    related_ids: RelatedIds | None = None


class Payment(Struct, frozen=True, kw_only=True):
    """A capture, or the hold (authorization) that it takes its money from."""

    id: _Id
    status: str
    amount: Amount
    custom_id: str | None = None
    invoice_id: str | None = None
    network_transaction_reference: NetworkReference | None = None
    processor_response: Processor | None = None
    supplementary_data: Supplement | None = None

    @property
    def order_id(self) -> str | None:
        """The order that it belongs to, where it says so."""
        related = self.supplementary_data and self.supplementary_data.related_ids
        return related.order_id if related else None


class Refund(Struct, frozen=True, kw_only=True):
    """A refund of a capture."""

    id: _Id
    status: str
    amount: Amount | None = None
    custom_id: str | None = None
    invoice_id: str | None = None


class Payments(Struct, frozen=True):
    """What was done about an order, the oldest first."""

    authorizations: tuple[Payment, ...] = ()
    captures: tuple[Payment, ...] = ()
    refunds: tuple[Refund, ...] = ()


class Unit(Struct, frozen=True, kw_only=True):
    """What an order is for; ours have one of these."""

    custom_id: str | None = None
    amount: Amount | None = None
    payments: Payments = Payments()


class ThreeDSecure(Struct, frozen=True):
    """How the issuer's check of the payer ended: `Y` passed, `A` attempted."""

    authentication_status: str | None = None


class Authenticated(Struct, frozen=True):
    """What is known of the payer's check."""

    three_d_secure: ThreeDSecure | None = None


class CardSource(Struct, frozen=True):
    """The card that paid."""

    authentication_result: Authenticated | None = None


class Source(Struct, frozen=True):
    """What paid."""

    card: CardSource | None = None


class Order(Struct, frozen=True, kw_only=True):
    """An order. `create_time` as it came."""

    id: _Id
    status: str
    intent: str = ""
    purchase_units: Annotated[tuple[Unit, ...], Meta(max_length=10)] = ()
    links: tuple[Link, ...] = ()
    payment_source: Source | None = None
    create_time: _Text | None = None

    def link(self, *rels: str) -> str | None:
        """Where the first of these links leads."""
        return next((each.href for each in self.links if each.rel in rels), None)


class Detail(Struct, frozen=True):
    """One of the reasons of an error."""

    issue: str = ""


class Trouble(Struct, frozen=True):
    """Why a call did nothing. `name` is the kind of error, the details say which."""

    name: str = ""
    details: tuple[Detail, ...] = ()

    @property
    def issues(self) -> tuple[str, ...]:
        """The reasons, in PayPal's order."""
        return tuple(each.issue for each in self.details)


class Token(Struct, frozen=True):
    """What is shown with every call. `expires_in`: seconds."""

    access_token: Annotated[str, Meta(min_length=1, max_length=8_000)]
    expires_in: Annotated[int, Meta(gt=0, le=10**8)]


class DisputedTransaction(Struct, frozen=True):
    """Which payment a dispute is about. `custom` is the capture's `custom_id`."""

    custom: Annotated[str, Meta(max_length=2_000)] | None = None


class DisputeOutcome(Struct, frozen=True):
    """How a dispute ended."""

    outcome_code: str | None = None


class Dispute(Struct, frozen=True, kw_only=True):
    """A dispute about a payment."""

    dispute_id: _Id
    status: str = ""
    reason: str | None = None
    dispute_life_cycle_stage: str | None = None
    dispute_amount: Amount | None = None
    dispute_outcome: DisputeOutcome | None = None
    disputed_transactions: tuple[DisputedTransaction, ...] = ()


class Event(Struct, frozen=True, kw_only=True):
    """A webhook, or an entry of the list of events."""

    id: _Id
    event_type: Annotated[str, Meta(min_length=1, max_length=100)]
    create_time: str
    resource: Raw


class RawPage(Struct, frozen=True, kw_only=True):
    """A page of events, each still unread."""

    events: tuple[Raw, ...] = ()
    links: tuple[Link, ...] = ()


# Made once: building a decoder costs more than using it.
decode_order = msgspec.json.Decoder(Order).decode
"""Read an order. Raises `msgspec.DecodeError`."""
decode_payment = msgspec.json.Decoder(Payment).decode
"""Read a capture or a hold. Raises `msgspec.DecodeError`."""
decode_refund = msgspec.json.Decoder(Refund).decode
"""Read a refund. Raises `msgspec.DecodeError`."""
decode_trouble = msgspec.json.Decoder(Trouble).decode
"""Read an answer of 400 and above. Raises `msgspec.DecodeError`."""
decode_token = msgspec.json.Decoder(Token).decode
"""Read a token. Raises `msgspec.DecodeError`."""
decode_dispute = msgspec.json.Decoder(Dispute).decode
"""Read a dispute. Raises `msgspec.DecodeError`."""
decode_event = msgspec.json.Decoder(Event).decode
"""Read an event but for its resource. Raises `msgspec.DecodeError`."""
decode_page = msgspec.json.Decoder(RawPage).decode
"""Read a page of events. Raises `msgspec.DecodeError`."""

_decode_time = msgspec.json.Decoder(datetime).decode


def time_us(text: str) -> int:
    """UTC microseconds of an RFC 3339 time. Raises `msgspec.DecodeError` (a `ValueError`)."""
    at = _decode_time(msgspec.json.encode(text))
    if at.tzinfo is None:
        raise ValueError("a time without its zone is none")
    return (at - _EPOCH) // _US
