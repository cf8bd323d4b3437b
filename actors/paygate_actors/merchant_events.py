"""What merchants are told: an event for each recorded fact that concerns them, by a public name.

Pure. Which facts tell something is decided by each recorded event alone, so that the events that
a payment has told, and with them the next number of its sequence, can be counted when it is read
back from the journal. What is shown of payment and transaction is how both stand after the whole
decision: a merchant never sees a state that nobody else could see.
"""

import hashlib
from collections.abc import Iterator
from typing import Final, Literal, assert_never, get_args

import msgspec
from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.draft import Draft
from paygate_actors.evolving import evolve
from paygate_actors.messages import (
    PaymentView,
    TransactionStatus,
    TransactionType,
    TransactionView,
)
from paygate_actors.record import Payment, Txn
from paygate_actors.states import Fact, Status
from paygate_actors.views import transaction_view
from paygate_engine.ids import Ids

EventType = Literal[
    "payment.requires_action",
    "payment.in_review",
    "payment.authorized",
    "payment.succeeded",
    "payment.failed",
    "payment.cancelled",
    "payment.mismatch",
    "capture.pending",
    "capture.succeeded",
    "capture.failed",
    "capture.cancelled",
    "refund.pending",
    "refund.succeeded",
    "refund.failed",
    "refund.cancelled",
    "reverse.pending",
    "reverse.succeeded",
    "reverse.failed",
    "reverse.cancelled",
    "return.pending",
    "return.succeeded",
    "return.failed",
    "return.cancelled",
    "dispute.opened",
    "dispute.lost",
    "dispute.won",
    "dispute.reversed",
    "stray.opened",
    "stray.reversed",
    "attention.raised",
    "webhook.given_up",
    "webhook_endpoint.disabled",
    "webhook_endpoint.test",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
SUBJECTS: Final = tuple(dict.fromkeys(name.partition(".")[0] for name in EVENT_TYPES))
"""What stands before the dot; `subject.*` subscribes to all of a subject."""
WEBHOOK_SUBJECTS: Final = ("webhook", "webhook_endpoint")
"""The subjects of events about how merchants are told."""
TEST: Final = "webhook_endpoint.test"

_MOVES: Final[dict[Fact, EventType | None]] = {
    "charge_started": None,  # the reply of the request has said so
    "resumed": None,  # the provider still works on it
    "action_required": "payment.requires_action",
    "held": "payment.in_review",
    "authorized": "payment.authorized",
    "captured": "payment.succeeded",
    "failed": "payment.failed",
    "cancelled": "payment.cancelled",
}
_TRANSACTIONS: Final[dict[TransactionType, dict[TransactionStatus, EventType]]] = {
    # Its own moves tell of it.
    "payment": {},
    "capture": {
        "pending": "capture.pending",
        "success": "capture.succeeded",
        "failed": "capture.failed",
        "cancelled": "capture.cancelled",
    },
    "refund": {
        "pending": "refund.pending",
        "success": "refund.succeeded",
        "failed": "refund.failed",
        "cancelled": "refund.cancelled",
    },
    "reverse": {
        "pending": "reverse.pending",
        "success": "reverse.succeeded",
        "failed": "reverse.failed",
        "cancelled": "reverse.cancelled",
    },
    "return": {
        "pending": "return.pending",
        "success": "return.succeeded",
        "failed": "return.failed",
        "cancelled": "return.cancelled",
    },
    "chargeback": {
        "pending": "dispute.opened",
        "success": "dispute.lost",
        "cancelled": "dispute.won",
        "failed": "dispute.won",
    },
    "chargeback_reversal": {"success": "dispute.reversed"},
    "stray": {"success": "stray.opened"},
}
# What was set by an operator is shown so; the provider's own word is told when it comes.
_ASSERTED: Final[dict[TransactionStatus, EventType]] = {
    "success": "payment.succeeded",
    "failed": "payment.failed",
    "cancelled": "payment.cancelled",
}
# What a payment shows where nothing moved it; of one that is only processed nothing is told.
_SHOWN: Final[dict[Status, EventType]] = {
    "requires_action": "payment.requires_action",
    "review": "payment.in_review",
    "authorized": "payment.authorized",
    "success": "payment.succeeded",
    "failed": "payment.failed",
    "cancelled": "payment.cancelled",
}
_MISMATCH: Final = "amount_mismatch"


class GivenUp(Struct, frozen=True, kw_only=True):
    """A delivery that is tried no more, or an endpoint that is switched off, and why."""

    endpoint_id: str
    reason: str
    delivery_id: str | None = None
    event_id: str | None = None
    attempts: int = 0


class MerchantEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a merchant is told, as it is stored; the doors spell it out.

    `sequence` counts the events of one payment from 1 without a gap. `attention` is why a person
    should look. Only what concerns no payment has none.
    """

    id: str
    type: EventType
    at_us: int
    livemode: bool
    payment_id: str | None = None
    sequence: int | None = None
    payment: PaymentView | None = None
    transaction: TransactionView | None = None
    attention: str | None = None
    given_up: GivenUp | None = None


encode_event = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(MerchantEvent)


def read_event(body: bytes) -> MerchantEvent:
    """The event in a post of a feed, or in a delivery."""
    return _decoder.decode(body)


def tells(
    event: e.PaymentEvent, payment: Payment, before: Payment | None = None
) -> EventType | None:
    """What a recorded event tells the merchant; `payment` has it folded in. None: nothing.

    `before`: the payment without it, where an operator's word had been shown as its status.
    """
    match event:
        case e.Moved():
            return _MOVES[event.fact]
        case e.TransactionOpened():
            return _of(payment.txn(event.id), event.status)
        case e.TransactionSettled():
            return _of(payment.txn(event.id), event.status)
        case e.StatusAsserted():
            txn = payment.txn(event.transaction_id)
            if txn is not None and txn.type == "payment":
                return _ASSERTED.get(event.status)
            return _of(txn, event.status)
        case e.AttentionRaised():
            return "payment.mismatch" if event.code == _MISMATCH else "attention.raised"
        case (
            e.PaymentCreated()
            | e.FraudScored()
            | e.CallPrepared()
            | e.CallStarted()
            | e.CallInDoubt()
            | e.CallPending()
            | e.ActionRequested()
            | e.CredentialNoted()
            | e.Reviewed()
            | e.AttentionCleared()
        ):
            return None
        case e.CallApproved() | e.CallDeclined():
            return _shown_again(before, payment)
        case _:
            assert_never(event)


def _shown_again(before: Payment | None, payment: Payment) -> EventType | None:
    """The provider's word takes an operator's away: what was behind it is shown again."""
    word = None if before is None else before.txns[0].asserted
    if word is None or payment.txns[0].asserted is not None or word == payment.status:
        return None
    return _SHOWN.get(payment.status)


def events_of(draft: Draft, told: int) -> Iterator[MerchantEvent]:
    """What a decision tells the merchant; the payment has told `told` events before it."""
    payment = draft.payment
    before = draft.before
    # Rare: only then it matters what each event by itself has changed.
    shows_word = (before is not None and before.txns[0].asserted is not None) or any(
        isinstance(event, e.StatusAsserted) for event in draft.events
    )
    for event in draft.events:
        if shows_word:
            after = evolve(before, event, id=payment.id, at_us=draft.at_us)
            kind = tells(event, after, before)
            before = after
        else:
            kind = tells(event, payment)
        if kind is None:
            continue
        told += 1
        txn = _subject(event, payment)
        yield MerchantEvent(
            id=derived_id("evt", f"{payment.id}/{told}", at_us=draft.at_us),
            type=kind,
            at_us=draft.at_us,
            livemode=payment.created.livemode,
            payment_id=payment.id,
            sequence=told,
            payment=draft.view,
            transaction=None if txn is None else transaction_view(payment, txn),
            attention=event.code if isinstance(event, e.AttentionRaised) else None,
        )


def derived_id(prefix: str, name: str, *, at_us: int) -> str:
    """The id of what has this name, for ever: derived, because a decision draws nothing."""
    digest = hashlib.blake2b(f"{prefix}/{name}".encode(), digest_size=16).digest()
    return Ids.compose(prefix, at_us=at_us, entropy=int.from_bytes(digest, "big"))


def _of(txn: Txn | None, status: TransactionStatus) -> EventType | None:
    if txn is None:
        return None
    if txn.type == "reverse" and txn.of_stray and status == "success":
        return "stray.reversed"
    return _TRANSACTIONS[txn.type].get(status)


def _subject(event: e.PaymentEvent, payment: Payment) -> Txn | None:
    match event:
        case e.TransactionOpened() | e.TransactionSettled():
            return payment.txn(event.id)
        case e.StatusAsserted():
            return payment.txn(event.transaction_id)
        case _:
            return None
