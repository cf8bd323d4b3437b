"""Whatever is asked and reported, in whatever order: what must hold of every payment."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from payment_cases import (
    CONFIRM,
    HOUR_US,
    LATER,
    NOT_SENT,
    NOT_VISIBLE,
    PRICE,
    SECOND_US,
    TIMEOUT,
    Story,
    approved,
    declined,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.record import Call, Payment
from paygate_actors.states import FINAL, TRANSITIONS
from paygate_actors.sums import open_txn, refunds_reserved
from paygate_actors.views import payment_view, transaction_view

AMOUNTS = st.sampled_from([1, 3_000, 7_000, PRICE, PRICE + 1])
KINDS = (
    "payment.succeeded",
    "payment.authorized",
    "payment.failed",
    "payment.cancelled",
    "refund.succeeded",
    "refund.failed",
)


def truths(call: Call) -> st.SearchStrategy[Any]:
    """What a provider may answer to a call, sense and nonsense."""
    txn_id = call.target if call.target and call.verb != "refund" else f"at_{call.key}"
    minor = st.sampled_from([call.amount_minor, call.amount_minor, call.amount_minor, 1])
    return st.one_of(
        st.builds(approved, st.just(txn_id), minor, captured=st.booleans()),
        st.builds(approved, st.just(txn_id), minor, currency=st.sampled_from(["USD", "EUR"])),
        st.builds(
            declined,
            st.sampled_from(
                ["card_declined", "already_settled", "cancelled", "charge_cancelled", "refused"]
            ),
            retryable=st.booleans(),
        ),
        st.sampled_from([NOT_SENT, TIMEOUT, NOT_VISIBLE, CONFIRM, LATER]),
    )


class AnyPayment(RuleBasedStateMachine):
    """Commands and facts at random on one payment."""

    story: Story
    ended: set[str]

    @initialize(manual=st.booleans(), review=st.booleans(), pin=st.sampled_from([None, "a"]))
    def begin(self, manual: bool, review: bool, pin: str | None) -> None:  # noqa: FBT001  # hypothesis calls by name
        self.story = Story(manual=manual, review=review, pin=pin)
        self.seen = 0
        self.ended = set()

    # ------------------------------------------------------------------ facts

    @rule(data=st.data())
    def a_call_is_answered(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.story.payment.calls))
        self.story.answers(call.key, data.draw(truths(call)))

    @precondition(lambda self: any(call.unresolved for call in self.story.payment.calls))
    @rule(data=st.data())
    def an_open_call_goes_well(self, data: st.DataObject) -> None:
        open_calls = [call for call in self.story.payment.calls if call.unresolved]
        call = data.draw(st.sampled_from(open_calls))
        txn_id = call.target if call.target and call.verb != "refund" else f"at_{call.key}"
        captured = call.verb in ("charge", "capture")
        self.story.answers(call.key, approved(txn_id, call.amount_minor, captured=captured))

    @rule(data=st.data(), kind=st.sampled_from(KINDS), at=st.integers(0, 5), bare=st.booleans())
    def a_call_is_reported(self, data: st.DataObject, kind: str, at: int, bare: bool) -> None:  # noqa: FBT001
        call = data.draw(st.sampled_from(self.story.payment.calls))
        txn_id = call.provider_txn_id or f"at_{call.key}"
        event = webhook(
            kind,
            txn_id,
            at=at,
            reference=None if bare else call.key,
            parent=call.target,
            minor=None if bare else data.draw(st.sampled_from([call.amount_minor, 1])),
            retryable=data.draw(st.booleans()),
        )
        self.story.reports(event, provider=call.provider)
        self.story.reports(event, provider=call.provider)

    @rule(
        kind=st.sampled_from(["dispute.opened", "dispute.closed", "refund.succeeded"]),
        at=st.integers(0, 5),
        won=st.booleans(),
        minor=AMOUNTS,
    )
    def the_bank_or_the_provider_acts(self, kind: str, at: int, won: bool, minor: int) -> None:  # noqa: FBT001
        txn_id = self.story.payment.provider_txn_id or "ch_x"
        won_at_last = won if kind == "dispute.closed" else None
        event = webhook(kind, txn_id, at=at, minor=minor, won=won_at_last)
        self.story.reports(event, provider=self.story.payment.provider or "a")

    @rule(us=st.sampled_from([SECOND_US, HOUR_US, 25 * HOUR_US]))
    def time_passes(self, us: int) -> None:
        self.story.waits(us)

    # ------------------------------------------------------------------ commands

    @rule(minor=st.none() | AMOUNTS)
    def a_capture_is_asked(self, minor: int | None) -> None:
        self.refused_or_within(self.story.capture(minor), self.story.payment.authorized_minor)

    @rule(minor=st.none() | AMOUNTS)
    def a_refund_is_asked(self, minor: int | None) -> None:
        self.refused_or_within(self.story.refund(minor), self.story.payment.captured_minor)

    @rule(or_refund=st.booleans())
    def a_reverse_is_asked(self, or_refund: bool) -> None:  # noqa: FBT001
        before = self.story.payment

        answer = self.story.reverse(or_refund=or_refund)

        if answer.refusal is None:
            assert before.status not in ("failed", "cancelled")
            assert open_txn(before, "reverse", "capture", "refund") is None

    @rule(decision=st.sampled_from(["approve", "decline"]))
    def a_person_decides(self, decision: str) -> None:
        self.story.review(decision)

    @rule(data=st.data(), status=st.sampled_from(["success", "failed", "cancelled"]))
    def an_operator_corrects(self, data: st.DataObject, status: str) -> None:
        txn = data.draw(st.sampled_from(self.story.payment.txns))
        before = self.story.payment

        answer = self.story.correct(txn.id, status, None, force=data.draw(st.booleans()))

        if answer.refusal is None:
            assert self.story.payment.status == before.status
            assert refunds_reserved(self.story.payment) == refunds_reserved(before)

    def refused_or_within(self, answer: Any, limit: int) -> None:
        if answer.refusal is None:
            assert 0 < self.story.txn(answer).amount_minor <= limit

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def the_sums_are_in_order_or_a_person_is_called(self) -> None:
        payment = self.story.payment
        within = (
            0 <= payment.captured_minor <= payment.authorized_minor
            and 0 <= refunds_reserved(payment) <= payment.captured_minor
            and payment.released_minor >= 0
        )
        raised = any(isinstance(event, e.AttentionRaised) for event in self.story.events)
        assert within or raised, self.story.sums()

    @invariant()
    def a_key_is_used_once(self) -> None:
        keys = [ev.key for ev in self.story.events if isinstance(ev, e.CallStarted)]
        ids = [txn.id for txn in self.story.payment.txns]
        assert len(keys) == len(set(keys))
        assert len(ids) == len(set(ids))

    @invariant()
    def one_operation_is_open_at_a_time(self) -> None:
        payment = self.story.payment
        pending = [
            txn
            for txn in payment.txns[1:]
            if txn.status == "pending" and txn.type in ("capture", "reverse") and not txn.of_stray
        ]
        charges = [call for call in payment.calls if call.charges and call.unresolved]
        assert len(charges) <= 1
        # A capture of another amount that we held as declined is undone at once, whatever else
        # was asked for since.
        undoing = [txn for txn in pending if txn.reason == "amount_mismatch"]
        assert len(pending) <= 1 or (len(undoing) == 1 and len(pending) == 2)

    @invariant()
    def nothing_is_over_while_its_charge_may_succeed(self) -> None:
        payment = self.story.payment
        if payment.status in ("failed", "cancelled"):
            assert not any(call.charges and call.unresolved for call in payment.calls)

    @invariant()
    def the_payment_moves_by_the_table_and_ends_once(self) -> None:
        status = "pending"
        for event in self.story.events:
            if isinstance(event, e.Moved):
                status = TRANSITIONS[status][event.fact]  # pyright: ignore[reportArgumentType]
        assert status == self.story.payment.status
        for final in self.ended:
            assert status == final or (final, status) == ("success", "cancelled")
        if status in FINAL:
            self.ended.add(status)

    @invariant()
    def the_first_transaction_follows_the_payment(self) -> None:
        payment = self.story.payment
        word = payment.status if payment.status in FINAL else "pending"
        assert payment.txns[0].status == word
        assert (payment.processed_at_us is not None) == (payment.status in FINAL)

    @invariant()
    def every_stray_is_being_given_back(self) -> None:
        payment = self.story.payment
        for stray in (txn for txn in payment.txns if txn.type == "stray"):
            (reverse,) = (txn for txn in payment.txns if txn.reason == f"stray {stray.id}")
            assert any(call.transaction_id == reverse.id for call in payment.calls)

    @invariant()
    def the_events_tell_the_same_payment(self) -> None:
        assert self.story.refolded() == self.story.payment

    @invariant()
    def what_is_shown_can_be_shown(self) -> None:
        payment: Payment = self.story.payment
        view = payment_view(payment)
        assert view.in_doubt == any(call.in_doubt for call in payment.calls)
        for txn in payment.txns:
            assert transaction_view(payment, txn).payment_id == payment.id

    @invariant()
    def a_pending_transaction_has_something_under_way_or_waits_for_the_charge(self) -> None:
        payment = self.story.payment
        for txn in payment.txns[1:]:
            if txn.status != "pending" or txn.type == "chargeback":
                continue
            under_way = any(c.unresolved and c.transaction_id == txn.id for c in payment.calls)
            charging = any(c.charges and c.unresolved for c in payment.calls)
            assert under_way or (txn.type == "reverse" and charging), txn


AnyPayment.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.slow
class TestAnyPayment(AnyPayment.TestCase):
    """Run by hypothesis, which prints how to repeat a failing case."""
