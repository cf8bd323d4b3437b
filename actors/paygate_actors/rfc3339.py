"""How a time is spelled, on the wire and in sentences."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(at_us: int) -> str:
    """Spell UTC microseconds since the epoch as RFC 3339 with `Z` and six digits."""
    at = _EPOCH + timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
