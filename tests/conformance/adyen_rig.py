"""What tests of Adyen share: the adapter, genuine webhooks for it, and its specification."""

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import Adyen  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest
from jsonschema import Draft202012Validator
from sandbox_rig import Inbox

from paygate_actors.outcomes import Approved, Declined, Outcome
from paygate_actors.providers.adyen import AdyenProvider
from paygate_actors.providers.adyen_terms import SANDBOX_PACE
from paygate_actors.providers.base import Provider, ProviderEvent
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

# The official SDK, which is untyped.
SDK: Any = Adyen
RETURN_URL = "https://shop.example/back"
LOGIN = "adyen:webhook-password"
SPECS = Path(os.environ.get("PAYGATE_SPECS", Path(__file__).parents[3] / "shared/specs"))
CHECKOUT = "adyen_CheckoutService-v72.json"
WEBHOOKS = "adyen_Webhooks-v1.json"
SIGNED = (
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "value",
    "currency",
    "eventCode",
    "success",
)


def adyen_adapter(sandbox: str, **changes: Any) -> AdyenProvider:
    """The adapter of the sandbox at this URL, or with `changes` another one."""
    settings: dict[str, Any] = {
        "id": "sandbox_adyen",
        "name": "Adyen",
        "url": f"{sandbox}/v72",
        "api_key": API_KEY,
        "merchant_account": MERCHANT_ACCOUNT,
        "hmac_keys": (HMAC_KEY,),
        "return_url": RETURN_URL,
        "pace": SANDBOX_PACE,
    }
    return AdyenProvider(**{**settings, **changes})


def item(**changes: Any) -> dict[str, Any]:
    """An item that says that a payment was authorised; not signed."""
    return {
        "pspReference": "QFQTPCQ8HXSKGK82",
        "merchantAccountCode": MERCHANT_ACCOUNT,
        "merchantReference": "txn_1-1",
        "amount": {"value": 1_000, "currency": "USD"},
        "eventCode": "AUTHORISATION",
        "eventDate": "2026-01-01T01:00:00+01:00",
        "success": "true",
        "reason": "",
        "paymentMethod": "visa",
        **changes,
    }


def signed(said: dict[str, Any], key: str = HMAC_KEY) -> dict[str, Any]:
    """The item with Adyen's signature in it."""
    fields = {**said, **said["amount"]}
    text = ":".join(str(fields.get(name) or "") for name in SIGNED[:4])
    text += f":{said['amount']['value']}:" + ":".join(str(fields[name]) for name in SIGNED[5:])
    digest = hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).digest()
    signature = base64.b64encode(digest).decode()
    return {
        **said,
        "additionalData": {**said.get("additionalData", {}), "hmacSignature": signature},
    }


def notification(*items: dict[str, Any], live: str = "false") -> bytes:
    """A notification of these items, as a webhook brings it."""
    wrapped = [{"NotificationRequestItem": each} for each in items]
    return json.dumps({"live": live, "notificationItems": wrapped}).encode()


def faults(said: Any, schema: str, specification: str = CHECKOUT) -> list[str]:
    """What Adyen's specification says against a request, an answer or a notification."""
    whole = {**official(specification), "$ref": f"#/components/schemas/{schema}"}
    validator: Any = Draft202012Validator(whole)
    return [error.message for error in validator.iter_errors(said)]


def login_header(login: str = LOGIN) -> dict[str, str]:
    """The header of a webhook with a login."""
    return {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def official(name: str) -> dict[str, Any]:
    """One of Adyen's own specifications; the test is skipped where they are not at hand."""
    path = SPECS / name
    if not path.is_file():
        message = "Adyen's specifications are not here: set PAYGATE_SPECS to their folder"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return json.loads(path.read_text())


async def told_by(inbox: Inbox, provider: Provider, key: str) -> Outcome:
    """What the webhook about the call with this key says of it, once it is there."""
    heard = 0
    while True:
        await inbox.wait_for(heard + 1)
        _, body = inbox.received[heard]
        provider.verify(login_header(), body, now_us=0)
        for event in provider.parse({}, body):
            # A cancellation by reference is told of the payment, never of the cancellation.
            if event.reference == key or "/TECHNICAL_CANCEL/" in event.event_id:
                return _outcome(event)
        heard += 1


def _outcome(event: ProviderEvent) -> Outcome:
    if event.event_type.endswith(".failed"):
        return Declined(code=event.reason or "", provider_txn_id=event.provider_txn_id)
    assert event.amount is not None
    return Approved(
        provider_txn_id=event.provider_txn_id,
        amount=event.amount,
        captured=event.event_type == "payment.succeeded",
    )
