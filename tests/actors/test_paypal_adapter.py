"""PayPal's adapter: the suite that every adapter passes, against the sandbox that speaks PayPal."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from paypal_rig import (
    CertificateServer,
    capture,
    certificate_server,
    paypal_adapter,
    paypal_event,
)
from provider_suite import SUM, ProviderSuite, approved, charge_call, follow_up
from sandbox_rig import Rig, sandbox_rig
from sandbox_stage import TwoStepsAtSandbox
from two_step_suite import TwoStepSuite, confirming, prepared

from paygate_actors.outcomes import Approved, Declined, Pending, Unknown
from paygate_actors.providers.base import ChargeCall, Provider
from paygate_actors.providers.paypal_certificates import certificates_of
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.paypal_tokens import CLIENT_SECRET


class PayPalStage(TwoStepsAtSandbox):
    def __init__(self, rig: Rig, clock: ManualClock, certificates: CertificateServer) -> None:
        self.certificates = certificates
        self.paypal = paypal_adapter(
            rig.sandbox.url, certificates=certificates_of(certificates.url, here=True)
        )
        super().__init__(rig, clock, self.paypal)

    async def objects_made(self) -> int:
        keys = {
            call["idempotencyKey"]
            for call in await self.rig.calls()
            if call["operation"] == "prepare"
        }
        return len(keys)

    async def see_everything(self) -> None:
        """PayPal's look-ups do not lag."""

    def unreachable(self) -> Provider:
        return paypal_adapter(self.closed)

    def signed(self, body: bytes, *, at_us: int) -> dict[str, str]:
        return self.certificates.signed(body, at_us=at_us)

    def webhook_body(self) -> bytes:
        return paypal_event("PAYMENT.CAPTURE.COMPLETED", capture())

    def secrets(self) -> list[str]:
        return [CLIENT_SECRET]


class TestPayPalProvider(ProviderSuite, TwoStepSuite):
    """Where PayPal promises something else than the suite, the same is asked in its way."""

    @pytest.fixture
    async def stage(self) -> AsyncIterator[PayPalStage]:
        clock = ManualClock()
        async with (
            certificate_server(clock) as certificates,
            sandbox_rig(clock=clock) as rig,
        ):
            stage = PayPalStage(rig, clock, certificates)
            await stage.paypal.fetch_keys(stage.signed(b"", at_us=clock.now_us()))
            yield stage
            await stage.provider.close()

    async def test_a_void_undoes_the_whole(self, stage: Any):
        held = await approved(stage, charge_call(stage.approved_number, "txn_1-1", capture=False))

        voided = await stage.provider.void(follow_up(held, "txn_2-1", 1_000))
        found = await stage.provider.find("txn_1-1", held.provider_txn_id)

        assert voided == Approved(provider_txn_id=held.provider_txn_id, amount=SUM)
        assert isinstance(found, Declined)
        assert found.code == "cancelled"

    async def test_a_key_without_its_cvv_proves_that_the_first_call_arrived(
        self, stage: Any, charge: ChargeCall
    ):
        """PayPal compares no parameters: the same request id has the first one's answer."""
        first = await approved(stage, charge)

        again = await stage.provider.charge(
            charge_call(stage.approved_number, charge.key, cvv=None)
        )

        assert again == first
        assert len(await stage.effects()) == 1

    async def test_a_pending_call_is_found_pending(self, stage: Any, charge: ChargeCall):
        named = await prepared(stage, charge)
        await stage.defer_next()

        outcome = await stage.provider.charge(confirming(charge, named))
        found = await stage.provider.find(charge.key, named)

        assert outcome == found == Pending(provider_txn_id=named)
        assert await stage.effects() == []

    async def test_a_look_up_finds_what_was_done(self, stage: Any, charge: ChargeCall):
        charged = await approved(stage, charge)

        by_order = await stage.provider.find(charge.key, charged.provider_txn_id)
        by_key = await stage.provider.find(charge.key)

        assert by_order == charged
        assert isinstance(by_key, Unknown)
        assert by_key.reason == "not_visible"
