"""Hostile webhooks at the adapters of Stripe, PayPal and the sandbox; secrets that are none."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from paypal_rig import capture, certificate_server, paypal_adapter, paypal_event
from sandbox_adapter_rig import adapter, event_body
from sandbox_adapter_rig import signed as sandbox_signed
from stripe_rig import intent, stripe_adapter, stripe_event, stripe_signed
from webhook_suite import Signed, WebhookSuite

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.paypal_certificates import certificates_of
from paygate_actors.providers.registry import ProviderRefused, build, kinds
from paygate_engine.clock import ManualClock

NOW_US = 1_767_225_600_000_000

# Everything but the webhook's secret, for every kind that is installed.
GOOD = {
    "sandbox": ProviderConfig(id="p", kind="sandbox", url="http://127.0.0.1:1"),
    "stripe": ProviderConfig(id="p", kind="stripe", secret="sk_test_1"),
    "adyen": ProviderConfig(
        id="p",
        kind="adyen",
        secret="AQE",
        account="Shop",
        url="http://127.0.0.1:1/v72",
        return_url="https://shop.example/",
    ),
    "paypal": ProviderConfig(id="p", kind="paypal", account="client", secret="secret"),
}


class TestStripeWebhooks(WebhookSuite):
    @pytest.fixture
    def signed(self) -> Signed:
        body = stripe_event("payment_intent.succeeded", intent())
        return Signed(
            provider=stripe_adapter("http://127.0.0.1:1"),
            headers=stripe_signed(body, at_us=NOW_US),
            body=body,
            now_us=NOW_US,
            signature_headers=("stripe-signature",),
        )


class TestSandboxWebhooks(WebhookSuite):
    @pytest.fixture
    def signed(self) -> Signed:
        body = event_body()
        headers = sandbox_signed(body, at_us=NOW_US)
        return Signed(
            provider=adapter("http://127.0.0.1:1"),
            headers=headers,
            body=body,
            now_us=NOW_US,
            signature_headers=("webhook-id", "webhook-timestamp", "webhook-signature"),
        )


class TestPayPalWebhooks(WebhookSuite):
    @pytest.fixture
    async def signed(self) -> AsyncIterator[Signed]:
        body = paypal_event("PAYMENT.CAPTURE.COMPLETED", capture())
        async with certificate_server(ManualClock(NOW_US)) as server:
            certificates = certificates_of(server.url, here=True)
            provider = paypal_adapter("http://127.0.0.1:9", certificates=certificates)
            headers = server.signed(body, at_us=NOW_US)
            await provider.fetch_keys(headers)
            yield Signed(
                provider=provider,
                headers=headers,
                body=body,
                now_us=NOW_US,
                signature_headers=tuple(headers),
            )
            await provider.close()


def test_every_kind_that_is_installed_is_tried_here():
    assert {kind.name for kind in kinds()} == set(GOOD)


@pytest.mark.parametrize("kind", sorted(GOOD))
@pytest.mark.parametrize("secret", ["", " ", "\t \n"])
def test_without_a_webhook_secret_no_provider_is_built(kind: str, secret: str):
    config = msgspec.structs.replace(GOOD[kind], webhook_secret=secret)

    with pytest.raises(ProviderRefused, match="webhook"):
        build(config)
