"""What Adyen says and is told over its wire, as far as this adapter reads and writes it (v72)."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from paygate_actors.providers.adyen_amounts import to_adyen
from paygate_actors.providers.adyen_reference import Purpose, write_reference
from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument

# What is larger than the stores hold is nonsense.
_Units = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
_Id = Annotated[str, Meta(min_length=1, max_length=255)]
_Text = Annotated[str, Meta(max_length=2_000)]

_MODELS: Final = {
    "recurring": "Subscription",
    "installment": "UnscheduledCardOnFile",
    "unscheduled": "UnscheduledCardOnFile",
    None: "UnscheduledCardOnFile",
}


class _Wire(Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class _Said(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    pass


class Amount(Struct, frozen=True, kw_only=True):
    """A sum in Adyen's units."""

    value: _Units
    currency: _Currency


class Action(_Wire, frozen=True, kw_only=True):
    """What the payer must do. Only a redirect by GET is a place that they can be sent to."""

    type: str
    url: Annotated[str, Meta(pattern="^https?://", max_length=4_000)] | None = None
    method: str | None = None


class Payment(_Wire, frozen=True, kw_only=True):
    """The answer to a payment, and to what its payer brought back."""

    result_code: str
    psp_reference: _Id | None = None
    merchant_reference: str | None = None
    amount: Amount | None = None
    refusal_reason: _Text | None = None
    refusal_reason_code: str | None = None
    action: Action | None = None
    additional_data: dict[str, object] = {}


class Modification(_Wire, frozen=True, kw_only=True):
    """The answer to a capture, cancellation or refund: it was taken in, and no more than that."""

    psp_reference: _Id
    status: Literal["received"]
    merchant_account: str
    reference: str | None = None
    payment_psp_reference: str | None = None
    payment_reference: str | None = None
    amount: Amount | None = None


class Trouble(_Wire, frozen=True, kw_only=True):
    """Why a request was refused. Its message may quote what was sent, and is never shown."""

    error_code: str
    error_type: str = ""
    psp_reference: str | None = None


decode_payment = msgspec.json.Decoder(Payment).decode
"""Read the answer to a payment. Raises `msgspec.DecodeError`."""
decode_modification = msgspec.json.Decoder(Modification).decode
"""Read the answer to a modification. Raises `msgspec.DecodeError`."""
decode_trouble = msgspec.json.Decoder(Trouble).decode
"""Read an answer of 400 and above. Raises `msgspec.DecodeError`."""


class _Method(_Said, frozen=True, kw_only=True):
    type: Literal["scheme"]
    number: str | None = None
    expiry_month: str | None = None
    expiry_year: str | None = None
    cvc: str | None = None
    holder_name: str | None = None
    stored_payment_method_id: str | None = None
    network_payment_reference: str | None = None

    def __repr__(self) -> str:
        return "<card>"


class _ThreeDS(_Said, frozen=True, kw_only=True, rename={"native": "nativeThreeDS"}):
    native: Literal["disabled"]


class _Authentication(
    _Said,
    frozen=True,
    kw_only=True,
    rename={"request": "threeDSRequestData", "when": "attemptAuthentication"},
):
    request: _ThreeDS
    when: Literal["always", "never"] | None = None


class _PaymentBody(_Said, frozen=True, kw_only=True, rename="camel"):
    merchant_account: str
    amount: Amount
    reference: str
    payment_method: _Method
    return_url: str
    channel: Literal["Web"]
    shopper_interaction: Literal["Ecommerce", "ContAuth"]
    capture_delay_hours: int | None = None
    additional_data: dict[str, str] | None = None
    authentication_data: _Authentication | None = None
    recurring_processing_model: str | None = None
    shopper_reference: str | None = None
    shopper_ip: str | None = msgspec.field(name="shopperIP", default=None)


class _ModificationBody(_Said, frozen=True, kw_only=True, rename="camel"):
    merchant_account: str
    reference: str
    amount: Amount | None = None
    payment_reference: str | None = None


class Token(Struct, frozen=True):
    """A card that Adyen keeps, and whose it is there."""

    method_id: str
    shopper: str | None


def token_of(instrument: Instrument) -> Token | None:
    """Read a provider's token: `STORED_METHOD`, or `SHOPPER/STORED_METHOD`; None: there is none."""
    if instrument.provider_token is None:
        return None
    shopper, _, method_id = instrument.provider_token.rpartition("/")
    return Token(method_id, shopper or None) if method_id else None


def payment_body(call: ChargeCall, *, account: str, return_url: str) -> bytes:
    """Write a payment. The one place where this adapter opens a sealed card.

    Raises `NotRepresentable`.
    """
    token = token_of(call.instrument)
    merchant = call.initiator == "merchant"
    return msgspec.json.encode(
        _PaymentBody(
            merchant_account=account,
            amount=Amount(value=to_adyen(call.amount), currency=call.amount.currency),
            reference=write_reference(call.key, "charge" if call.capture else "hold"),
            payment_method=_method(call, token),
            return_url=return_url,
            channel="Web",
            # A card that is on file stays so, whether its owner is there or not.
            shopper_interaction="ContAuth" if merchant or token is not None else "Ecommerce",
            # Both are said, so that the account's own setting decides nothing.
            capture_delay_hours=0 if call.capture else None,
            additional_data=None if call.capture else {"manualCapture": "true"},
            authentication_data=None if merchant else _authentication(call),
            recurring_processing_model=_model(call, token),
            shopper_reference=token.shopper if token is not None else None,
            shopper_ip=call.customer_ip,
        )
    )


def modification_body(call: FollowUpCall, purpose: Purpose, *, account: str) -> bytes:
    """Write a capture or refund of this sum. Raises `NotRepresentable`."""
    return msgspec.json.encode(
        _ModificationBody(
            merchant_account=account,
            reference=write_reference(call.key, purpose),
            amount=Amount(value=to_adyen(call.amount), currency=call.amount.currency),
        )
    )


def cancellation_body(
    call: FollowUpCall, *, account: str, payment_reference: str | None = None
) -> bytes:
    """Write a cancellation of the whole; by the payment's reference where it has no id."""
    return msgspec.json.encode(
        _ModificationBody(
            merchant_account=account,
            reference=write_reference(call.key, "void"),
            payment_reference=payment_reference,
        )
    )


def details_body(redirect_result: str) -> bytes:
    """Write what a payer brought back from their bank."""
    return msgspec.json.encode({"details": {"redirectResult": redirect_result}})


def _method(call: ChargeCall, token: Token | None) -> _Method:
    instrument = call.instrument
    if token is not None:
        return _Method(type="scheme", stored_payment_method_id=token.method_id)
    assert instrument.card is not None, "the adapter looks at the instrument first"
    number, cvv = instrument.card.reveal()
    month, year = instrument.expiry_month, instrument.expiry_year
    return _Method(
        type="scheme",
        number=number,
        cvc=cvv,
        expiry_month=None if month is None else f"{month:02}",
        expiry_year=None if year is None else str(year),
        holder_name=instrument.holder_name,
        network_payment_reference=call.network_txn_id if call.initiator == "merchant" else None,
    )


def _authentication(call: ChargeCall) -> _Authentication:
    # Adyen's own page asks the payer: no script of ours runs in anybody's browser.
    native = _ThreeDS(native="disabled")
    required = call.three_d_secure == "required"
    return _Authentication(request=native, when="always" if required else None)


def _model(call: ChargeCall, token: Token | None) -> str | None:
    if call.initiator == "merchant":
        return _MODELS[call.reason]
    return "CardOnFile" if call.store or token is not None else None
