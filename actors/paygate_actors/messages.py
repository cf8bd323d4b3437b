"""Every command that the doors send in, and every reply: closed unions of frozen Structs.

Amounts are integers of minor units (`*_minor`) or `Money`; times are UTC microseconds (`*_us`).
The doors know these messages and the `Front` (`front_protocol`), never the actors behind them.
"""

from typing import Literal

from msgspec import Struct

from paygate_actors.credentials import BY_CUSTOMER, Initiation, StepUp
from paygate_actors.money import Money
from paygate_actors.outcomes import Authentication
from paygate_actors.payment_methods import Method

Role = Literal["merchant", "operator", "metrics"]
PaymentStatus = Literal[
    "pending",
    "processing",
    "requires_action",
    "review",
    "authorized",
    "success",
    "failed",
    "cancelled",
]
TransactionStatus = Literal["pending", "success", "failed", "cancelled"]
TransactionType = Literal[
    "payment",
    "capture",
    "refund",
    "reverse",
    "return",
    "chargeback",
    "chargeback_reversal",
    "stray",
]
Origin = Literal["merchant", "operator", "system", "provider"]
RiskLevel = Literal["low", "medium", "high"]


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks: the role, the merchant (empty for operators) and the key's public id."""

    role: Role
    merchant: str
    key_id: str


class Address(Struct, frozen=True, kw_only=True):
    """A billing address; `country` is ISO 3166-1 alpha-2, upper case."""

    country: str
    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip_code: str | None = None


class ProcessPayment(Struct, frozen=True, kw_only=True):
    """Charge `amount`. `idempotency_key` is the header's or the body's."""

    caller: Caller
    amount: Money
    method: Method
    billing: Address | None = None
    metadata: dict[str, str] = {}
    idempotency_key: str | None = None
    capture_method: Literal["automatic", "manual"] = "automatic"
    description: str | None = None
    provider: str | None = None
    return_url: str | None = None
    customer_ip: str | None = None
    initiation: Initiation = BY_CUSTOMER
    store_credential: bool = False
    three_d_secure: StepUp = "automatic"


class CapturePayment(Struct, frozen=True, kw_only=True):
    """Capture what is held; None: all of it. `amount` is read in the payment's currency."""

    caller: Caller
    payment_id: str
    amount_minor: int | None = None
    idempotency_key: str | None = None


class RefundPayment(Struct, frozen=True, kw_only=True):
    """Give back; None: all that is left."""

    caller: Caller
    payment_id: str
    amount_minor: int | None = None
    reason: str | None = None
    idempotency_key: str | None = None


class ReversePayment(Struct, frozen=True, kw_only=True):
    """Undo the whole; `or_refund`: as a refund where the provider settled already."""

    caller: Caller
    payment_id: str
    reason: str | None = None
    or_refund: bool = False
    idempotency_key: str | None = None


class ReviewPayment(Struct, frozen=True, kw_only=True):
    """An operator's decision on held funds."""

    caller: Caller
    payment_id: str
    decision: Literal["approve", "decline"]
    note: str


class SetTransactionStatus(Struct, frozen=True, kw_only=True):
    """An operator's correction; `force` asserts it against the provider's answer."""

    caller: Caller
    transaction_id: str
    status: Literal["success", "failed", "cancelled"]
    reason: str
    force: bool = False


class ScoreRequest(Struct, frozen=True, kw_only=True):
    """What the fraud rules look at; `fingerprint` is the card's keyed hash, never the number."""

    merchant: str
    amount: Money
    has_card: bool
    number_valid: bool
    expired: bool
    fingerprint: str | None = None
    customer_id: str | None = None
    customer_ip: str | None = None


class FraudCheck(Struct, frozen=True, kw_only=True):
    """A score in thousandths (0..1000). `static_only`: the fraud actor did not answer."""

    transaction_id: str | None
    score_milli: int
    risk_level: RiskLevel
    factors: tuple[str, ...]
    blocked: bool
    created_at_us: int
    static_only: bool = False


class Failure(Struct, frozen=True, kw_only=True):
    """Why a payment failed; `retryable`: the payer may try again."""

    code: str
    message: str
    decline_code: str | None = None
    retryable: bool = False


class MethodView(Struct, frozen=True, kw_only=True):
    """A payment method as everybody may see it: never the number or the CVV."""

    kind: str
    brand: str | None = None
    last4: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None
    wallet_id: str | None = None
    token: str | None = None


class NextAction(Struct, frozen=True, kw_only=True):
    """What the payer must do, and by when."""

    url: str
    expires_at_us: int
    kind: str = "redirect"


class PaymentView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payment as committed: the one representation, under our names."""

    id: str
    transaction_id: str
    merchant: str
    status: PaymentStatus
    amount_minor: int
    currency: str
    capture_method: str
    method: MethodView
    created_at_us: int
    updated_at_us: int
    livemode: bool
    amount_authorized_minor: int = 0
    amount_captured_minor: int = 0
    amount_released_minor: int = 0
    amount_refunded_minor: int = 0
    amount_returned_minor: int = 0
    amount_disputed_minor: int = 0
    billing: Address | None = None
    provider: str | None = None
    provider_txn_id: str | None = None
    fraud_score_milli: int | None = None
    risk_level: RiskLevel | None = None
    metadata: dict[str, str] = {}
    description: str | None = None
    return_url: str | None = None
    failure: Failure | None = None
    in_doubt: bool = False
    attention: str | None = None
    next_action: NextAction | None = None
    expected_by_us: int | None = None
    processed_at_us: int | None = None
    initiation: Initiation = BY_CUSTOMER
    store_credential: bool = False
    three_d_secure: StepUp = "automatic"
    network_txn_id: str | None = None
    authentication: Authentication | None = None


class TransactionView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A movement of money, or the attempt at one, as committed."""

    id: str
    payment_id: str
    merchant: str
    type: TransactionType
    origin: Origin
    status: TransactionStatus
    amount_minor: int
    currency: str
    created_at_us: int
    updated_at_us: int
    livemode: bool
    provider: str | None = None
    provider_txn_id: str | None = None
    reason: str | None = None
    failure: Failure | None = None


class EventView(Struct, frozen=True, kw_only=True):
    """One recorded event. `data` is the event's own fields, camelCase, amounts in minor units."""

    seq: int
    type: str
    at_us: int
    data: dict[str, object]


class PaymentReply(Struct, frozen=True, kw_only=True):
    """The payment as it stands; `replayed`: the key was used before."""

    payment: PaymentView
    replayed: bool = False


class TransactionReply(Struct, frozen=True, kw_only=True):
    """The transaction as it stands; `replayed`: the key was used before."""

    transaction: TransactionView
    replayed: bool = False


class Fault(Struct, frozen=True, kw_only=True):
    """One fault of a request. `pointer` is a JSON pointer; `detail` never repeats the value."""

    pointer: str
    code: str
    detail: str


RefusalCode = Literal[
    "validation_failed",
    "payment_not_found",
    "transaction_not_found",
    "provider_not_found",
    "payment_not_capturable",
    "capture_exceeds_authorized",
    "payment_not_refundable",
    "refund_exceeds_remaining",
    "payment_not_reversible",
    "payment_not_reviewable",
    "operation_in_progress",
    "idempotency_key_reused",
    "illegal_transition",
    "provider_disagrees",
    "not_in_doubt",
    "still_in_doubt",
    "still_may_succeed",
    "provider_silent",
    "payment_quarantined",
    "no_provider",
    "signature_invalid",
    "malformed_body",
    "another_account",
    "overloaded",
    "outcome_unknown",
    "not_ready",
    "endpoint_not_found",
    "delivery_not_found",
    "endpoint_limit_reached",
    "endpoint_disabled",
    "delivery_pending",
    "cursor_expired",
]


class Refusal(Struct, frozen=True, kw_only=True):
    """It was not done. `retry_after_s` is set where trying again can help."""

    code: RefusalCode
    detail: str
    faults: tuple[Fault, ...] = ()
    retry_after_s: int | None = None


class Filters(Struct, frozen=True, kw_only=True):
    """What a list is narrowed down by; times are UTC microseconds, `from` in, `to` out."""

    status: str | None = None
    type: str | None = None
    provider: str | None = None
    currency: str | None = None
    payment_id: str | None = None
    customer_id: str | None = None
    order_id: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    cursor: str | None = None
    limit: int = 20


class PaymentPage(Struct, frozen=True, kw_only=True):
    """Payments, newest first; `next_cursor` None: that was all."""

    items: tuple[PaymentView, ...]
    next_cursor: str | None


class TransactionPage(Struct, frozen=True, kw_only=True):
    """Transactions, newest first; `next_cursor` None: that was all."""

    items: tuple[TransactionView, ...]
    next_cursor: str | None


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key as stored: `digest` is its HMAC-SHA256, hex; the key itself is shown once."""

    id: str
    role: Role
    merchant: str
    digest: str
    created_at_us: int
    label: str = ""
    revoked_at_us: int | None = None
