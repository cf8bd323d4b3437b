"""Judges what a payment request says, field by field, and makes the command of it.

Types were `decode`'s business; this is about meaning. Every check takes what did decode and adds
its faults, so that one answer names them all. A fraud check reads the same body more kindly: what
`process` would refuse in a card is something to be scored there.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from msgspec import Raw, UnsetType

from paygate_actors.address import check_address
from paygate_actors.amounts import check_bounds
from paygate_actors.card import SealedCard
from paygate_actors.card_checks import MONTHS, YEAR_MAX, check_card, looks_like_card_number
from paygate_actors.config import AmountBounds
from paygate_actors.messages import Address
from paygate_actors.money import AmountInvalid, Money, UnknownCurrency, exponent
from paygate_actors.payment_methods import CardMethod, Method, TokenMethod, WalletMethod
from paygate_http.bodies import (
    CARD_TYPES,
    METADATA_KEY_MAX,
    METADATA_KEYS_MAX,
    METADATA_VALUE_MAX,
    AddressBody,
    PaymentMethodBody,
)
from paygate_http.credential_checks import check_provider_token
from paygate_http.validation import Faults, child

_AMOUNT_DETAILS: Final[Mapping[str, str]] = {
    "amount_not_a_number": "must be a JSON number",
    "amount_not_positive": "must be more than zero",
    "amount_too_precise": "has more decimals than the currency",
    "amount_too_small": "is below what is taken in this currency",
    "amount_too_large": "is above what is taken in this currency",
}
# Four decimals, as many as any currency has: what is no amount here is none anywhere.
_ANY_CURRENCY: Final = "CLF"
_CURRENCY_FREE = ("amount_not_a_number", "amount_not_positive")

# A UUID is a common order number, and its digits alone may look like a card's.
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Stores and logs choke on control characters; tabs and line ends are honest text.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def check_amount(
    amount: Raw | UnsetType,
    currency: str | None,
    faults: Faults,
    *,
    bounds: Mapping[str, AmountBounds] | None,
) -> Money | None:
    """Read an amount exactly, from its text; `bounds` None: any that the currency can hold."""
    known = _check_currency(currency, faults)
    if isinstance(amount, UnsetType):
        faults.missing("/amount")
        return None
    try:
        money = Money.parse(bytes(amount), known or _ANY_CURRENCY)
    except AmountInvalid as error:
        if known or error.code in _CURRENCY_FREE:
            faults.add("/amount", error.code, _AMOUNT_DETAILS[error.code])
        return None
    if known is None:
        return None
    outside = check_bounds(money, bounds) if bounds is not None else None
    if outside is not None:
        faults.add("/amount", outside, _AMOUNT_DETAILS[outside])
    return money


def _check_currency(currency: str | None, faults: Faults) -> str | None:
    if currency is None:
        faults.missing("/currency")
        return None
    try:
        exponent(currency)
    except UnknownCurrency:
        detail = "must be an ISO 4217 code in upper case"
        faults.add("/currency", "unknown_currency", detail)
        return None
    return currency


def check_method(
    body: PaymentMethodBody | None, faults: Faults, *, now_us: int, strict: bool
) -> Method | None:
    """Read a payment method and seal its card; `strict`: a card must also be one to charge."""
    parent = "/paymentMethod"
    if body is None:
        faults.missing(parent)
    elif body.type is None:
        faults.missing(f"{parent}/type")
    elif body.type in CARD_TYPES:
        return _check_card(body, faults, now_us=now_us, strict=strict)
    elif body.type == "wallet":
        if body.wallet_id is not None:
            check_text(body.wallet_id, f"{parent}/walletID", faults)
            return WalletMethod(wallet_id=body.wallet_id)
        faults.missing(f"{parent}/walletID")
    elif body.type == "provider_token":
        return check_provider_token(body, faults)
    else:
        if body.token is not None:
            check_text(body.token, f"{parent}/token", faults)
            return TokenMethod(token=body.token)
        faults.missing(f"{parent}/token")
    return None


def _check_card(
    body: PaymentMethodBody, faults: Faults, *, now_us: int, strict: bool
) -> CardMethod | None:
    parent = "/paymentMethod"
    for name, value in (
        ("cardNumber", body.card_number),
        ("expiryMonth", body.expiry_month),
        ("expiryYear", body.expiry_year),
    ):
        if value is None:
            faults.missing(f"{parent}/{name}")
    card = SealedCard(body.card_number or "", body.cvv)
    # A date that can have no fault stands in for one that was not given: that is noted above.
    month = MONTHS if body.expiry_month is None else body.expiry_month
    year = YEAR_MAX if body.expiry_year is None else body.expiry_year
    if strict:
        found = check_card(
            card,
            expiry_month=month,
            expiry_year=year,
            holder_name=body.holder_name,
            now_us=now_us,
        )
        faults.add_fields(parent, found)
    return CardMethod(
        kind=body.type or "card",
        card=card,
        expiry_month=month,
        expiry_year=year,
        holder_name=body.holder_name,
    )


def check_billing(body: AddressBody | None, faults: Faults) -> Address | None:
    """Read a billing address; None where there is none."""
    if body is None:
        return None
    parent = "/billingAddress"
    for name, value in (
        ("street", body.street),
        ("city", body.city),
        ("state", body.state),
        ("zipCode", body.zip_code),
    ):
        if value is not None:
            check_text(value, f"{parent}/{name}", faults)
    if body.country is None:
        faults.missing(f"{parent}/country")
        return None
    found = check_address(country=body.country, state=body.state, zip_code=body.zip_code)
    faults.add_fields(parent, found)
    return Address(
        country=body.country,
        street=body.street,
        city=body.city,
        state=body.state,
        zip_code=body.zip_code,
    )


def check_metadata(metadata: dict[str, str] | None, faults: Faults) -> dict[str, str]:
    """Bound metadata in count and length; a card number in it is refused."""
    if not metadata:
        return {}
    if len(metadata) > METADATA_KEYS_MAX:
        detail = f"may have at most {METADATA_KEYS_MAX} entries"
        faults.add("/metadata", "metadata_too_many", detail)
        return {}
    for key, value in metadata.items():
        pointer = child("/metadata", key)
        if not 0 < len(key) <= METADATA_KEY_MAX:
            detail = f"a key must have 1 to {METADATA_KEY_MAX} characters"
            faults.add("/metadata", "metadata_key_length", detail)
        elif len(value) > METADATA_VALUE_MAX:
            detail = f"may have at most {METADATA_VALUE_MAX} characters"
            faults.add(pointer, "metadata_too_long", detail)
        else:
            check_text(key, pointer, faults)
            check_text(value, pointer, faults)
    return metadata


def check_text(text: str, pointer: str, faults: Faults) -> None:
    """Refuse control characters in free text, and what looks like a card number."""
    if _CONTROL.search(text) is not None:
        faults.add(pointer, "control_character", "must not hold control characters")
    elif looks_like_card_number(text) and _UUID.fullmatch(text) is None:
        faults.add(pointer, "card_number_in_text", "must not hold a card number")


def check_return_url(url: str | None, faults: Faults) -> str | None:
    """Take an absolute http or https URL, without a user in it."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
        fits = fits and (parts.port is None or parts.port > 0) and url.isprintable()
    except ValueError:
        fits = False
    if not fits or " " in url:
        faults.add("/returnURL", "invalid_url", "must be an absolute http or https URL")
    else:
        check_text(url, "/returnURL", faults)
    return url


def check_ip(text: str | None, faults: Faults) -> str | None:
    """Take an IPv4 or IPv6 address, and spell it as everybody does."""
    if text is None:
        return None
    try:
        # A scope names an interface of the caller's own machine.
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        faults.add("/customerIP", "invalid_ip", "must be an IPv4 or IPv6 address")
        return None
