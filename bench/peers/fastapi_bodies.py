"""What the FastAPI peer takes and shows, as pydantic models with the rules in them."""

from decimal import Decimal
from typing import Annotated, Literal

from peer_rules import CURRENCIES, expired, luhn, minor_units
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel


class Wire(BaseModel):
    """What the API speaks."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Method(Wire):
    """A card."""

    type: Literal["card"]
    card_number: str
    expiry_month: Annotated[int, Field(ge=1, le=12)]
    expiry_year: int
    cvv: str | None = None
    holder_name: str | None = None

    @field_validator("card_number")
    @classmethod
    def check_number(cls, number: str) -> str:
        """Refuse a number whose check digit is wrong."""
        if not luhn(number):
            raise ValueError("invalid_card_number")
        return number

    @model_validator(mode="after")
    def check_expiry(self) -> "Method":
        """Refuse a card that is expired."""
        if expired(self.expiry_month, self.expiry_year):
            raise ValueError("expired_card")
        return self


class Address(Wire):
    """A billing address."""

    country: str
    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip_code: str | None = None


class Body(Wire):
    """A payment to be made."""

    amount: Decimal
    currency: str
    payment_method: Method
    billing_address: Address | None = None
    metadata: dict[str, str] = {}

    @field_validator("amount")
    @classmethod
    def check_amount(cls, amount: Decimal) -> Decimal:
        """Refuse what is no amount of cents."""
        if minor_units(amount) is None:
            raise ValueError("invalid_amount")
        return amount

    @field_validator("currency")
    @classmethod
    def check_currency(cls, currency: str) -> str:
        """Refuse currencies that are not sold in."""
        if currency not in CURRENCIES:
            raise ValueError("unknown_currency")
        return currency


class MethodShown(Wire):
    """A card as everybody may see it."""

    type: str
    last4: str


class Shown(Wire):
    """A payment as the API shows it."""

    id: str
    status: str
    amount_minor: int
    currency: str
    payment_method: MethodShown
    metadata: dict[str, str]
    provider_txn_id: str | None = Field(alias="providerTxnID")
    created_at: str
    updated_at: str
