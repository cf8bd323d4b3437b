"""Roughly how many US dollars an amount is worth: for thresholds, never for money."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from paygate_actors.money import Money, UnknownCurrency, exponent

# Dollars for one major unit, to two digits: a threshold of $10,000 needs no more, and whoever
# does configures better ones. Not here: a minor unit counts as one cent, which is too much for
# nearly every currency, so that an unknown one is looked at too often rather than too seldom.
_REFERENCE = {
    "USD": "1",
    "AED": "0.27",
    "AUD": "0.65",
    "BHD": "2.7",
    "BRL": "0.18",
    "CAD": "0.72",
    "CHF": "1.2",
    "CLP": "0.001",
    "CNY": "0.14",
    "COP": "0.00025",
    "CZK": "0.045",
    "DKK": "0.15",
    "EUR": "1.1",
    "GBP": "1.3",
    "HKD": "0.13",
    "HUF": "0.0028",
    "IDR": "0.000061",
    "ILS": "0.28",
    "INR": "0.012",
    "JOD": "1.4",
    "JPY": "0.0067",
    "KRW": "0.00072",
    "KWD": "3.3",
    "MXN": "0.054",
    "MYR": "0.23",
    "NOK": "0.097",
    "NZD": "0.59",
    "OMR": "2.6",
    "PHP": "0.017",
    "PLN": "0.26",
    "SAR": "0.27",
    "SEK": "0.1",
    "SGD": "0.76",
    "THB": "0.03",
    "TND": "0.33",
    "TRY": "0.025",
    "TWD": "0.032",
    "VND": "0.000039",
    "ZAR": "0.056",
}

# More digits than any rate has; a longer text is a mistake (and 1e999999 would be a long sum).
_RATE_CHARACTERS_MAX = 20


class UsdRates:
    """Compares amounts with thresholds in US cents. `overrides`: dollars per major unit, as text.

    Raises `ValueError` that names the currency for a rate that is none.
    """

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self._cents_per_minor = {
            currency: _rate(currency, text) * 100 / 10 ** exponent(currency)
            for currency, text in (_REFERENCE | dict(overrides)).items()
        }

    def exceeds(self, amount: Money, *, usd_minor: int) -> bool:
        """Tell whether the amount is worth more than `usd_minor` US cents, by exact integers."""
        rate = self._cents_per_minor.get(amount.currency, _ONE_CENT)
        return amount.minor * rate.numerator > usd_minor * rate.denominator


_ONE_CENT = Fraction(1)


def _rate(currency: str, text: str) -> Fraction:
    try:
        exponent(currency)
        rate = Decimal(text) if len(text) <= _RATE_CHARACTERS_MAX else Decimal(0)
    except (UnknownCurrency, InvalidOperation) as error:
        raise ValueError(f"usd_rates.{currency} is no currency with a rate") from error
    if not (rate.is_finite() and rate > 0 and abs(rate.adjusted()) <= _RATE_CHARACTERS_MAX):
        raise ValueError(f"usd_rates.{currency} must be a positive number such as 1.08")
    return Fraction(rate)
