"""The real process, killed between the commit of an event and its delivery."""

import asyncio
import signal
from pathlib import Path

import pytest
from aiohttp import web
from live_gateway import Live, serving, visiting
from receiver_rig import PATIENCE_S, receiver
from standardwebhooks import Webhook

pytestmark = pytest.mark.slow

FLAGS = ("--sandbox-latency-ms", "5")


async def delivered(live: Live, endpoint_id: str) -> list[str]:
    """The statuses of what an endpoint was sent."""
    page = await live.get(f"/api/webhook-endpoints/{endpoint_id}/deliveries")
    return [each["status"] for each in page.body["data"]]


async def test_what_was_committed_is_delivered_by_the_next_process(tmp_path: Path) -> None:
    async with receiver() as shop:
        free = asyncio.Event()

        async def hangs(_: web.Request) -> web.StreamResponse:
            await free.wait()
            return web.Response()

        shop.reply = hangs
        with serving(tmp_path, *FLAGS) as first:
            async with visiting(first) as live:
                made = await live.call("POST", "/api/webhook-endpoints", {"url": shop.url})
                await live.pay()
                await live.pay()
                before = await shop.until(lambda got: len(got) == 2)
                ids = {sent.id for sent in before}
                first.process.send_signal(signal.SIGKILL)
        free.set()
        shop.reply = None

        with serving(tmp_path, *FLAGS) as second:
            async with visiting(second) as live:
                endpoint_id = made.body["endpoint"]["id"]
                async with asyncio.timeout(PATIENCE_S):
                    got = await shop.until(lambda got: len(got) >= 4)
                await live.until(
                    lambda: delivered(live, endpoint_id),
                    lambda seen: seen == ["delivered", "delivered"],
                )
                feed = (await live.get("/api/events")).body["data"]

        assert {sent.id for sent in got[2:]} == ids
        assert {each["id"] for each in feed} == ids
        for sent in got:
            Webhook(made.body["secret"]).verify(sent.body, dict(sent.headers))
        bodies = {sent.id: {each.body for each in got if each.id == sent.id} for sent in got}
        assert all(len(each) == 1 for each in bodies.values())
