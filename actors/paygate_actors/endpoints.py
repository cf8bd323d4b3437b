"""Where merchants want to be told: their webhook endpoints, as stored and as kept at hand.

A payment that is about to commit must know at once who is to be told of it, so all endpoints are
held in memory; there are few of them. Secrets lie sealed in the store and here.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from msgspec import Struct

from paygate_actors.merchant_events import TEST, WEBHOOK_SUBJECTS
from paygate_engine.stores.base import PAGE_MAX, Document, Kind, Query, Store

ENDPOINT: Final = "webhook_endpoint"
# Behind every endpoint's id.
ENDPOINT_CEILING: Final = "we_~"
ENDPOINT_KIND: Final = Kind(name=ENDPOINT, facets=("state",))
FEED: Final = "merchant"
_LEAVING: Final = "leaving"
# The facet of those that nothing is left of but their row.
CLEARED: Final = "deleted"

# More would only multiply every event; who needs to tell more systems has one of them pass it on.
PER_MERCHANT_MAX: Final = 16
# The newest, and older ones while they are rotated out: each adds a signature of 50 bytes.
SECRETS_MAX: Final = 4

DisabledBecause = Literal["by_merchant", "gone"]


class SealedSecret(Struct, frozen=True, kw_only=True):
    """A signing secret under the vault's key; it signs until `expires_at_us` (None: for good)."""

    sealed: bytes
    expires_at_us: int | None = None

    def __repr__(self) -> str:
        return "<sealed secret>"


class Endpoint(Struct, frozen=True, kw_only=True):
    """A receiver of one merchant. `events` are names or `subject.*`; none: all about payments.

    `secrets` are the newest first. `deleted`: it is nobody's any more; its queue is emptied, and
    once it is `cleared` its row is forgotten.
    """

    id: str
    merchant: str
    url: str
    created_at_us: int
    updated_at_us: int
    secrets: tuple[SealedSecret, ...]
    events: tuple[str, ...] = ()
    description: str = ""
    disabled: DisabledBecause | None = None
    deleted: bool = False
    cleared: bool = False

    @property
    def enabled(self) -> bool:
        """Whether it is sent anything."""
        return self.disabled is None and not self.deleted

    def wants(self, event_type: str) -> bool:
        """Whether its filter lets an event of this type through.

        News of webhooks are for those who name them: a payment whose receivers are all broken
        would be told to all of them once more for each that is given up.
        """
        subject = event_type.partition(".")[0]
        if event_type == TEST:
            return True
        if not self.events:
            return subject not in WEBHOOK_SUBJECTS
        return event_type in self.events or f"{subject}.*" in self.events

    def valid_secrets(self, now_us: int) -> tuple[bytes, ...]:
        """The sealed secrets that sign now, the newest first."""
        return tuple(
            each.sealed
            for each in self.secrets
            if each.expires_at_us is None or now_us < each.expires_at_us
        )


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Endpoint)


def endpoint_document(endpoint: Endpoint) -> Document:
    """The endpoint as it is stored."""
    state = "kept"
    if endpoint.deleted:
        state = CLEARED if endpoint.cleared else _LEAVING
    return Document(
        kind=ENDPOINT,
        id=endpoint.id,
        scope=endpoint.merchant,
        facets=(state,),
        body=_encode(endpoint),
    )


def read_endpoint(document: Document) -> Endpoint:
    """The endpoint in its document."""
    return _decoder.decode(document.body)


def feed_of(merchant: str) -> str:
    """The name of the merchant's feed."""
    return f"{FEED}/{merchant}"


def queue_of(endpoint_id: str) -> str:
    """The name of the queue of what an endpoint is still to be sent."""
    return f"outbox/{endpoint_id}"


class Endpoints:
    """All endpoints that are not deleted, by merchant and by id."""

    __slots__ = ("_by_id", "_of")

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._by_id: dict[str, Endpoint] = {}
        self._of: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            self.put(endpoint)

    def put(self, endpoint: Endpoint) -> None:
        """Take the newest state of an endpoint, which is committed."""
        self._by_id.pop(endpoint.id, None)
        own = self._of.setdefault(endpoint.merchant, {})
        own.pop(endpoint.id, None)
        if not endpoint.deleted:
            self._by_id[endpoint.id] = own[endpoint.id] = endpoint
        elif not own:
            del self._of[endpoint.merchant]

    def get(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint of this id."""
        return self._by_id.get(endpoint_id)

    def of(self, merchant: str) -> tuple[Endpoint, ...]:
        """A merchant's endpoints, the newest first."""
        own = self._of.get(merchant, {})
        return tuple(sorted(own.values(), key=lambda each: each.id, reverse=True))

    def wanting(self, merchant: str, event_type: str) -> tuple[Endpoint, ...]:
        """The merchant's endpoints that are to be sent an event of this type."""
        own = self._of.get(merchant)
        if not own:
            return ()
        return tuple(each for each in own.values() if each.enabled and each.wants(event_type))

    def all(self) -> tuple[Endpoint, ...]:
        """Everybody's endpoints."""
        return tuple(self._by_id.values())

    async def load(self, store: Store) -> tuple[str, ...]:
        """Read all of them in, anew; the ids of rows that are damaged.

        Of a damaged row nothing is known, or what was known before.
        """
        found = await _all(store, "kept")
        damaged = tuple(document.id for document in found if not document.sound)
        known = [endpoint for endpoint in map(self._by_id.get, damaged) if endpoint is not None]
        self._by_id, self._of = {}, {}
        for document in found:
            if document.sound:
                self.put(read_endpoint(document))
        for endpoint in known:
            self.put(endpoint)
        return damaged

    async def refresh(self, store: Store, endpoint_id: str) -> Endpoint | None:
        """Read one of them anew; None for one that is deleted, or never was."""
        document = await store.read_document(ENDPOINT, endpoint_id)
        if document is not None and document.sound:
            self.put(read_endpoint(document))
        return self._by_id.get(endpoint_id)


async def leaving(store: Store) -> tuple[str, ...]:
    """The ids of endpoints that were deleted, and whose queues may still hold something."""
    return tuple(document.id for document in await _all(store, _LEAVING))


async def _all(store: Store, state: str) -> list[Document]:
    found: list[Document] = []
    before: str | None = None
    while True:
        query = Query(kind=ENDPOINT, where=(("state", state),), id_before=before, limit=PAGE_MAX)
        page = await store.query(query)
        found += page
        if len(page) < PAGE_MAX:
            return found
        before = page[-1].id
