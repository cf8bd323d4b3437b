"""The traps that a first gateway falls into, as far as the core can: one test for each.

1. Money as a float; two decimals for every currency.
2. A result that finds its payment by an equal amount.
3. An idempotency key made of amount and currency: two purchases become one.
4. A key that is checked first and set later; that never ends; that binds no request.
5. Webhooks that overwrite final states and count twice.
6. Refunds that forget the earlier ones, and are successful by assumption.
7. Card numbers in payments and audit.
8. A fraud score that is computed twice, under an id that nobody can look up.
9. A crash loses payments and their audit.
11. No word for what is refunded in part, held, or not known.
"""

from decimal import Decimal

import msgspec
import pytest
from payment_cases import (
    HOUR_US,
    NOW_US,
    PAYMENT_ID,
    PRICE,
    TIMEOUT,
    Story,
    approved,
    authorized,
    declined,
    failed,
    held,
    succeeded,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.draft import Draft, first_transaction_id, payment_of_first
from paygate_actors.evolving import evolve
from paygate_actors.messages import FraudCheck, MethodView, PaymentView
from paygate_actors.money import Money
from paygate_actors.projection import Cause, fraud_document, unit
from paygate_actors.record import Payment
from paygate_actors.sums import left_to_refund
from paygate_actors.views import payment_view

KEY = e.RequestKey(name="m_1\x1fkey", mac="first")


# ---------------------------------------------------------------------- 1. money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("0.29", "USD", 29),
        ("9999999.99", "USD", 999_999_999),
        ("1.005", "KWD", 1_005),
        ("99999999999", "JPY", 99_999_999_999),
    ],
)
def test_trap_1_money_is_exact_in_every_currency(text: str, currency: str, minor: int):
    assert Money.parse(text, currency) == Money(minor, currency)
    assert Money(minor, currency).to_decimal() == Decimal(text)


def test_trap_1_no_sum_of_a_payment_is_ever_a_float():
    with pytest.raises(TypeError, match="integer"):
        Money(100.0, "USD")  # pyright: ignore[reportArgumentType]  # the point of the test
    for field in msgspec.structs.fields(PaymentView):
        if field.name.endswith("_minor"):
            assert field.type is int


# ---------------------------------------------------------------------- 2. equal amounts


def other_payment(story: Story) -> Payment:
    """Another customer's payment of the same amount at the same provider."""
    payment_id = "pay_" + "1" * 26
    created = msgspec.structs.replace(
        story.payment.created, transaction_id=first_transaction_id(payment_id)
    )
    return evolve(None, created, id=payment_id, at_us=NOW_US)


def test_trap_2_a_result_finds_its_payment_by_key_and_never_by_an_equal_amount():
    mine, theirs = Story(), Story()
    foreign = first_transaction_id("pay_" + "1" * 26) + "-1"

    mine.reports(webhook("payment.succeeded", "ch_2", reference=foreign, minor=PRICE))

    assert mine.payment == theirs.payment
    assert other_payment(mine).txns[0].id != mine.payment.txns[0].id


def test_trap_2_a_key_names_its_payment():
    story = Story()

    transaction_id = story.charge_key.rpartition("-")[0]

    assert payment_of_first(transaction_id) == PAYMENT_ID


# ---------------------------------------------------------------------- 3., 4. keys


def test_trap_3_two_refunds_of_one_amount_without_keys_are_two_refunds():
    story = succeeded()

    first, second = story.refund(1_000), story.refund(1_000)

    assert first.transaction_id != second.transaction_id
    assert left_to_refund(story.payment) == PRICE - 2_000


def test_trap_4_the_key_is_part_of_what_it_guards_and_not_set_afterwards():
    story = succeeded()

    story.refund(1_000, key=KEY)

    opened = [event for event in story.events if isinstance(event, e.TransactionOpened)]
    assert [event.key for event in opened] == [KEY]


def test_trap_4_a_key_binds_its_request_and_ends():
    story = succeeded()
    first = story.refund(1_000, key=KEY)
    story.answers(story.newest.key, approved("re_1", 1_000))

    other = story.refund(2_000, key=e.RequestKey(name=KEY.name, mac="other"))
    assert other.refusal is not None
    assert other.refusal.code == "idempotency_key_reused"

    story.waits(24 * HOUR_US + 1)
    assert story.refund(1_000, key=KEY).transaction_id != first.transaction_id


# ---------------------------------------------------------------------- 5. webhooks


@pytest.mark.parametrize("kind", ["payment.failed", "payment.authorized"])
def test_trap_5_a_webhook_never_moves_a_payment_backwards(kind: str):
    story = succeeded()

    story.reports(webhook(kind, reference=story.charge_key, at=0))

    assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)


def test_trap_5_a_webhook_that_comes_twice_counts_once():
    story = succeeded()
    event = webhook("refund.succeeded", "re_p", parent="ch_1", minor=1_000)

    story.reports(event)
    again = story.reports(event)

    assert again == []
    assert story.sums()[4] == 1_000


def test_trap_5_a_failure_does_not_overwrite_a_success_nor_a_success_a_failure():
    story = failed()

    story.reports(webhook("payment.succeeded", reference=story.charge_key, minor=PRICE))

    assert story.payment.status == "failed"
    assert [txn.type for txn in story.payment.txns] == ["payment", "stray", "reverse"]


# ---------------------------------------------------------------------- 6. refunds


def test_trap_6_refunds_add_up_whether_over_or_under_way():
    story = succeeded()
    story.refund(6_000)
    story.answers(story.newest.key, approved("re_1", 6_000))
    story.refund(3_000)

    refused = story.refund(1_001).refusal

    assert refused is not None
    assert refused.code == "refund_exceeds_remaining"


def test_trap_6_a_refund_is_pending_until_the_provider_says_otherwise():
    story = succeeded()
    refund = story.refund()

    story.answers(story.newest.key, TIMEOUT)
    story.waits(HOUR_US)

    assert story.txn(refund).status == "pending"
    assert payment_view(story.payment).amount_refunded_minor == 0
    assert payment_view(story.payment).in_doubt


# ---------------------------------------------------------------------- 7. cards


def test_trap_7_nothing_that_is_recorded_of_a_method_has_room_for_a_card_number():
    shown = {field.name for field in msgspec.structs.fields(MethodView)}

    assert shown == {
        "kind",
        "brand",
        "last4",
        "expiry_month",
        "expiry_year",
        "holder_name",
        "wallet_id",
        "token",
    }


# ---------------------------------------------------------------------- 8. fraud


def test_trap_8_the_score_that_decided_is_recorded_once_under_the_payments_own_transaction():
    story = Story()
    scored = [event for event in story.events if isinstance(event, e.FraudScored)]
    check = FraudCheck(
        transaction_id=story.payment.txns[0].id,
        score_milli=scored[0].score_milli,
        risk_level="low",
        factors=(),
        blocked=False,
        created_at_us=NOW_US,
    )

    document = fraud_document("m_1", check)

    assert len(scored) == 1
    assert document.id == payment_view(story.payment).transaction_id
    assert payment_view(story.payment).fraud_score_milli == scored[0].score_milli


# ---------------------------------------------------------------------- 11. words


def test_trap_11_there_is_a_word_for_every_way_that_money_can_be():
    partly = succeeded()
    partly.refund(1)
    partly.answers(partly.newest.key, approved("re_1", 1))
    unknown = Story()
    unknown.answers(unknown.charge_key, TIMEOUT)
    on_hold = authorized()

    assert payment_view(partly.payment).amount_refunded_minor == 1
    assert payment_view(partly.payment).status == "success"
    assert (payment_view(unknown.payment).status, payment_view(unknown.payment).in_doubt) == (
        "processing",
        True,
    )
    assert payment_view(on_hold.payment).status == "authorized"
    assert payment_view(on_hold.payment).amount_captured_minor == 0


# ---------------------------------------------------------------------- 9. losing nothing


def test_trap_9_a_payment_read_back_from_its_journal_is_the_payment():
    story = Story()
    story.answers(story.charge_key, declined("processing_error", retryable=True))
    story.answers(story.charge_key, held("ch_b"))
    story.answers(story.charge_key, approved("ch_b"))
    story.answers(story.payment.calls[0].key, approved("ch_a"))
    story.refund(1)

    assert story.refolded() == story.payment


def test_trap_9_what_is_decided_and_its_audit_are_one_unit():
    story = Story()
    draft = Draft(PAYMENT_ID, None, NOW_US)
    for event in story.events:
        draft.add(event)

    committed = unit(draft, seq=0, at_us=NOW_US, cause=Cause(who="key:k", what="process"))

    assert len(committed.events) == len(story.events)
    assert [entry.who for entry in committed.audit] == ["key:k"]
