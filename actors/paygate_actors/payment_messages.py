"""What a payment actor is told and asked, by those who know it: the front, the pools, the inbox."""

from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.messages import (
    CapturePayment,
    FraudCheck,
    RefundPayment,
    ReversePayment,
    ReviewPayment,
    SetTransactionStatus,
)
from paygate_actors.outcomes import Outcome
from paygate_actors.providers.base import ProviderEvent
from paygate_engine.stores.base import Claim, Document


class Create(Struct, frozen=True, kw_only=True):
    """Be this payment. `claim` is its idempotency key, `documents` what is stored beside it."""

    created: e.PaymentCreated
    card: SealedCard | None
    check: FraudCheck
    review: bool
    claim: Claim | None
    documents: tuple[Document, ...]


class Operate(Struct, frozen=True, kw_only=True):
    """A merchant's or operator's command, with its idempotency key."""

    command: CapturePayment | RefundPayment | ReversePayment
    key: e.RequestKey | None = None


class Decide(Struct, frozen=True, kw_only=True):
    """A person's decision on held funds."""

    command: ReviewPayment


class Correct(Struct, frozen=True, kw_only=True):
    """An operator's correction with the provider's fresh answer, where it could be asked."""

    command: SetTransactionStatus
    fresh: Outcome | None


class WhichCall(Struct, frozen=True, kw_only=True):
    """Ask for the call behind a transaction: a `Call`, or None."""

    transaction_id: str


class Reported(Struct, frozen=True, kw_only=True):
    """A webhook out of the inbox; `item_id` is done when what follows from it is durable."""

    provider: str
    item_id: str
    event: ProviderEvent


class Pursue(Struct, frozen=True, kw_only=True):
    """It is time to ask about this call."""

    key: str


class Look(Struct, frozen=True, kw_only=True):
    """It may be time for something: a deadline has come, or the process has started."""


class Await(Struct, frozen=True, kw_only=True):
    """Answer when the payment has left `pending` and `processing`, with a `PaymentView`.

    With a transaction: when that one is no longer pending, with a `TransactionView`.
    """

    transaction_id: str | None = None
