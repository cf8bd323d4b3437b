"""Sums over a payment's transactions, each against a list that is added up by hand."""

import pytest
from msgspec.structs import replace
from payment_cases import CONFIRM, LATER, TIMEOUT, Story, approved, succeeded

from paygate_actors.record import Payment, Txn
from paygate_actors.sums import (
    asserted,
    charge_of,
    disputed,
    expected_by_us,
    in_doubt,
    left_to_refund,
    open_txn,
    refunded,
    refunds_reserved,
    returned,
    unclear,
    unresolved,
)

# type, status, minor units: every pair of type and status with a digit of its own.
LEDGER = (
    ("refund", "success", 1),
    ("refund", "pending", 20),
    ("refund", "failed", 300),
    ("return", "success", 4),
    ("return", "pending", 50),
    ("return", "failed", 600),
    ("chargeback", "success", 700),
    ("chargeback", "pending", 80),
    ("chargeback", "failed", 9_000),
    ("chargeback_reversal", "success", 500),
    ("chargeback_reversal", "pending", 60),
    ("chargeback_reversal", "failed", 7_000),
)


def txn(type: str, status: str, minor: int, **changes: object) -> Txn:  # noqa: A002
    made = Txn(
        id=f"txn_{type}_{status}",
        type=type,  # pyright: ignore[reportArgumentType]  # the union's words
        origin="provider",
        status=status,  # pyright: ignore[reportArgumentType]
        amount_minor=minor,
        currency="USD",
        created_at_us=1,
        updated_at_us=1,
    )
    return replace(made, **changes)


def holding(*txns: Txn) -> Payment:
    """A captured payment of 100.00 USD with these transactions beside its own."""
    payment = succeeded().payment
    return replace(payment, txns=(payment.txns[0], *txns))


PAYMENT = holding(*(txn(*row) for row in LEDGER))


def test_refunded_is_what_was_refunded_for_certain():
    assert refunded(PAYMENT) == 1


def test_reserved_is_what_was_or_is_being_refunded():
    assert refunds_reserved(PAYMENT) == 21


def test_returned_is_what_the_bank_took_back_for_certain():
    assert returned(PAYMENT) == 4


def test_disputed_is_what_is_or_was_taken_less_what_came_back():
    assert disputed(PAYMENT) == 700 + 80 - 500


def test_what_is_left_to_refund_is_the_captured_less_all_that_went_or_may_go():
    assert left_to_refund(PAYMENT) == 10_000 - 21 - 4 - 280


def test_what_is_left_to_refund_is_never_below_nothing():
    assert left_to_refund(holding(txn("return", "success", 10_001))) == 0
    assert left_to_refund(holding(txn("return", "success", 10_000))) == 0
    assert left_to_refund(holding(txn("return", "success", 9_999))) == 1


def test_money_of_another_currency_or_of_a_stray_adds_to_nothing():
    foreign = txn("refund", "success", 5, currency="EUR")
    stray = txn("refund", "success", 7, stray_id="txn_9")

    assert refunded(holding(foreign, stray, txn("refund", "success", 11))) == 11


def test_an_open_transaction_is_the_first_pending_one_of_its_types():
    first = txn("refund", "pending", 1, id="txn_first")
    second = txn("refund", "pending", 2, id="txn_second")
    of_stray = txn("refund", "pending", 3, id="txn_stray", stray_id="txn_9")
    payment = holding(txn("refund", "success", 4), of_stray, txn("capture", "pending", 5))

    assert open_txn(payment, "refund") is None
    assert open_txn(holding(*payment.txns[1:], first, second), "refund", "reversal") == first


def test_the_payments_own_transaction_is_not_counted_as_open():
    assert Story().payment.txns[0].status == "pending"
    assert open_txn(Story().payment, "payment") is None


def test_the_charge_is_the_newest_attempt_at_the_money():
    story = succeeded()
    first = story.newest
    story.refund(5)

    assert charge_of(story.payment) == first
    assert charge_of(replace(story.payment, calls=())) is None


def test_doubt_about_any_call_is_doubt_about_the_payment():
    story = succeeded()
    story.refund(5)
    refund = story.newest.key
    assert not in_doubt(story.payment)

    story.answers(refund, TIMEOUT)

    assert in_doubt(story.payment)
    assert [call.key for call in unresolved(story.payment)] == [refund]


def test_what_nobody_has_answered_and_what_is_in_doubt_is_unclear():
    story = succeeded()
    assert unclear(story.payment) == ()

    story.refund(5)
    refund = story.newest.key
    assert [call.key for call in unclear(story.payment)] == [refund]

    story.answers(refund, LATER)
    assert unclear(story.payment) == ()

    doubted = tuple(replace(call, in_doubt=call.key == refund) for call in story.payment.calls)
    assert [call.key for call in unclear(replace(story.payment, calls=doubted))] == [refund]


def test_an_operators_word_counts_for_the_calls_of_its_transaction_alone():
    story = succeeded()
    story.refund(5)
    charge, refund = story.payment.calls
    own, refunding = story.payment.txns
    payment = replace(story.payment, txns=(own, replace(refunding, asserted="failed")))

    assert asserted(payment, refund)
    assert not asserted(payment, charge)
    assert not asserted(replace(payment, txns=(own,)), refund)


def test_nothing_is_unresolved_when_every_provider_has_said_its_last_word():
    assert unresolved(succeeded().payment) == ()


def test_when_the_provider_will_be_done_is_known_while_it_is_not():
    story = Story()
    assert expected_by_us(story.payment) is None

    story.answers(story.charge_key, LATER)
    assert expected_by_us(story.payment) == LATER.expected_by_us

    story.answers(story.charge_key, approved())
    assert expected_by_us(story.payment) is None


@pytest.mark.parametrize("outcome", [CONFIRM, TIMEOUT])
def test_an_answer_that_promises_no_time_gives_none(outcome: object):
    story = Story()

    story.answers(story.charge_key, outcome)  # pyright: ignore[reportArgumentType]

    assert expected_by_us(story.payment) is None
