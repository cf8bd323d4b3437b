"""Stripe's adapter: the suite that every adapter passes, against the sandbox that speaks Stripe."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from provider_suite import ProviderSuite
from sandbox_rig import Rig, sandbox_rig
from sandbox_stage import TwoStepsAtSandbox
from stripe_rig import intent, stripe_adapter, stripe_event, stripe_signed
from two_step_suite import TwoStepSuite

from paygate_actors.providers.base import Provider
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

FIND_LAG_S = 2


class StripeStage(TwoStepsAtSandbox):
    def __init__(self, rig: Rig, clock: ManualClock) -> None:
        super().__init__(rig, clock, stripe_adapter(rig.sandbox.url))

    async def objects_made(self) -> int:
        headers = {"Authorization": f"Bearer {SECRET_KEY}"}
        url = f"{self.rig.sandbox.url}/v1/payment_intents?limit=100"
        async with aiohttp.request("GET", url, headers=headers) as response:
            return len((await response.json())["data"])

    async def see_everything(self) -> None:
        self.clock.advance(FIND_LAG_S)

    def unreachable(self) -> Provider:
        return stripe_adapter(self.closed)

    def signed(self, body: bytes, *, at_us: int) -> dict[str, str]:
        return stripe_signed(body, at_us=at_us)

    def webhook_body(self) -> bytes:
        return stripe_event("payment_intent.succeeded", intent())

    def secrets(self) -> list[str]:
        return [SECRET_KEY, WEBHOOK_SECRET]


class TestStripeProvider(ProviderSuite, TwoStepSuite):
    @pytest.fixture
    async def stage(self) -> AsyncIterator[StripeStage]:
        clock = ManualClock()
        async with sandbox_rig(clock=clock, find_lag_ms=FIND_LAG_S * 1_000) as rig:
            stage = StripeStage(rig, clock)
            yield stage
            await stage.provider.close()
