"""A missed webhook is only a delay: nothing comes by webhook here, and everything arrives."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import CONFIRM, DISPUTED, Live, visiting

from paygate_actors.config import Config, Limits, ProviderConfig
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET
from paygate_http.sandbox.paypal_tongue import WEBHOOK_ID
from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

pytestmark = pytest.mark.slow

# More webhooks than any test here causes.
ALL = 10_000
AGE = "paygate_provider_events_age_seconds"
FETCHED = "paygate_provider_events_fetched_total"
# Every provider that lists its events, as the sandbox speaks it.
PROVIDERS = (
    ProviderConfig(
        id="sandbox_stripe", kind="stripe", secret=SECRET_KEY, webhook_secret=WEBHOOK_SECRET
    ),
    ProviderConfig(
        id="sandbox_paypal",
        kind="paypal",
        secret=CLIENT_SECRET,
        options={"client_id": CLIENT_ID, "webhook_id": WEBHOOK_ID},
    ),
)


class Client(Live):
    """A client that knows the provider."""

    provider: str

    async def of(self, name: str) -> float:
        """Read a number of the provider's."""
        return await self.metric(f'{name}{{provider="{self.provider}"}}')


@pytest.fixture(params=PROVIDERS, ids=lambda each: each.kind)
async def live(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with sandbox_aside(tmp_path) as url:
        provider = msgspec.structs.replace(request.param, url=url)
        config = Config(limits=Limits(events_baseline_s=1.0))
        async with (
            inside(tmp_path, url, config=config, providers=(provider,)) as gateway,
            visiting(gateway.url) as visitor,
        ):
            live = Client(visitor.url, visitor.session)
            live.sandbox, live.provider = visitor.sandbox, provider.id
            await live.control("POST", "/gateway", {"url": gateway.url})
            await live.fault("webhook_drop", count=ALL)
            yield live
            assert gateway.failures == []
            # The test would say nothing if a webhook had come.
            received = await live.metric("paygate_webhooks_received_total")
            assert received == await live.of(FETCHED)


async def test_a_dispute_arrives_without_a_webhook(live: Client):
    paid = await live.pay(DISPUTED)

    async def disputes() -> list[str]:
        return [each["type"] for each in await live.transactions(paid["id"])]

    await live.until(disputes, lambda seen: "chargeback" in seen)
    assert await live.of(FETCHED) > 0


async def test_a_payer_s_confirmation_arrives_without_a_webhook(live: Client):
    asked = await live.pay(CONFIRM, returnURL="https://shop.example/back")
    assert asked["status"] == "requires_action"

    await live.control("POST", f"/actions/{asked['providerTxnID']}/complete")

    payment = await live.until_status(asked["id"], "success")
    assert payment["amountCaptured"] * 100 == 1_000
    assert await live.effects(asked["id"]) == [("charge", 1_000)]


async def test_what_came_late_by_webhook_too_is_applied_once(live: Client):
    paid = await live.pay(DISPUTED)
    await live.until(
        lambda: live.payment(paid["id"]), lambda seen: seen["amountDisputed"] * 100 == 1_000
    )
    fetched = await live.of(FETCHED)

    # It grows until the list was read to its end once more.
    await live.until(lambda: live.of(AGE), lambda age_s: age_s > 0.5)
    await live.until(lambda: live.of(AGE), lambda age_s: age_s < 0.5)

    chargebacks = await live.transactions(paid["id"], type="chargeback")
    assert [each["status"] for each in chargebacks] == ["pending"]
    assert await live.of(FETCHED) == fetched
