"""What the doors give out: one Struct an answer, which also makes its schema in the document."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from paygate_actors.credentials import InitiationReason, Initiator, StepUp
from paygate_actors.messages import (
    Origin,
    PaymentStatus,
    RiskLevel,
    TransactionStatus,
    TransactionType,
)
from paygate_actors.outcomes import Authentication
from paygate_http.wire import wire_name

Amount = Annotated[Decimal, Meta(description="Major units, with exactly the currency's decimals.")]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Score = Annotated[float, Meta(ge=0, le=1)]


class FailureReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Why it failed; `retryable`: the payer may try again."""

    code: str
    message: str
    decline_code: str | None
    retryable: bool


class MethodReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A payment method as everybody may see it: never the number or the CVV."""

    type: str
    brand: str | None
    last4: str | None
    expiry_month: int | None
    expiry_year: int | None
    holder_name: str | None
    wallet_id: str | None
    token: str | None


class InitiationReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Who started the payment; `networkTransactionID`: of the payer's own one that it follows."""

    by: Initiator
    reason: InitiationReason | None
    network_transaction_id: str | None


class AddressReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A billing address."""

    street: str | None
    city: str | None
    state: str | None
    zip_code: str | None
    country: str


class NextActionReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Where the payer must go, and until when."""

    type: str
    url: str
    expires_at: Time


class PaymentReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A payment: the one representation, wherever it is shown."""

    id: str
    payment_id: str
    transaction_id: str
    status: PaymentStatus
    amount: Amount
    currency: str
    amount_authorized: Amount
    amount_captured: Amount
    amount_released: Amount
    amount_refunded: Amount
    amount_returned: Amount
    amount_disputed: Amount
    capture_method: str
    payment_method: MethodReply
    billing_address: AddressReply | None
    provider: str | None
    provider_txn_id: str | None
    fraud_score: Score | None
    risk_level: RiskLevel | None
    metadata: dict[str, str]
    description: str | None
    return_url: str | None
    failure: FailureReply | None
    in_doubt: bool
    attention: str | None
    next_action: NextActionReply | None
    expected_by: Time | None
    livemode: bool
    created_at: Time
    updated_at: Time
    processed_at: Time | None
    initiation: InitiationReply
    store_credential: bool
    three_d_secure: StepUp
    network_transaction_id: str | None
    authentication: Authentication | None


class PaymentListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Payments, newest first."""

    data: list[PaymentReply]
    has_more: bool
    next_cursor: str | None


class TransactionReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A movement of money, or the attempt at one."""

    id: str
    payment_id: str
    type: TransactionType
    origin: Origin
    status: TransactionStatus
    amount: Amount
    currency: str
    provider: str | None
    provider_txn_id: str | None
    reason: str | None
    failure: FailureReply | None
    livemode: bool
    created_at: Time
    updated_at: Time


class TransactionListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Transactions, newest first."""

    data: list[TransactionReply]
    has_more: bool
    next_cursor: str | None


class EventReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """One recorded event of a payment."""

    seq: int
    type: str
    at: Time
    data: dict[str, Any]


class EventListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A payment's whole history, in order."""

    data: list[EventReply]


class CircuitReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """One operation at a provider: its circuit, and how its newest calls went."""

    operation: Literal["charge", "capture", "void", "refund", "find"]
    circuit: Literal["closed", "open", "half_open"]
    success_rate: Score | None
    slow_rate: Score | None
    p99_latency_ms: int | None


class ProviderReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A provider with its switches and its health; `successRate` null: no calls yet.

    `circuit`, `successRate` and `p99LatencyMs` are those of charges. `quietMs`: for how long it
    wants to be left alone; `repeatsLeft`: calls it turned away that may be sent again now.
    """

    id: str
    name: str
    type: str
    is_active: bool
    accepts_charges: bool
    priority: int
    config: dict[str, str]
    circuit: Literal["closed", "open", "half_open"]
    success_rate: Score | None
    p99_latency_ms: int | None
    weight: int
    concurrency: int
    calls_running: int
    calls_waiting: int
    quiet_ms: int
    repeats_left: int
    circuits: list[CircuitReply]
    created_at: Time


class ProviderListReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """All providers, by priority."""

    data: list[ProviderReply]


class FraudCheckReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """A fraud check. `staticOnly`: only the fixed rules could be asked."""

    transaction_id: str | None
    score: Score
    risk_level: RiskLevel
    factors: list[str]
    blocked: bool
    static_only: bool
    created_at: Time


class ReceivedReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """The event is on disk."""

    received: bool = True


class HealthReply(Struct, frozen=True, kw_only=True, rename=wire_name):
    """Up, or ready."""

    status: Literal["ok", "ready"]
