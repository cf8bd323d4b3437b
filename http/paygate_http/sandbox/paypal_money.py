"""Amounts between PayPal's text and the books' minor units (ISO 4217).

It shares no code with the adapter: two readers of one document find each other's mistakes.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

from paygate_actors.money import UnknownCurrency, exponent

# The currencies that PayPal takes without decimals, whatever ISO 4217 says of them.
WHOLE: Final = ("HUF", "JPY", "TWD")
TAKEN: Final = frozenset(
    """
    AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN RUB SEK SGD THB
    TWD USD
    """.split()  # noqa: SIM905 - a list of 25 quoted words is a screen
)
_CHARS_MAX: Final = 32
_WHOLE_DIGITS_MAX: Final = 15
_CENTS: Final = 2


class AmountRefused(Exception):
    """PayPal's own no to an amount: the issue."""

    def __init__(self, issue: str) -> None:
        super().__init__(issue)
        self.issue = issue


def minor_of(value: str, currency: str) -> int:
    """Give the minor units. Raises `AmountRefused` for what PayPal would not take."""
    if currency not in TAKEN:
        raise AmountRefused("INVALID_CURRENCY_CODE")
    number = _number(value)
    if number <= 0:
        raise AmountRefused("CANNOT_BE_ZERO_OR_NEGATIVE")
    decimals = -int(number.as_tuple().exponent)
    if currency in WHOLE and decimals > 0:
        raise AmountRefused("DECIMALS_NOT_SUPPORTED")
    if decimals > _CENTS:
        raise AmountRefused("DECIMAL_PRECISION")
    if number >= 10**_WHOLE_DIGITS_MAX:
        raise AmountRefused("MAX_VALUE_EXCEEDED")
    return int(number.scaleb(_decimals(currency)))


def amount_json(minor: int, currency: str) -> dict[str, object]:
    """Write an amount in the books as PayPal does."""
    number = Decimal(minor).scaleb(-_decimals(currency))
    places = 0 if currency in WHOLE else _CENTS
    return {"currency_code": currency, "value": f"{number:.{places}f}"}


def _number(value: str) -> Decimal:
    if len(value) > _CHARS_MAX or not set(value) <= set("0123456789.-"):
        raise AmountRefused("INVALID_PARAMETER_SYNTAX")
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise AmountRefused("INVALID_PARAMETER_SYNTAX") from error


def _decimals(currency: str) -> int:
    try:
        return exponent(currency)
    except UnknownCurrency as error:
        raise AmountRefused("INVALID_CURRENCY_CODE") from error
