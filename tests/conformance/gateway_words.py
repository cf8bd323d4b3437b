"""What tests of a running gateway say again and again: payments, money, signatures, patience."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from standardwebhooks import Webhook

APPROVED: Final = "4242424242424242"
CONFIRM: Final = "4000002760003184"
SECRET: Final = "whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0"

# Everything that is open ends by itself: deadline, look-ups 5 s apart, failover.
SETTLES_S: Final = 60.0
# Between two looks at what another process does.
POLL_S: Final = 0.05

T = TypeVar("T")


def payment(
    *,
    minor: int = 10_000,
    card: str = APPROVED,
    manual: bool = False,
    metadata: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A request that is right in every respect: US dollars, by card."""
    return {
        "amount": major(minor),
        "currency": "USD",
        "captureMethod": "manual" if manual else "automatic",
        "metadata": metadata or {},
        "paymentMethod": {
            "type": "card",
            "cardNumber": card,
            "expiryMonth": 12,
            "expiryYear": 2099,
            "cvv": "1234" if card.startswith("37") else "123",
        },
    }


def major(minor: int) -> Decimal:
    """US dollars of that many cents, exactly."""
    return Decimal(minor).scaleb(-2)


def cents(amount: Decimal | int) -> int:
    """Cents of that many US dollars, exactly."""
    minor = Decimal(amount).scaleb(2)
    assert minor == int(minor)
    return int(minor)


def signed(
    message_id: str, raw: bytes, *, secret: str = SECRET, moved: timedelta = timedelta()
) -> dict[str, str]:
    """The headers of a webhook by the Standard Webhooks specification, signed now.

    Or as if it had been signed that much later.
    """
    now = datetime.now(UTC) + moved  # noqa: TID251  # on the wall clock, as providers do
    signature = Webhook(secret).sign(message_id, now, raw.decode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }


async def until(
    look: Callable[[], Awaitable[T]],
    is_so: Callable[[T], bool],
    *,
    patience_s: float = SETTLES_S,
) -> T:
    """Look again and again until it is so; what was seen then. Fails with what was seen last."""
    deadline_s = time.monotonic() + patience_s  # noqa: TID251  # a test's own patience
    while not is_so(seen := await look()):
        assert time.monotonic() < deadline_s, f"it never came: {seen!r:.4000}"  # noqa: TID251
        # Another process is looked at: there is nothing here to be woken by.
        await asyncio.sleep(POLL_S)
    return seen


def seed_of(name: str) -> random.Random:
    """A seeded source of chance; the seed is printed, and `PAYGATE_SEED` repeats it."""
    seed = int(os.environ.get("PAYGATE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{name}: PAYGATE_SEED={seed}")  # noqa: T201  # what a failure is repeated by
    return random.Random(seed)
