"""Amounts as Stripe writes them (docs.stripe.com/currencies), exactly or not at all.

Stripe counts in minor units as we do, but four groups of currencies are counted otherwise than
ISO 4217 says:

* ISK and UGX have no decimals, yet Stripe takes them as if they had two, the last two digits 00.
* MGA has two by ISO 4217 (fifths, in fact) and none at Stripe.
* BHD, JOD, KWD, OMR and TND have three, and the last digit must be 0.
* HUF and TWD are special for payouts alone; charges take both decimals.
"""

from typing import Final

from paygate_actors.money import Money
from paygate_actors.providers.base import CurrencyTerms

# Eight digits of Stripe's units, whatever the currency: that much is documented for all of them.
UNITS_MAX: Final = 99_999_999

_HUNDREDFOLD: Final = frozenset({"ISK", "UGX"})
_HUNDREDTH: Final = frozenset({"MGA"})
_LAST_DIGIT_ZERO: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})

# The least that may be charged, in Stripe's units, by settlement currency; where an account
# settles in another one, Stripe may ask for more and says so (`amount_too_small`).
_LEAST: Final = {
    "AED": 200, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1_500, "DKK": 250,
    "EUR": 50, "GBP": 30, "HKD": 400, "HUF": 17_500, "INR": 50, "JPY": 50, "MXN": 1_000,
    "MYR": 200, "NOK": 300, "NZD": 50, "PLN": 200, "RON": 200, "SEK": 300, "SGD": 50,
    "THB": 1_000, "USD": 50,
}  # fmt: skip

CURRENCIES: Final = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BWP BYN BZD
    CAD CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF
    GTQ GYD HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP
    LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR
    PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD STN SZL THB
    TJS TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XOF XPF YER ZAR ZMW
    """.split()  # noqa: SIM905 - a list of 130 quoted words is six screens
)
"""What can be presented to a payer."""


def _terms(currency: str) -> CurrencyTerms:
    least = _LEAST.get(currency, 1)
    if currency in _HUNDREDFOLD:
        return CurrencyTerms(minor_min=1, minor_max=UNITS_MAX // 100)
    if currency in _HUNDREDTH:
        return CurrencyTerms(minor_min=100, minor_max=UNITS_MAX * 100, multiple_of=100)
    if currency in _LAST_DIGIT_ZERO:
        return CurrencyTerms(minor_min=10, minor_max=UNITS_MAX, multiple_of=10)
    return CurrencyTerms(minor_min=least, minor_max=UNITS_MAX)


TERMS: Final = {currency: _terms(currency) for currency in CURRENCIES}
"""Which amounts of each currency Stripe can represent, in our minor units."""


class NotRepresentable(ValueError):
    """The amount has no exact counterpart on the other side; it is never rounded."""


def to_stripe(amount: Money) -> int:
    """Our amount in Stripe's units. Raises `NotRepresentable`.

    Bounds are not looked at: a refund may be smaller than the least charge.
    """
    terms = TERMS.get(amount.currency)
    if terms is None or amount.minor <= 0 or amount.minor % terms.multiple_of:
        raise NotRepresentable(f"Stripe cannot represent this amount of {amount.currency}")
    if amount.currency in _HUNDREDFOLD:
        return amount.minor * 100
    if amount.currency in _HUNDREDTH:
        return amount.minor // 100
    return amount.minor


def from_stripe(units: int, currency: str) -> Money:
    """Stripe's amount in our minor units; its currencies are in small letters.

    Raises `NotRepresentable` for a currency that Stripe does not present, and for a fraction of a
    unit that has none.
    """
    code = currency.upper()
    if code not in CURRENCIES or currency != currency.lower():
        raise NotRepresentable("Stripe named a currency that it does not present")
    if code in _HUNDREDFOLD:
        if units % 100:
            raise NotRepresentable(f"{code} has no fractions")
        return Money(units // 100, code)
    return Money(units * 100 if code in _HUNDREDTH else units, code)
