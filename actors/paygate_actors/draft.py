"""A decision in the making: the events so far, and the payment as it will be after them.

Deciding is pure: a draft is made from a payment, filled, and read out; nothing outside of it is
touched. Each event is folded as it is added, so that what is decided next sees it.
"""

import hashlib
from typing import Final

from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.evolving import evolve
from paygate_actors.messages import (
    Failure,
    Origin,
    PaymentView,
    Refusal,
    TransactionStatus,
    TransactionType,
)
from paygate_actors.record import Call, Payment
from paygate_actors.route import Route
from paygate_actors.states import Fact, moves
from paygate_actors.views import payment_view
from paygate_engine.ids import Ids

# A charge goes to this many providers at most: a payer waits, and the issuer sees each decline.
ATTEMPTS_MAX: Final = 3


class Context(Struct, frozen=True, kw_only=True):
    """What a decision may know of the world: the time, and where new charges may go, best first.

    `review_us`: how long funds are held for a person. `key_life_us`: how long an idempotency key
    binds after its operation is over. `in_doubt_flag_us`: when a person is called. `two_steps`:
    the providers where a charge is prepared before it is confirmed. `epoch`: the node's.
    `route`: with a new payment, why `routes` are what they are. `soft_retries`: how many soft
    declines of this payment's card may still be tried elsewhere today.
    """

    now_us: int
    routes: tuple[str, ...] = ()
    review_us: int = 0
    key_life_us: int = 0
    in_doubt_flag_us: int = 0
    two_steps: frozenset[str] = frozenset()
    epoch: int = 0
    route: Route | None = None
    soft_retries: int = 0


class Answer(Struct, frozen=True, kw_only=True):
    """What the caller hears of a command, once its events are durable."""

    transaction_id: str | None = None
    replayed: bool = False
    refusal: Refusal | None = None


class Draft:
    """Events decided upon at `at_us`, and the payment after them; `before`: None for a creation.

    `epoch` is that of the node which decides.
    """

    __slots__ = ("_id", "_view", "at_us", "before", "epoch", "events", "payment")

    payment: Payment
    """The payment with everything decided so far; there is none before its creation is added."""

    def __init__(
        self, payment_id: str, before: Payment | None, at_us: int, *, epoch: int = 0
    ) -> None:
        self.before = before
        self.events: list[e.PaymentEvent] = []
        if before is not None:
            self.payment = before
        self._view: PaymentView | None = None
        self._id = payment_id
        self.at_us = at_us
        self.epoch = epoch

    @property
    def view(self) -> PaymentView:
        """How that payment is shown: to lists, to the merchant, to who asked. Built once."""
        if self._view is None:
            self._view = payment_view(self.payment)
        return self._view

    def add(self, event: e.PaymentEvent) -> None:
        """Decide that this happened."""
        known = self.payment if self.events else self.before
        self.payment = evolve(known, event, id=self._id, at_us=self.at_us, epoch=self.epoch)
        self._view = None
        self.events.append(event)

    def move(
        self, fact: Fact, *, failure: Failure | None = None, expires_at_us: int | None = None
    ) -> bool:
        """Move the payment where the table allows it; False, and nothing, where it does not."""
        if not moves(self.payment.status, fact):
            return False
        self.add(e.Moved(fact=fact, failure=failure, expires_at_us=expires_at_us))
        return True

    def attend(self, code: str, detail: str = "") -> None:
        """Call a person, once for each thing: the reason and what exactly it is about."""
        known = {(concern.code, concern.detail) for concern in self.payment.concerns}
        if (code, detail) not in known:
            self.add(e.AttentionRaised(code=code, detail=detail))

    def start_call(
        self,
        transaction_id: str,
        verb: e.Verb,
        *,
        provider: str,
        amount_minor: int,
        target: str | None = None,
        prepares: bool = False,
        route: Route | None = None,
    ) -> None:
        """Write the intent to call a provider, under a key that nothing else will ever use."""
        number = 1 + sum(call.transaction_id == transaction_id for call in self.payment.calls)
        self.add(
            e.CallStarted(
                key=f"{transaction_id}-{number}",
                transaction_id=transaction_id,
                verb=verb,
                provider=provider,
                amount_minor=amount_minor,
                target=target,
                prepares=prepares,
                route=route,
            )
        )

    def open_transaction(
        self,
        type: TransactionType,  # noqa: A002  # the field's word
        *,
        origin: Origin,
        by: str,
        amount_minor: int,
        currency: str | None = None,
        status: TransactionStatus = "pending",
        provider: str | None = None,
        provider_txn_id: str | None = None,
        reason: str | None = None,
        requested_minor: int | None = None,
        or_refund: bool = False,
        key: e.RequestKey | None = None,
        fact_at_us: int | None = None,
        stray_id: str | None = None,
    ) -> str:
        """Open a transaction beside the payment's own, in its currency by default; its id."""
        number = len(self.payment.txns)
        transaction_id = _transaction_id(self._id, number=number, at_us=self.at_us)
        self.add(
            e.TransactionOpened(
                id=transaction_id,
                type=type,
                origin=origin,
                by=by,
                amount_minor=amount_minor,
                currency=currency or self.payment.created.currency,
                status=status,
                provider=provider,
                provider_txn_id=provider_txn_id,
                reason=reason,
                requested_minor=requested_minor,
                or_refund=or_refund,
                key=key,
                fact_at_us=fact_at_us,
                stray_id=stray_id,
            )
        )
        return transaction_id

    def settle(
        self, transaction_id: str, status: TransactionStatus, failure: Failure | None = None
    ) -> None:
        """Bring a transaction to an end."""
        self.add(e.TransactionSettled(id=transaction_id, status=status, failure=failure))

    def approve(
        self, call: Call, *, provider_txn_id: str, minor: int, currency: str, captured: bool = False
    ) -> None:
        """Record that the provider did what the call asked for."""
        self.add(
            e.CallApproved(
                key=call.key,
                provider_txn_id=provider_txn_id,
                amount_minor=minor,
                currency=currency,
                captured=captured,
            )
        )


def first_transaction_id(payment_id: str) -> str:
    """The id of a payment's own transaction: the same letters, so that either names the other."""
    return "txn" + payment_id[payment_id.index("_") :]


def payment_of_first(transaction_id: str) -> str:
    """The payment whose own transaction this would be."""
    return "pay" + transaction_id[transaction_id.index("_") :]


def _transaction_id(payment_id: str, *, number: int, at_us: int) -> str:
    # Derived, not drawn: a decision is pure, and the payment's own id brings the randomness.
    digest = hashlib.blake2b(f"{payment_id}/{number}".encode(), digest_size=16).digest()
    return Ids.compose("txn", at_us=at_us, entropy=int.from_bytes(digest, "big"))
