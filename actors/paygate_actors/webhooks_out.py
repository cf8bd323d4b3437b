"""Webhooks to merchants and their feed, as the gateway furnishes them: one object, opened at start.

The keeper is here too: from time to time it forgets what is kept no longer, and wakes couriers
that lost a tick.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from paygate_actors.among import Among
from paygate_actors.config import Config
from paygate_actors.courier import Courier
from paygate_actors.damage import DamageBook
from paygate_actors.endpoints import (
    CLEARED,
    ENDPOINT,
    ENDPOINT_CEILING,
    FEED,
    Endpoints,
    leaving,
    queue_of,
)
from paygate_actors.merchant_events import encode_event
from paygate_actors.notice_desk import NoticeOffice, delivery_floor
from paygate_actors.notice_post import BodyOf, NoticePost
from paygate_actors.notice_sender import HttpSender, Sender
from paygate_actors.outbox import DELIVERY, Notices, place_of
from paygate_actors.vault import Vault
from paygate_engine.errors import Overloaded, StoreFailed, StoreFull
from paygate_engine.journal import Journal
from paygate_engine.stores.base import PAGE_MAX, Store
from paygate_engine.supervisor import Directive, Supervisor
from paygate_engine.system import ActorSystem

# What waits for its time has a timer of its own; the keeper only sees to what got lost.
KEEP_S: Final = 300.0
# Where other nodes write too, what one of them has put into a queue is found within this time by
# the courier that has the endpoint, also where nobody could tell it.
LOOK_S: Final = 10.0
KEEP: Final = "keep notices"
COURIER: Final = "courier"
# In one round: half a million rows. What is over waits for the next round.
FORGET_PAGES_MAX: Final = 500
# A done item serves for nothing but its id, and that is never made again.
DONE_KEPT_US: Final = 3_600 * 1_000_000
_US_PER_DAY: Final = 86_400 * 1_000_000

_log = structlog.get_logger("paygate.webhooks_out")


class WayOut(Struct, frozen=True, kw_only=True):
    """How merchants are told: over what, and in which words; by default over HTTP, as stored."""

    sender: Sender | None = None
    body_of: BodyOf = encode_event


OVER_HTTP: Final = WayOut()


class WebhooksOut:
    """Everything about telling merchants. `notices` is for payments, `desk` for the doors."""

    def __init__(
        self,
        config: Config,
        *,
        system: ActorSystem,
        store: Store,
        journal: Journal,
        vault: Vault,
        book: DamageBook,
        root: Supervisor,
        way_out: WayOut,
        nodes: Among,
    ) -> None:
        settings = config.webhooks
        self._system = system
        self._store = store
        self._book = book
        self._nodes = nodes
        self._opened = False
        self._leaving: tuple[str, ...] = ()
        self._kept_us = settings.retention_days * _US_PER_DAY
        # One that fails is started again when there is something to send: it takes nobody down.
        self._couriers = Supervisor(
            system, "couriers", parent=root, decide=lambda _: Directive.STOP
        )
        self.notices = Notices(Endpoints(), self._wake_everywhere)
        self._post = NoticePost(
            system=system,
            store=store,
            journal=journal,
            notices=self.notices,
            sender=way_out.sender or HttpSender(allow_loopback=calls_loopback(config)),
            vault=vault,
            body_of=way_out.body_of,
            livemode=not config.sandbox.enabled,
            nodes=nodes,
        )
        self.desk = NoticeOffice(
            self._post, vault=vault, book=book, overlap_s=settings.rotation_overlap_hours * 3_600
        )

    async def load(self) -> None:
        """Read the endpoints in: before the first payment moves."""
        for endpoint_id in await self.notices.endpoints.load(self._store):
            self._book.note("documents", f"{ENDPOINT} {endpoint_id}")
        self._leaving = await leaving(self._store)

    def open(self) -> None:
        """Begin to send what waits, and to keep house; a command in a folder never does."""
        self._opened = True
        for endpoint in self.notices.endpoints.all():
            self._wake(endpoint.id)
        for endpoint_id in self._leaving:
            self._wake(endpoint_id)
        self._system.after(KEEP_S, self._keep, None)
        if self._nodes.epoch:
            self._system.after(LOOK_S, self._look, None)

    def heard(self, words: Iterable[str]) -> None:
        """Another node says that something waits for these endpoints."""
        for word in words:
            what, _, endpoint_id = word.partition(" ")
            if what == COURIER:
                self._wake(endpoint_id)

    def drain(self) -> None:
        """Begin no new attempt; what waits is sent after the next start."""
        self._post.closing = True

    async def settle(self, within_s: float) -> None:
        """Let attempts that are under way be concluded: what is cut off is sent once more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._post.settled.wait()

    async def close(self) -> None:
        """Give the connections back."""
        self.drain()
        await self._post.sender.close()

    def gauges(self) -> Mapping[str, float]:
        """Numbers for the metrics page."""
        counts = self._post.counts
        endpoints = self.notices.endpoints.all()
        found: dict[str, float] = {
            f'paygate_notices_sent_total{{outcome="{outcome}"}}': counts[outcome]
            for outcome in ("delivered", "failed", "dead")
        }
        found["paygate_notices_under_way"] = self._post.sending()
        found["paygate_notice_endpoints"] = len(endpoints)
        found["paygate_notice_endpoints_disabled"] = sum(not each.enabled for each in endpoints)
        return found

    async def keep(self) -> None:
        """Forget what is older than it is kept, and wake every courier."""
        if not await self._nodes.mine(KEEP):
            return
        now_us = self._system.clock.now_us()
        before_us = now_us - self._kept_us
        after = ""
        while feeds := await self._store.feeds(after=after, limit=PAGE_MAX):
            for feed in feeds:
                if feed.startswith(f"{FEED}/"):
                    await self._forget_posts(feed, before_us)
            after = feeds[-1]
        floor = delivery_floor(before_us)
        await self._forget_documents(ENDPOINT, ENDPOINT_CEILING, CLEARED)
        for endpoint in self.notices.endpoints.all():
            # What is pending is owed, however old: a receiver may be off for longer than that.
            for status in ("delivered", "dead"):
                await self._forget_documents(DELIVERY, floor, place_of(endpoint.id, status))
            await self._forget_done(endpoint.id, now_us - DONE_KEPT_US)
            self._wake(endpoint.id)

    async def _forget_posts(self, feed: str, before_us: int) -> None:
        for _ in range(FORGET_PAGES_MAX):
            if await self._store.forget_posts(feed=feed, before_us=before_us) < PAGE_MAX:
                return

    async def _forget_documents(self, kind: str, id_before: str, facet: str) -> None:
        for _ in range(FORGET_PAGES_MAX):
            gone = await self._store.forget_documents(kind=kind, id_before=id_before, facet=facet)
            if gone < PAGE_MAX:
                return

    async def _forget_done(self, endpoint_id: str, before_us: int) -> None:
        queue = queue_of(endpoint_id)
        for _ in range(FORGET_PAGES_MAX):
            if await self._store.forget(queue=queue, done_before_us=before_us) < PAGE_MAX:
                return

    def _keep(self, _: object) -> None:
        self._system.spawn_task(self._keep_once())

    async def _keep_once(self) -> None:
        try:
            await self.keep()
        except (Overloaded, StoreFull) as error:
            _log.warning("not_kept", error=str(error))
        except StoreFailed:
            return  # the process is about to end
        if not self._post.closing:
            self._system.after(KEEP_S, self._keep, None)

    def _look(self, _: object) -> None:
        for endpoint in self.notices.endpoints.all():
            self._wake(endpoint.id)
        if not self._post.closing:
            self._system.after(LOOK_S, self._look, None)

    def _wake_everywhere(self, endpoint_id: str) -> None:
        self._nodes.say(f"{COURIER} {endpoint_id}")
        self._wake(endpoint_id)

    def _wake(self, endpoint_id: str) -> None:
        if self._post.closing or not self._opened:
            return
        key = f"courier:{endpoint_id}"
        courier = self._system.cells.get(key)
        if courier is None:
            self._couriers.start(Courier, key, endpoint_id=endpoint_id, post=self._post)
            courier = self._system.cells.get(key)
        if isinstance(courier, Courier):
            courier.wake()


def calls_loopback(config: Config) -> bool:
    """Whether webhooks may go to this machine: in the sandbox, where nobody forbids it."""
    return config.sandbox.enabled and config.webhooks.allow_loopback
