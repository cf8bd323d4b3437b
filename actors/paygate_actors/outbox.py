"""The outbox: what must be sent, written in the same commit as what it tells.

Each event goes into its merchant's feed, and for each endpoint that wants it there is a delivery:
a document that says how it stands, and an item in the endpoint's queue whose id begins with the
time at which it is due, so that a queue is read in the order of what comes next. An attempt that
failed is done and followed by an item with a later time, in one commit.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from paygate_actors.draft import Draft
from paygate_actors.endpoints import Endpoint, Endpoints, feed_of, queue_of
from paygate_actors.merchant_events import MerchantEvent, derived_id, encode_event, events_of
from paygate_engine.stores.base import Document, Item, Kind, Post

DELIVERY: Final = "delivery"
# Endpoint and state in one word: both lists, of all and of one state, walk an index of their own.
DELIVERY_KIND: Final = Kind(name=DELIVERY, facets=("place",))

DeliveryStatus = Literal["pending", "delivered", "dead"]
DELIVERY_STATUSES: Final[tuple[DeliveryStatus, ...]] = ("pending", "delivered", "dead")
# Behind every delivery's id.
DELIVERY_CEILING: Final = "dlv_~"

# Seconds before each attempt, counted from the one before: the schedule of Standard Webhooks.
SCHEDULE_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
# Up to a tenth more, so that what failed together does not come back together.
JITTER: Final = 0.1
# Whoever says "come back in a month" is asked once a day all the same.
RETRY_AFTER_S_MAX: Final = 86_400
# A replayed delivery may be tried another ten times; the newest attempts are those that matter.
ATTEMPTS_SHOWN: Final = 20

_TIME_DIGITS: Final = 17  # microseconds of the year 2112 have sixteen
US_PER_S: Final = 1_000_000


class Attempt(Struct, frozen=True, kw_only=True):
    """One time that it was sent: the status of the answer, or why there was none."""

    at_us: int
    took_ms: int
    status: int | None = None
    error: str = ""


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event on its way to one endpoint. `failures` count since it was made or replayed."""

    id: str
    endpoint_id: str
    merchant: str
    event_id: str
    event_type: str
    created_at_us: int
    event: msgspec.Raw
    status: DeliveryStatus = "pending"
    next_at_us: int | None = None
    failures: int = 0
    attempts: tuple[Attempt, ...] = ()


class Told(Struct, frozen=True, kw_only=True):
    """What a decision adds to feeds and outboxes; `endpoints` are to be woken once it is durable.

    `count` is how many events it tells.
    """

    count: int = 0
    posts: tuple[Post, ...] = ()
    items: tuple[Item, ...] = ()
    documents: tuple[Document, ...] = ()
    endpoints: tuple[str, ...] = ()


NOTHING: Final = Told()

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Delivery)


class Notices:
    """Turns decisions into what is told of them. `wake(endpoint_id)` is called after commits."""

    __slots__ = ("_wake", "endpoints")

    endpoints: Endpoints

    def __init__(
        self, endpoints: Endpoints | None = None, wake: Callable[[str], None] | None = None
    ) -> None:
        self.endpoints = endpoints or Endpoints()
        self._wake = wake

    def of(self, draft: Draft, told: int) -> Told:
        """What the decision tells, behind the `told` events of the payment before it."""
        events = tuple(events_of(draft, told))
        if not events:
            return NOTHING
        return self.of_events(draft.payment.created.merchant, events)

    def of_events(
        self, merchant: str, events: Sequence[MerchantEvent], *, but: str | None = None
    ) -> Told:
        """Posts for the merchant's feed, and deliveries to the endpoints that want the events.

        `but` is the endpoint that they are about: it is the last one that could be told.
        """
        feed = feed_of(merchant)
        posts: list[Post] = []
        made: list[tuple[Item, Document]] = []
        woken: dict[str, None] = {}
        for event in events:
            body = encode_event(event)
            posts.append(Post(feed=feed, at_us=event.at_us, body=body))
            for endpoint in self.endpoints.wanting(merchant, event.type):
                if endpoint.id == but:
                    continue
                made.append(first_delivery(endpoint, event, body))
                woken[endpoint.id] = None
        return Told(
            count=len(events),
            posts=tuple(posts),
            items=tuple(item for item, _ in made),
            documents=tuple(document for _, document in made),
            endpoints=tuple(woken),
        )

    def of_feed(self, merchant: str, event: MerchantEvent) -> Told:
        """A post for the merchant's feed alone."""
        body = encode_event(event)
        return Told(count=1, posts=(Post(feed=feed_of(merchant), at_us=event.at_us, body=body),))

    def committed(self, told: Told) -> None:
        """It is durable: those who send it may look."""
        for endpoint_id in told.endpoints:
            self.wake(endpoint_id)

    def wake(self, endpoint_id: str) -> None:
        """Have the endpoint's queue looked at."""
        if self._wake is not None:
            self._wake(endpoint_id)


def first_delivery(endpoint: Endpoint, event: MerchantEvent, body: bytes) -> tuple[Item, Document]:
    """A new delivery, due at once; `body` is the event encoded."""
    delivery = Delivery(
        id=derived_id("dlv", f"{event.id}/{endpoint.id}", at_us=event.at_us),
        endpoint_id=endpoint.id,
        merchant=endpoint.merchant,
        event_id=event.id,
        event_type=event.type,
        created_at_us=event.at_us,
        event=msgspec.Raw(body),
        next_at_us=event.at_us,
    )
    return delivery_item(delivery, event.at_us), delivery_document(delivery)


def delivery_item(delivery: Delivery, due_us: int) -> Item:
    """The item that has a delivery made at `due_us` or as soon after it as can be."""
    return Item(
        queue=queue_of(delivery.endpoint_id),
        id=f"{due_us:0{_TIME_DIGITS}}-{delivery.id}",
        key=delivery.id,
        at_us=due_us,
        body=b"",
    )


def delivery_document(delivery: Delivery) -> Document:
    """The delivery as it is stored."""
    return Document(
        kind=DELIVERY,
        id=delivery.id,
        scope=delivery.merchant,
        facets=(place_of(delivery.endpoint_id, delivery.status),),
        body=_encode(delivery),
    )


def place_of(endpoint_id: str, status: DeliveryStatus) -> str:
    """The facet of an endpoint's deliveries in a state."""
    return f"{status} {endpoint_id}"


def read_delivery(document: Document) -> Delivery:
    """The delivery in its document."""
    return _decoder.decode(document.body)


def delay_s(failures: int, *, retry_after_s: int | None, random: float) -> float | None:
    """Seconds until the next attempt after so many failures; None: there is none.

    `random` is between 0 and 1. A receiver that says when to come back is not asked before.
    """
    if failures >= len(SCHEDULE_S):
        return None
    wanted = min(retry_after_s or 0, RETRY_AFTER_S_MAX)
    return max(SCHEDULE_S[failures] * (1 + JITTER * random), wanted)
