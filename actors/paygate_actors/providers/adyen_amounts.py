"""Amounts as Adyen writes them (docs.adyen.com/development-resources/currency-codes), exactly.

Adyen counts in minor units as we do, and says of four currencies that they differ from ISO 4217:
CLP and ISK, which have no decimals, are counted in hundredths, and CVE and IDR, which have two, in
whole units. Of CLP and ISK a fraction that is not 00 is no amount; of CVE and IDR only whole units
can be said.
"""

from typing import Final

from paygate_actors.money import Money
from paygate_actors.providers.base import CurrencyTerms

# Signed 64 bits by the specification; twelve digits are what ISO 8583 carries to the schemes.
UNITS_MAX: Final = 999_999_999_999

_HUNDREDFOLD: Final = frozenset({"CLP", "ISK"})
_HUNDREDTH: Final = frozenset({"CVE", "IDR"})

# Adyen's page has CNH as well, which is no currency of ISO 4217.
CURRENCIES: Final = frozenset(
    """
    AED ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BMD BND BOB BRL BSD BWP BYN BZD CAD CHF CLP
    CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LYD
    MAD MDL MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK
    PHP PKR PLN PYG QAR RON RSD RWF SAR SBD SCR SEK SGD SHP SLE SRD STN SZL THB TND TOP TRY TTD
    TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XOF XPF YER ZAR ZMW
    """.split()  # noqa: SIM905 - a list of 130 quoted words is six screens
)
"""What can be presented to a payer."""


def _terms(currency: str) -> CurrencyTerms:
    if currency in _HUNDREDFOLD:
        return CurrencyTerms(minor_max=UNITS_MAX // 100)
    if currency in _HUNDREDTH:
        return CurrencyTerms(minor_min=100, minor_max=UNITS_MAX * 100, multiple_of=100)
    return CurrencyTerms(minor_max=UNITS_MAX)


TERMS: Final = {currency: _terms(currency) for currency in CURRENCIES}
"""Which amounts of each currency Adyen can represent, in our minor units."""


class NotRepresentable(ValueError):
    """The amount has no exact counterpart on the other side; it is never rounded."""


def to_adyen(amount: Money) -> int:
    """Our amount in Adyen's units. Raises `NotRepresentable`."""
    terms = TERMS.get(amount.currency)
    if terms is None or not terms.take(amount.minor):
        raise NotRepresentable(f"Adyen cannot represent this amount of {amount.currency}")
    if amount.currency in _HUNDREDFOLD:
        return amount.minor * 100
    if amount.currency in _HUNDREDTH:
        return amount.minor // 100
    return amount.minor


def from_adyen(units: int, currency: str) -> Money:
    """Adyen's amount in our minor units.

    Raises `NotRepresentable` for a currency that Adyen does not present, and for a fraction of a
    unit that has none.
    """
    if currency not in CURRENCIES:
        raise NotRepresentable("Adyen named a currency that it does not present")
    if currency in _HUNDREDFOLD:
        if units % 100:
            raise NotRepresentable(f"{currency} has no fractions")
        return Money(units // 100, currency)
    return Money(units * 100 if currency in _HUNDREDTH else units, currency)
