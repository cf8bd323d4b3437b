"""How PayPal tells of events: its own types and resources, signed under a certificate."""

from typing import Final

import msgspec

from paygate_engine.ids import Ids
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.paypal_books import paypal_id
from paygate_http.sandbox.paypal_certificate import SigningCertificate
from paygate_http.sandbox.paypal_objects import Json, View, dispute_json, event_json
from paygate_http.sandbox.paypal_records import RefundNote, Told
from paygate_http.sandbox.paypal_views import Views
from paygate_http.sandbox.records import Notice
from paygate_http.sandbox.tongues import News, Worded
from paygate_http.sandbox.wire import time_text

WEBHOOK_ID: Final = "PAYGATESANDBOX1"
"""What the sandbox's webhook is called, and what is signed with each of its events."""

PAYER_APPROVED: Final = "payment.approved"
"""The sandbox's own word for a payer who said yes; the money moves later."""

_TYPES: Final = {
    ("payment.authorized", "AUTHORIZE"): "PAYMENT.AUTHORIZATION.CREATED",
    ("payment.succeeded", "CAPTURE"): "PAYMENT.CAPTURE.COMPLETED",
    ("payment.succeeded", "AUTHORIZE"): "PAYMENT.CAPTURE.COMPLETED",
    ("payment.failed", "CAPTURE"): "PAYMENT.CAPTURE.DECLINED",
    ("payment.failed", "AUTHORIZE"): "PAYMENT.AUTHORIZATION.DENIED",
    ("payment.cancelled", "AUTHORIZE"): "PAYMENT.AUTHORIZATION.VOIDED",
}
_OTHERS: Final = {
    PAYER_APPROVED: ("CHECKOUT.ORDER.APPROVED", "checkout-order"),
    "refund.succeeded": ("PAYMENT.CAPTURE.REFUNDED", "refund"),
    "refund.failed": ("PAYMENT.REFUND.FAILED", "refund"),
    "dispute.opened": ("CUSTOMER.DISPUTE.CREATED", "dispute"),
    "dispute.closed": ("CUSTOMER.DISPUTE.RESOLVED", "dispute"),
}


class PayPalTongue:
    """The account's events."""

    def __init__(
        self,
        *,
        books: Books,
        views: Views,
        ids: Ids,
        certificate: SigningCertificate,
    ) -> None:
        self._books = books
        self._views = views
        self._ids = ids
        self._certificate = certificate
        self._url = views.url

    def record(self, news: News, *, now_us: int) -> Worded | None:
        """Put the event on the list."""
        worded = self.word(news, now_us=now_us)
        told = Told(id=worded.id, type=news.event_type, body=worded.body, created_at_us=now_us)
        self._books.paypal.keep(told)
        return worded

    def word(self, news: News, *, now_us: int) -> Worded:
        """Write the event with the resource as it stands."""
        id_ = f"WH-{paypal_id(self._ids.new('event'))}"
        type_, resource_type, resource = self._resource(news, now_us=now_us)
        event = event_json(id_, type_, resource_type, resource, now_us=now_us, url=self._url)
        return Worded(id_, msgspec.json.encode(event))

    def sign(self, notice: Notice, *, now_us: int) -> dict[str, str]:
        """Sign id, time, the webhook's name and the body's checksum."""
        time = time_text(now_us)
        return {
            "Content-Type": "application/json",
            "PAYPAL-TRANSMISSION-ID": notice.id,
            "PAYPAL-TRANSMISSION-TIME": time,
            "PAYPAL-TRANSMISSION-SIG": self._certificate.sign(
                notice.id, time, WEBHOOK_ID, notice.body
            ),
            "PAYPAL-CERT-URL": f"{self._url}/v1/notifications/certs/{self._certificate.name}",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }

    def _resource(self, news: News, *, now_us: int) -> tuple[str, str, Json]:
        if news.event_type in _OTHERS:
            type_, resource_type = _OTHERS[news.event_type]
            if resource_type == "refund":
                return type_, resource_type, self._refund(news, now_us=now_us)
            view = self._view(news.transaction_id)
            if resource_type == "checkout-order":
                return type_, resource_type, view.order_json()
            reason = "UNAUTHORISED"
            return type_, resource_type, dispute_json(view, reason=reason, now_us=now_us)
        view = self._view(news.transaction_id)
        type_ = _TYPES[news.event_type, view.order.intent]
        is_hold = ".AUTHORIZATION." in type_
        resource = view.hold_alone() if is_hold else view.capture_alone()
        return type_, "authorization" if is_hold else "capture", resource

    def _refund(self, news: News, *, now_us: int) -> Json:
        note = self._books.paypal.refunds.get(news.transaction_id)
        if note is None:
            note = self._made_by_paypal(news, now_us=now_us)
        operation = self._views.operation(note.key)
        return self._view(note.order_id).refund_json(note, operation)

    def _made_by_paypal(self, news: News, *, now_us: int) -> RefundNote:
        order = self._books.paypal.orders[str(news.data["parentTransactionID"])]
        minor = news.data["amountMinor"]
        assert isinstance(minor, int), "our own notice"
        note = RefundNote(
            id=news.transaction_id,
            order_id=order.id,
            key=None,
            # Whoever gives back at PayPal's own pages names nothing; the payment's name stays.
            custom_id=order.custom_id,
            invoice_id=order.invoice_id,
            amount_minor=minor,
            created_at_us=now_us,
        )
        self._books.paypal.keep(note)
        return note

    def _view(self, order_id: str) -> View:
        return self._views.of(self._books.paypal.orders[order_id])
