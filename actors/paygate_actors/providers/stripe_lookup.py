"""What Stripe's look-ups show: the intent or refund of a key, and pages of events."""

from typing import Final

import msgspec

from paygate_actors.outcomes import Outcome, Unknown
from paygate_actors.providers.base import BodyInvalid, EventPage, ProviderEvent
from paygate_actors.providers.http_client import Answered, Exchange
from paygate_actors.providers.intelligible import Unintelligible
from paygate_actors.providers.stripe_events import read_event
from paygate_actors.providers.stripe_reading import (
    capture_key_of,
    captured_outcome,
    found,
    intent_outcome,
    key_of,
    refund_outcome,
)
from paygate_actors.providers.stripe_wire import (
    REFERENCE,
    Intent,
    RawPage,
    Refund,
    decode_event_id,
    decode_intent,
    decode_intents,
    decode_page,
    decode_refund,
    decode_refunds,
)

NOT_HERE: Final = Unknown(reason="not_visible")

_OK: Final = 200


def searched(body: bytes, *, key: str) -> Outcome:
    """What a search by our key found. Several intents under one key are nobody's to choose."""
    match decode_intents(body).data:
        case ():
            return NOT_HERE
        case (intent,):
            outcome = _of_key(intent, key)
            if outcome is None:
                raise Unintelligible
            return outcome
        case _:
            raise Unintelligible


def read_itself(body: bytes, *, key: str, intent_id: str) -> Outcome:
    """What the intent says about the call with this key, if it is the intent's own."""
    intent = decode_intent(body)
    if intent.id != intent_id:
        raise Unintelligible
    return _of_key(intent, key) or NOT_HERE


def read_refund(body: bytes, *, key: str, refund_id: str) -> Outcome:
    """What a refund says of itself, if it is the key's."""
    refund = decode_refund(body)
    if refund.id != refund_id:
        raise Unintelligible
    return refund_outcome(refund) if _is_of(refund, key) else NOT_HERE


def among_refunds(body: bytes, *, key: str) -> Outcome:
    """What became of the refund with this key, among those of one intent."""
    for refund in decode_refunds(body).data:
        if _is_of(refund, key):
            return refund_outcome(refund)
    return NOT_HERE


def read_page(exchange: Exchange, *, livemode: bool, account: str | None) -> EventPage | Unknown:
    """Read a page of events; those that cannot be read are counted, never guessed."""
    if not isinstance(exchange, Answered) or exchange.status != _OK:
        outcome = found(exchange, _nothing)
        return outcome if isinstance(outcome, Unknown) else NOT_HERE
    try:
        page = decode_page(exchange.body)
        cursor = decode_event_id(page.data[-1]).id if page.has_more and page.data else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unknown(reason="garbage", detail=type(error).__name__)
    events = _events(page, livemode=livemode, account=account)
    return EventPage(events=events, next_cursor=cursor, unreadable=len(page.data) - len(events))


def _events(page: RawPage, *, livemode: bool, account: str | None) -> tuple[ProviderEvent, ...]:
    events: list[ProviderEvent] = []
    for raw in page.data:
        try:
            events.append(read_event(bytes(raw), livemode=livemode, account=account))
        except BodyInvalid:
            continue  # counted by the caller
    return tuple(events)


def _of_key(intent: Intent, key: str) -> Outcome | None:
    if key_of(intent) == key:
        return intent_outcome(intent)
    if capture_key_of(intent) == key:
        return captured_outcome(intent)
    return None


def _is_of(refund: Refund, key: str) -> bool:
    return (refund.metadata or {}).get(REFERENCE) == key


def _nothing(_body: bytes) -> Outcome:
    raise Unintelligible
