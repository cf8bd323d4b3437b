"""A gateway on a clock that is moved by hand, its merchants, and receivers in the same world."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from bank_rig import MERCHANT, BankRig, bank_rig, done
from receiver_rig import Receivers
from standardwebhooks import Webhook

from paygate_actors.endpoints import Endpoint
from paygate_actors.merchant_events import MerchantEvent
from paygate_actors.messages import Caller, Refusal
from paygate_actors.notice_messages import (
    DeliveryPage,
    FeedPage,
    NewEndpoint,
    NoticeDesk,
    WithSecret,
)
from paygate_actors.outbox import Delivery, DeliveryStatus
from paygate_actors.webhooks_out import WayOut
from paygate_http.notice_replies import webhook_body

URL = "https://shop.example/hook"
OTHER_URL = "https://other.example/hook"
OTHER = Caller(role="merchant", merchant="merchant_b", key_id="key_b")


class NoticeRig:
    """Short words for what tests ask of it."""

    def __init__(self, rig: BankRig, receivers: Receivers) -> None:
        self.rig = rig
        self.receivers = receivers

    @property
    def desk(self) -> NoticeDesk:
        """What the doors ask."""
        return self.rig.gateway.front.notices

    async def endpoint(self, url: str = URL, *events: str) -> WithSecret:
        """Have a receiver told."""
        made = await self.desk.create(MERCHANT, NewEndpoint(url=url, events=events))
        assert isinstance(made, WithSecret), made
        return made

    async def pay(self) -> str:
        """Make a payment that succeeds; its id."""
        payment_id = await self.rig.pay()
        await self.rig.until_status(payment_id, "success")
        return payment_id

    async def feed(self, *, after: str | None = None, limit: int = 100) -> FeedPage:
        """A page of the merchant's feed."""
        page = await self.desk.feed(MERCHANT, after=after, limit=limit)
        assert isinstance(page, FeedPage), page
        return page

    async def events(self) -> list[MerchantEvent]:
        """The whole feed."""
        found: list[MerchantEvent] = []
        page = await self.feed(limit=7)
        while True:
            found += page.items
            if not page.has_more:
                return found
            page = await self.feed(after=page.next_cursor, limit=7)

    async def deliveries(
        self, endpoint: Endpoint, status: DeliveryStatus | None = None
    ) -> tuple[Delivery, ...]:
        """What was sent to an endpoint, newest first."""
        page = await self.desk.deliveries(
            MERCHANT, endpoint.id, status=status, cursor=None, limit=100
        )
        assert isinstance(page, DeliveryPage), page
        return page.items

    async def queued(self, queue: str) -> int:
        """How many items wait in a queue of the store, whether a gateway runs or not."""
        await self.rig.store.open()
        return len(await self.rig.store.waiting(queue))

    async def until_sent(self, count: int, url: str = URL) -> None:
        """Let the gateway run until so many messages came; no time passes."""
        await self.rig.until(lambda: len(self.receivers.to(url)) == count)

    async def until_delivery(self, endpoint: Endpoint, status: DeliveryStatus) -> Delivery:
        """Let it run until the newest delivery is so; no time passes."""
        found: tuple[Delivery, ...] = ()
        for _ in range(2_000):
            found = await self.deliveries(endpoint)
            if found and found[0].status == status:
                return found[0]
            await self.quiet(1)
        raise AssertionError(f"it never came; last seen: {found}")

    async def quiet(self, turns: int = 80) -> None:
        """Let everything that is under way come to its end."""
        await self.rig.pass_time(0.001 * turns, step_s=0.001)

    async def next_attempt(self, endpoint: Endpoint) -> float:
        """Move the clock to the newest delivery's next attempt; how many seconds that took."""
        (delivery, *_) = await self.deliveries(endpoint, "pending")
        assert delivery.next_at_us is not None
        wait_s = (delivery.next_at_us - self.rig.clock.now_us()) / 1_000_000
        self.rig.clock.advance(max(0.0, wait_s) + 0.02)
        return wait_s


def verifies(secret: str, here: NoticeRig, number: int) -> bool:
    """Whether another's code takes the n-th message for signed with the secret, whatever its age.

    The library reads the machine's clock, and the world's is another: it is asked to sign anew.
    """
    sent = here.receivers.sent[number]
    at = datetime.fromtimestamp(int(sent.headers["webhook-timestamp"]), UTC)
    signature = Webhook(secret).sign(sent.id, at, sent.body.decode())
    return signature in sent.headers["webhook-signature"].split(" ")


def refusal(found: object) -> str:
    """The code of a refusal."""
    assert isinstance(found, Refusal), found
    return found.code


@asynccontextmanager
async def notice_rig(folder: Path) -> AsyncGenerator[NoticeRig]:
    """Start it all; the bank does what it is asked."""
    receivers = Receivers()
    way_out = WayOut(sender=receivers, body_of=webhook_body)
    async with bank_rig(folder, way_out=way_out) as rig:
        rig.bank.says["charge"] = done
        receivers.now_us = lambda: rig.clock.now_us()  # noqa: PLW0108 - after a crash it is another clock
        try:
            yield NoticeRig(rig, receivers)
        finally:
            receivers.let_go()
