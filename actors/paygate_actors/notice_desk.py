"""Where merchants see to their webhook endpoints, and what was sent to them.

Every answer is narrowed to what the caller may see; another merchant's endpoint is answered as if
it did not exist. An operator sees every endpoint by its id, to find out why nothing arrives.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from paygate_actors.damage import DamageBook
from paygate_actors.endpoints import (
    PER_MERCHANT_MAX,
    SECRETS_MAX,
    Endpoint,
    SealedSecret,
)
from paygate_actors.event_feed import BAD_CURSOR, EventFeed, cursor_text, read_cursor
from paygate_actors.guarding import guarded
from paygate_actors.merchant_events import (
    EVENT_TYPES,
    SUBJECTS,
    TEST,
    MerchantEvent,
    encode_event,
)
from paygate_actors.messages import Caller, Fault, Refusal
from paygate_actors.notice_messages import (
    DeliveryPage,
    EndpointChange,
    FeedPage,
    NewEndpoint,
    WithSecret,
)
from paygate_actors.notice_post import NoticePost
from paygate_actors.outbox import (
    DELIVERY,
    DELIVERY_STATUSES,
    Delivery,
    DeliveryStatus,
    delivery_document,
    delivery_item,
    first_delivery,
    place_of,
    read_delivery,
)
from paygate_actors.url_checks import UrlChecks
from paygate_actors.vault import Vault
from paygate_actors.webhook_signing import SECRET_BYTES, secret_text
from paygate_engine.ids import Ids
from paygate_engine.stores.base import Document, Query, Unit

ID_MAX: Final = 64
US_PER_S: Final = 1_000_000
# One place after the other is read, and meanwhile a delivery may move: on from where it waits,
# which is looked at first, or back to there to be sent again, which is looked at once more.
_ALL_PLACES: Final = (*DELIVERY_STATUSES, DELIVERY_STATUSES[0])

Changed = Callable[[Endpoint], Awaitable[Endpoint]]

NO_ENDPOINT: Final = Refusal(code="endpoint_not_found", detail="No such webhook endpoint.")
NO_DELIVERY: Final = Refusal(code="delivery_not_found", detail="No such delivery.")
_FULL: Final = Refusal(
    code="endpoint_limit_reached",
    detail=f"There are {PER_MERCHANT_MAX} already: delete one, or pass events on.",
)


class NoticeOffice:
    """The `NoticeDesk` over store, journal and couriers. `overlap_s`: for old secrets."""

    def __init__(self, post: NoticePost, *, vault: Vault, book: DamageBook, overlap_s: int) -> None:
        self._post = post
        self._vault = vault
        self._book = book
        self._feed = EventFeed(post.store, book)
        self._overlap_us = overlap_s * US_PER_S
        self._urls = UrlChecks(post.sender)

    # ------------------------------------------------------------------ endpoints

    async def create(self, caller: Caller, wanted: NewEndpoint) -> WithSecret | Refusal:
        """Make an endpoint and its first secret."""
        if len(self._post.endpoints.of(caller.merchant)) >= PER_MERCHANT_MAX:
            return _FULL
        refused = await self._refuse(caller.merchant, wanted.url, wanted.events)
        if refused is not None:
            return refused
        now_us = self._now_us()
        endpoint_id = self._post.system.ids.new("we")
        text, sealed = self._new_secret(endpoint_id, caller.merchant)
        endpoint = Endpoint(
            id=endpoint_id,
            merchant=caller.merchant,
            url=wanted.url,
            events=wanted.events,
            description=wanted.description,
            created_at_us=now_us,
            updated_at_us=now_us,
            secrets=(sealed,),
        )
        added = await guarded(
            self._post.add(endpoint, who=f"key:{caller.key_id}", most=PER_MERCHANT_MAX)
        )
        if isinstance(added, Refusal):
            return added
        if not added:  # others were made while this one was looked at
            return _FULL
        return WithSecret(endpoint=endpoint, secret=text)

    def endpoints(self, caller: Caller) -> Sequence[Endpoint]:
        """The merchant's endpoints, newest first."""
        return self._post.endpoints.of(caller.merchant)

    def endpoint(self, caller: Caller, endpoint_id: str) -> Endpoint | Refusal:
        """One of them."""
        found = self._post.endpoints.get(endpoint_id)
        if found is None or caller.role not in ("merchant", "operator"):
            return NO_ENDPOINT
        if caller.role == "merchant" and found.merchant != caller.merchant:
            return NO_ENDPOINT
        return found

    async def change(
        self, caller: Caller, endpoint_id: str, wanted: EndpointChange
    ) -> Endpoint | Refusal:
        """Change what it is; to enable it sends what had to wait."""
        owned = self.endpoint(caller, endpoint_id)
        if isinstance(owned, Refusal):
            return owned
        refused = await self._refuse(
            owned.merchant,
            None if wanted.url is UNSET else wanted.url,
            () if wanted.events is UNSET else wanted.events,
        )
        if refused is not None:
            return refused

        async def changed(endpoint: Endpoint) -> Endpoint:
            return _changed(endpoint, wanted, now_us=self._now_us())

        done = await self._journalled(caller, endpoint_id, changed, what="change webhook endpoint")
        if isinstance(done, Endpoint):
            self._post.notices.wake(endpoint_id)
        return done

    async def delete(self, caller: Caller, endpoint_id: str) -> Endpoint | Refusal:
        """Send nothing there any more, and forget what waited."""
        owned = self.endpoint(caller, endpoint_id)
        if isinstance(owned, Refusal):
            return owned

        async def deleted(endpoint: Endpoint) -> Endpoint:
            return replace(endpoint, deleted=True, secrets=(), updated_at_us=self._now_us())

        done = await self._journalled(caller, endpoint_id, deleted, what="delete webhook endpoint")
        if isinstance(done, Endpoint):
            self._post.notices.wake(endpoint_id)
        return done

    async def rotate(self, caller: Caller, endpoint_id: str) -> WithSecret | Refusal:
        """Make a new secret; the older ones sign too for a while."""
        owned = self.endpoint(caller, endpoint_id)
        if isinstance(owned, Refusal):
            return owned
        text, sealed = self._new_secret(endpoint_id, owned.merchant)

        async def rotated(endpoint: Endpoint) -> Endpoint:
            now_us = self._now_us()
            ends_us = now_us + self._overlap_us
            older = tuple(
                replace(each, expires_at_us=min(each.expires_at_us or ends_us, ends_us))
                for each in endpoint.secrets
                if each.expires_at_us is None or now_us < each.expires_at_us
            )
            secrets = (sealed, *older)[:SECRETS_MAX]
            return replace(endpoint, secrets=secrets, updated_at_us=now_us)

        done = await self._journalled(caller, endpoint_id, rotated, what="rotate webhook secret")
        return WithSecret(endpoint=done, secret=text) if isinstance(done, Endpoint) else done

    # ------------------------------------------------------------------ deliveries

    async def test(self, caller: Caller, endpoint_id: str) -> Delivery | Refusal:
        """Send a test event to this endpoint alone; it is in no feed."""
        owned = self.endpoint(caller, endpoint_id)
        if isinstance(owned, Refusal):
            return owned
        if not owned.enabled:
            return Refusal(code="endpoint_disabled", detail="Enable the endpoint first.")
        event = MerchantEvent(
            id=self._post.system.ids.new("evt"),
            type=TEST,
            at_us=self._now_us(),
            livemode=self._post.livemode,
        )
        item, document = first_delivery(owned, event, encode_event(event))
        entry = self._post.entry(f"key:{caller.key_id}", "send test webhook", endpoint_id)
        unit = Unit(items=(item,), documents=(document,), audit=(entry,))
        refused = await guarded(self._committed(unit))
        if refused is not None:
            return refused
        self._post.notices.wake(endpoint_id)
        return read_delivery(document)

    async def deliveries(
        self,
        caller: Caller,
        endpoint_id: str,
        *,
        status: DeliveryStatus | None,
        cursor: str | None,
        limit: int,
    ) -> DeliveryPage | Refusal:
        """A page of what was sent there, is to be sent, or was given up; newest first."""
        owned = self.endpoint(caller, endpoint_id)
        if isinstance(owned, Refusal):
            return owned
        before = None if cursor is None else read_cursor(cursor)
        if cursor is not None and (before is None or not before.startswith("dlv_")):
            return replace(BAD_CURSOR, faults=(replace(BAD_CURSOR.faults[0], pointer="/cursor"),))
        newest: dict[str, Document] = {}
        for each in _ALL_PLACES if status is None else (status,):
            where = (("place", place_of(endpoint_id, each)),)
            query = Query(kind=DELIVERY, where=where, id_before=before, limit=limit + 1)
            newest |= {found.id: found for found in await self._post.store.query(query)}
        found = sorted(newest.values(), key=lambda document: document.id, reverse=True)
        shown = [self._sound(document) for document in found[:limit]]
        return DeliveryPage(
            items=tuple(each for each in shown if each is not None),
            next_cursor=cursor_text(found[limit - 1].id) if len(found) > limit else None,
        )

    async def replay(
        self, caller: Caller, endpoint_id: str, delivery_id: str
    ) -> Delivery | Refusal:
        """Send a delivery again that is delivered or dead, now and by the whole schedule."""
        owned = self.endpoint(caller, endpoint_id)
        if isinstance(owned, Refusal):
            return owned
        if not owned.enabled:
            return Refusal(code="endpoint_disabled", detail="Enable the endpoint first.")
        if len(delivery_id) > ID_MAX:
            return NO_DELIVERY
        document = await self._post.store.read_document(DELIVERY, delivery_id)
        delivery = None if document is None else self._sound(document)
        if delivery is None or delivery.endpoint_id != endpoint_id:
            return NO_DELIVERY
        if delivery.status == "pending":
            return Refusal(
                code="delivery_pending", detail="It is still being sent by its schedule."
            )
        now_us = self._now_us()
        again = replace(delivery, status="pending", failures=0, next_at_us=now_us)
        entry = self._post.entry(f"key:{caller.key_id}", f"replay {delivery_id}", endpoint_id)
        unit = Unit(
            items=(delivery_item(again, now_us),),
            documents=(delivery_document(again),),
            audit=(entry,),
        )
        refused = await guarded(self._committed(unit))
        if refused is not None:
            return refused
        self._post.notices.wake(endpoint_id)
        return again

    # ------------------------------------------------------------------ the feed

    async def feed(self, caller: Caller, *, after: str | None, limit: int) -> FeedPage | Refusal:
        """The merchant's events behind a cursor; None: from the oldest that is kept."""
        return await self._feed.page(caller.merchant, after=after, limit=limit)

    # ------------------------------------------------------------------ private

    async def _refuse(
        self, merchant: str, url: str | None, events: Sequence[str]
    ) -> Refusal | None:
        faults: list[Fault] = []
        known = {*EVENT_TYPES, *(f"{subject}.*" for subject in SUBJECTS)}
        for place, name in enumerate(events):
            if name not in known:
                detail = "must be the type of an event, or a subject and a star"
                faults.append(
                    Fault(pointer=f"/events/{place}", code="unknown_event", detail=detail)
                )
        why = None if url is None else await self._urls.check(merchant, url)
        if isinstance(why, Refusal):
            return why
        if why is not None:
            faults.append(Fault(pointer="/url", code="url_refused", detail=why))
        if not faults:
            return None
        detail = "One fault was found." if len(faults) == 1 else f"{len(faults)} faults were found."
        return Refusal(code="validation_failed", detail=detail, faults=tuple(faults))

    async def _journalled(
        self, caller: Caller, endpoint_id: str, changed: Changed, *, what: str
    ) -> Endpoint | Refusal:
        work = self._post.change(endpoint_id, changed, who=f"key:{caller.key_id}", what=what)
        return await guarded(work) or NO_ENDPOINT

    async def _committed(self, unit: Unit) -> Refusal | None:
        conflict = await self._post.journal.append_wait(unit)
        if conflict is None:
            return None
        return Refusal(code="delivery_pending", detail="Somebody else has sent it again just now.")

    def _new_secret(self, endpoint_id: str, merchant: str) -> tuple[str, SealedSecret]:
        text = secret_text(self._vault.new_secret(SECRET_BYTES))
        sealed = self._vault.seal_secret(text, owner=endpoint_id, merchant=merchant)
        return text, SealedSecret(sealed=sealed)

    def _sound(self, document: Document) -> Delivery | None:
        if document.sound:
            return read_delivery(document)
        self._book.note("documents", f"{document.kind} {document.id}")
        return None

    def _now_us(self) -> int:
        return self._post.system.clock.now_us()


def delivery_floor(at_us: int) -> str:
    """The id before which deliveries are older than a time."""
    return Ids.floor("dlv", max(0, at_us))


def _changed(endpoint: Endpoint, wanted: EndpointChange, *, now_us: int) -> Endpoint:
    disabled = endpoint.disabled
    if wanted.enabled is not UNSET:
        disabled = None if wanted.enabled else disabled or "by_merchant"
    return replace(
        endpoint,
        url=endpoint.url if wanted.url is UNSET else wanted.url,
        events=endpoint.events if wanted.events is UNSET else wanted.events,
        description=(endpoint.description if wanted.description is UNSET else wanted.description),
        disabled=disabled,
        updated_at_us=now_us,
    )
