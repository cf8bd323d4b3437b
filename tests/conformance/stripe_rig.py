"""What tests of Stripe share: the adapter, genuine webhooks for it, and the official fixtures."""

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest

from paygate_actors.providers.stripe import StripeProvider
from paygate_actors.providers.stripe_terms import SANDBOX_PACE
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

RETURN_URL = "https://shop.example/back"
SPECS = Path(os.environ.get("PAYGATE_SPECS", Path(__file__).parents[3] / "shared/specs"))


def stripe_adapter(url: str, **changes: Any) -> StripeProvider:
    settings: dict[str, Any] = {
        "id": "sandbox_stripe",
        "name": "Stripe",
        "url": url,
        "secret_key": SECRET_KEY,
        "webhook_secrets": (WEBHOOK_SECRET,),
        "return_url": RETURN_URL,
        "pace": SANDBOX_PACE,
    }
    return StripeProvider(**{**settings, **changes})


def stripe_signed(body: bytes, *, at_us: int, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    seconds = str(at_us // 1_000_000)
    signed = seconds.encode() + b"." + body
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={seconds},v1={signature}"}


def intent(**changes: object) -> dict[str, object]:
    """A PaymentIntent that succeeded, with the fields that decide something."""
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 1_000,
        "amount_received": 1_000,
        "amount_capturable": 0,
        "currency": "usd",
        "created": 1_767_225_600,
        "metadata": {"reference": "txn_1-1"},
        **changes,
    }


def refund(**changes: object) -> dict[str, object]:
    """A refund that succeeded."""
    return {
        "id": "re_1",
        "object": "refund",
        "amount": 250,
        "currency": "usd",
        "status": "succeeded",
        "payment_intent": "pi_1",
        "metadata": {"reference": "txn_2-1"},
        **changes,
    }


def stripe_event(type_: str, content: dict[str, object], **changes: object) -> bytes:
    """An event about an object, as a webhook brings it."""
    event: dict[str, object] = {
        "id": "evt_1",
        "object": "event",
        "type": type_,
        "created": 1_767_225_600,
        "livemode": False,
        "data": {"object": content},
    }
    return json.dumps({**event, **changes}).encode()


def official_fixtures() -> dict[str, Any]:
    """Stripe's own fixtures, by resource; the test is skipped where they are not at hand."""
    path = SPECS / "stripe_fixtures3.json"
    if not path.is_file():
        message = "Stripe's fixtures are not here: set PAYGATE_SPECS to the folder that holds them"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return json.loads(path.read_text())["resources"]
