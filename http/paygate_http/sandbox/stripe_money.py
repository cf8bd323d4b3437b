"""Amounts between Stripe's units and the books' minor units (ISO 4217).

It shares no code with the adapter: two readers of one document find each other's mistakes.
"""

from typing import Final

from paygate_actors.money import UnknownCurrency, exponent

UNITS_MAX: Final = 99_999_999
# The least charge where the account settles in the same currency; for a few, as examples.
LEAST: Final = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}

_TWO_FOR_NONE: Final = ("isk", "ugx")
_NONE_FOR_TWO: Final = ("mga",)


class AmountRefused(Exception):
    """Stripe's own no to an amount: `code` and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def minor_of(units: int, currency: str) -> int:
    """Give the minor units. Raises `AmountRefused` for what Stripe would not take."""
    decimals = _decimals(currency)
    if not 0 < units <= UNITS_MAX:
        code = "parameter_invalid_integer" if units <= 0 else "amount_too_large"
        raise AmountRefused(code, "Amount must be greater than zero and at most eight digits.")
    if currency in _TWO_FOR_NONE:
        if units % 100:
            raise AmountRefused(
                "invalid_charge_amount",
                "Amounts in this currency must be evenly divisible by 100.",
            )
        return units // 100
    if currency in _NONE_FOR_TWO:
        return units * 100
    if decimals == 3 and units % 10:  # noqa: PLR2004 - Kuwait's thousandth
        raise AmountRefused(
            "invalid_charge_amount", "The last digit of amounts in this currency must be 0."
        )
    return units


def units_of(minor: int, currency: str) -> int:
    """Give Stripe's units of an amount in the books."""
    if currency in _TWO_FOR_NONE:
        return minor * 100
    return minor // 100 if currency in _NONE_FOR_TWO else minor


def _decimals(currency: str) -> int:
    # Stripe writes currencies in small letters.
    if not currency.islower():
        raise AmountRefused("", "Invalid currency.")
    try:
        return exponent(currency.upper())
    except UnknownCurrency as error:
        raise AmountRefused("", "Invalid currency.") from error
