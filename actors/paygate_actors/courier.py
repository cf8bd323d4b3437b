"""A courier: brings one endpoint what waits in its queue. One actor for each endpoint.

Whoever commits something for the endpoint ticks its courier; so do a timer for what is due next,
the end of each attempt, and now and then the keeper. A tick reads the head of the queue and sends
what is due, a few at a time; what it knows it can lose, because the queue says it again. Each
attempt is concluded in one commit: done, and either delivered, or due again later, or given up.

A receiver that is slow or broken holds up nobody else: its own courier waits, one attempt at a
time, in a lane that those who are well do not use. A courier begins there, with one attempt at a
time, and doubles that with each success: how many a stranger's server may hold is earned.
"""

from email.utils import parsedate_to_datetime
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from paygate_actors.endpoints import (
    ENDPOINT,
    Endpoint,
    endpoint_document,
    queue_of,
    read_endpoint,
)
from paygate_actors.merchant_events import read_event
from paygate_actors.notice_post import NoticePost
from paygate_actors.notice_sender import Answer
from paygate_actors.outbox import (
    ATTEMPTS_SHOWN,
    DELIVERY,
    DELIVERY_CEILING,
    DELIVERY_STATUSES,
    NOTHING,
    Attempt,
    Delivery,
    Told,
    delay_s,
    delivery_document,
    delivery_item,
    place_of,
    read_delivery,
)
from paygate_actors.vault import KeyMissing, SealBroken
from paygate_engine.actor import LoopActor, Parent, handles
from paygate_engine.errors import Overloaded, StoreFailed, StoreFull
from paygate_engine.stores.base import PAGE_MAX, Done, Item, Unit
from paygate_engine.system import ActorSystem

# At one endpoint at a time, at the most: 50 a second at a receiver that takes 150 ms.
WIDTH_MAX: Final = 8
# What is being sent stays at the head of the queue: behind it there is always something to send.
PAGE: Final = 2 * WIDTH_MAX
# A deleted endpoint's queue is emptied this many at a time.
CLEAR_PAGE: Final = 500
# A full journal empties in a moment; on a full disk somebody makes room.
REFUSED_RETRY_S: Final = 5.0
# Another node knows of a deleted endpoint with its next beat; three leases later it has beaten, or
# it is buried and commits nothing: then nothing more comes into the queue.
SETTLES_S: Final = 30.0
US_PER_S: Final = 1_000_000
_MS_PER_S: Final = 1_000

_OK: Final = range(200, 300)
_GONE: Final = 410

_log = structlog.get_logger("paygate.courier")


class Tick(Struct, frozen=True):
    """Look at the queue."""


class Courier(LoopActor):
    """Sends what is due at one endpoint, and says when to look again."""

    __slots__ = ("_alarm_us", "_endpoint_id", "_post", "_ticked", "_well", "_width")

    def __init__(
        self,
        system: ActorSystem,
        key: str,
        *,
        endpoint_id: str,
        post: NoticePost,
        parent: Parent | None = None,
    ) -> None:
        super().__init__(system, key, parent)
        self._endpoint_id = endpoint_id
        self._post = post
        self._well = False
        self._width = 1
        self._ticked = False
        self._alarm_us = 0

    def wake(self, _: object = None) -> None:
        """Have it look at the queue; many calls before it does are one look. Also for timers."""
        if not self._ticked and self.alive:
            self._ticked = True
            self.actor_ref.tell(Tick())

    @handles(Tick)
    async def on_tick(self, message: Tick) -> None:
        """Send what is due, as far as there is room, and set the alarm for what is not."""
        self._ticked = False
        try:
            await self._look()
        except Overloaded:
            self.system.after(REFUSED_RETRY_S, self.wake, None)

    async def _look(self) -> None:
        post = self._post
        if not await post.nodes.mine(f"courier {self._endpoint_id}"):
            return  # another node's courier sends what is in the queue
        endpoint = post.endpoints.get(self._endpoint_id)
        if endpoint is None:
            # Deleted, or made by another node a moment ago.
            endpoint = await post.endpoints.refresh(post.store, self._endpoint_id)
        if endpoint is None:
            await self._clear()
            return
        if post.closing or not endpoint.enabled or self._full():
            return
        now_us = self.system.clock.now_us()
        for item in await post.store.waiting(queue_of(endpoint.id), limit=PAGE):
            if item.id in post.under_way(endpoint.id):
                continue
            if item.sound and item.at_us > now_us:
                self._alarm(item.at_us, now_us)
                return
            if self._full():
                return
            post.began(endpoint.id, item.id)
            self.system.spawn_task(self._deliver(item))

    def _full(self) -> bool:
        return len(self._post.under_way(self._endpoint_id)) >= self._width

    async def _deliver(self, item: Item) -> None:
        again_s = 0.0
        try:
            await self._send(item)
        except (Overloaded, StoreFull):
            again_s = REFUSED_RETRY_S  # nothing was written: it is sent once more, as it may be
        except StoreFailed:
            return  # the process is about to end
        finally:
            self._post.ended(self._endpoint_id, item.id)
        if again_s:
            self.system.after(again_s, self.wake, None)
        else:
            self.wake()

    async def _send(self, item: Item) -> None:
        """Make one attempt and conclude it; an item that leads to nothing to send is done."""
        post = self._post
        found = await post.store.read_document(DELIVERY, item.key) if item.sound else None
        delivery = read_delivery(found) if found is not None and found.sound else None
        endpoint = post.endpoints.get(self._endpoint_id)
        stale = (
            delivery is None or delivery.status != "pending" or delivery.next_at_us != item.at_us
        )
        if delivery is None or stale or endpoint is None:
            # Its time is over, or its row is damaged: the feed has the event all the same.
            if delivery is None:
                _log.error("delivery_lost", endpoint=self._endpoint_id, item=item.id)
            await post.journal.append_wait(Unit(done=(self._done(item),)))
            return
        async with post.place(delivery.merchant, well=self._well):
            attempt, answer = await self._attempt(endpoint, delivery)
        delivery = replace(delivery, attempts=(*delivery.attempts, attempt)[-ATTEMPTS_SHOWN:])
        await self._conclude(item, delivery, answer)

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> tuple[Attempt, Answer]:
        clock, post = self.system.clock, self._post
        at_us, started_s = clock.now_us(), clock.monotonic_s()
        try:
            body = post.body_of(read_event(bytes(delivery.event)))
            headers = post.headers(endpoint, delivery.event_id, body, now_us=at_us)
        except (KeyMissing, SealBroken) as error:
            _log.critical("webhook_secret_lost", endpoint=endpoint.id, error=str(error))
            answer = Answer(error="secret_lost")
        except Exception:  # noqa: BLE001 - one event that cannot be spelt holds up no other
            _log.exception("webhook_unspelt", delivery=delivery.id)
            answer = Answer(error="unspelt")
        else:
            answer = await post.sender.send(endpoint.url, headers, body)
        took_ms = round((clock.monotonic_s() - started_s) * _MS_PER_S)
        attempt = Attempt(at_us=at_us, took_ms=took_ms, status=answer.status, error=answer.error)
        return attempt, answer

    async def _conclude(self, item: Item, delivery: Delivery, answer: Answer) -> None:
        post = self._post
        if answer.status in _OK:
            self._well, self._width = True, min(2 * self._width, WIDTH_MAX)
            delivered = replace(delivery, status="delivered", next_at_us=None)
            await self._commit(item, delivered)
            post.counts["delivered"] += 1
            return
        self._well, self._width = False, 1
        post.counts["failed"] += 1
        failures = delivery.failures + 1
        if answer.status == _GONE:
            await self._gone(item, replace(delivery, failures=failures))
            return
        now_us = self.system.clock.now_us()
        wait_s = delay_s(
            failures,
            retry_after_s=retry_after_s(answer.retry_after, now_us),
            random=self.system.rng.random(),
        )
        if wait_s is None:
            dead = replace(delivery, status="dead", next_at_us=None, failures=failures)
            await self._commit(item, dead, told=post.told_of(dead, "gave_up", disabled=False))
            post.counts["dead"] += 1
            return
        due_us = now_us + round(wait_s * US_PER_S)
        later = replace(delivery, next_at_us=due_us, failures=failures)
        await self._commit(item, later, following=delivery_item(later, due_us))

    async def _commit(
        self, item: Item, delivery: Delivery, *, following: Item | None = None, told: Told = NOTHING
    ) -> None:
        await self._post.journal.append_wait(
            Unit(
                done=(self._done(item),),
                items=(*told.items, *(() if following is None else (following,))),
                documents=(delivery_document(delivery), *told.documents),
                posts=told.posts,
            )
        )
        self._post.notices.committed(told)

    async def _gone(self, item: Item, delivery: Delivery) -> None:
        """The receiver says that it is no more: nothing more is sent there."""
        post = self._post
        dead = replace(delivery, status="dead", next_at_us=None)
        told = post.told_of(dead, "gone", disabled=True)

        async def switched_off(endpoint: Endpoint) -> Endpoint:
            now_us = self.system.clock.now_us()
            return replace(endpoint, disabled=endpoint.disabled or "gone", updated_at_us=now_us)

        def extra(_: Endpoint) -> Unit:
            return Unit(
                done=(self._done(item),),
                documents=(delivery_document(dead), *told.documents),
                items=told.items,
                posts=told.posts,
            )

        await post.change(
            self._endpoint_id,
            switched_off,
            who="receiver",
            what="disable webhook endpoint: gone",
            extra=extra,
        )
        post.counts["disabled"] += 1
        post.notices.committed(told)

    async def _clear(self) -> None:
        """Empty the queue of an endpoint that was deleted, forget its deliveries, and end.

        An attempt that is under way is waited for: it ends with a tick, and may leave something.
        """
        if self._post.under_way(self._endpoint_id):
            return
        queue = queue_of(self._endpoint_id)
        store, journal = self._post.store, self._post.journal
        found = await store.read_document(ENDPOINT, self._endpoint_id)
        gone = read_endpoint(found) if found is not None and found.sound else None
        wait_s = 0.0 if gone is None else self._settles_s(gone)
        if wait_s > 0:
            self.system.after(wait_s, self.wake, None)
            return
        try:
            while page := await store.waiting(queue, limit=CLEAR_PAGE):
                await journal.append_wait(Unit(done=tuple(map(self._done, page))))
            now_us = self.system.clock.now_us()
            while await store.forget(queue=queue, done_before_us=now_us + 1) == PAGE_MAX:
                pass
            for status in DELIVERY_STATUSES:
                place = place_of(self._endpoint_id, status)
                while await store.forget_documents(
                    kind=DELIVERY, id_before=DELIVERY_CEILING, facet=place
                ):
                    pass
            if gone is not None:
                cleared = replace(gone, cleared=True)
                await journal.append_wait(Unit(documents=(endpoint_document(cleared),)))
        except (Overloaded, StoreFull):
            self.system.after(REFUSED_RETRY_S, self.wake, None)
            return
        self.stop()

    def _settles_s(self, endpoint: Endpoint) -> float:
        """Seconds until no other node can put anything into its queue any more."""
        if not self._post.nodes.epoch:
            return 0.0
        settled_us = endpoint.updated_at_us + round(SETTLES_S * US_PER_S)
        return (settled_us - self.system.clock.now_us()) / US_PER_S

    def _alarm(self, due_us: int, now_us: int) -> None:
        if now_us < self._alarm_us <= due_us:
            return  # it rings before
        self._alarm_us = due_us
        self.system.after((due_us - now_us) / US_PER_S, self.wake, None)

    def _done(self, item: Item) -> Done:
        return Done(queue=item.queue, id=item.id, at_us=self.system.clock.now_us())


def retry_after_s(text: str | None, now_us: int) -> int | None:
    """Read `Retry-After`: seconds, or a date; None for what is neither, or past."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Longer numbers are further away than anybody waits.
        return int(text[:9])
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return max(0, round(at_s - now_us / US_PER_S)) or None
