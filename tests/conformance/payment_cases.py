"""Real payments, driven by real decisions: what the tests of the pure core share.

A `Story` is one payment. It is told what a provider answers, what a webhook reports, what
somebody asks and that time passes, and keeps every event that was decided.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from paygate_actors import correcting, creating, facts, giving_back, operating, preparing
from paygate_actors import events as e
from paygate_actors.desk_messages import GiveBack, MarkNotCharged, MarkSeen
from paygate_actors.draft import Answer, Context, Draft, first_transaction_id
from paygate_actors.evolving import evolve
from paygate_actors.messages import (
    Caller,
    CapturePayment,
    FraudCheck,
    MethodView,
    RefundPayment,
    Refusal,
    ReversePayment,
    ReviewPayment,
    SetTransactionStatus,
)
from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.payment_messages import NotCharged
from paygate_actors.providers.base import Capabilities, ProviderEvent
from paygate_actors.record import Call, Payment, Txn
from paygate_actors.sums import disputed, refunded
from paygate_engine.stores.base import Event

A = TypeVar("A")

PAYMENT_ID: Final = "pay_" + "0" * 26
NOW_US: Final = 1_800_000_000_000_000
SECOND_US: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND_US
PRICE: Final = 10_000
MERCHANT: Final = Caller(role="merchant", merchant="m_1", key_id="key_m")
OPERATOR: Final = Caller(role="operator", merchant="", key_id="key_o")
URL: Final = "https://bank.example/confirm"


class Story:
    """One payment of 100.00 USD with providers `a`, `b` and `c`, and everything decided on it."""

    def __init__(
        self,
        *,
        manual: bool = False,
        review: bool = False,
        blocked: bool = False,
        pin: str | None = None,
        routes: tuple[str, ...] = ("a", "b", "c"),
        two_steps: tuple[str, ...] = (),
    ) -> None:
        self.now_us = NOW_US
        self.routes = routes
        self.two_steps = frozenset(two_steps)
        self.stream: list[tuple[int, e.PaymentEvent]] = []
        self.payment: Payment
        created = e.PaymentCreated(
            merchant="m_1",
            by="key_m",
            transaction_id=first_transaction_id(PAYMENT_ID),
            amount_minor=PRICE,
            currency="USD",
            capture_method="manual" if manual else "automatic",
            method=MethodView(kind="card", brand="visa", last4="4242", token="card_1"),
            livemode=False,
            provider_pin=pin,
        )
        check = FraudCheck(
            transaction_id=created.transaction_id,
            score_milli=900 if blocked else 100,
            risk_level="high" if blocked else "low",
            factors=(),
            blocked=blocked,
            created_at_us=NOW_US,
        )
        self._keep(creating.create(PAYMENT_ID, created, check, review=review, ctx=self.ctx))

    @property
    def ctx(self) -> Context:
        return Context(
            now_us=self.now_us,
            routes=self.routes,
            review_us=24 * HOUR_US,
            key_life_us=24 * HOUR_US,
            in_doubt_flag_us=900 * SECOND_US,
            two_steps=self.two_steps,
        )

    # ------------------------------------------------------------------ what happens

    def answers(self, key: str, outcome: Outcome) -> list[e.PaymentEvent]:
        """The provider answers a call, or a look-up."""

        def answered(draft: Draft) -> None:
            call = draft.payment.call(key)
            assert call is not None, key
            facts.said(draft, call, outcome, self.ctx)

        return self._decide(answered)

    def is_prepared(self, named: str = "ch_1") -> list[e.PaymentEvent]:
        """The provider has made the object of the newest attempt."""

        def made(draft: Draft) -> None:
            call = draft.payment.call(self.charge_key)
            assert call is not None
            preparing.prepared(draft, call, Prepared(provider_txn_id=named))

        return self._decide(made)

    def gives_up(self) -> list[e.PaymentEvent]:
        """The newest attempt is taken back."""

        def given_up(draft: Draft) -> None:
            call = draft.payment.call(self.charge_key)
            assert call is not None
            preparing.give_up(draft, call, self.ctx)

        return self._decide(given_up)

    def reports(self, event: ProviderEvent, *, provider: str = "a") -> list[e.PaymentEvent]:
        """A webhook comes in."""
        return self._decide(lambda draft: facts.reported(draft, event, provider, self.ctx))

    def records(self, fill: Callable[[Draft], None]) -> list[e.PaymentEvent]:
        """What an earlier version decided: this one must go on from it."""
        return self._decide(fill)

    def waits(self, us: int) -> list[e.PaymentEvent]:
        """Time passes, and the payment looks at the clock."""
        self.now_us += us
        return self._decide(lambda draft: facts.passed(draft, self.ctx))

    def capture(self, minor: int | None = None, *, key: e.RequestKey | None = None) -> Answer:
        command = CapturePayment(caller=MERCHANT, payment_id=PAYMENT_ID, amount_minor=minor)
        return self._ask(lambda draft: operating.capture(draft, command, key, self.ctx))

    def refund(
        self,
        minor: int | None = None,
        *,
        reason: str | None = None,
        key: e.RequestKey | None = None,
    ) -> Answer:
        command = RefundPayment(
            caller=MERCHANT, payment_id=PAYMENT_ID, amount_minor=minor, reason=reason
        )
        return self._ask(lambda draft: operating.refund(draft, command, key, self.ctx))

    def reverse(
        self,
        *,
        reason: str | None = None,
        or_refund: bool = False,
        key: e.RequestKey | None = None,
    ) -> Answer:
        command = ReversePayment(
            caller=MERCHANT, payment_id=PAYMENT_ID, reason=reason, or_refund=or_refund
        )
        return self._ask(lambda draft: operating.reverse(draft, command, key, self.ctx))

    def review(self, decision: Any) -> Answer:
        command = ReviewPayment(
            caller=OPERATOR, payment_id=PAYMENT_ID, decision=decision, note="seen"
        )
        return self._ask(lambda draft: operating.review(draft, command))

    def correct(
        self, transaction_id: str, status: Any, fresh: Outcome | None, *, force: bool = False
    ) -> Answer:
        command = SetTransactionStatus(
            caller=OPERATOR,
            transaction_id=transaction_id,
            status=status,
            reason="the bank told us",
            force=force,
        )
        txn = self.payment.txn(transaction_id)
        call = None if txn is None else facts.call_to_ask(self.payment, txn)
        key = None if call is None else call.key
        return self._ask(lambda draft: facts.correct(draft, command, fresh, self.ctx, key=key))

    def not_charged(
        self, fresh: Outcome | None, *, can: Capabilities | None, key: str | None = None
    ) -> Refusal | None:
        """An operator marks the charge as not made, the provider having said `fresh` just now."""
        command = MarkNotCharged(caller=OPERATOR, payment_id=PAYMENT_ID, reason="Not at the bank.")
        message = NotCharged(
            command=command,
            key=key or self.charge_key,
            fresh=fresh,
            asked_at_us=self.now_us,
        )
        return self._ask(lambda draft: correcting.not_charged(draft, message, self.ctx, can))

    def gives_back(self) -> Refusal | None:
        """An operator has it given back again."""
        command = GiveBack(caller=OPERATOR, payment_id=PAYMENT_ID, reason="The bank works again.")
        return self._ask(lambda draft: giving_back.give_back(draft, command))

    def seen(self, *, up_to_seq: int | None = None) -> Refusal | None:
        """An operator has looked."""
        command = MarkSeen(
            caller=OPERATOR, payment_id=PAYMENT_ID, note="Called the bank.", up_to_seq=up_to_seq
        )
        return self._ask(lambda draft: correcting.seen(draft, command))

    # ------------------------------------------------------------------ what is seen

    @property
    def recorded(self) -> list[Event]:
        """The events as the journal holds them."""
        return [
            Event(stream=PAYMENT_ID, seq=seq, at_us=at_us, kind=kind, body=body)
            for seq, (at_us, (kind, body)) in enumerate(
                ((at_us, e.encode(event)) for at_us, event in self.stream), 1
            )
        ]

    @property
    def events(self) -> list[e.PaymentEvent]:
        return [event for _, event in self.stream]

    @property
    def charge_key(self) -> str:
        return next(call.key for call in reversed(self.payment.calls) if call.charges)

    @property
    def newest(self) -> Call:
        return self.payment.calls[-1]

    def open_call(self, *verbs: str) -> Call:
        return next(call for call in self.payment.calls if call.unresolved and call.verb in verbs)

    def txns(self, *types: str) -> list[Txn]:
        return [txn for txn in self.payment.txns if txn.type in types]

    def txn(self, answer: Answer) -> Txn:
        assert answer.transaction_id is not None, answer
        txn = self.payment.txn(answer.transaction_id)
        assert txn is not None
        return txn

    def refolded(self) -> Payment:
        """The payment as its events tell it, read back from their recorded bytes."""
        payment: Payment | None = None
        for at_us, event in self.stream:
            again = e.decode(*e.encode(event))
            payment = evolve(payment, again, id=PAYMENT_ID, at_us=at_us)
        assert payment is not None
        return payment

    def sums(self) -> tuple[str, int, int, int, int, int]:
        """Where the money is: status, authorised, captured, released, refunded, disputed."""
        payment = self.payment
        return (
            payment.status,
            payment.authorized_minor,
            payment.captured_minor,
            payment.released_minor,
            refunded(payment),
            disputed(payment),
        )

    # ------------------------------------------------------------------ deciding

    def _decide(self, fill: Callable[[Draft], None]) -> list[e.PaymentEvent]:
        draft = Draft(PAYMENT_ID, self.payment, self.now_us)
        fill(draft)
        return self._keep(draft)

    def _ask(self, fill: Callable[[Draft], A]) -> A:
        draft = Draft(PAYMENT_ID, self.payment, self.now_us)
        answer = fill(draft)
        self._keep(draft)
        return answer

    def _keep(self, draft: Draft) -> list[e.PaymentEvent]:
        self.stream += [(draft.at_us, event) for event in draft.events]
        if draft.events:
            self.payment = draft.payment
        return draft.events


# ------------------------------------------------------------------ what providers say


def approved(
    txn_id: str = "ch_1", minor: int = PRICE, *, captured: bool = True, currency: str = "USD"
) -> Approved:
    return Approved(provider_txn_id=txn_id, amount=Money(minor, currency), captured=captured)


def held(txn_id: str = "ch_1", minor: int = PRICE) -> Approved:
    return approved(txn_id, minor, captured=False)


def declined(code: str = "card_declined", *, retryable: bool = False) -> Declined:
    return Declined(code=code, retryable=retryable)


NOT_SENT: Final = Declined(code="not_sent", retryable=True, conclusive=False)
TIMEOUT: Final = Unknown(reason="timeout")
NOT_VISIBLE: Final = Unknown(reason="not_visible")
CONFIRM: Final = ActionRequired(
    provider_txn_id="ch_1", url=URL, expires_at_us=NOW_US + 900 * SECOND_US
)
LATER: Final = Pending(provider_txn_id="ch_1", expected_by_us=NOW_US + HOUR_US)

_numbers = itertools.count(1)


def webhook(
    event_type: str,
    txn_id: str = "ch_1",
    *,
    at: int = 1,
    reference: str | None = None,
    parent: str | None = None,
    minor: int | None = None,
    currency: str = "USD",
    won: bool | None = None,
    reason: str | None = None,
    retryable: bool = False,
) -> ProviderEvent:
    """An event `at` seconds after the payment was made, by the provider's clock."""
    return ProviderEvent(
        event_id=f"evt_{next(_numbers)}",
        event_type=event_type,
        provider_txn_id=txn_id,
        reference=reference,
        parent_txn_id=parent,
        amount=None if minor is None else Money(minor, currency),
        dispute_won=won,
        reason=reason,
        retryable=retryable,
        at_us=NOW_US + at * SECOND_US,
    )


# ------------------------------------------------------------------ payments in each state


def requiring_action() -> Story:
    story = Story()
    story.answers(story.charge_key, CONFIRM)
    return story


def in_review() -> Story:
    story = Story(review=True)
    story.answers(story.charge_key, held())
    return story


def authorized() -> Story:
    story = Story(manual=True)
    story.answers(story.charge_key, held())
    return story


def succeeded() -> Story:
    story = Story()
    story.answers(story.charge_key, approved())
    return story


def failed() -> Story:
    story = Story()
    story.answers(story.charge_key, declined())
    return story


def cancelled() -> Story:
    story = succeeded()
    story.reverse()
    story.answers(story.newest.key, approved(captured=False))
    return story


def superseded() -> Story:
    """Declined at `a`, and under way at `b`."""
    story = Story()
    story.answers(story.charge_key, declined("processing_error", retryable=True))
    return story


IN_STATE: Final[dict[str, Callable[[], Story]]] = {
    "processing": Story,
    "requires_action": requiring_action,
    "review": in_review,
    "authorized": authorized,
    "success": succeeded,
    "failed": failed,
    "cancelled": cancelled,
}


def orders(happenings: Iterable[Callable[[Story], object]]) -> list[tuple[Any, ...]]:
    """Every order of the happenings, with each single one of them repeated at the end."""
    plain = list(itertools.permutations(happenings))
    return [(*order, again) for order in plain for again in order]
