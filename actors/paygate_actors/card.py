"""A card number and CVV in a type that gives nothing away.

The number and the CVV stay inside a `SealedCard` from the moment they are decoded. It cannot be
printed, compared, copied, pickled or encoded; whoever needs the digits (the vault, an adapter)
says `reveal()`, which is easy to find in a review. What else is checked about a card is in
`card_checks`.
"""

import re
from collections.abc import Callable
from typing import NoReturn, final

from paygate_actors.brands import Brand, brand_of, cvv_length

DIGITS_MIN = 13
DIGITS_MAX = 19


@final
class SealedCard:
    """A card number, as typed, and maybe its CVV. Takes any text: `number_valid` judges it.

    What may be shown is in plain attributes: `last4` (empty for what is no number), `brand`,
    `number_valid`, and `cvv_valid` (true where there is no CVV). Two cards are never equal:
    compare their fingerprints.
    """

    # The digits live in a closure: even a debugger or an error reporter that walks `__slots__`
    # finds a function there and not a number.
    __slots__ = ("_open", "brand", "cvv_valid", "last4", "number_valid")

    def __init__(self, number: str, cvv: str | None = None) -> None:
        # Nothing below may raise: a traceback with locals would show the arguments.
        digits = normalise_number(number)
        self.number_valid: bool = digits is not None
        self.last4: str = digits[-4:] if digits else ""
        self.brand: Brand = brand_of(digits) if digits else "unknown"
        self.cvv_valid: bool = cvv is None or _cvv_fits(cvv, self.brand)
        kept = (digits or number, cvv)
        self._open: Callable[[], tuple[str, str | None]] = lambda: kept

    def reveal(self) -> tuple[str, str | None]:
        """Give out the number (plain digits where it is valid) and the CVV."""
        return self._open()

    def without_cvv(self) -> "SealedCard":
        """Make a card of the same number that has forgotten its CVV."""
        return SealedCard(self._open()[0])

    def __repr__(self) -> str:
        return "<sealed card>"

    def __format__(self, spec: str) -> str:
        return "<sealed card>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a sealed card cannot be copied or pickled")


def normalise_number(text: str) -> str | None:
    """Reduce a card number to its digits; None where the text is none.

    13 to 19 ASCII digits with a valid Luhn digit. Spaces may stand around them, and single
    spaces or dashes between.
    """
    if _NUMBER.fullmatch(text) is None:
        return None
    digits = text.translate(_SEPARATORS)
    return digits if check_digit_fits(digits) else None


def check_digit_fits(digits: str) -> bool:
    """Tell whether the last of these ASCII digits is the one that Luhn's sum asks for."""
    reverse = digits.encode()[::-1]
    singles, doubles = reverse[::2].translate(_SINGLE), reverse[1::2].translate(_DOUBLE)
    return (sum(singles) + sum(doubles)) % 10 == 0


_NUMBER = re.compile(rf" *[0-9](?:[ -]?[0-9]){{{DIGITS_MIN - 1},{DIGITS_MAX - 1}}} *")
_SEPARATORS = {ord(" "): None, ord("-"): None}
# What a digit adds to the sum: by itself, and doubled (of two digits then, both of them).
_SINGLE = bytes.maketrans(b"0123456789", bytes((0, 1, 2, 3, 4, 5, 6, 7, 8, 9)))
_DOUBLE = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def _cvv_fits(cvv: str, brand: Brand) -> bool:
    # The brand of a bad number is not known: that fault is enough, either length will do.
    lengths = (3, 4) if brand == "unknown" else (cvv_length(brand),)
    return len(cvv) in lengths and cvv.isascii() and cvv.isdecimal()
