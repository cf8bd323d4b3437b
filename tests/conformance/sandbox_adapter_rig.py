"""What tests of the sandbox's adapter share: the adapter itself, and genuine webhooks for it."""

import json
from datetime import UTC, datetime

from standardwebhooks import Webhook

from paygate_actors.providers.sandbox import SandboxProvider
from paygate_http.sandbox.server import WEBHOOK_SECRET


def adapter(url: str) -> SandboxProvider:
    return SandboxProvider(id="sandbox", name="Sandbox", url=url, webhook_secret=WEBHOOK_SECRET)


def signed(body: bytes, *, at_us: int, event_id: str = "msg_1") -> dict[str, str]:
    seconds = at_us // 1_000_000
    signature = Webhook(WEBHOOK_SECRET).sign(
        event_id, datetime.fromtimestamp(seconds, UTC), body.decode()
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
    }


def event_body(**changes: object) -> bytes:
    event: dict[str, object] = {
        "providerID": "sandbox",
        "eventType": "payment.succeeded",
        "transactionID": "ch_1",
        "data": {"amountMinor": 1_000, "currency": "USD", "reference": "txn_1-1"},
        "timestamp": "2026-01-01T00:00:00.000001Z",
    }
    return json.dumps({**event, **changes}).encode()
