"""Webhooks to merchants over real HTTP, and the feed: what a merchant's systems get to see."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import svix
from aiohttp import web
from card_canary import fresh_card, leaks
from inside_gateway import Inside, ShiftedClock, inside, sandbox_aside
from live_gateway import DECLINED, MERCHANT, OTHER_MERCHANT, Live, payment_request, visiting
from node_rig import ask
from receiver_rig import PATIENCE_S, Receiver, receiver
from standardwebhooks import Webhook, WebhookVerificationError

pytestmark = pytest.mark.slow

ENDPOINTS = "/api/webhook-endpoints"


class World:
    """A gateway, a client of it, and a receiver."""

    def __init__(
        self, live: Live, gateway: Inside, clock: ShiftedClock, receivers: list[Receiver]
    ) -> None:
        self.live = live
        self.gateway = gateway
        self.clock = clock
        self.receivers = receivers

    async def endpoint(self, number: int = 0, **more: object) -> dict[str, Any]:
        """Have a receiver told; the endpoint with its secret."""
        url = self.receivers[number].url
        made = await self.live.call("POST", ENDPOINTS, {"url": url, **more})
        assert made.status == 201, made.text
        return made.body["endpoint"] | {"secret": made.body["secret"]}

    async def feed(self, *, key: str = MERCHANT, limit: int = 100) -> list[dict[str, Any]]:
        """Read the feed from its beginning to its end, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.live.get(f"/api/events?limit={limit}{cursor}", key=key)
            assert page.status == 200, page.text
            found += page.body["data"]
            cursor = f"&after={page.body['nextCursor']}"
            if not page.body["hasMore"]:
                return found

    async def deliveries(self, endpoint: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
        """List what was sent to an endpoint."""
        found = await self.live.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries{query}")
        assert found.status == 200, found.text
        return found.body["data"]

    async def until_delivery(self, endpoint: dict[str, Any], status: str) -> dict[str, Any]:
        """Wait until the newest delivery is so."""
        found = await self.live.until(
            lambda: self.deliveries(endpoint),
            lambda seen: bool(seen) and seen[0]["status"] == status,
        )
        return found[0]


@asynccontextmanager
async def world(folder: Path, *, receivers: int = 1) -> AsyncGenerator[World]:
    """Run everything on loopback."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(sandbox_aside(folder))
        clock = ShiftedClock()
        gateway = await stack.enter_async_context(inside(folder, sandbox, clock=clock))
        live = await stack.enter_async_context(visiting(gateway.url))
        made = [await stack.enter_async_context(receiver()) for _ in range(receivers)]
        yield World(live, gateway, clock, made)


async def test_a_payment_is_told_in_a_webhook_that_others_can_verify(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        endpoint = await here.endpoint()

        payment = await here.live.pay(wait_s=10)
        (sent,) = await here.receivers[0].until(lambda got: len(got) == 1)

        told = Webhook(endpoint["secret"]).verify(sent.body, dict(sent.headers))
        assert (told["type"], told["paymentID"], told["sequence"]) == (
            "payment.succeeded",
            payment["id"],
            1,
        )
        assert told["data"]["payment"]["status"] == "success"
        assert told["id"] == sent.id
        assert told == (await here.feed())[0] | {"data": told["data"]}
        with pytest.raises(WebhookVerificationError):
            Webhook(endpoint["secret"]).verify(sent.body + b" ", dict(sent.headers))


async def test_a_refund_is_told_in_the_sequence_of_its_payment(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        paid = await here.live.pay()
        refund = await here.live.operate(paid["id"], "refund", {"amount": 2.5})
        await here.live.settled(refund.body["id"])
        await here.live.pay(DECLINED)

        told = await here.feed(limit=1)

        assert [(each["type"], each["sequence"]) for each in told] == [
            ("payment.succeeded", 1),
            ("refund.pending", 2),
            ("refund.succeeded", 3),
            ("payment.failed", 1),
        ]
        assert told[1]["data"]["transaction"]["id"] == refund.body["id"]
        assert await here.feed(key=OTHER_MERCHANT) == []


@pytest.mark.parametrize("library", ["svix", "standardwebhooks", "node standard", "node svix"])
async def test_signatures_hold_for_other_peoples_code(tmp_path: Path, library: str) -> None:
    async with world(tmp_path) as here:
        endpoint = await here.endpoint()
        rotated = await here.live.call("POST", f"{ENDPOINTS}/{endpoint['id']}/rotate-secret")
        await here.live.pay()
        (sent,) = await here.receivers[0].until(lambda got: len(got) == 1)
        headers, secrets = dict(sent.headers), [endpoint["secret"], rotated.body["secret"]]

        for secret in secrets:
            match library:
                case "svix":
                    svix.Webhook(secret).verify(sent.body, headers)
                    with pytest.raises(svix.WebhookVerificationError):
                        svix.Webhook(secret).verify(sent.body + b" ", headers)
                case "standardwebhooks":
                    assert Webhook(secret).verify(sent.body, headers)["id"] == sent.id
                case _:
                    work = "svixVerify" if library == "node svix" else "standardVerify"
                    needed = {
                        name: value for name, value in headers.items() if name.startswith("webhook")
                    }
                    said = await asyncio.to_thread(
                        ask, work, headers=needed, body=sent.body.decode(), secret=secret
                    )
                    assert said == sent.id


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with world(tmp_path, receivers=2) as here:
        other = here.receivers[1]

        async def elsewhere(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": other.url})

        here.receivers[0].reply = elsewhere
        endpoint = await here.endpoint()

        await here.live.pay()
        delivery = await here.live.until(
            lambda: here.deliveries(endpoint), lambda seen: bool(seen and seen[0]["attempts"])
        )

        assert delivery[0]["status"] == "pending"
        assert delivery[0]["attempts"][0]["status"] == 307
        assert other.got == []


async def test_a_reply_without_end_is_not_read(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        written = 0
        cut_off = asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            nonlocal written
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x" * 65_536)
                    written += 65_536
            finally:
                cut_off.set()

        here.receivers[0].reply = endless
        endpoint = await here.endpoint()

        await here.live.pay()
        await here.until_delivery(endpoint, "delivered")
        async with asyncio.timeout(PATIENCE_S):
            await cut_off.wait()

        assert written < 8 * 1024 * 1024


async def test_garbage_and_silence_are_failures_that_are_tried_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:

        async def hangs_up(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        here.receivers[0].reply = hangs_up
        endpoint = await here.endpoint()

        await here.live.pay()
        seen = await here.live.until(
            lambda: here.deliveries(endpoint), lambda seen: bool(seen and seen[0]["attempts"])
        )
        here.receivers[0].reply = None
        await here.until_delivery(endpoint, "delivered")

        assert seen[0]["attempts"][0] | {"at": "", "tookMs": 0} == {
            "at": "",
            "tookMs": 0,
            "status": None,
            "error": "no_answer",
        }
        assert len({sent.id for sent in here.receivers[0].got}) == 1


async def test_410_switches_the_endpoint_off(tmp_path: Path) -> None:
    async with world(tmp_path) as here:

        async def gone(_: web.Request) -> web.StreamResponse:
            return web.Response(status=410)

        here.receivers[0].reply = gone
        endpoint = await here.endpoint()
        await here.live.pay()
        await here.until_delivery(endpoint, "dead")

        shown = await here.live.get(f"{ENDPOINTS}/{endpoint['id']}")
        tested = await here.live.call("POST", f"{ENDPOINTS}/{endpoint['id']}/test")

        assert (shown.body["enabled"], shown.body["disabled"]) == (False, "gone")
        assert tested.code == (409, "endpoint_disabled")
        types = [event["type"] for event in await here.feed()]
        assert types == ["payment.succeeded", "webhook_endpoint.disabled"]


async def test_a_receiver_that_never_answers_delays_nobody(tmp_path: Path) -> None:
    async with world(tmp_path, receivers=2) as here:
        free = asyncio.Event()

        async def hangs(_: web.Request) -> web.StreamResponse:
            await free.wait()
            return web.Response()

        here.receivers[0].reply = hangs
        slow = await here.endpoint(0)
        quick = await here.endpoint(1)

        for _ in range(12):
            await here.live.pay()
        got = await here.receivers[1].until(lambda got: len(got) == 12)
        waiting = await here.deliveries(slow, "?status=pending&limit=100")

        assert len({sent.id for sent in got}) == 12
        assert len(waiting) == 12
        free.set()
        await here.receivers[0].until(lambda got: len({sent.id for sent in got}) == 12)
        await here.live.until(
            lambda: here.deliveries(quick, "?status=delivered&limit=100"),
            lambda seen: len(seen) == 12,
        )


async def test_deliveries_are_listed_newest_first_a_page_at_a_time(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        endpoint = await here.endpoint()
        for _ in range(5):
            await here.live.pay()
        await here.receivers[0].until(lambda got: len(got) == 5)
        path = f"{ENDPOINTS}/{endpoint['id']}/deliveries?limit=2"

        pages = [(await here.live.get(path)).body]
        while pages[-1]["hasMore"]:
            cursor = pages[-1]["nextCursor"]
            pages.append((await here.live.get(f"{path}&cursor={cursor}")).body)
        bad = await here.live.get(f"{path}&cursor=nonsense")

        ids = [each["id"] for page in pages for each in page["data"]]
        assert [len(page["data"]) for page in pages] == [2, 2, 1]
        assert ids == sorted(set(ids), reverse=True)
        assert bad.code == (422, "validation_failed")


async def test_what_is_wrong_with_an_endpoint_is_all_named(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        wrong = {"url": "https://10.0.0.1/hook", "events": ["payment.*", "nothing.*"]}

        answer = await here.live.call("POST", ENDPOINTS, wrong)
        without = await here.live.call("POST", ENDPOINTS, {})
        typed = await here.live.call("POST", ENDPOINTS, {"url": 7, "events": "all"})

        assert answer.code == without.code == typed.code == (422, "validation_failed")
        assert [each["pointer"] for each in answer.body["errors"]] == ["/events/1", "/url"]
        assert [each["pointer"] for each in without.body["errors"]] == ["/url"]
        assert [each["pointer"] for each in typed.body["errors"]] == ["/url", "/events"]
        assert (await here.live.get(ENDPOINTS)).body["data"] == []


async def test_a_webhook_holds_no_billing_address_and_stays_small(tmp_path: Path) -> None:
    """A payment with as much metadata as there may be is told by its name alone."""
    async with world(tmp_path) as here:
        await here.endpoint()
        address = {"country": "US", "state": "CA", "zipCode": "94105", "street": "1 Secret Way"}
        metadata = {f"key_{number:02}": "x" * 500 for number in range(50)}

        small = await here.live.pay(billingAddress=address)
        large = await here.live.pay(metadata=metadata)
        got = await here.receivers[0].until(lambda got: len(got) == 2)

        told = {sent.json()["paymentID"]: sent for sent in got}
        assert all(len(sent.body) < 20_000 for sent in got)
        assert b"Secret Way" not in told[small["id"]].body
        assert told[small["id"]].json()["data"]["payment"]["id"] == small["id"]
        assert told[large["id"]].json()["data"] == {
            "payment": None,
            "transaction": None,
            "attention": None,
            "givenUp": None,
            "truncated": True,
        }
        feed = {event["paymentID"]: event for event in await here.feed()}
        assert feed[large["id"]]["data"]["payment"]["metadata"] == metadata
        assert feed[small["id"]]["data"]["payment"]["billingAddress"] is None


async def test_no_webhook_and_no_event_knows_a_card(tmp_path: Path) -> None:
    """Cards that nobody else uses pay, fail and are given back; what is told knows none of them."""
    seed = 20261123
    rng = random.Random(seed)
    async with world(tmp_path) as here:
        await here.endpoint()
        cards = [fresh_card(rng) for _ in range(4)]
        for card in cards:
            body = payment_request(card.number)
            body["paymentMethod"]["cvv"] = card.cvv
            made = await here.live.process(body)
            assert made.status == 201, made.text
            await here.live.operate(made.body["id"], "refund")
        got = await here.receivers[0].until(lambda got: len({sent.id for sent in got}) >= 12)
        feed = (await here.live.get("/api/events?limit=100")).text.encode()

        places = {f"webhook {sent.id}": sent.body + str(sent.headers).encode() for sent in got}
        found = leaks(cards, places | {"feed": feed})

    assert found == [], f"seed {seed}"
    assert leaks(cards, {"itself": cards[0].number.encode()})
