"""What all couriers share: store, journal, the way out, who may send how much, and what was done.

A journalled change of an endpoint passes through `change`, one at a time, so that a receiver's 410
and its merchant's own change never write over each other.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from paygate_actors.among import Among
from paygate_actors.endpoints import Endpoint, Endpoints, endpoint_document
from paygate_actors.merchant_events import WEBHOOK_SUBJECTS, GivenUp, MerchantEvent
from paygate_actors.notice_sender import Sender
from paygate_actors.outbox import Delivery, Notices, Told
from paygate_actors.vault import Vault
from paygate_actors.webhook_signing import secret_bytes, signed_headers
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Store, Unit
from paygate_engine.system import ActorSystem

# Sends at a time, over all endpoints: each is a socket and some kilobytes.
WELL_MAX: Final = 192
# Of endpoints whose last attempt failed, and of those that never answered yet; however many hang,
# those that are well lose no place.
ILL_MAX: Final = 64
# Of one merchant, also to endpoints that it has deleted since: one for each that it may have.
MERCHANT_SENDS_MAX: Final = 16

_NONE: Final[AbstractSet[str]] = frozenset()

BodyOf = Callable[[MerchantEvent], bytes]


class NoticePost:
    """The couriers' house. `body_of` spells an event as receivers are to read it."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        store: Store,
        journal: Journal,
        notices: Notices,
        sender: Sender,
        vault: Vault,
        body_of: BodyOf,
        livemode: bool,
        nodes: Among,
    ) -> None:
        self.system = system
        self.store = store
        self.journal = journal
        self.notices = notices
        self.sender = sender
        self.body_of = body_of
        self.livemode = livemode
        self.nodes = nodes
        self.closing = False
        self.counts: Counter[str] = Counter()
        """Attempts by how they ended; what is dead; endpoints that receivers switched off."""
        # Known here, by endpoint, so that no courier's end loses it.
        self._under_way: dict[str, set[str]] = {}
        self.settled = asyncio.Event()
        """Set while nothing is being sent."""
        self.settled.set()
        self._vault = vault
        self._changing = asyncio.Lock()
        self._well = asyncio.Semaphore(WELL_MAX)
        self._ill = asyncio.Semaphore(ILL_MAX)
        # One lives as long as somebody holds a place of it or waits for one.
        self._merchants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @property
    def endpoints(self) -> Endpoints:
        """All endpoints."""
        return self.notices.endpoints

    @asynccontextmanager
    async def place(self, merchant: str, *, well: bool) -> AsyncGenerator[None]:
        """Hold one of the merchant's places, and one of those that are well, or that are not."""
        own = self._merchants.get(merchant)
        if own is None:
            own = self._merchants[merchant] = asyncio.Semaphore(MERCHANT_SENDS_MAX)
        async with own, self._well if well else self._ill:
            yield

    def began(self, endpoint_id: str, item_id: str) -> None:
        """An item of the endpoint's queue is being sent."""
        self._under_way.setdefault(endpoint_id, set()).add(item_id)
        self.settled.clear()

    def ended(self, endpoint_id: str, item_id: str) -> None:
        """It is concluded, or was cut off."""
        items = self._under_way[endpoint_id]
        items.discard(item_id)
        if not items:
            del self._under_way[endpoint_id]
        if not self._under_way:
            self.settled.set()

    def under_way(self, endpoint_id: str) -> AbstractSet[str]:
        """The items of the endpoint's queue that are being sent now."""
        return self._under_way.get(endpoint_id, _NONE)

    def sending(self) -> int:
        """How many items are being sent, to all endpoints."""
        return sum(map(len, self._under_way.values()))

    def headers(
        self, endpoint: Endpoint, message_id: str, body: bytes, *, now_us: int
    ) -> dict[str, str]:
        """Sign a message with all secrets that are valid now. Raises `SealBroken`, `KeyMissing`."""
        secrets = [
            secret_bytes(
                self._vault.open_secret(sealed, owner=endpoint.id, merchant=endpoint.merchant)
            )
            for sealed in endpoint.valid_secrets(now_us)
        ]
        return dict(signed_headers(message_id, body, at_s=now_us // 1_000_000, secrets=secrets))

    async def change(
        self,
        endpoint_id: str,
        changed: Callable[[Endpoint], Awaitable[Endpoint | None]],
        *,
        who: str,
        what: str,
        extra: Callable[[Endpoint], Unit] | None = None,
    ) -> Endpoint | None:
        """Change an endpoint durably, with what `extra` adds to the commit.

        None: it is gone, or `changed` says that nothing is to be done. Raises what the journal
        raises, and what `changed` does.
        """
        async with self._changing, self.nodes.turn(f"endpoint {endpoint_id}"):
            endpoint = await self.endpoints.refresh(self.store, endpoint_id)
            after = None if endpoint is None else await changed(endpoint)
            if after is None:
                return None
            unit = Unit() if extra is None else extra(after)
            await self.journal.append_wait(
                Unit(
                    documents=(endpoint_document(after), *unit.documents),
                    items=unit.items,
                    done=unit.done,
                    posts=unit.posts,
                    audit=(self.entry(who, what, endpoint_id),),
                )
            )
            self.endpoints.put(after)
            return after

    async def add(self, endpoint: Endpoint, *, who: str, most: int) -> bool:
        """Store a new endpoint; False, and nothing, where its merchant has `most` already."""
        async with self._changing:
            if len(self.endpoints.of(endpoint.merchant)) >= most:
                return False
            await self.journal.append_wait(
                Unit(
                    documents=(endpoint_document(endpoint),),
                    audit=(self.entry(who, "create webhook endpoint", endpoint.id),),
                )
            )
            self.endpoints.put(endpoint)
            return True

    def entry(self, who: str, what: str, endpoint_id: str) -> AuditEntry:
        """Who did what to an endpoint, for the audit."""
        return AuditEntry(at_us=self.system.clock.now_us(), who=who, what=what, stream=endpoint_id)

    def told_of(self, delivery: Delivery, reason: str, *, disabled: bool) -> Told:
        """What its merchant is told of a delivery that is given up, or of its endpoint's end.

        Other endpoints are told too where they ask for it by name, but not of news that was itself
        of this kind: two broken receivers would be told of each other for ever.
        """
        event = MerchantEvent(
            id=self.system.ids.new("evt"),
            type="webhook_endpoint.disabled" if disabled else "webhook.given_up",
            at_us=self.system.clock.now_us(),
            livemode=self.livemode,
            given_up=GivenUp(
                endpoint_id=delivery.endpoint_id,
                reason=reason,
                delivery_id=delivery.id,
                event_id=delivery.event_id,
                attempts=len(delivery.attempts),
            ),
        )
        if delivery.event_type.partition(".")[0] in WEBHOOK_SUBJECTS:
            return self.notices.of_feed(delivery.merchant, event)
        return self.notices.of_events(delivery.merchant, (event,), but=delivery.endpoint_id)
