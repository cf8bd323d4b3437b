"""Money: an integer of minor units and a currency. No float enters, nothing is rounded.

Amounts come in as the text of a JSON number and go out as a `Decimal` with exactly the
currency's decimals, so that no binary fraction ever stands between a merchant and the journal.
How many decimals a currency has is ISO 4217's business (the `iso4217` package). Which amounts a
gateway takes is `amounts`' business, not this module's.
"""

import re
from decimal import Decimal
from typing import Literal, Self

from iso4217 import Currency
from msgspec import Struct

AmountCode = Literal[
    "amount_not_a_number",
    "amount_not_positive",
    "amount_too_precise",
    "amount_too_large",
]

# Eighteen digits fit a signed 64-bit integer, which is what the stores hold.
DIGITS_MAX = 18


class UnknownCurrency(KeyError):
    """ISO 4217 does not list the code, or gives it no minor unit (gold, test codes)."""


class AmountInvalid(ValueError):
    """The text is no amount that the currency can hold; `code` says why, never the text."""

    def __init__(self, code: AmountCode) -> None:
        super().__init__(code)
        self.code: AmountCode = code


class CurrencyMismatch(ValueError):
    """Two currencies met in one sum or comparison: always a mistake of the caller's."""


class Money(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """`minor` units of `currency` (ISO 4217, upper case): `Money(10000, "USD")` is $100.00.

    May be zero or negative: only what comes from outside must be positive. `==` across
    currencies is False; arithmetic and ordering across currencies raise `CurrencyMismatch`.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        # A float here would be wrong by a cent some day, and a bool is a sum nobody meant.
        if type(self.minor) is not int:
            raise TypeError("money is an integer of minor units")

    @classmethod
    def parse(cls, text: str | bytes, currency: str) -> Self:
        """Read a JSON number in major units, exactly: `100.00`, `1e2`. Linear in the text.

        Raises `AmountInvalid` (also for zero and negative ones, and for more decimals than the
        currency has, even where they are zeros), `UnknownCurrency`.
        """
        return cls(_minor(text, exponent(currency)), currency)

    def to_decimal(self) -> Decimal:
        """Major units, with exactly the currency's decimals. Raises `UnknownCurrency`."""
        # Built from its digits: arithmetic would round to whatever context the caller has set.
        digits = tuple(map(int, str(abs(self.minor))))
        return Decimal((int(self.minor < 0), digits, -exponent(self.currency)))

    def __str__(self) -> str:
        return f"{self.to_decimal()} {self.currency}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._peer(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._peer(other), self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._peer(other)

    def __le__(self, other: "Money") -> bool:
        return self.minor <= self._peer(other)

    def __gt__(self, other: "Money") -> bool:
        return self.minor > self._peer(other)

    def __ge__(self, other: "Money") -> bool:
        return self.minor >= self._peer(other)

    def _peer(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} met {other.currency}")
        return other.minor


def exponent(currency: str) -> int:
    """How many decimals the currency has: USD 2, JPY 0, KWD 3. Raises `UnknownCurrency`."""
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


def currencies() -> frozenset[str]:
    """Every code that `exponent` knows."""
    return frozenset(_EXPONENTS)


_EXPONENTS: dict[str, int] = {
    entry.code: entry.exponent for entry in Currency if entry.exponent is not None
}

# RFC 8259's number, and nothing that int() or Decimal() would be kind to: underscores, signs,
# digits of other scripts, Infinity.
_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")

# A power of ten longer than this is beyond what any body's digits could make up for.
_POWER_DIGITS_MAX = 9


def _minor(text: str | bytes, decimals_max: int) -> int:
    # Latin-1 maps every byte to a character, so that the pattern alone decides.
    match = _NUMBER.fullmatch(text.decode("latin-1") if isinstance(text, bytes) else text)
    if match is None:
        raise AmountInvalid("amount_not_a_number")
    sign, whole, fraction, power_sign, power_digits = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if sign or not digits:
        raise AmountInvalid("amount_not_positive")
    decimals = len(fraction) - _power(power_sign, power_digits.lstrip("0"))
    if decimals > decimals_max:
        raise AmountInvalid("amount_too_precise")
    zeros = decimals_max - decimals
    # Counted before anything is built: 1e999999999 must not become a number of that length.
    if len(digits) + zeros > DIGITS_MAX:
        raise AmountInvalid("amount_too_large")
    return int(digits) * 10**zeros


def _power(sign: str, digits: str) -> int:
    power = 10**_POWER_DIGITS_MAX if len(digits) > _POWER_DIGITS_MAX else int(digits or "0")
    return -power if sign == "-" else power
