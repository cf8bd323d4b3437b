"""Ids that sort by the time of their making: `pay_` and 26 characters of Crockford's base 32.

130 bits: 52 of UTC microseconds (enough until the year 2112) and 78 random ones. Inside one
microsecond the order is random; two ids of the same microsecond are equal once in 3 * 10^23.
"""

import random
import re
from typing import Final

from paygate_engine.clock import Clock

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 26
RANDOM_BITS: Final = 78
TIME_BITS: Final = 52

# Two characters at a time halves the steps of writing an id out.
_PAIRS: Final = tuple(first + second for first in ALPHABET for second in ALPHABET)
_PAIR_BITS: Final = 10
_PAIR_MASK: Final = (1 << _PAIR_BITS) - 1
_SHIFTS: Final = tuple(range(RANDOM_BITS + TIME_BITS - _PAIR_BITS, -1, -_PAIR_BITS))
# Our 32 characters as those that `int` knows: one call reads what is known to be ours.
_TO_DIGITS: Final = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_TEXT: Final = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


class Ids:
    """Makes ids out of the system's clock and randomness."""

    __slots__ = ("_clock", "_rng")

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng

    def new(self, prefix: str) -> str:
        """A fresh id: `prefix`, an underscore, 26 characters."""
        number = (self._clock.now_us() << RANDOM_BITS) | self._rng.getrandbits(RANDOM_BITS)
        return f"{prefix}_{_text(number)}"

    @staticmethod
    def compose(prefix: str, *, at_us: int, entropy: int) -> str:
        """The id of a time and of randomness that the caller brings; its lowest 78 bits count.

        For ids that a pure decision must make: the same arguments give the same id.
        """
        number = (at_us << RANDOM_BITS) | (entropy & (1 << RANDOM_BITS) - 1)
        return f"{prefix}_{_text(number)}"

    @staticmethod
    def floor(prefix: str, at_us: int) -> str:
        """The smallest id that can be made at `at_us`: where a list from that time on begins.

        Raises ValueError for a time that 52 bits do not hold.
        """
        if not 0 <= at_us < 1 << TIME_BITS:
            raise ValueError("a time outside the years 1970 to 2112")
        return f"{prefix}_{_text(at_us << RANDOM_BITS)}"

    @staticmethod
    def time_of(id: str) -> int:  # noqa: A002 - it is what everybody calls it
        """UTC microseconds at which `id` was made. Raises ValueError for what is no id."""
        prefix, underscore, text = id.rpartition("_")
        if not prefix or not underscore or _TEXT.fullmatch(text) is None:
            raise ValueError("not an id")
        return int(text.translate(_TO_DIGITS), len(ALPHABET)) >> RANDOM_BITS


def _text(number: int) -> str:
    return "".join([_PAIRS[(number >> shift) & _PAIR_MASK] for shift in _SHIFTS])
