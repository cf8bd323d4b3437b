"""How a time is spelled, on the wire and in sentences."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_S: Final = 1_000_000


def time_text(at_us: int) -> str:
    """Spell UTC microseconds since the epoch as RFC 3339 with `Z` and six digits."""
    seconds, us = divmod(at_us, _US_PER_S)
    return f"{_second_text(seconds)}.{us:06}Z"


# What is shown now was made within the same few seconds, as a rule.
@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")
