"""How much of what was turned away may be sent again: a share of what is sent, and a little more.

A provider that turns calls away is overloaded; sending everything again would keep it so. Each
call that leaves puts a part of a token into the bucket, each repetition takes a whole one out.
"""

from typing import Final

# One repetition for ten calls: what a provider that is merely busy needs, and no storm.
SHARE_MILLI: Final = 100
# A provider with little traffic may be asked again too; the most that may burst.
TOKENS_MAX: Final = 20
_MILLI: Final = 1_000


class RetryBudget:
    """A bucket of tokens, in thousandths; full in the beginning."""

    __slots__ = ("_milli",)

    def __init__(self) -> None:
        self._milli = TOKENS_MAX * _MILLI

    @property
    def left(self) -> int:
        """How many repetitions are left now."""
        return self._milli // _MILLI

    def earn(self) -> None:
        """A call left for the first time."""
        self._milli = min(TOKENS_MAX * _MILLI, self._milli + SHARE_MILLI)

    def spend(self) -> bool:
        """Take a token for a repetition; False, and nothing, when there is none."""
        if self._milli < _MILLI:
            return False
        self._milli -= _MILLI
        return True
