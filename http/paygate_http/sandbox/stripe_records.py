"""What the sandbox keeps for the account that speaks Stripe's API: plain records.

Times are UTC microseconds, amounts Stripe's units. A card number or CVC is in none of them: a
payment method knows what its card will do, and the digits that may be shown.
"""

from typing import Literal

from msgspec import Struct

from paygate_http.sandbox.cards import Approve, Confirm, Decline, Verdict
from paygate_http.sandbox.presence import Asked
from paygate_http.sandbox.wire import ProviderId


class Method(Struct, kw_only=True):
    """A payment method: a card, and what it will do when it is charged.

    `asked`: what comes of a step-up that is demanded.
    """

    id: str
    does: Literal["approve", "dispute", "confirm", "decline"]
    decline_code: str | None
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    holder_name: str | None
    created_at_us: int
    asked: Asked = "challenge"

    @property
    def verdict(self) -> Verdict:
        """What the card does."""
        match self.does:
            case "approve":
                return Approve()
            case "dispute":
                return Approve(disputed=True)
            case "confirm":
                return Confirm()
            case "decline":
                return Decline(self.decline_code or "card_declined")


class Intent(Struct, kw_only=True):
    """A PaymentIntent. Once it is confirmed, the charge of the same id in the books decides.

    A card that was declined is let go of: the intent then waits for another method.
    """

    id: str
    provider: ProviderId
    amount: int
    currency: str
    capture_method: Literal["automatic", "manual"]
    metadata: dict[str, str]
    description: str | None
    method_id: str | None
    created_at_us: int
    cancelled_at_us: int | None = None
    cancellation_reason: str | None = None
    setup_future_usage: str | None = None
    customer: str | None = None


class RefundNote(Struct, kw_only=True):
    """What the books do not know of a refund. `key` is None where the provider made it itself.

    `number` keeps the order of those that were made at one moment.
    """

    id: str
    intent_id: str
    key: str | None
    metadata: dict[str, str]
    reason: str | None
    amount: int
    currency: str
    created_at_us: int
    number: int = 0


class Kept(Struct, kw_only=True):
    """The answer that an idempotency key stands for."""

    key: str
    digest: bytes
    status: int
    body: bytes
    created_at_us: int


class Told(Struct, kw_only=True):
    """An event on the list of events, in the order of their numbers."""

    id: str
    type: str
    body: bytes
    created_at_us: int
    number: int = 0
