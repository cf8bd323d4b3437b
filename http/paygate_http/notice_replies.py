"""What merchants read of their events, endpoints and deliveries, and the body of a webhook.

An event is spelt the same in the feed and in a webhook. Neither carries a billing address: who
needs it reads the payment, with a key.
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paygate_actors.endpoints import DisabledBecause, Endpoint
from paygate_actors.merchant_events import EventType, GivenUp, MerchantEvent
from paygate_actors.outbox import Delivery, DeliveryStatus
from paygate_actors.rfc3339 import time_text
from paygate_http import render
from paygate_http.replies import PaymentReply, Time, TransactionReply
from paygate_http.wire import encode, wire_name

# The specification's bound: receivers may refuse more.
BODY_BYTES_MAX = 20_000


class GivenUpReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """What is sent no more, where to, and why."""

    endpoint_id: str
    reason: str
    delivery_id: str | None
    event_id: str | None
    attempts: int


class NoticeDataReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """What the event is about, as it stood when it happened.

    `attention`: why a person should look. `truncated`: it was too long for a webhook, read the
    payment.
    """

    payment: PaymentReply | None
    transaction: TransactionReply | None
    attention: str | None
    given_up: GivenUpReply | None
    truncated: bool = False


class NoticeReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An event. `sequence` counts those of its payment from 1: no order of arrival is needed."""

    id: str
    type: EventType
    created_at: Time
    payment_id: str | None = None
    sequence: int | None
    livemode: bool
    data: NoticeDataReply


class FeedReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Events, oldest first, without a gap; `nextCursor` is where to go on, now or later."""

    data: list[NoticeReply]
    has_more: bool
    next_cursor: str


class WebhookEndpointReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An endpoint; `disabled` is why: its receiver answered 410 (`gone`), or by its merchant."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled: DisabledBecause | None
    created_at: Time
    updated_at: Time


class WebhookSecretReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An endpoint with its new secret, which is shown this once."""

    secret: str
    endpoint: WebhookEndpointReply

    def __repr__(self) -> str:
        return "<secret of an endpoint>"


class WebhookEndpointListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """All endpoints of the merchant, newest first."""

    data: list[WebhookEndpointReply]


class DeletedReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """It is gone."""

    id: str
    deleted: bool = True


class AttemptReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """One time that it was sent: the status of the answer, or in one word why there was none."""

    at: Time
    took_ms: int
    status: int | None
    error: str | None


class DeliveryReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """An event on its way to an endpoint; `nextAttemptAt` null: it is delivered or dead."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    created_at: Time
    next_attempt_at: Time | None
    attempts: list[AttemptReply]


class DeliveryListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Deliveries, newest first."""

    data: list[DeliveryReply]
    has_more: bool
    next_cursor: str | None


def notice(event: MerchantEvent) -> NoticeReply:
    """Show an event."""
    payment = None if event.payment is None else replace(event.payment, billing=None)
    return NoticeReply(
        id=event.id,
        type=event.type,
        created_at=time_text(event.at_us),
        payment_id=event.payment_id,
        sequence=event.sequence,
        livemode=event.livemode,
        data=NoticeDataReply(
            payment=None if payment is None else render.payment(payment),
            transaction=None
            if event.transaction is None
            else render.transaction(event.transaction),
            attention=event.attention,
            given_up=None if event.given_up is None else _given_up(event.given_up),
        ),
    )


def webhook_body(event: MerchantEvent) -> bytes:
    """Spell an event as the body of a webhook: the same bytes whenever it is asked."""
    shown = notice(event)
    body = encode(shown)
    if len(body) <= BODY_BYTES_MAX:
        return body
    empty: dict[str, Any] = {"payment": None, "transaction": None, "truncated": True}
    return encode(replace(shown, data=replace(shown.data, **empty)))


def endpoint_reply(endpoint: Endpoint) -> WebhookEndpointReply:
    """Show an endpoint, without its secrets."""
    return WebhookEndpointReply(
        id=endpoint.id,
        url=endpoint.url,
        events=list(endpoint.events),
        description=endpoint.description,
        enabled=endpoint.enabled,
        disabled=endpoint.disabled,
        created_at=time_text(endpoint.created_at_us),
        updated_at=time_text(endpoint.updated_at_us),
    )


def delivery_reply(delivery: Delivery) -> DeliveryReply:
    """Show a delivery."""
    due_us = delivery.next_at_us
    return DeliveryReply(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        status=delivery.status,
        created_at=time_text(delivery.created_at_us),
        next_attempt_at=None if due_us is None else time_text(due_us),
        attempts=[
            AttemptReply(
                at=time_text(each.at_us),
                took_ms=each.took_ms,
                status=each.status,
                error=each.error or None,
            )
            for each in delivery.attempts
        ],
    )


def _given_up(given_up: GivenUp) -> GivenUpReply:
    return GivenUpReply(
        endpoint_id=given_up.endpoint_id,
        reason=given_up.reason,
        delivery_id=given_up.delivery_id,
        event_id=given_up.event_id,
        attempts=given_up.attempts,
    )
