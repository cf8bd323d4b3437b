"""What the sandbox keeps for the account that speaks PayPal's API: plain records.

Times are UTC microseconds, amounts minor units. A card number or security code is in none of them.
"""

from typing import Literal

from msgspec import Struct

Intent = Literal["CAPTURE", "AUTHORIZE"]
State = Literal["CREATED", "PAYER_ACTION_REQUIRED", "APPROVED"]


class Shown(Struct, frozen=True, kw_only=True):
    """What may be shown of what paid: a card, or the payer's wallet."""

    kind: Literal["card", "paypal"]
    brand: str = ""
    last4: str = ""
    name: str | None = None


class Order(Struct, kw_only=True):
    """An order. Once it is paid for, the charge of the same id in the books decides.

    `state` is that of an unpaid one. `payment_id`: of its capture, or of its hold; `capture_id`:
    of the capture of a hold, `capture_key` the request that made it and `capture_invoice` what it
    was called. `failed`: the payer did not pass. `paid`: it was, or may be.
    """

    id: str
    intent: Intent
    state: State
    amount_minor: int
    currency: str
    custom_id: str | None
    invoice_id: str | None
    description: str | None
    created_at_us: int
    payment_id: str
    source: Shown | None = None
    return_url: str | None = None
    failed: bool = False
    paid: bool = False
    capture_id: str = ""
    capture_key: str | None = None
    capture_invoice: str | None = None


class RefundNote(Struct, kw_only=True):
    """What the books do not know of a refund. `key` is None where the provider made it itself.

    `number` keeps the order of those that were made at one moment.
    """

    id: str
    order_id: str
    key: str | None
    custom_id: str | None
    invoice_id: str | None
    amount_minor: int
    created_at_us: int
    number: int = 0


class Kept(Struct, kw_only=True):
    """What a request id stands for: the object that it was about, shown as it is by then.

    `broken`: it answers 500, for ever. `path` is the request's own.
    """

    key: str
    path: str
    created_at_us: int
    broken: bool = False
    refund_id: str = ""
    order_id: str = ""


class Told(Struct, kw_only=True):
    """An event on the list of events, in the order of their numbers."""

    id: str
    type: str
    body: bytes
    created_at_us: int
    number: int = 0
