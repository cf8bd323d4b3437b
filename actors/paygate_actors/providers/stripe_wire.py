"""What Stripe says and is told, as its adapter reads and writes it. Amounts: Stripe's own units.

Requests are forms with brackets (`card[number]=...`), answers JSON. Only the fields that decide
something are read; Stripe adds others at any time.
"""

from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Raw, Struct

from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument
from paygate_actors.providers.stripe_amounts import to_stripe
from paygate_actors.providers.stripe_credential import (
    EXPAND_FOUND,
    LatestCharge,
    credential_fields,
    saved_method,
)

REFERENCE = "reference"
"""The metadata field that carries our key of the charge or refund."""
CAPTURE_REFERENCE = "capture_reference"
"""The metadata field that carries our key of the capture."""

# Signed 64 bits are what the stores hold; a larger sum is nonsense.
_Units = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Currency = Annotated[str, Meta(pattern="^[a-z]{3}$")]
_Id = Annotated[str, Meta(min_length=1, max_length=255)]
_Seconds = Annotated[int, Meta(ge=0, le=2**40)]
_Metadata = dict[str, str]

_Field = tuple[str, str]


class Redirect(Struct, frozen=True):
    """Where the payer confirms."""

    url: Annotated[str, Meta(pattern="^https?://", max_length=4_000)] | None = None


class NextAction(Struct, frozen=True):
    """What the payer has to do; nothing but a redirect can be done through us."""

    type: str = ""
    redirect_to_url: Redirect | None = None


class Trouble(Struct, frozen=True):
    """Why a call did nothing, or why an intent's last attempt failed."""

    type: str = ""
    code: str | None = None
    decline_code: str | None = None
    param: str | None = None
    payment_intent: "Intent | None" = None


class Intent(Struct, frozen=True, kw_only=True):
    """A PaymentIntent. `amount_received` and `amount_capturable` are what was and can be taken."""

    id: _Id
    object: Literal["payment_intent"]
    status: str
    amount: _Units
    currency: _Currency
    amount_received: _Units
    amount_capturable: _Units
    created: _Seconds
    metadata: _Metadata = {}
    next_action: NextAction | None = None
    last_payment_error: Trouble | None = None
    cancellation_reason: str | None = None
    latest_charge: LatestCharge | str | None = None


class Refund(Struct, frozen=True, kw_only=True):
    """A refund. `status` may be missing for the oldest ones."""

    id: _Id
    object: Literal["refund"]
    amount: _Units
    currency: _Currency
    status: str | None = None
    payment_intent: str | None = None
    metadata: _Metadata | None = None
    failure_reason: str | None = None


class Dispute(Struct, frozen=True, kw_only=True):
    """A dispute, or an inquiry that may become one (`warning_...`)."""

    id: _Id
    object: Literal["dispute"]
    amount: _Units
    currency: _Currency
    status: str
    payment_intent: str | None = None
    reason: str | None = None


class Refunds(Struct, frozen=True):
    """The list inside of a charge, where the API version still has it."""

    data: tuple[Refund, ...] = ()


class ChargeObject(Struct, frozen=True, kw_only=True):
    """A charge, as far as `charge.refunded` needs it."""

    id: _Id
    object: Literal["charge"]
    payment_intent: str | None = None
    refunds: Refunds | None = None


class Method(Struct, frozen=True, kw_only=True):
    """A PaymentMethod."""

    id: _Id
    object: Literal["payment_method"]


class Intents(Struct, frozen=True, kw_only=True):
    """What a search found."""

    data: tuple[Intent, ...]


class RefundList(Struct, frozen=True, kw_only=True):
    """The refunds of one intent, the newest first."""

    data: tuple[Refund, ...]
    has_more: bool = False


class EventData(Struct, frozen=True, kw_only=True):
    """The object as it was when the event happened."""

    object: Raw


class Event(Struct, frozen=True, kw_only=True):
    """A webhook, or an entry of the list of events. `account`: a connected account's."""

    id: _Id
    object: Literal["event"]
    type: Annotated[str, Meta(min_length=1, max_length=100)]
    created: _Seconds
    livemode: bool
    data: EventData
    account: str | None = None


class RawPage(Struct, frozen=True, kw_only=True):
    """A page of events, each still unread."""

    data: tuple[Raw, ...]
    has_more: bool = False


class _TroubleAnswer(Struct, frozen=True):
    error: Trouble


class _EventName(Struct, frozen=True, kw_only=True):
    id: _Id


decode_intent = msgspec.json.Decoder(Intent).decode
"""Read an intent. Raises `msgspec.DecodeError`."""
decode_intents = msgspec.json.Decoder(Intents).decode
"""Read what a search found. Raises `msgspec.DecodeError`."""
decode_refund = msgspec.json.Decoder(Refund).decode
"""Read a refund. Raises `msgspec.DecodeError`."""
decode_refunds = msgspec.json.Decoder(RefundList).decode
"""Read a list of refunds. Raises `msgspec.DecodeError`."""
decode_method = msgspec.json.Decoder(Method).decode
"""Read a payment method. Raises `msgspec.DecodeError`."""
decode_event = msgspec.json.Decoder(Event).decode
"""Read an event but for its object. Raises `msgspec.DecodeError`."""
decode_page = msgspec.json.Decoder(RawPage).decode
"""Read a page of events. Raises `msgspec.DecodeError`."""
decode_dispute = msgspec.json.Decoder(Dispute).decode
"""Read a dispute. Raises `msgspec.DecodeError`."""
decode_charge = msgspec.json.Decoder(ChargeObject).decode
"""Read a charge. Raises `msgspec.DecodeError`."""
decode_event_id = msgspec.json.Decoder(_EventName).decode
"""Read an event's id alone. Raises `msgspec.DecodeError`."""

_decode_trouble = msgspec.json.Decoder(_TroubleAnswer).decode


def decode_trouble(body: bytes) -> Trouble:
    """Read an answer of 400 and above. Raises `msgspec.DecodeError`."""
    return _decode_trouble(body).error


def intent_form(call: ChargeCall) -> bytes:
    """Write an unconfirmed intent, without any card. Raises `NotRepresentable`."""
    fields = [
        ("amount", str(to_stripe(call.amount))),
        ("currency", call.amount.currency.lower()),
        ("capture_method", "automatic" if call.capture else "manual"),
        ("payment_method_types[0]", "card"),
        (f"metadata[{REFERENCE}]", call.key),
    ]
    if call.description is not None:
        fields.append(("description", call.description))
    saved = saved_method(call.instrument)
    if saved is not None and saved.customer is not None:
        fields.append(("customer", saved.customer))
    return _encoded(fields)


def method_form(instrument: Instrument) -> bytes:
    """Write a card. The one place where this adapter opens a sealed card."""
    assert instrument.card is not None, "only a card becomes a payment method"
    number, cvv = instrument.card.reveal()
    fields = [("type", "card"), ("card[number]", number)]
    if instrument.expiry_month is not None:
        fields.append(("card[exp_month]", str(instrument.expiry_month)))
    if instrument.expiry_year is not None:
        fields.append(("card[exp_year]", str(instrument.expiry_year)))
    if cvv is not None:
        fields.append(("card[cvc]", cvv))
    if instrument.holder_name is not None:
        fields.append(("billing_details[name]", instrument.holder_name))
    return _encoded(fields)


def confirm_form(method: str, call: ChargeCall, *, return_url: str | None) -> bytes:
    """Write a confirmation. A payer who could not come back is not sent away: it declines."""
    fields = [("payment_method", method)]
    if call.initiator == "customer":
        back = ("return_url", return_url) if return_url else ("error_on_requires_action", "true")
        fields.append(back)
    return _encoded([*fields, *credential_fields(call)])


def capture_form(call: FollowUpCall) -> bytes:
    """Write a capture of this amount; Stripe releases the rest. Raises `NotRepresentable`."""
    return _encoded(
        [
            ("amount_to_capture", str(to_stripe(call.amount))),
            (f"metadata[{CAPTURE_REFERENCE}]", call.key),
        ]
    )


def refund_form(call: FollowUpCall) -> bytes:
    """Write a refund of this amount. Raises `NotRepresentable`."""
    return _encoded(
        [
            ("payment_intent", call.provider_txn_id),
            ("amount", str(to_stripe(call.amount))),
            (f"metadata[{REFERENCE}]", call.key),
        ]
    )


def search_query(key: str) -> str:
    """Write the query for the intent of a charge's or a capture's key."""
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    query = " OR ".join(f"metadata['{name}']:'{quoted}'" for name in (REFERENCE, CAPTURE_REFERENCE))
    return urlencode([("query", query), ("limit", "2"), EXPAND_FOUND])


def _encoded(fields: Iterable[_Field]) -> bytes:
    return urlencode(list(fields)).encode()
