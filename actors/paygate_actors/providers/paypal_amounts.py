"""Amounts as PayPal writes them (developer.paypal.com, currency codes), exactly or not at all.

PayPal writes major units as text. Three of its currencies have no decimals there: JPY, which has
none by ISO 4217 either, and HUF and TWD, which have two: a hundred of our minor units are one of
PayPal's, and what is no whole hundred is no candidate.
"""

import re
from typing import Final

from paygate_actors.money import Money, exponent
from paygate_actors.providers.base import CurrencyTerms

# "Up to 15 digits preceding the decimal" in an order; the stores' 64 bits hold 18 in all.
WHOLE_DIGITS_MAX: Final = 15

_WHOLE_ALONE: Final = frozenset({"HUF", "JPY", "TWD"})

CURRENCIES: Final = frozenset(
    """
    AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN RUB SEK SGD THB
    TWD USD
    """.split()  # noqa: SIM905 - a list of 25 quoted words is a screen
)
"""What an order may be in; BRL, CNY and MYR between accounts of their own country alone."""

# Two ways that an amount may come back: with a point and without; never signed.
_VALUE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,2}))?")


class NotRepresentable(ValueError):
    """The amount has no exact counterpart on the other side; it is never rounded."""


def _terms(currency: str) -> CurrencyTerms:
    minor_max = 10 ** (WHOLE_DIGITS_MAX + exponent(currency)) - 1
    multiple_of = 10 ** exponent(currency) if currency in _WHOLE_ALONE else 1
    return CurrencyTerms(minor_min=multiple_of, minor_max=minor_max, multiple_of=multiple_of)


TERMS: Final = {currency: _terms(currency) for currency in CURRENCIES}
"""Which amounts of each currency PayPal can represent, in our minor units."""


def to_paypal(amount: Money) -> str:
    """Our amount as PayPal's `value`. Raises `NotRepresentable`."""
    terms = TERMS.get(amount.currency)
    if terms is None or not terms.take(amount.minor):
        raise NotRepresentable(f"PayPal cannot represent this amount of {amount.currency}")
    if amount.currency in _WHOLE_ALONE:
        return str(amount.minor // terms.multiple_of)
    whole, cents = divmod(amount.minor, 100)
    return f"{whole}.{cents:02d}"


def from_paypal(value: str, currency: str) -> Money:
    """PayPal's amount in our minor units.

    Raises `NotRepresentable` for a currency that PayPal does not take, for what is no plain
    number, and for a fraction of a currency that has none there.
    """
    found = _VALUE.fullmatch(value)
    if found is None or currency not in CURRENCIES:
        raise NotRepresentable("PayPal named an amount that is none")
    whole, fraction = int(found[1]), (found[2] or "").ljust(2, "0")
    if currency in _WHOLE_ALONE:
        # Zeros behind a point are no fraction: PayPal writes them in some of its answers.
        if int(fraction):
            raise NotRepresentable(f"{currency} has no fractions at PayPal")
        return Money(whole * TERMS[currency].multiple_of, currency)
    return Money(whole * 100 + int(fraction), currency)
