"""Stripe's adapter: the suite that every adapter passes, against the sandbox that speaks Stripe."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from provider_suite import Effect, ProviderSuite
from sandbox_rig import APPROVED, CONFIRM, Rig, sandbox_rig
from stranger_rig import free_url
from stripe_rig import intent, stripe_adapter, stripe_event, stripe_signed
from two_step_suite import TwoStepSuite

from paygate_actors.providers.base import Provider, TwoStepProvider
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

FIND_LAG_S = 2


class StripeStage:
    approved_number = APPROVED
    declined_number = "4000000000000002"
    confirm_number = CONFIRM

    def __init__(self, rig: Rig, clock: ManualClock) -> None:
        self.rig = rig
        self.clock = clock
        self.two_steps: TwoStepProvider = stripe_adapter(rig.sandbox.url)
        self.provider: Provider = self.two_steps
        self.closed = free_url()

    async def effects(self) -> list[Effect]:
        return await self.rig.effects()

    async def lose_next_request(self) -> None:
        await self.rig.fault("reset_before_effect")

    async def lose_next_answer(self) -> None:
        await self.rig.fault("reset_after_effect")

    async def hang_next_answer(self) -> None:
        await self.rig.fault("hang_after_effect", delayMs=30_000)

    async def fail_next(self) -> None:
        await self.rig.fault("error_500")

    async def garble_next(self) -> None:
        await self.rig.fault("garbage")

    async def defer_next(self) -> None:
        await self.rig.fault("pending", delayMs=60_000)

    async def lose_next_preparation(self) -> None:
        await self.rig.fault("reset_after_effect", operation="prepare")

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

    def now_us(self) -> int:
        return self.clock.now_us()

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
