"""The wire's dialect: camelCase names, exact decimals, RFC 3339 times (written by `rfc3339`).

Owns how a value is spelled, in both directions; which values there are is `bodies`' and
`replies`' business.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

# Longer texts are no times; bounded before a parser looks at them.
_TIME_LENGTH_MAX = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# RFC 3339 to the microsecond: what is finer could only be rounded, which moves a bound.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_CAPITALS = {"id": "ID", "url": "URL", "ip": "IP"}

_encoder = msgspec.json.Encoder(decimal_format="number")


def wire_name(name: str) -> str:
    """Spell a Python name as the wire does: `provider_txn_id` is `providerTxnID`."""
    first, *others = name.split("_")
    return first + "".join(_CAPITALS.get(word) or word[:1].upper() + word[1:] for word in others)


def encode(value: Any) -> bytes:
    """Encode as JSON. A `Decimal` becomes a number with exactly the digits that it has."""
    return _encoder.encode(value)


def parse_time(text: str) -> int | None:
    """Read an RFC 3339 time as UTC microseconds; None for what is none, or finer than that."""
    if len(text) > _TIME_LENGTH_MAX or _TIME.fullmatch(text) is None:
        return None
    try:
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // _MICROSECOND
    except ValueError:
        # A thirtieth of February, a twenty-fifth hour, a leap second.
        return None
