"""What both peers know of cards and merchants: a request's rules, keys, and the provider's delay.

The provider is a sleep of 100 ms: what a call costs a client is left out of the peers' figures, and
is in ours.
"""

import asyncio
import hashlib
import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

PROVIDER_S: Final = 0.1
# Major units have two decimals in all of these; whoever sells in more looks them up.
CURRENCIES: Final = frozenset({"USD", "EUR", "GBP", "CHF", "CAD", "AUD"})
AMOUNT_MAX: Final = Decimal(1_000_000)
_CENTS: Final = 100
_DIGITS: Final = re.compile(r"[0-9]{12,19}")


def merchants(keys: int) -> dict[str, str]:
    """Merchants by API key."""
    return {f"sk_bench_{number:04d}_{0:020d}": f"merchant_{number:04d}" for number in range(keys)}


def luhn(number: str) -> bool:
    """Whether the card number's check digit is right."""
    if _DIGITS.fullmatch(number) is None:
        return False
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 * (value > 4)
        total += value
    return total % 10 == 0


def expired(month: int, year: int) -> bool:
    """Whether the card's last month is over."""
    now = datetime.now(UTC)  # noqa: TID251  # a peer is no part of the gateway
    return (year, month) < (now.year, now.month)


def minor_units(amount: Decimal) -> int | None:
    """The amount in cents; None where it is no amount."""
    cents = amount * _CENTS
    if not 0 < amount <= AMOUNT_MAX or cents != int(cents):
        return None
    return int(cents)


def fingerprint(body: bytes) -> str:
    """What tells two requests under one idempotency key apart."""
    return hashlib.sha256(body).hexdigest()


async def charge() -> str:
    """Ask the provider, who approves; its id of the charge."""
    await asyncio.sleep(PROVIDER_S)
    return f"ch_{uuid.uuid4().hex}"  # noqa: TID251  # as above


def now_text() -> str:
    """The time in RFC 3339."""
    return datetime.now(UTC).isoformat()  # noqa: TID251  # as above
