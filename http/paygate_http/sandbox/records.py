"""What the sandbox keeps: plain records, changed by the desks alone, written by the books.

Times are UTC microseconds, amounts minor units. A card number or CVV is in none of them.
"""

from typing import Literal

from msgspec import Struct

from paygate_http.sandbox.wire import ProviderId, Verb, Wire

ChargeStatus = Literal[
    "pending", "requires_action", "authorized", "captured", "failed", "cancelled"
]
DisputeStatus = Literal["due", "open", "won", "lost"]
OperationStatus = Literal["pending", "requires_action", "succeeded", "failed", "cancelled"]


class Charge(Struct, kw_only=True):
    """A charge or hold. `id` is the provider's transaction id, for webhooks and follow-ups.

    `busy_key`: the pending capture or void that must end before another begins. `refunding_minor`
    is promised to pending refunds. `dispute` is `due` from birth for a card that will dispute.
    `network_txn_id` and `authentication` are told of what succeeded alone.
    """

    id: str
    provider: ProviderId
    key: str
    reference: str
    amount_minor: int
    currency: str
    capture: bool
    status: ChargeStatus
    created_at_us: int
    captured_minor: int = 0
    refunded_minor: int = 0
    refunding_minor: int = 0
    captured_at_us: int | None = None
    authorized_at_us: int | None = None
    expires_at_us: int | None = None
    return_url: str | None = None
    busy_key: str | None = None
    dispute: DisputeStatus | None = None
    disputed_minor: int = 0
    network_txn_id: str | None = None
    authentication: str | None = None

    @property
    def left_minor(self) -> int:
        """What may still be given back."""
        return self.captured_minor - self.refunded_minor - self.refunding_minor


class Operation(Struct, kw_only=True):
    """One idempotency key at one provider account: what it did, and what it answers for life.

    `params_digest` is a keyed hash of the parameters, which are not kept. `txn_id` is the object's
    own id (a refund's, else the charge's). `due_at_us`: when a pending one ends.
    """

    provider: ProviderId
    key: str
    verb: Verb
    params_digest: bytes
    status: OperationStatus
    charge_id: str
    txn_id: str
    reference: str
    amount_minor: int
    currency: str
    created_at_us: int
    visible_at_us: int
    answer_status: int = 200
    answer: bytes = b""
    due_at_us: int | None = None
    decline_code: str | None = None


class LedgerLine(Wire, frozen=True, kw_only=True):
    """One movement of money, as `GET /ledger` shows it. No key: the provider moved it itself."""

    provider: ProviderId
    operation: Verb
    idempotency_key: str | None
    provider_txn_id: str
    amount_minor: int
    currency: str
    outcome: Literal["succeeded"] = "succeeded"
    at: str


class CallLine(Struct, kw_only=True, rename="camel"):
    """One call as received, as `GET /calls` shows it. `answer`: the status sent, None if none."""

    provider: str
    operation: str
    idempotency_key: str | None
    at: str
    answer: int | None = None
    fault: str | None = None


class Notice(Struct, kw_only=True):
    """A webhook that was not yet delivered: its id and bytes stay the same in every attempt.

    `event_type` is the sandbox's own word, whatever the account speaks.
    """

    id: str
    provider: ProviderId
    body: bytes
    due_at_us: int
    attempts: int = 0
    copies: int = 1
    event_type: str = ""
