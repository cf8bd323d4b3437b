"""What the doors may ask about webhooks to merchants and their feed, and what they hear."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import UNSET, Struct, UnsetType

from paygate_actors.endpoints import Endpoint
from paygate_actors.merchant_events import MerchantEvent
from paygate_actors.messages import Caller, Refusal
from paygate_actors.outbox import Delivery, DeliveryStatus


class NewEndpoint(Struct, frozen=True, kw_only=True):
    """What a merchant wants: where to, which events (none: all), and what it is for."""

    url: str
    events: tuple[str, ...] = ()
    description: str = ""


class EndpointChange(Struct, frozen=True, kw_only=True):
    """What is to be other; what is left out stays."""

    url: str | UnsetType = UNSET
    events: tuple[str, ...] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class WithSecret(Struct, frozen=True, kw_only=True):
    """An endpoint and its new secret, which is shown this once."""

    endpoint: Endpoint
    secret: str

    def __repr__(self) -> str:
        return f"<{self.endpoint.id} with its secret>"


class DeliveryPage(Struct, frozen=True, kw_only=True):
    """Deliveries, newest first; `next_cursor` None: that was all."""

    items: tuple[Delivery, ...]
    next_cursor: str | None


class FeedPage(Struct, frozen=True, kw_only=True):
    """Events in the order of their commits; `next_cursor` is where to go on, now or later."""

    items: tuple[MerchantEvent, ...]
    has_more: bool
    next_cursor: str


class NoticeDesk(Protocol):
    """Endpoints, deliveries and the feed of one merchant. Nothing raises for what callers do."""

    async def create(self, caller: Caller, wanted: NewEndpoint) -> WithSecret | Refusal:
        """Make an endpoint and its first secret."""
        ...

    def endpoints(self, caller: Caller) -> Sequence[Endpoint]:
        """The merchant's endpoints, newest first; there are a few of them."""
        ...

    def endpoint(self, caller: Caller, endpoint_id: str) -> Endpoint | Refusal:
        """One of them."""
        ...

    async def change(
        self, caller: Caller, endpoint_id: str, wanted: EndpointChange
    ) -> Endpoint | Refusal:
        """Change what it is; to enable it sends what had to wait."""
        ...

    async def delete(self, caller: Caller, endpoint_id: str) -> Endpoint | Refusal:
        """Send nothing there any more, and forget what waited."""
        ...

    async def rotate(self, caller: Caller, endpoint_id: str) -> WithSecret | Refusal:
        """Make a new secret; the older ones sign too for a while."""
        ...

    async def test(self, caller: Caller, endpoint_id: str) -> Delivery | Refusal:
        """Send a test event to this endpoint alone."""
        ...

    async def deliveries(
        self,
        caller: Caller,
        endpoint_id: str,
        *,
        status: DeliveryStatus | None,
        cursor: str | None,
        limit: int,
    ) -> DeliveryPage | Refusal:
        """What was sent there, is to be sent, or was given up."""
        ...

    async def replay(
        self, caller: Caller, endpoint_id: str, delivery_id: str
    ) -> Delivery | Refusal:
        """Send a delivery again that is delivered or dead, now and by the whole schedule."""
        ...

    async def feed(self, caller: Caller, *, after: str | None, limit: int) -> FeedPage | Refusal:
        """The merchant's events behind a cursor; None: from the oldest that is kept."""
        ...
