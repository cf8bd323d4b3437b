"""Which amounts the gateway takes: bounds per currency, in minor units."""

from collections.abc import Mapping
from typing import Literal

from paygate_actors.config import AmountBounds
from paygate_actors.money import Money, exponent

BoundsCode = Literal["amount_too_small", "amount_too_large"]

# 99,999,999.99 major units: what ISO 8583 messages and most providers can still carry.
_MAX_HUNDREDTHS = 9_999_999_999


def bounds_of(currency: str, overrides: Mapping[str, AmountBounds]) -> AmountBounds:
    """Give the bounds of a currency; by default 1 minor to 99,999,999.99 major units.

    A currency without decimals stops at 99,999,999. Raises `UnknownCurrency`.
    """
    override = overrides.get(currency)
    if override is not None:
        return override
    return AmountBounds(max_minor=_MAX_HUNDREDTHS * 10 ** exponent(currency) // 100)


def check_bounds(amount: Money, overrides: Mapping[str, AmountBounds]) -> BoundsCode | None:
    """None where the amount is inside its currency's bounds, both ends included."""
    bounds = bounds_of(amount.currency, overrides)
    if amount.minor < bounds.min_minor:
        return "amount_too_small"
    if amount.minor > bounds.max_minor:
        return "amount_too_large"
    return None
