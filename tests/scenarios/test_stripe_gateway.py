"""The whole gateway with Stripe as its provider, against the sandbox that speaks Stripe."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_suite import TwoStepGatewaySuite, gateway_with
from live_gateway import Live

from paygate_actors.config import ProviderConfig
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

pytestmark = pytest.mark.slow


def stripe(url: str) -> ProviderConfig:
    return ProviderConfig(
        id="sandbox_stripe",
        kind="stripe",
        url=url,
        secret=SECRET_KEY,
        webhook_secret=f"whsec_next {WEBHOOK_SECRET}",
    )


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway_with(tmp_path, stripe) as live:
        yield live


class TestStripeGateway(TwoStepGatewaySuite):
    provider_id = "sandbox_stripe"
    txn_id = re.compile(r"pi_\w+")
    decline_code = "generic_decline"
