"""Adyen's adapter: the suite that every adapter passes, against the sandbox that speaks Adyen."""

from collections.abc import AsyncIterator

import pytest
from adyen_rig import LOGIN, adyen_adapter, item, login_header, notification, signed, told_by
from provider_suite import ProviderSuite, Stage, approved, charge_call, follow_up
from sandbox_rig import APPROVED, Inbox, Rig, sandbox_rig
from sandbox_stage import StageAtSandbox

from paygate_actors.outcomes import Approved, Declined, Outcome, Pending
from paygate_actors.providers.base import Provider, SignatureInvalid
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_tongue import HMAC_KEY


class AdyenStage(StageAtSandbox):
    def __init__(self, rig: Rig, clock: ManualClock, inbox: Inbox) -> None:
        # With a login, so that there is a header to be hostile in.
        adyen = adyen_adapter(rig.sandbox.url, clock=clock, webhook_login=LOGIN)
        super().__init__(rig, clock, adyen)
        self.inbox = inbox

    async def see_everything(self) -> None:
        """Nothing can be seen, now or later."""

    async def told(self, key: str) -> Outcome:
        return await told_by(self.inbox, self.provider, key)

    def unreachable(self) -> Provider:
        return adyen_adapter(self.closed)

    def signed(self, body: bytes, *, at_us: int) -> dict[str, str]:
        return login_header()

    def webhook_body(self) -> bytes:
        return notification(signed(item()))

    def secrets(self) -> list[str]:
        return [API_KEY, HMAC_KEY, LOGIN, "webhook-password"]


@pytest.fixture
async def stage() -> AsyncIterator[AdyenStage]:
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(clock=clock, gateway_url=inbox.url) as rig:
        stage = AdyenStage(rig, clock, inbox)
        yield stage
        await stage.provider.close()


class TestAdyenProvider(ProviderSuite):
    @pytest.mark.parametrize("off_s", [-301, 301])
    async def test_an_old_webhook_and_one_from_the_future_are_refused(
        self, stage: Stage, off_s: int
    ):
        """Adyen signs no time: a webhook that comes late is taken, and known by its event's id."""
        body = stage.webhook_body()
        now_us = stage.now_us() + off_s * 1_000_000

        stage.provider.verify(stage.signed(body, at_us=0), body, now_us=now_us)

        early, late = (stage.provider.parse({}, body) for _ in range(2))
        assert [each.event_id for each in early] == [each.event_id for each in late]

    async def test_a_webhook_with_another_body_is_refused(self, stage: Stage):
        body = stage.webhook_body()
        headers = stage.signed(body, at_us=0)

        for field in ("QFQTPCQ8HXSKGK82", "txn_1-1", "1000", "USD", "AUTHORISATION", '"true"'):
            other = body.replace(
                field.encode(), {"1000": b"1001", '"true"': b'"false"'}.get(field, b"XYZ")
            )
            assert other != body
            with pytest.raises(SignatureInvalid):
                stage.provider.verify(headers, other, now_us=0)


async def test_a_cancellation_of_what_was_captured_fails_by_webhook_as_settled(stage: AdyenStage):
    charged = await approved(stage, charge_call(APPROVED, "txn_1-1"))
    call = follow_up(charged, "txn_2-1", 1_000)

    answer = await stage.provider.void(call)
    outcome = await stage.told(call.key)

    assert answer == Pending(provider_txn_id=charged.provider_txn_id)
    assert isinstance(outcome, Declined)
    assert outcome.code == "already_settled"
    assert await stage.effects() == [("charge", "txn_1-1", 1_000)]


async def test_a_capture_beyond_the_hold_fails_by_webhook(stage: AdyenStage):
    held = await approved(stage, charge_call(APPROVED, "txn_1-1", capture=False))
    call = follow_up(held, "txn_2-1", 1_001)

    await stage.provider.capture(call)
    outcome = await stage.told(call.key)

    assert isinstance(outcome, Declined)
    assert outcome.code == "capture_failed"
    assert len(await stage.effects()) == 1


async def test_a_deferred_capture_is_told_when_it_happens(stage: AdyenStage):
    held = await approved(stage, charge_call(APPROVED, "txn_1-1", capture=False))
    call = follow_up(held, "txn_2-1", 600)
    await stage.defer_next()

    await stage.provider.capture(call)
    before = await stage.effects()
    stage.clock.advance(60)
    outcome = await stage.told(call.key)

    assert len(before) == 1
    assert isinstance(outcome, Approved)
    assert outcome.amount.minor == 600
