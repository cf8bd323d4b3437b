"""What is recorded of a payment: a closed union. Recorded events are never changed, only added to.

Each kind is written as `name.version`; `decode` reads every version that was ever written.
Amounts are integers of minor units, times are UTC microseconds.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from paygate_actors.credentials import BY_CUSTOMER, Initiation, StepUp
from paygate_actors.messages import (
    Address,
    Failure,
    MethodView,
    Origin,
    RiskLevel,
    TransactionStatus,
    TransactionType,
)
from paygate_actors.outcomes import Authentication, UnknownReason
from paygate_actors.route import Route
from paygate_actors.states import Fact

Verb = Literal["charge", "authorize", "capture", "void", "refund"]


class Recorded(
    Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """What all events share: a field nobody wrote is an error, not a surprise."""


class RequestKey(Recorded, frozen=True, kw_only=True):
    """The idempotency key that a request came with, and a keyed hash of what it asked for."""

    name: str
    mac: str
    derived: bool = False


class PaymentCreated(Recorded, frozen=True, kw_only=True):
    """A payment was accepted. `method` is masked; the number is in the vault under its token.

    `provider_pin`: the only provider that may have it; where a provider's own token is charged,
    its provider. `without_cvv`: of a card, no CVV came with it.
    `follows_network_transaction_id`: of the payer's own payment that the merchant's one follows,
    found by us where the request named none.
    """

    merchant: str
    by: str
    transaction_id: str
    amount_minor: int
    currency: str
    capture_method: str
    method: MethodView
    livemode: bool
    fingerprint: str | None = None
    billing: Address | None = None
    metadata: dict[str, str] = {}
    description: str | None = None
    return_url: str | None = None
    customer_ip: str | None = None
    provider_pin: str | None = None
    key: RequestKey | None = None
    initiation: Initiation = BY_CUSTOMER
    store_credential: bool = False
    three_d_secure: StepUp = "automatic"
    without_cvv: bool = False
    follows_network_transaction_id: str | None = None


class FraudScored(Recorded, frozen=True, kw_only=True):
    """The check that decided about the payment; thousandths of the score."""

    score_milli: int
    risk_level: RiskLevel
    factors: tuple[str, ...] = ()
    blocked: bool = False
    review: bool = False
    static_only: bool = False


class CallStarted(Recorded, frozen=True, kw_only=True):
    """The intent to do `verb` at a provider, under one key for life. Committed before the call.

    `target` is the provider's id of the charge that a capture, void or refund is about.
    `prepares`: what moves money leaves only after `CallPrepared` is on record. `route`: with the
    payment's first attempt, why it goes where it goes.
    """

    key: str
    transaction_id: str
    verb: Verb
    provider: str
    amount_minor: int
    target: str | None = None
    prepares: bool = False
    route: Route | None = None


class CallPrepared(Recorded, frozen=True, kw_only=True):
    """The provider has an object for the call, and nothing has moved. Committed before the confirm.

    From here on it may be confirmed: until it is said to be cancelled there, it may succeed.
    """

    key: str
    provider_txn_id: str


class CallInDoubt(Recorded, frozen=True, kw_only=True):
    """The call's outcome is not known and is being asked for."""

    key: str
    reason: UnknownReason


class CallPending(Recorded, frozen=True, kw_only=True):
    """The provider took the call on and will say later."""

    key: str
    provider_txn_id: str | None = None
    expected_by_us: int | None = None


class ActionRequested(Recorded, frozen=True, kw_only=True):
    """The payer must confirm at `url` before `expires_at_us`."""

    key: str
    provider_txn_id: str
    url: str
    expires_at_us: int


class CallApproved(Recorded, frozen=True, kw_only=True):
    """The provider did it, for the amount that it says."""

    key: str
    provider_txn_id: str
    amount_minor: int
    currency: str
    captured: bool = False


class CredentialNoted(Recorded, frozen=True, kw_only=True):
    """What the provider told about the payer's credential beside the sum of a charge.

    `network_transaction_id`: the card network's id of the payment. `authentication`: how the payer
    proved who they are. Each is recorded once, when it is first heard.
    """

    key: str
    network_transaction_id: str | None = None
    authentication: Authentication | None = None


class CallDeclined(Recorded, frozen=True, kw_only=True):
    """The call definitely did nothing."""

    key: str
    failure: Failure
    provider_txn_id: str | None = None


class Moved(Recorded, frozen=True, kw_only=True):
    """The payment itself moved, by the table of `states`. Written as `payment_<fact>`."""

    fact: Fact
    failure: Failure | None = None
    expires_at_us: int | None = None


class TransactionOpened(Recorded, frozen=True, kw_only=True):
    """A movement of money beside the payment's first: asked for, or reported by the provider.

    `requested_minor` is what the request said (None: the default), kept to name differences.
    `fact_at_us` is the provider's own time of what it reported. `stray_id` is the stray that it
    is about, where it is not about the payment's own money.
    """

    id: str
    type: TransactionType
    origin: Origin
    amount_minor: int
    currency: str
    by: str
    status: TransactionStatus = "pending"
    provider: str | None = None
    provider_txn_id: str | None = None
    reason: str | None = None
    requested_minor: int | None = None
    or_refund: bool = False
    key: RequestKey | None = None
    fact_at_us: int | None = None
    stray_id: str | None = None


class TransactionSettled(Recorded, frozen=True, kw_only=True):
    """A transaction reached a status. `amount_minor` is set where the provider's differs."""

    id: str
    status: TransactionStatus
    failure: Failure | None = None
    provider_txn_id: str | None = None
    amount_minor: int | None = None
    fact_at_us: int | None = None


class StatusAsserted(Recorded, frozen=True, kw_only=True):
    """An operator said so; the provider's truth wins when it comes."""

    transaction_id: str
    status: TransactionStatus
    reason: str
    by: str


class Reviewed(Recorded, frozen=True, kw_only=True):
    """A person decided about held funds."""

    decision: Literal["approve", "decline"]
    note: str
    by: str


class AttentionRaised(Recorded, frozen=True, kw_only=True):
    """A person should look, and why."""

    code: str
    detail: str = ""


class AttentionCleared(Recorded, frozen=True, kw_only=True):
    """Nothing is in doubt any more; or, with `up_to_seq`, a person has looked at what was raised.

    `up_to_seq` is the number of the newest event of the payment that the person knew of, `by`
    the public id of their key.
    """

    up_to_seq: int | None = None
    by: str | None = None
    note: str = ""


PaymentEvent = (
    PaymentCreated
    | FraudScored
    | CallStarted
    | CallPrepared
    | CallInDoubt
    | CallPending
    | ActionRequested
    | CallApproved
    | CredentialNoted
    | CallDeclined
    | Moved
    | TransactionOpened
    | TransactionSettled
    | StatusAsserted
    | Reviewed
    | AttentionRaised
    | AttentionCleared
)

_KINDS: dict[str, type[PaymentEvent]] = {
    "payment_created.1": PaymentCreated,
    "fraud_scored.1": FraudScored,
    "call_started.1": CallStarted,
    "call_prepared.1": CallPrepared,
    "call_in_doubt.1": CallInDoubt,
    "call_pending.1": CallPending,
    "action_requested.1": ActionRequested,
    "call_approved.1": CallApproved,
    "credential_noted.1": CredentialNoted,
    "call_declined.1": CallDeclined,
    "payment_moved.1": Moved,
    "transaction_opened.1": TransactionOpened,
    "transaction_settled.1": TransactionSettled,
    "status_asserted.1": StatusAsserted,
    "reviewed.1": Reviewed,
    "attention_raised.1": AttentionRaised,
    "attention_cleared.1": AttentionCleared,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
KINDS_WRITTEN = frozenset(_NAMES.values())
"""Every kind of event that this version writes; it reads others beside."""
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}
_encode = msgspec.json.Encoder().encode


def encode(event: PaymentEvent) -> tuple[str, bytes]:
    """The kind with its version, and the bytes."""
    return _NAMES[type(event)], _encode(event)


def decode(kind: str, body: bytes) -> PaymentEvent:
    """Read an event back. Raises `KeyError` for a kind that this version does not know."""
    return _DECODERS[kind].decode(body)


def public_name(event: PaymentEvent) -> str:
    """How the history names the event: without the version, a move by its fact."""
    if isinstance(event, Moved):
        return f"payment_{event.fact}"
    return _NAMES[type(event)].rpartition(".")[0]
