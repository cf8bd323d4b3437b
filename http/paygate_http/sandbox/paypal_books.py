"""The PayPal-shaped account's own records, beside the books and in the same storage."""

import hashlib
from typing import Final, TypeVar

import msgspec

from paygate_http.sandbox.folder import Storage
from paygate_http.sandbox.paypal_records import Kept, Order, RefundNote, Told

# PayPal keeps the request ids of orders for six hours, those of payments for 45 days.
ORDERS_KEY_LIFE_US: Final = 6 * 3_600 * 1_000_000
PAYMENTS_KEY_LIFE_US: Final = 45 * 24 * 3_600 * 1_000_000
EVENTS_MAX: Final = 20_000
# As many as the books take operations: a runaway loop is stopped by it.
KEPT_MAX: Final = 1_000_000

_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_ID_CHARS: Final = 17

Record = Order | RefundNote | Kept | Told


class PayPalBooks:
    """Orders, refunds, request ids and events of one account."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.orders: dict[str, Order] = _load(storage, "paypal_order", Order)
        self.refunds: dict[str, RefundNote] = _load(storage, "paypal_refund", RefundNote)
        self.events: dict[str, Told] = _load(storage, "paypal_event", Told)
        self._kept: dict[str, Kept] = _load(storage, "paypal_kept", Kept)
        self._by_payment: dict[str, str] = {}
        self._paid: set[str] = set()
        self._refunds_of: dict[str, list[str]] = {}
        for order in self.orders.values():
            self._index(order)
        for refund in self.refunds.values():
            self._refunds_of.setdefault(refund.order_id, []).append(refund.id)
        numbered = [*self.refunds.values(), *self.events.values()]
        self._numbered = max((each.number for each in numbered), default=0)

    def order_of(self, payment_id: str) -> Order | None:
        """Give the order that a capture or a hold belongs to."""
        return self.orders.get(self._by_payment.get(payment_id, ""))

    def refunds_of(self, order_id: str) -> list[RefundNote]:
        """Give an order's refunds, the oldest first."""
        return [self.refunds[each] for each in self._refunds_of.get(order_id, ())]

    def kept(self, key: str, *, now_us: int) -> Kept | None:
        """Give what the request id still stands for."""
        found = self._kept.get(key)
        if found is None:
            return None
        orders = found.path.startswith("/v2/checkout/")
        life_us = ORDERS_KEY_LIFE_US if orders else PAYMENTS_KEY_LIFE_US
        return found if now_us - found.created_at_us < life_us else None

    def is_full(self) -> bool:
        """Tell whether no new request id can be taken."""
        return len(self._kept) >= KEPT_MAX

    def is_paid(self, invoice_id: str) -> bool:
        """Tell whether an invoice was paid before."""
        return invoice_id in self._paid

    def keep(self, record: Record) -> None:
        """Take in a new or changed record."""
        match record:
            case Order():
                self.orders[record.id] = record
                self._index(record)
                self._storage.put("paypal_order", record.id, record)
            case RefundNote():
                if record.id not in self.refunds:
                    record.number = self._next_number()
                    self._refunds_of.setdefault(record.order_id, []).append(record.id)
                self.refunds[record.id] = record
                self._storage.put("paypal_refund", _text(record.number), record)
            case Kept():
                self._kept[record.key] = record
                self._storage.put("paypal_kept", record.key, record)
            case Told():
                self._tell(record)

    def take_back_capture(self, order: Order) -> None:
        """Forget the capture of a hold that came to nothing: its invoice may be paid still."""
        self._paid.discard(order.capture_invoice or "")
        order.capture_id, order.capture_key, order.capture_invoice = "", None, None
        self.keep(order)

    def drop(self, note: RefundNote) -> None:
        """Forget a refund that came to nothing."""
        if self.refunds.pop(note.id, None) is not None:
            self._refunds_of[note.order_id].remove(note.id)
            self._storage.drop("paypal_refund", _text(note.number))

    def forget(self) -> None:
        """Forget every record; the storage was cleared."""
        for records in (self.orders, self.refunds, self.events, self._kept, self._by_payment):
            records.clear()
        self._refunds_of.clear()
        self._paid.clear()

    def _index(self, order: Order) -> None:
        for payment_id in (order.payment_id, order.capture_id):
            if payment_id:
                self._by_payment[payment_id] = order.id
        if order.paid and order.invoice_id is not None:
            self._paid.add(order.invoice_id)
        if order.capture_invoice is not None:
            self._paid.add(order.capture_invoice)

    def _tell(self, event: Told) -> None:
        event.number = self._next_number()
        self.events[event.id] = event
        self._storage.put("paypal_event", _text(event.number), event)
        if len(self.events) > EVENTS_MAX:
            oldest = self.events.pop(next(iter(self.events)))
            self._storage.drop("paypal_event", _text(oldest.number))

    def _next_number(self) -> int:
        self._numbered += 1
        return self._numbered


def paypal_id(seed: str) -> str:
    """Give an id as PayPal's are, 17 capitals and digits, of one of the sandbox's own."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    chars: list[str] = []
    for _ in range(_ID_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        chars.append(_ALPHABET[digit])
    return "".join(chars)


_Kind = TypeVar("_Kind", Order, RefundNote, Told, Kept)


def _load(storage: Storage, kind: str, type_: type[_Kind]) -> dict[str, _Kind]:
    records = [msgspec.msgpack.decode(body, type=type_) for body in storage.load(kind)]
    return {record.key if isinstance(record, Kept) else record.id: record for record in records}


def _text(number: int) -> str:
    # The storage gives records back by their ids: these sort as the numbers do.
    return f"{number:012d}"
