"""A payment as its events tell it: what is remembered of it, its calls and its transactions.

What can be derived from these is derived (`sums.py`), never kept. How events become them is
`evolving.py`'s business.
"""

from typing import Final, Literal

from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.messages import Failure, Origin, TransactionStatus, TransactionType
from paygate_actors.outcomes import Authentication
from paygate_actors.route import Route
from paygate_actors.states import Status

CallState = Literal["open", "action", "pending", "approved", "declined"]

IN_DOUBT: Final = "in_doubt"
"""The concern that comes and goes by itself; a person looks at every other one."""

REVIEW_DECLINED: Final = "review_declined"
"""Why an operator's reverse was opened: held funds were declined by a person."""

CAPTURE_DECLINED: Final = "capture_declined"
"""Why the system's was opened: a person approved them, and their provider would not take them."""

REVIEW_EXPIRED: Final = "review_expired"
"""Why the system's was opened: the time for a person was over."""

UNRESOLVED: frozenset[CallState] = frozenset({"open", "action", "pending"})


class Call(Struct, frozen=True, kw_only=True, gc=False):
    """One operation at a provider under its key for life; `confirmed_minor` is what it says.

    `differs`: what it says is not the amount or not the currency that we asked for.
    `declined`: why it was not done, by our code. `prepares`: it takes two steps; `prepared_id` is
    the object that the second one confirms. `epoch`: the node that last took it up, by which alone
    it is sent; 0 where there is one node.
    """

    key: str
    transaction_id: str
    verb: e.Verb
    provider: str
    amount_minor: int
    started_at_us: int
    target: str | None = None
    state: CallState = "open"
    in_doubt: bool = False
    provider_txn_id: str | None = None
    captured: bool = False
    confirmed_minor: int | None = None
    differs: bool = False
    expires_at_us: int | None = None
    expected_by_us: int | None = None
    url: str | None = None
    declined: str | None = None
    prepares: bool = False
    prepared_id: str | None = None
    prepared_at_us: int | None = None
    epoch: int = 0

    @property
    def unresolved(self) -> bool:
        """Whether the provider has not said its last word on it."""
        return self.state in UNRESOLVED

    @property
    def charges(self) -> bool:
        """Whether it is the payment's own attempt at the money."""
        return self.verb in ("charge", "authorize")

    @property
    def unprepared(self) -> bool:
        """Whether nothing that could move money has left for it, nor can before `CallPrepared`."""
        return self.prepares and self.state == "open" and self.prepared_id is None

    @property
    def confirming(self) -> bool:
        """Whether its prepared object may be, or have been, confirmed, and nobody has said."""
        return self.state == "open" and self.prepared_id is not None


class Txn(Struct, frozen=True, kw_only=True, gc=False):
    """A transaction of the payment. `asserted` is an operator's word, shown until truth comes."""

    id: str
    type: TransactionType
    origin: Origin
    status: TransactionStatus
    amount_minor: int
    currency: str
    created_at_us: int
    updated_at_us: int
    provider: str | None = None
    provider_txn_id: str | None = None
    reason: str | None = None
    failure: Failure | None = None
    requested_minor: int | None = None
    or_refund: bool = False
    key: e.RequestKey | None = None
    asserted: TransactionStatus | None = None
    fact_at_us: int | None = None
    stray_id: str | None = None

    @property
    def of_stray(self) -> bool:
        """Whether it is about a stray: no business of the payment's own money."""
        return self.stray_id is not None


class Concern(Struct, frozen=True, kw_only=True, gc=False):
    """Why a person was called: by which event (`seq`), and whether they have looked since."""

    code: str
    detail: str
    seq: int
    at_us: int
    seen: bool = False


class Payment(Struct, frozen=True, kw_only=True, gc=False):
    """The whole payment. `txns[0]` is its own; `calls` are in the order of their intent.

    `route` says why it went where it went, and where else it may be tried.
    `seq` is the number of the newest event; `concerns` are the things that a person was called
    for, each once, the newest last, those that were looked at too (as many as there is room for).
    """

    id: str
    created: e.PaymentCreated
    created_at_us: int
    updated_at_us: int
    status: Status
    txns: tuple[Txn, ...]
    calls: tuple[Call, ...] = ()
    fraud: e.FraudScored | None = None
    provider: str | None = None
    provider_txn_id: str | None = None
    failure: Failure | None = None
    concerns: tuple[Concern, ...] = ()
    authorized_minor: int = 0
    captured_minor: int = 0
    released_minor: int = 0
    expires_at_us: int | None = None
    processed_at_us: int | None = None
    seq: int = 1
    network_txn_id: str | None = None
    authentication: Authentication | None = None
    route: Route | None = None

    @property
    def unseen(self) -> tuple[Concern, ...]:
        """What a person should still look at, the newest last."""
        return tuple([concern for concern in self.concerns if not concern.seen])

    @property
    def attention(self) -> str | None:
        """What to look at first: the newest thing; a doubt, which may end by itself, last."""
        if not self.concerns:
            return None  # as nearly always
        codes = [concern.code for concern in self.unseen]
        others = [code for code in codes if code != IN_DOUBT]
        return others[-1] if others else codes[-1] if codes else None

    def call(self, key: str) -> Call | None:
        """The call with this key."""
        for call in self.calls:
            if call.key == key:
                return call
        return None

    def txn(self, transaction_id: str) -> Txn | None:
        """The transaction with this id."""
        for txn in self.txns:
            if txn.id == transaction_id:
                return txn
        return None


def txn_of(payment: Payment, call: Call) -> Txn:
    """The transaction that the call was made for."""
    txn = payment.txn(call.transaction_id)
    assert txn is not None, "every call belongs to a transaction"
    return txn


def is_stray(payment: Payment, call: Call) -> bool:
    """Whether success of this call, said now, is money that the payment does not wait for."""
    if call.verb == "capture":
        return payment.status not in ("authorized", "review")
    return call.charges and call.state == "declined"


def is_release(payment: Payment, call: Call) -> bool:
    """Whether it cancels what an attempt of the payment's own has prepared; no reverse asked it."""
    return call.verb == "void" and call.transaction_id == payment.txns[0].id


def is_own_reverse(txn: Txn) -> bool:
    """Whether it undoes the payment's own charge, whatever id the provider gives that meanwhile."""
    return txn.type == "reverse" and not txn.of_stray


def refused_in_review(payment: Payment) -> Txn | None:
    """The newest reverse of funds that a person, or the time for one, declined; None: not so.

    Who has approved them since, after it had failed, has the last word.
    """
    for txn in reversed(payment.txns):
        if (txn.type, txn.origin) == ("capture", "operator"):
            return None
        if (
            is_own_reverse(txn)
            and txn.origin != "merchant"  # whose reasons are free text
            and txn.reason in (REVIEW_DECLINED, REVIEW_EXPIRED)
        ):
            return txn
    return None
