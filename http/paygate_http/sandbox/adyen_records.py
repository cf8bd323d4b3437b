"""What the sandbox keeps for the account that speaks Adyen's API: plain records.

Times are UTC microseconds, amounts minor units. A card number or CVC is in none of them.
"""

from typing import Literal

from msgspec import Struct

Kind = Literal["capture", "cancel", "technical_cancel", "refund", "reversal"]


class Sale(Struct, kw_only=True):
    """What the books do not know of a payment: its card, as far as it may be shown."""

    id: str
    reference: str
    brand: str
    last4: str


class Modification(Struct, kw_only=True):
    """A capture, cancellation, refund or reversal that was taken in, under an id of its own.

    `refunds`: what a reversal came to.
    """

    id: str
    kind: Kind
    sale_id: str
    reference: str
    amount_minor: int
    refunds: bool = False


class Kept(Struct, kw_only=True):
    """The answer that an idempotency key stands for."""

    key: str
    status: int
    body: bytes
    created_at_us: int
