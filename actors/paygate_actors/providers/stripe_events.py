"""Stripe's events as the gateway's: what a webhook, or an entry of the list of events, reports.

Of the hundreds of types those are read that say what became of money; the others keep their own
name and move nothing. One refund is told of by several events: each names the refund's own id.
"""

from typing import Final

import msgspec

from paygate_actors.decline_codes import DeclineCode
from paygate_actors.money import Money
from paygate_actors.providers.base import AnotherAccount, BodyInvalid, ProviderEvent
from paygate_actors.providers.stripe_amounts import NotRepresentable, from_stripe
from paygate_actors.providers.stripe_codes import decline_of
from paygate_actors.providers.stripe_reading import capture_key_of, key_of
from paygate_actors.providers.stripe_wire import (
    REFERENCE,
    Event,
    Intent,
    Refund,
    decode_charge,
    decode_dispute,
    decode_event,
    decode_intent,
    decode_refund,
)

_US_PER_S: Final = 1_000_000

_INTENT_TYPES: Final = {
    "payment_intent.succeeded": "payment.succeeded",
    "payment_intent.amount_capturable_updated": "payment.authorized",
    "payment_intent.payment_failed": "payment.failed",
    "payment_intent.canceled": "payment.cancelled",
}
_REFUND_TYPES: Final = frozenset(
    {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}
)
# An inquiry that becomes a dispute is told of by the second alone.
_DISPUTE_OPENED: Final = frozenset({"charge.dispute.created", "charge.dispute.funds_withdrawn"})
_REFUND_STATUS: Final = {
    "succeeded": "refund.succeeded",
    "failed": "refund.failed",
    "canceled": "refund.failed",
}
_DISPUTE_OPEN_STATUS: Final = frozenset({"needs_response", "under_review"})
_DISPUTE_WON: Final = {"won": True, "lost": False}


def read_event(body: bytes, *, livemode: bool, account: str | None) -> ProviderEvent:
    """Read a verified event of this account. Raises `BodyInvalid`."""
    try:
        event = decode_event(body)
        if event.livemode != livemode:
            raise BodyInvalid("the event is of the other mode (live or test)")
        if event.account != account:
            raise AnotherAccount("the event is another account's")
        return _read(event)
    except (ValueError, RecursionError) as error:
        # The name alone: the text of a decoding error may quote what came.
        raise BodyInvalid(f"the event cannot be read: {type(error).__name__}") from error


def _read(event: Event) -> ProviderEvent:
    if event.type in _INTENT_TYPES:
        return _of_intent(event, decode_intent(event.data.object))
    if event.type in _REFUND_TYPES:
        return _of_refund(event, decode_refund(event.data.object))
    if event.type == "charge.refunded":
        return _of_refunded_charge(event)
    if event.type in _DISPUTE_OPENED or event.type == "charge.dispute.closed":
        return _of_dispute(event)
    return _other(event)


def _of_intent(event: Event, intent: Intent) -> ProviderEvent:
    event_type = _INTENT_TYPES[event.type]
    units = {
        "payment.succeeded": intent.amount_received,
        "payment.authorized": intent.amount_capturable,
    }.get(event_type, intent.amount)
    # What was captured in a second step answers to the capture's key.
    captured = capture_key_of(intent) if event_type == "payment.succeeded" else None
    why = _why_failed(intent) if event_type == "payment.failed" else None
    return ProviderEvent(
        event_id=event.id,
        event_type=event_type,
        provider_txn_id=intent.id,
        reference=captured or key_of(intent),
        amount=_money(units, intent.currency),
        reason=why.code if why is not None else intent.cancellation_reason,
        retryable=why is not None and why.retryable,
        at_us=event.created * _US_PER_S,
    )


def _why_failed(intent: Intent) -> DeclineCode:
    trouble = intent.last_payment_error
    if trouble is None:
        return decline_of(None, None)
    return decline_of(trouble.code, trouble.decline_code)


def _of_refund(event: Event, refund: Refund) -> ProviderEvent:
    event_type = _REFUND_STATUS.get(refund.status or "", event.type)
    return ProviderEvent(
        event_id=event.id,
        event_type=event_type,
        provider_txn_id=refund.id,
        reference=(refund.metadata or {}).get(REFERENCE),
        parent_txn_id=refund.payment_intent,
        amount=_money(refund.amount, refund.currency),
        reason=refund.failure_reason,
        at_us=event.created * _US_PER_S,
    )


def _of_refunded_charge(event: Event) -> ProviderEvent:
    # Up to API version 2022-08-01 the charge lists its refunds, the newest first. Without the
    # list it only says how much was given back in all: each refund has events of its own.
    charge = decode_charge(event.data.object)
    if charge.refunds is None or not charge.refunds.data:
        return _other(event)
    newest = charge.refunds.data[0]
    if newest.payment_intent is None:
        newest = msgspec.structs.replace(newest, payment_intent=charge.payment_intent)
    return _of_refund(event, newest)


def _of_dispute(event: Event) -> ProviderEvent:
    dispute = decode_dispute(event.data.object)
    closed = event.type == "charge.dispute.closed"
    won = _DISPUTE_WON.get(dispute.status) if closed else None
    if closed and won is not None:
        event_type = "dispute.closed"
    elif not closed and dispute.status in _DISPUTE_OPEN_STATUS:
        event_type = "dispute.opened"
    else:
        # An inquiry (`warning_...`) takes no money, whether it is opened or closed.
        return _other(event)
    return ProviderEvent(
        event_id=event.id,
        event_type=event_type,
        provider_txn_id=dispute.id,
        parent_txn_id=dispute.payment_intent,
        amount=_money(dispute.amount, dispute.currency),
        dispute_won=won,
        reason=dispute.reason,
        at_us=event.created * _US_PER_S,
    )


def _other(event: Event) -> ProviderEvent:
    return ProviderEvent(
        event_id=event.id,
        event_type=event.type,
        provider_txn_id="",
        at_us=event.created * _US_PER_S,
    )


def _money(units: int, currency: str) -> Money:
    try:
        return from_stripe(units, currency)
    except NotRepresentable as error:
        raise BodyInvalid("the event names an amount that is none") from error
