"""A storm of webhooks against the real process: taken or put off, each applied once."""

from pathlib import Path

import pytest
from live_gateway import MERCHANT, METRICS, WEBHOOK_SECRET, serving, visiting
from storm_rig import DUPLICATES, Storm, make_charges

pytestmark = pytest.mark.slow

EVENTS = 1_000
SEED = 20_261_123


async def test_a_storm_is_absorbed_and_each_event_applied_once(tmp_path: Path):
    with serving(tmp_path, "--sandbox-latency-ms", "1") as server:
        charges = await make_charges(server.url, MERCHANT, 50)
        storm = Storm(charges, events=EVENTS, seed=SEED, secret=WEBHOOK_SECRET)

        heard = await storm.blow(server.url, key=MERCHANT)
        await storm.settled(server.url, MERCHANT)

        assert set(heard.statuses) <= {200, 503}, f"seed {SEED}: {heard}"
        assert heard.without_retry_after == 0
        assert heard.statuses[200] == round(EVENTS * (1 + DUPLICATES))
        assert heard.reads > 0
        async with visiting(server) as live:
            page = (await live.get("/metrics", key=METRICS)).text
            assert "paygate_webhooks_busy 0.0" in page
            assert await live.metric("paygate_webhooks_received_total") >= EVENTS
            assert await live.metric("paygate_webhooks_parked") == 0
