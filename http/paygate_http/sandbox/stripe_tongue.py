"""How Stripe tells of events: its own types and objects, `Stripe-Signature`, a list to read.

One event is sent for each movement, the one that an integration should listen to; the real Stripe
sends several about most of them.
"""

import hashlib
import hmac
from typing import Final

import msgspec

from paygate_engine.ids import Ids
from paygate_http.sandbox.answers import action_url
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.records import Notice
from paygate_http.sandbox.stripe_money import units_of
from paygate_http.sandbox.stripe_objects import (
    Json,
    dispute_json,
    event_json,
    intent_json,
    refund_json,
)
from paygate_http.sandbox.stripe_records import Intent, RefundNote, Told
from paygate_http.sandbox.tongues import News, Worded
from paygate_http.sandbox.wire import ProviderId

WEBHOOK_SECRET: Final = "whsec_paygate_sandbox_stripe"  # noqa: S105 - public: the documents print it
"""What the sandbox signs Stripe's webhooks with; a live server refuses it."""

API_VERSION: Final = "2026-10-28.endive"

_TYPES: Final = {
    "payment.succeeded": "payment_intent.succeeded",
    "payment.authorized": "payment_intent.amount_capturable_updated",
    "payment.failed": "payment_intent.payment_failed",
    "payment.cancelled": "payment_intent.canceled",
    "refund.succeeded": "refund.updated",
    "refund.failed": "refund.failed",
    "dispute.opened": "charge.dispute.created",
    "dispute.closed": "charge.dispute.closed",
}


class StripeTongue:
    """The account's events."""

    def __init__(
        self, *, provider: ProviderId, books: Books, ids: Ids, url: str, secret: str
    ) -> None:
        self._provider = provider
        self._books = books
        self._ids = ids
        self._url = url
        self._key = secret.encode()

    def record(self, news: News, *, now_us: int) -> Worded | None:
        """Put the event on the list."""
        worded = self.word(news, now_us=now_us)
        told = Told(
            id=worded.id, type=_TYPES[news.event_type], body=worded.body, created_at_us=now_us
        )
        self._books.stripe.keep(told)
        return worded

    def word(self, news: News, *, now_us: int) -> Worded:
        """Write the event with the object as it stands."""
        id_ = self._ids.new("evt")
        event = event_json(
            id_,
            _TYPES[news.event_type],
            self._object(news, now_us=now_us),
            now_us=now_us,
            key=None,
            version=API_VERSION,
        )
        return Worded(id_, msgspec.json.encode(event))

    def sign(self, notice: Notice, *, now_us: int) -> dict[str, str]:
        """Sign time and body."""
        seconds = str(now_us // 1_000_000)
        signed = seconds.encode() + b"." + notice.body
        signature = hmac.new(self._key, signed, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": f"t={seconds},v1={signature}",
        }

    def _object(self, news: News, *, now_us: int) -> Json:
        if news.event_type.startswith("refund."):
            return self._refund(news, now_us=now_us)
        intent = self._books.stripe.intents[news.transaction_id]
        if news.event_type.startswith("dispute."):
            charge = self._books.charges[intent.id]
            return dispute_json(intent, charge, now_us=now_us)
        return self._intent(intent)

    def _intent(self, intent: Intent) -> Json:
        charge = self._books.charges.get(intent.id)
        operation = self._books.operation_of(charge) if charge is not None else None
        url = action_url(charge, url=self._url) if charge is not None else ""
        return intent_json(intent, charge, operation, url=url)

    def _refund(self, news: News, *, now_us: int) -> Json:
        note = self._books.stripe.refunds.get(news.transaction_id)
        if note is None:
            note = self._made_by_stripe(news, now_us=now_us)
        operation = self._books.find(self._provider, note.key) if note.key is not None else None
        return refund_json(note, operation)

    def _made_by_stripe(self, news: News, *, now_us: int) -> RefundNote:
        parent = str(news.data["parentTransactionID"])
        intent = self._books.stripe.intents[parent]
        minor = news.data["amountMinor"]
        assert isinstance(minor, int), "our own notice"
        note = RefundNote(
            id=news.transaction_id,
            intent_id=parent,
            key=None,
            metadata={},
            reason=None,
            amount=units_of(minor, intent.currency),
            currency=intent.currency,
            created_at_us=now_us,
        )
        self._books.stripe.keep(note)
        return note
