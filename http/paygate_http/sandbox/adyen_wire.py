"""What is said to the account that speaks Adyen's API, as its specification has it (v72)."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

_Text = Annotated[str, Meta(max_length=2_000)]
_Reference = Annotated[str, Meta(min_length=1, max_length=80)]


class _Wire(Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class Amount(Struct, frozen=True, kw_only=True):
    """A sum in Adyen's units."""

    value: int
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]


class Method(_Wire, frozen=True, kw_only=True):
    """A card in clear, one encrypted by a browser, or one that Adyen keeps."""

    type: _Text = "scheme"
    number: Annotated[str, Meta(max_length=40)] | None = None
    encrypted_card_number: Annotated[str, Meta(max_length=15_000)] | None = None
    stored_payment_method_id: Annotated[str, Meta(max_length=64)] | None = None
    expiry_month: Annotated[str, Meta(max_length=2)] | None = None
    expiry_year: Annotated[str, Meta(max_length=4)] | None = None
    cvc: Annotated[str, Meta(max_length=4)] | None = None
    holder_name: _Text | None = None

    def __repr__(self) -> str:
        return "<card>"


class Authentication(_Wire, frozen=True, kw_only=True):
    """Whether the payer has to confirm."""

    attempt_authentication: Literal["always", "never"] | None = None


class PaymentBody(_Wire, frozen=True, kw_only=True):
    """`POST /payments`."""

    amount: Amount
    merchant_account: str
    payment_method: Method
    reference: _Reference
    return_url: Annotated[str, Meta(max_length=1_024)] | None = None
    capture_delay_hours: int | None = None
    additional_data: dict[str, str] = {}
    shopper_interaction: _Text = "Ecommerce"
    recurring_processing_model: _Text | None = None
    authentication_data: Authentication = Authentication()

    @property
    def manual(self) -> bool:
        """Whether the money is only held."""
        return self.additional_data.get("manualCapture") == "true"


class ModificationBody(_Wire, frozen=True, kw_only=True):
    """`POST /payments/{id}/captures`, `/cancels`, `/refunds`, `/reversals`, and `/cancels`."""

    merchant_account: str
    amount: Amount | None = None
    reference: _Reference | None = None
    payment_reference: _Reference | None = None


class _Details(_Wire, frozen=True, kw_only=True):
    redirect_result: Annotated[str, Meta(max_length=10_000)]


class DetailsBody(_Wire, frozen=True, kw_only=True):
    """`POST /payments/details`."""

    details: _Details


decode_payment = msgspec.json.Decoder(PaymentBody).decode
"""Read a payment. Raises `msgspec.DecodeError`, whose text names fields and never values."""
decode_modification = msgspec.json.Decoder(ModificationBody).decode
"""Read a modification. Raises `msgspec.DecodeError`."""
decode_details = msgspec.json.Decoder(DetailsBody).decode
"""Read what a payer brought back. Raises `msgspec.DecodeError`."""
