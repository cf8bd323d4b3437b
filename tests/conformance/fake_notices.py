"""Webhooks to merchants as the edge's tests need them: one endpoint of merchant A, one delivery."""

from collections.abc import Sequence
from typing import Any

import msgspec

from paygate_actors.endpoints import Endpoint
from paygate_actors.merchant_events import MerchantEvent, encode_event
from paygate_actors.messages import Caller, Refusal
from paygate_actors.notice_messages import (
    DeliveryPage,
    EndpointChange,
    FeedPage,
    NewEndpoint,
    WithSecret,
)
from paygate_actors.outbox import Attempt, Delivery, DeliveryStatus
from paygate_engine.clock import Clock

NO_ENDPOINT = Refusal(code="endpoint_not_found", detail="No such webhook endpoint.")
SECRET = "whsec_c2hvd24gdGhpcyBvbmNl"


class FakeNotices:
    """Keeps what it was asked for, and refuses when told to."""

    def __init__(self, clock: Clock) -> None:
        now_us = clock.now_us()
        self.asked: list[Any] = []
        self.refusal: Refusal | None = None
        self.kept = Endpoint(
            id="we_1",
            merchant="merchant_a",
            url="https://shop.example/hook",
            created_at_us=now_us,
            updated_at_us=now_us,
            secrets=(),
            events=("payment.*",),
        )
        self.event = MerchantEvent(
            id="evt_1", type="attention.raised", at_us=now_us, livemode=False
        )
        self.sent = Delivery(
            id="dlv_1",
            endpoint_id="we_1",
            merchant="merchant_a",
            event_id="evt_1",
            event_type="attention.raised",
            created_at_us=now_us,
            event=msgspec.Raw(encode_event(self.event)),
            attempts=(Attempt(at_us=now_us, took_ms=12, status=500),),
        )

    def _owned(self, caller: Caller, endpoint_id: str) -> Refusal | None:
        sees = caller.role == "operator" or caller.merchant == self.kept.merchant
        return self.refusal if sees and endpoint_id == self.kept.id else NO_ENDPOINT

    async def create(self, caller: Caller, wanted: NewEndpoint) -> WithSecret | Refusal:
        """Give the one endpoint."""
        self.asked.append(wanted)
        return self.refusal or WithSecret(endpoint=self.kept, secret=SECRET)

    def endpoints(self, caller: Caller) -> Sequence[Endpoint]:
        """The merchant's."""
        return (self.kept,) if caller.merchant == self.kept.merchant else ()

    def endpoint(self, caller: Caller, endpoint_id: str) -> Endpoint | Refusal:
        """The one."""
        return self._owned(caller, endpoint_id) or self.kept

    async def change(
        self, caller: Caller, endpoint_id: str, wanted: EndpointChange
    ) -> Endpoint | Refusal:
        """Change nothing."""
        self.asked.append(wanted)
        return self._owned(caller, endpoint_id) or self.kept

    async def delete(self, caller: Caller, endpoint_id: str) -> Endpoint | Refusal:
        """Delete nothing."""
        return self._owned(caller, endpoint_id) or self.kept

    async def rotate(self, caller: Caller, endpoint_id: str) -> WithSecret | Refusal:
        """Give the secret."""
        refused = self._owned(caller, endpoint_id)
        return refused or WithSecret(endpoint=self.kept, secret=SECRET)

    async def test(self, caller: Caller, endpoint_id: str) -> Delivery | Refusal:
        """Give the delivery."""
        return self._owned(caller, endpoint_id) or self.sent

    async def deliveries(
        self,
        caller: Caller,
        endpoint_id: str,
        *,
        status: DeliveryStatus | None,
        cursor: str | None,
        limit: int,
    ) -> DeliveryPage | Refusal:
        """Give the delivery, and more to come."""
        self.asked.append((status, cursor, limit))
        refused = self._owned(caller, endpoint_id)
        return refused or DeliveryPage(items=(self.sent,), next_cursor="next")

    async def replay(
        self, caller: Caller, endpoint_id: str, delivery_id: str
    ) -> Delivery | Refusal:
        """Give the delivery."""
        self.asked.append(delivery_id)
        return self._owned(caller, endpoint_id) or self.sent

    async def feed(self, caller: Caller, *, after: str | None, limit: int) -> FeedPage | Refusal:
        """Give the event."""
        self.asked.append((after, limit))
        return self.refusal or FeedPage(items=(self.event,), has_more=False, next_cursor="next")
