"""What tests of PayPal share: the adapter, genuine webhooks for it, and the official schemas."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.paypal_terms import SANDBOX_PACE
from paygate_engine.clock import Clock, ManualClock
from paygate_http.sandbox.paypal_certificate import SigningCertificate
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID
from paygate_http.sandbox.wire import time_text

_DAY_US = 24 * 3_600 * 1_000_000
RETURN_URL = "https://shop.example/back"
# No genuine name begins so: theirs are hexadecimal.
MADE_UP = "CERT-made-up-"
SPECS = Path(os.environ.get("PAYGATE_SPECS", Path(__file__).parents[3] / "shared/specs"))


def paypal_adapter(url: str, **changes: Any) -> PayPalProvider:
    settings: dict[str, Any] = {
        "id": "sandbox_paypal",
        "name": "PayPal",
        "url": url,
        "client_id": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "webhook_id": WEBHOOK_ID,
        "return_url": RETURN_URL,
        "pace": SANDBOX_PACE,
        "clock": ManualClock(),
    }
    return PayPalProvider(**{**settings, **changes})


def paypal_signed(
    certificate: SigningCertificate,
    url: str,
    body: bytes,
    *,
    at_us: int,
    webhook_id: str = WEBHOOK_ID,
    transmission_id: str = "WH-1",
) -> dict[str, str]:
    """The headers of a webhook that this certificate, served at this url, vouches for."""
    time = time_text(at_us)
    return {
        "paypal-transmission-id": transmission_id,
        "paypal-transmission-time": time,
        "paypal-transmission-sig": certificate.sign(transmission_id, time, webhook_id, body),
        "paypal-cert-url": f"{url}/v1/notifications/certs/{certificate.name}",
        "paypal-auth-algo": "SHA256withRSA",
    }


def amount(value: str = "10.00", currency: str = "USD") -> dict[str, str]:
    return {"currency_code": currency, "value": value}


def capture(**changes: object) -> dict[str, Any]:
    """A capture that was completed, with the fields that decide something."""
    return {
        "id": "CAP1",
        "status": "COMPLETED",
        "amount": amount(),
        "custom_id": "txn_1-1",
        "invoice_id": "txn_1-1",
        "supplementary_data": {"related_ids": {"order_id": "ORDER1"}},
        **changes,
    }


def order(**changes: object) -> dict[str, Any]:
    """An order that was captured. `payments` and `custom_id` go into its only unit."""
    unit = {
        "reference_id": "default",
        "custom_id": changes.pop("custom_id", "txn_1-1"),
        "amount": amount(),
        "payments": changes.pop("payments", {"captures": [capture()]}),
    }
    return {
        "id": "ORDER1",
        "intent": "CAPTURE",
        "status": "COMPLETED",
        "create_time": "2026-01-01T00:00:00Z",
        "purchase_units": [unit],
        "links": [],
        **changes,
    }


def refund(**changes: object) -> dict[str, Any]:
    """A refund that was completed."""
    return {
        "id": "REFUND1",
        "status": "COMPLETED",
        "amount": amount("2.50"),
        "custom_id": "txn_2-1",
        "invoice_id": "txn_2-1",
        **changes,
    }


def trouble(*issues: str, name: str = "UNPROCESSABLE_ENTITY", **more: object) -> dict[str, Any]:
    """An error with these issues."""
    return {"name": name, "details": [{"issue": each} for each in issues], **more}


def paypal_event(type_: str, resource: dict[str, Any], **changes: object) -> bytes:
    """An event about a resource, as a webhook brings it."""
    event: dict[str, object] = {
        "id": "WH-1",
        "event_version": "1.0",
        "create_time": "2026-01-01T00:00:00.000Z",
        "resource_type": "capture",
        "event_type": type_,
        "resource": resource,
    }
    return json.dumps({**event, **changes}).encode()


class CertificateServer:
    """Serves certificates as PayPal does, and a sandbox's root; counts what it is asked for."""

    def __init__(self, certificate: SigningCertificate) -> None:
        self.certificate = certificate
        self.url = ""
        self.status = 200
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        """While it is shut, certificates whose name begins with `MADE_UP` are not answered."""
        self.gate.set()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if f"/{MADE_UP}" in request.path:
            await self.gate.wait()
        if self.status != 200:
            return web.Response(status=self.status, headers={"Location": "http://127.0.0.1:9/"})
        is_root = request.path.endswith("/roots")
        return web.Response(body=self.certificate.root if is_root else self.certificate.chain)

    def signed(self, body: bytes, *, at_us: int, **changes: str) -> dict[str, str]:
        """Give the headers of a webhook that the certificate vouches for."""
        return paypal_signed(self.certificate, self.url, body, at_us=at_us, **changes)


@cache
def _certificate(day: int) -> SigningCertificate:
    # Two RSA keys take a tenth of a second: tests on one day share them.
    certificate = SigningCertificate(ManualClock(day * _DAY_US))
    assert certificate.chain, "made now, at that time"
    return certificate


@asynccontextmanager
async def certificate_server(clock: Clock) -> AsyncGenerator[CertificateServer]:
    """Serve a certificate that was made today, by that clock."""
    server = CertificateServer(_certificate(clock.now_us() // _DAY_US))
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", server.handle)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def official_schemas(name: str) -> dict[str, Any]:
    """One of PayPal's own specifications; the test is skipped where it is not at hand."""
    path = SPECS / name
    if not path.is_file():
        message = "PayPal's schemas are not here: set PAYGATE_SPECS to the folder that holds them"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return json.loads(path.read_text())
