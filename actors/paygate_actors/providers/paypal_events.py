"""PayPal's events as the gateway's: what a webhook, or an entry of the list of events, reports.

Of the many types those are read that say what became of money; the others keep their own name and
move nothing. What a capture says carries the order's id; a refund and a dispute carry our key at
most, as PayPal has it.
"""

import re
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from paygate_actors.money import Money
from paygate_actors.outcomes import Unknown
from paygate_actors.providers.base import BodyInvalid, EventPage, ProviderEvent
from paygate_actors.providers.http_client import Answered
from paygate_actors.providers.intelligible import Unintelligible
from paygate_actors.providers.paypal_amounts import NotRepresentable
from paygate_actors.providers.paypal_answers import found
from paygate_actors.providers.paypal_bodies import CANCELLED
from paygate_actors.providers.paypal_reading import processor_declined
from paygate_actors.providers.paypal_session import Reply
from paygate_actors.providers.paypal_wire import (
    Amount,
    Dispute,
    Event,
    Link,
    Payment,
    RawPage,
    Refund,
    decode_dispute,
    decode_event,
    decode_order,
    decode_page,
    decode_payment,
    decode_refund,
    time_us,
)
from paygate_actors.rfc3339 import time_text

EVENTS_PATH: Final = "/v1/notifications/webhooks-events"
EVENTS_MAX: Final = 100
PAYER_DONE: Final = "payment.payer_done"
"""The payer said yes at PayPal; the money moves when the charge is made again."""

_OK: Final = 200

_PAYMENT_TYPES: Final = {
    "PAYMENT.AUTHORIZATION.CREATED": "payment.authorized",
    # Nobody says whether it was voided, lapsed, or was the rest of what was captured in part.
    "PAYMENT.AUTHORIZATION.VOIDED": "payment.expired",
    "PAYMENT.AUTHORIZATION.DENIED": "payment.failed",
    "PAYMENT.CAPTURE.COMPLETED": "payment.succeeded",
    "PAYMENT.CAPTURE.DECLINED": "payment.failed",
    "PAYMENT.CAPTURE.DENIED": "payment.failed",
}
# A hold that PayPal looks at first is told of as created, and is none yet.
_PENDING: Final = "PENDING"
_REFUND_TYPES: Final = frozenset(
    {"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "PAYMENT.REFUND.FAILED"}
)
_REFUND_STATUS: Final = {
    "COMPLETED": "refund.succeeded",
    "FAILED": "refund.failed",
    "CANCELLED": "refund.failed",
}
_DISPUTE_TYPES: Final = frozenset(
    {"CUSTOMER.DISPUTE.CREATED", "CUSTOMER.DISPUTE.UPDATED", "CUSTOMER.DISPUTE.RESOLVED"}
)
# A payer who only asks takes no money; one who escalates it does.
_INQUIRY: Final = "INQUIRY"
_RESOLVED: Final = "RESOLVED"
_WON: Final = {
    "RESOLVED_BUYER_FAVOUR": False,
    "ACCEPTED": False,
    "RESOLVED_SELLER_FAVOUR": True,
    # PayPal paid the buyer itself, and the seller keeps the money.
    "RESOLVED_WITH_PAYOUT": True,
    "CANCELED_BY_BUYER": True,
}
_QUERY = re.compile(r"[A-Za-z0-9_.~%&=:+-]{1,1000}")


def read_event(body: bytes) -> ProviderEvent:
    """Read a verified event. Raises `BodyInvalid`."""
    try:
        return _read(decode_event(body))
    except (ValueError, RecursionError, NotRepresentable, Unintelligible) as error:
        # The name alone: the text of a decoding error may quote what came.
        raise BodyInvalid(f"the event cannot be read: {type(error).__name__}") from error


def page_path(since_us: int, cursor: str | None) -> str:
    """Where a page of events is; PayPal keeps them for 30 days."""
    if cursor is not None and _QUERY.fullmatch(cursor):
        return f"{EVENTS_PATH}?{cursor}"
    query = {"page_size": str(EVENTS_MAX), "start_time": time_text(since_us)}
    return f"{EVENTS_PATH}?{urlencode(query)}"


def read_page(reply: Reply) -> EventPage | Unknown:
    """Read a page of events; those that cannot be read are counted, never guessed."""
    if not isinstance(reply, Answered) or reply.status != _OK:
        outcome = found(reply, _nothing)
        return outcome if isinstance(outcome, Unknown) else Unknown(reason="garbage")
    try:
        page = decode_page(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unknown(reason="garbage", detail=type(error).__name__)
    events = _events(page)
    return EventPage(
        events=events,
        next_cursor=_cursor(page.links),
        unreadable=len(page.events) - len(events),
    )


def _read(event: Event) -> ProviderEvent:
    if event.event_type in _PAYMENT_TYPES:
        return _of_payment(event, decode_payment(event.resource))
    if event.event_type in _REFUND_TYPES:
        return _of_refund(event, decode_refund(event.resource))
    if event.event_type in _DISPUTE_TYPES:
        return _of_dispute(event, decode_dispute(event.resource))
    if event.event_type == "CHECKOUT.ORDER.APPROVED":
        order = decode_order(event.resource)
        named = order.purchase_units[0].custom_id if order.purchase_units else None
        return _event(event, PAYER_DONE, order.id, reference=named)
    return _event(event, event.event_type, "")


def _of_payment(event: Event, payment: Payment) -> ProviderEvent:
    event_type = _PAYMENT_TYPES[event.event_type]
    if payment.status == _PENDING:
        event_type = event.event_type
    order_id = payment.order_id or payment.id
    why = processor_declined(payment, order_id) if event_type == "payment.failed" else None
    # What was captured of a hold has the capture's key as its invoice.
    reference = payment.custom_id
    if event_type == "payment.succeeded":
        reference = payment.invoice_id or payment.custom_id
    said = _event(
        event,
        event_type,
        order_id,
        reference=reference,
        amount=payment.amount,
        reason=why.code if why is not None else None,
        retryable=why is not None and why.retryable,
    )
    network = payment.network_transaction_reference
    if network is None or event_type not in ("payment.succeeded", "payment.authorized"):
        return said
    return msgspec.structs.replace(said, network_txn_id=network.id)


def _of_refund(event: Event, refund: Refund) -> ProviderEvent:
    return _event(
        event,
        _REFUND_STATUS.get(refund.status, event.event_type),
        refund.id,
        reference=refund.custom_id or refund.invoice_id,
        amount=refund.amount,
        reason=refund.status if refund.status in ("FAILED", "CANCELLED") else None,
    )


def _of_dispute(event: Event, dispute: Dispute) -> ProviderEvent:
    resolved = event.event_type.endswith(_RESOLVED) or dispute.status == _RESOLVED
    outcome = dispute.dispute_outcome.outcome_code if dispute.dispute_outcome else None
    won = _WON.get(outcome or "")
    if resolved and dispute.dispute_life_cycle_stage == _INQUIRY and won is not False:
        # It was asked and answered, and no money went anywhere.
        event_type = event.event_type
    elif resolved:
        event_type = "dispute.closed"
    elif dispute.dispute_life_cycle_stage in (None, _INQUIRY):
        event_type = event.event_type
    else:
        event_type = "dispute.opened"
    named = [each.custom for each in dispute.disputed_transactions if each.custom]
    return _event(
        event,
        event_type,
        dispute.dispute_id,
        reference=named[0] if named else None,
        amount=dispute.dispute_amount,
        dispute_won=won if event_type == "dispute.closed" else None,
        reason=dispute.reason,
    )


def _event(
    event: Event,
    event_type: str,
    provider_txn_id: str,
    *,
    reference: str | None = None,
    amount: Amount | None = None,
    dispute_won: bool | None = None,
    reason: str | None = None,
    retryable: bool = False,
) -> ProviderEvent:
    money: Money | None = amount.money if amount is not None else None
    return ProviderEvent(
        event_id=event.id,
        event_type=event_type,
        provider_txn_id=provider_txn_id,
        reference=reference.removesuffix(CANCELLED) if reference else None,
        amount=money,
        dispute_won=dispute_won,
        reason=reason,
        retryable=retryable,
        at_us=time_us(event.create_time),
    )


def _events(page: RawPage) -> tuple[ProviderEvent, ...]:
    events: list[ProviderEvent] = []
    for raw in page.events:
        try:
            events.append(read_event(bytes(raw)))
        except BodyInvalid:
            continue  # counted by the caller
    return tuple(events)


def _cursor(links: tuple[Link, ...]) -> str | None:
    # The query alone is taken: whoever writes links does not say where our token is sent.
    href = next((each.href for each in links if each.rel == "next"), None)
    query = urlsplit(href).query if href is not None else ""
    return query if _QUERY.fullmatch(query) else None


def _nothing(_body: bytes) -> Unknown:
    raise Unintelligible
