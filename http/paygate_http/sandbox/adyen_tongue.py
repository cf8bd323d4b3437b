"""How Adyen tells of events: notifications of one item, each item signed in its own body.

Nothing in the headers proves anything, and nothing in the signature has a time.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from paygate_engine.ids import Ids
from paygate_http.sandbox.adyen_books import AdyenBooks
from paygate_http.sandbox.adyen_cards import REASONS, words_of
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT, Json, amount_json
from paygate_http.sandbox.adyen_records import Modification, Sale
from paygate_http.sandbox.records import Notice
from paygate_http.sandbox.tongues import News, Worded

HMAC_KEY: Final = "5041594741544553414E44424F585041594741544553414E44424F5841445945"
"""What the sandbox signs Adyen's notifications with, in hex; a live server refuses it."""

_CODES: Final = {
    "capture": "CAPTURE",
    "cancel": "CANCELLATION",
    "technical_cancel": "TECHNICAL_CANCEL",
    "refund": "REFUND",
    "reversal": "CANCEL_OR_REFUND",
}
# What ends a payment that nobody acted on.
_LAPSED: Final = {"authorization_expired": "EXPIRE", "action_expired": "OFFER_CLOSED"}
_DISPUTES: Final = {"won": "CHARGEBACK_REVERSED", "lost": "SECOND_CHARGEBACK"}


class _Told(Struct, frozen=True, kw_only=True):
    """What an item says beside what all of them say."""

    code: str
    psp_reference: str
    reference: str
    original: str | None = None
    success: bool = True
    reason: str = ""
    extra: Json = {}


class AdyenTongue:
    """The account's notifications."""

    def __init__(self, *, records: AdyenBooks, ids: Ids, hmac_key: str) -> None:
        self._records = records
        self._ids = ids
        self._key = bytes.fromhex(hmac_key)

    def record(self, news: News, *, now_us: int) -> Worded | None:
        """Keep no list: Adyen has none to read."""
        return None

    def word(self, news: News, *, now_us: int) -> Worded:
        """Write the event as a notification, signed."""
        item = self._item(self._told(news), news, now_us=now_us)
        body = {"live": "false", "notificationItems": [{"NotificationRequestItem": item}]}
        return Worded(self._ids.new("ntf"), msgspec.json.encode(body))

    def sign(self, notice: Notice, *, now_us: int) -> dict[str, str]:
        """Sign nothing more: the signature is in the body."""
        return {"Content-Type": "application/json; charset=utf-8"}

    def _told(self, news: News) -> _Told:
        made = self._records.modifications.get(str(news.data.get("reference")))
        if made is not None:
            return self._of_modification(made, news)
        if news.event_type.startswith("refund."):
            return self._of_own_refund(news)
        sale = self._records.sales[news.transaction_id]
        if news.event_type.startswith("dispute."):
            return _of_dispute(sale, news)
        return _of_sale(sale, news)

    def _of_modification(self, made: Modification, news: News) -> _Told:
        failed = news.event_type.endswith(".failed")
        reason = str(news.data.get("reason", ""))
        extra: Json = {}
        if made.kind == "reversal":
            extra = {"modification.action": "refund" if made.refunds else "cancel"}
        sale = self._records.sales[made.sale_id]
        return _Told(
            code=_CODES[made.kind],
            psp_reference=made.id,
            # A technical cancellation is told of by the payment's reference, not by its own.
            reference=sale.reference if made.kind == "technical_cancel" else made.reference,
            original=made.sale_id,
            success=not failed,
            reason=REASONS.get(reason, "Refused") if failed else "",
            extra=extra,
        )

    def _of_own_refund(self, news: News) -> _Told:
        # Made by hand at Adyen: it has the payment's reference.
        sale = self._records.sales[str(news.data["parentTransactionID"])]
        return _Told(
            code="REFUND",
            psp_reference=_reference_of(news.transaction_id),
            reference=sale.reference,
            original=sale.id,
        )

    def _item(self, told: _Told, news: News, *, now_us: int) -> Json:
        minor = news.data["amountMinor"]
        assert isinstance(minor, int), "our own notice"
        amount = amount_json(minor, str(news.data["currency"]))
        item: Json = {
            "pspReference": told.psp_reference,
            "merchantAccountCode": MERCHANT_ACCOUNT,
            "merchantReference": told.reference,
            "amount": amount,
            "eventCode": told.code,
            "success": "true" if told.success else "false",
            "eventDate": datetime.fromtimestamp(now_us // 1_000_000, UTC).isoformat(),
            "reason": told.reason,
            "paymentMethod": self._method(told),
        }
        if told.original is not None:
            item["originalReference"] = told.original
        if told.code == "AUTHORISATION" and told.success:
            item["operations"] = ["CANCEL", "CAPTURE", "REFUND"]
        item["additionalData"] = {**told.extra, "hmacSignature": self._signature(item, amount)}
        return item

    def _method(self, told: _Told) -> str:
        return self._records.sales[told.original or told.psp_reference].brand

    def _signature(self, item: Json, amount: Json) -> str:
        signed = [
            item["pspReference"],
            item.get("originalReference", ""),
            item["merchantAccountCode"],
            item["merchantReference"],
            amount["value"],
            amount["currency"],
            item["eventCode"],
            item["success"],
        ]
        text = ":".join(map(str, signed))
        return base64.b64encode(hmac.digest(self._key, text.encode(), hashlib.sha256)).decode()


def _of_sale(sale: Sale, news: News) -> _Told:
    reason = str(news.data.get("reason", ""))
    lapsed = _LAPSED.get(reason)
    if lapsed is not None:
        return _Told(code=lapsed, psp_reference=sale.id, reference=sale.reference)
    failed = news.event_type == "payment.failed"
    return _Told(
        code="AUTHORISATION",
        psp_reference=sale.id,
        reference=sale.reference,
        success=not failed,
        reason=words_of(reason).text if failed else "",
    )


def _of_dispute(sale: Sale, news: News) -> _Told:
    outcome = str(news.data.get("outcome", ""))
    return _Told(
        code=_DISPUTES.get(outcome, "CHARGEBACK"),
        # A dispute keeps one id through all its stages.
        psp_reference=f"D{sale.id[1:]}",
        reference=sale.reference,
        original=sale.id,
        reason="Other Fraud-Card Absent Environment",
    )


def _reference_of(id_: str) -> str:
    return id_[-16:].upper()
