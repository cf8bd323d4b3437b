"""What a payment actor is told and asked, by those who know it: the front, the pools, the inbox."""

from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.desk_messages import GiveBack, MarkNotCharged, MarkSeen
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
from paygate_actors.route import Route
from paygate_engine.stores.base import Claim, Document


class Create(Struct, frozen=True, kw_only=True):
    """Be this payment. `claim` is its idempotency key, `documents` what is stored beside it.

    `route`: where it goes; None for one that the check blocks.
    """

    created: e.PaymentCreated
    card: SealedCard | None
    check: FraudCheck
    review: bool
    claim: Claim | None
    documents: tuple[Document, ...]
    route: Route | None = None


class Operate(Struct, frozen=True, kw_only=True):
    """A merchant's or operator's command, with its idempotency key."""

    command: CapturePayment | RefundPayment | ReversePayment
    key: e.RequestKey | None = None


class Decide(Struct, frozen=True, kw_only=True):
    """A person's decision on held funds."""

    command: ReviewPayment


class Correct(Struct, frozen=True, kw_only=True):
    """An operator's correction with the provider's fresh answer, where it could be asked.

    `key`: of the call that it was asked about; a newer one may have been made since.
    """

    command: SetTransactionStatus
    fresh: Outcome | None
    key: str | None = None


class WhichCall(Struct, frozen=True, kw_only=True):
    """Ask for the call behind a transaction: a `Call`, or None."""

    transaction_id: str


class AtDesk(Struct, frozen=True, kw_only=True):
    """Ask how the payment stands on the desk: a `DeskEntry`, whether it is listed or not."""


class Watched(Struct, frozen=True, kw_only=True):
    """Ask for every unsettled call and how it is pursued: a tuple of `OpenCall`."""


class AskNow(Struct, frozen=True, kw_only=True):
    """An operator wants everything unsettled to be asked about: the calls that are due for it.

    Whoever is told of a call must ask its provider, or say that nobody did. None are due where
    each was asked about a moment ago. `by` is the key's public id.
    """

    by: str


class DoubtfulCharge(Struct, frozen=True, kw_only=True):
    """Ask for the attempt at the money whose outcome is not known: a `Call`, or None."""


class NotCharged(Struct, frozen=True, kw_only=True):
    """An operator says that a charge was not made.

    `key` is the call that its provider was asked about at `asked_at_us`, `fresh` the answer
    (None: there was none).
    """

    command: MarkNotCharged
    key: str | None
    fresh: Outcome | None
    asked_at_us: int


class GivenBack(Struct, frozen=True, kw_only=True):
    """An operator has what could not be given back given back again."""

    command: GiveBack


class Seen(Struct, frozen=True, kw_only=True):
    """An operator has looked at what asked for a person."""

    command: MarkSeen


class Reported(Struct, frozen=True, kw_only=True):
    """A webhook out of the inbox; `item_id` is done when what follows from it is durable."""

    provider: str
    item_id: str
    event: ProviderEvent


class Peek(Struct, frozen=True, kw_only=True):
    """See whether another node has moved the payment on: somebody waits for that here."""


class Pursue(Struct, frozen=True, kw_only=True):
    """It is time to ask about this call."""

    key: str


class Confirm(Struct, frozen=True, kw_only=True):
    """A call was done by an event that named no sum: ask its provider for how much."""

    key: str


class Look(Struct, frozen=True, kw_only=True):
    """It may be time for something: a deadline has come, or the process has started."""


class Await(Struct, frozen=True, kw_only=True):
    """Answer when the payment has left `pending` and `processing`, with a `PaymentView`.

    With a transaction: when that one is no longer pending, with a `TransactionView`.
    """

    transaction_id: str | None = None
