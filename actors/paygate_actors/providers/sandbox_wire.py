"""What the sandbox provider says and is told, as its adapter reads it. Amounts: minor units."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from paygate_actors.card_checks import looks_like_card_number
from paygate_actors.credentials import InitiationReason, Initiator, StepUp
from paygate_actors.money import Money
from paygate_actors.outcomes import Authentication
from paygate_actors.providers.base import ChargeCall, FollowUpCall, ProviderEvent

Verb = Literal["charge", "authorize", "capture", "refund", "void"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A code or a sentence; what is longer is somebody's page.
_REASON_CHARS_MAX = 200

# Signed 64 bits are what the stores hold; a larger sum is nonsense.
_AmountMinor = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
_Id = Annotated[str, Meta(min_length=1, max_length=255)]
_Moment = Annotated[datetime, Meta(tz=True)]


class _Wire(Struct, frozen=True, rename="camel"):
    pass


class _CardBody(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    number: str
    cvv: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None

    def __repr__(self) -> str:
        return "<card>"


class _WalletBody(_Wire, frozen=True):
    id: str


class _TokenBody(_Wire, frozen=True):
    id: str

    def __repr__(self) -> str:
        return "<token>"


class _ChargeBody(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    amount_minor: int
    currency: str
    capture: bool
    reference: str
    card: _CardBody | None = None
    wallet: _WalletBody | None = None
    token: _TokenBody | None = None
    description: str | None = None
    return_url: str | None = field(name="returnURL", default=None)
    customer_ip: str | None = field(name="customerIP", default=None)
    initiator: Initiator = "customer"
    reason: InitiationReason | None = None
    store: bool = False
    network_txn_id: str | None = field(name="networkTransactionID", default=None)
    three_d_secure: StepUp = field(name="threeDSecure", default="automatic")


class _FollowUpBody(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    provider_txn_id: str = field(name="providerTxnID")
    currency: str
    reference: str
    amount_minor: int | None = None


class NextAction(_Wire, frozen=True, kw_only=True):
    """Where the payer confirms, and until when."""

    url: Annotated[str, Meta(pattern="^https?://", max_length=2_000)]
    expires_at: _Moment


class Answer(_Wire, frozen=True, kw_only=True):
    """What a call did."""

    id: _Id
    operation: Verb
    status: str
    amount_minor: _AmountMinor
    currency: _Currency
    idempotency_key: str
    charge_id: str = field(name="chargeID")
    captured: bool = False
    next_action: NextAction | None = None
    expected_by: _Moment | None = None
    network_txn_id: _Id | None = field(name="networkTransactionID", default=None)
    authentication: Authentication | None = None


class Finding(_Wire, frozen=True, kw_only=True):
    """What a look-up found."""

    idempotency_key: str
    status: str
    provider_txn_id: _Id | None = field(name="providerTxnID")
    amount_minor: _AmountMinor
    currency: _Currency
    captured: bool = False
    decline_code: str | None = None
    next_action: NextAction | None = None
    expected_by: _Moment | None = None
    network_txn_id: _Id | None = field(name="networkTransactionID", default=None)
    authentication: Authentication | None = None


class Trouble(_Wire, frozen=True, kw_only=True):
    """Why a call did nothing."""

    code: _Id
    message: str = ""
    provider_txn_id: str | None = field(name="providerTxnID", default=None)


class TroubleAnswer(_Wire, frozen=True, kw_only=True):
    """An answer of 400 and above."""

    error: Trouble


class _EventData(_Wire, frozen=True, kw_only=True):
    amount_minor: _AmountMinor | None = None
    currency: _Currency | None = None
    reference: str | None = None
    parent_transaction_id: str | None = field(name="parentTransactionID", default=None)
    outcome: Literal["won", "lost"] | None = None
    reason: str | None = None


class _EventBody(_Wire, frozen=True, kw_only=True):
    provider_id: str = field(name="providerID")
    event_type: Annotated[str, Meta(min_length=1, max_length=100)]
    transaction_id: Annotated[str, Meta(max_length=255)] = field(name="transactionID", default="")
    data: _EventData | None = None
    timestamp: _Moment


# Made once, at import: a type that msgspec cannot read fails there, not inside a call's handler.
decode_answer = msgspec.json.Decoder(Answer).decode
"""Read what a call did. Raises `msgspec.DecodeError`."""
decode_finding = msgspec.json.Decoder(Finding).decode
"""Read what a look-up found. Raises `msgspec.DecodeError`."""
decode_trouble = msgspec.json.Decoder(TroubleAnswer).decode
"""Read why a call did nothing. Raises `msgspec.DecodeError`."""
_decode_event = msgspec.json.Decoder(_EventBody).decode


def charge_body(call: ChargeCall) -> bytes:
    """Write a charge. The one place where this adapter opens a sealed card."""
    instrument = call.instrument
    card = None
    if instrument.card is not None:
        number, cvv = instrument.card.reveal()
        card = _CardBody(
            number=number,
            cvv=cvv,
            expiry_month=instrument.expiry_month,
            expiry_year=instrument.expiry_year,
            holder_name=instrument.holder_name,
        )
    wallet = _WalletBody(instrument.wallet_id) if instrument.wallet_id is not None else None
    token = instrument.provider_token
    return msgspec.json.encode(
        _ChargeBody(
            amount_minor=call.amount.minor,
            currency=call.amount.currency,
            capture=call.capture,
            reference=call.key,
            card=card,
            wallet=wallet,
            token=_TokenBody(token) if token is not None else None,
            description=call.description,
            return_url=call.return_url,
            customer_ip=call.customer_ip,
            initiator=call.initiator,
            reason=call.reason,
            store=call.store,
            network_txn_id=call.network_txn_id,
            three_d_secure=call.three_d_secure,
        )
    )


def follow_up_body(call: FollowUpCall, *, of_the_whole: bool) -> bytes:
    """Write a capture, void or refund; a void is of the whole and names no amount."""
    return msgspec.json.encode(
        _FollowUpBody(
            provider_txn_id=call.provider_txn_id,
            currency=call.amount.currency,
            reference=call.key,
            amount_minor=None if of_the_whole else call.amount.minor,
        )
    )


def read_event(body: bytes, *, event_id: str, provider_id: str) -> ProviderEvent:
    """Read a webhook's body. Raises `ValueError` where it is not what is documented."""
    event = _decode_event(body)
    if event.provider_id != provider_id:
        raise ValueError("the event is another provider's")
    data = event.data if event.data is not None else _EventData()
    amount = None
    if data.amount_minor is not None and data.currency is not None:
        amount = Money(data.amount_minor, data.currency)
    return ProviderEvent(
        event_id=event_id,
        event_type=event.event_type,
        provider_txn_id=event.transaction_id,
        reference=data.reference,
        parent_txn_id=data.parent_transaction_id,
        amount=amount,
        dispute_won=data.outcome == "won" if data.outcome is not None else None,
        reason=_showable(data.reason),
        at_us=microseconds(event.timestamp),
    )


def _showable(reason: str | None) -> str | None:
    # Merchants read it, and it stays for ever: no page of text, and never a card number. The
    # event itself is not refused for it: what it says about money is true all the same.
    if reason is None or looks_like_card_number(reason):
        return None
    return reason[:_REASON_CHARS_MAX]


def microseconds(moment: datetime) -> int:
    """Give UTC microseconds since the epoch, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
