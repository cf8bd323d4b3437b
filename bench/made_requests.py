"""Requests as bytes, made before a clock starts: payments, reads, a provider's webhooks.

Every payment is another one, by another card and another customer: who pays too often is blocked
by the fraud rules, and would cost nothing any more.
"""

import itertools
import os
from collections.abc import Iterable
from datetime import UTC, datetime

from standardwebhooks import Webhook

# Public: the sandbox's own.
SECRET = "whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0"
KEYS = 1_000
# One of the thousand that are known.
KEY = "sk_bench_0500_00000000000000000000"
# Nobody's card at the sandbox: what it does not know it approves.
_CARD = "424242%09d"
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# No two of a process are alike; two processes may pay at one server.
_numbers = itertools.count(1)
_RUN = os.getpid()


def key(number: int) -> str:
    """One of the API keys that every server knows."""
    return f"sk_bench_{number:04d}_{0:020d}"


def card(number: int) -> str:
    """A card number that passes Luhn's check, another one for each of a thousand million."""
    digits = _CARD % (number % 1_000_000_000)
    # The check digit stands behind these: every second one from the right is doubled.
    total = sum(
        _DOUBLED[int(digit)] if place % 2 == 0 else int(digit)
        for place, digit in enumerate(reversed(digits))
    )
    return f"{digits}{-total % 10}"


def payments(count: int, *, api_key: str = KEY) -> list[bytes]:
    """Requests for that many payments."""
    return [_payment(next(_numbers), api_key) for _ in range(count)]


def _payment(number: int, api_key: str) -> bytes:
    body = (
        '{"amount":100.00,"currency":"USD","paymentMethod":{"type":"card","cardNumber":'
        f'"{card(number)}","expiryMonth":12,"expiryYear":2049,"cvv":"123",'
        '"holderName":"Jane Doe"},'
        '"billingAddress":{"street":"1 Main Street","city":"San Francisco","state":"CA",'
        '"zipCode":"94105","country":"US"},'
        f'"metadata":{{"orderID":"order-{number}","customerID":"customer-{number}"}}}}'
    )
    return (
        "POST /api/payments/process HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {api_key}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: key-{_RUN}-{number}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def body_of(request: bytes) -> bytes:
    """The body alone."""
    return request.partition(b"\r\n\r\n")[2]


def reads(payment_ids: Iterable[str], *, api_key: str = KEY) -> list[bytes]:
    """A request to read each of the payments."""
    return [
        (
            f"GET /api/payments/{each} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {api_key}\r\n\r\n"
        ).encode()
        for each in payment_ids
    ]


def webhooks(provider: str, charge_ids: Iterable[str]) -> list[bytes]:
    """For each charge a signed event: a refund of one cent that the provider made by itself."""
    at = datetime.now(UTC)  # noqa: TID251  # the receiver compares it with the real clock
    signer = Webhook(SECRET)
    return [_webhook(provider, each, at, signer) for each in charge_ids]


def _webhook(provider: str, charge_id: str, at: datetime, signer: Webhook) -> bytes:
    number = f"{_RUN}_{next(_numbers)}"
    body = (
        f'{{"providerID":"{provider}","eventType":"refund.succeeded","transactionID":"re_{number}",'
        f'"data":{{"amountMinor":1,"currency":"USD","parentTransactionID":"{charge_id}"}},'
        '"timestamp":"2026-01-01T00:00:00Z"}'
    )
    event_id = f"evt_{number}"
    return (
        f"POST /api/webhooks/{provider} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nwebhook-id: {event_id}\r\n"
        f"webhook-timestamp: {int(at.timestamp())}\r\n"
        f"webhook-signature: {signer.sign(event_id, at, body)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
