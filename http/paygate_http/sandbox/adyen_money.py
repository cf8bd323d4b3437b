"""Amounts between Adyen's units and the books' minor units (ISO 4217).

It shares no code with the adapter: two readers of one document find each other's mistakes.
"""

from typing import Final

from paygate_actors.money import UnknownCurrency, exponent

# Where Adyen's page on currency codes says "differs from standard".
_DECIMALS: Final = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}


class AmountRefused(Exception):
    """Adyen's own no to an amount: its error code, and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def minor_of(units: int, currency: str) -> int:
    """Give the minor units. Raises `AmountRefused` for what Adyen would not take."""
    if units <= 0:
        raise AmountRefused("137", "Invalid amount specified")
    try:
        shift = _DECIMALS.get(currency, exponent(currency)) - exponent(currency)
    except UnknownCurrency as error:
        raise AmountRefused("138", "Unsupported currency specified") from error
    if shift <= 0:
        return units * 10**-shift
    whole, rest = divmod(units, 10**shift)
    if rest:
        raise AmountRefused("137", "Invalid amount specified")
    return whole


def units_of(minor: int, currency: str) -> int:
    """Give Adyen's units of an amount in the books."""
    shift = _DECIMALS.get(currency, exponent(currency)) - exponent(currency)
    return minor * 10**shift if shift >= 0 else minor // 10**-shift
