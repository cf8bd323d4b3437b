"""The money itself: attempts, failover, doubt, amounts, strays."""

import pytest
from payment_cases import (
    CONFIRM,
    LATER,
    NOT_SENT,
    NOT_VISIBLE,
    PRICE,
    TIMEOUT,
    Story,
    approved,
    declined,
    failed,
    held,
    requiring_action,
    superseded,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.draft import ATTEMPTS_MAX
from paygate_actors.outcomes import Declined, Unknown
from paygate_actors.sums import in_doubt


def test_a_blocked_payment_fails_and_no_provider_hears_of_it():
    story = Story(blocked=True)

    assert story.payment.status == "failed"
    assert story.payment.failure is not None
    assert story.payment.failure.code == "fraud_blocked"
    assert story.payment.calls == ()


@pytest.mark.parametrize(
    ("manual", "review", "verb"),
    [(False, False, "charge"), (True, False, "authorize"), (False, True, "authorize")],
)
def test_funds_are_only_held_where_somebody_has_to_decide(manual: bool, review: bool, verb: str):  # noqa: FBT001
    story = Story(manual=manual, review=review)

    assert [call.verb for call in story.payment.calls] == [verb]
    assert story.payment.status == "processing"


def test_the_intent_is_recorded_before_the_payment_is_processing():
    names = [e.public_name(event) for event in Story().events]

    assert names == [
        "payment_created",
        "fraud_scored",
        "call_started",
        "payment_charge_started",
    ]


# ---------------------------------------------------------------------- failing over


def test_a_retryable_decline_goes_to_the_next_provider_under_a_new_key():
    story = superseded()

    assert [call.provider for call in story.payment.calls] == ["a", "b"]
    assert len({call.key for call in story.payment.calls}) == 2
    assert story.payment.status == "processing"


def test_a_decline_that_is_not_retryable_goes_nowhere():
    story = Story()

    story.answers(story.charge_key, declined("stolen_card"))

    assert story.payment.status == "failed"
    assert len(story.payment.calls) == 1


def test_a_pinned_payment_goes_nowhere_else():
    story = Story(pin="a")

    story.answers(story.charge_key, declined("processing_error", retryable=True))

    assert story.payment.status == "failed"


def test_attempts_have_a_limit_and_no_provider_is_asked_twice():
    story = Story(routes=("a", "a", "b", "c", "d", "e"))

    while story.payment.status == "processing":
        story.answers(story.charge_key, declined("processing_error", retryable=True))

    providers = [call.provider for call in story.payment.calls]
    assert providers == ["a", "b", "c"]
    assert len(providers) == ATTEMPTS_MAX


def test_a_payer_who_was_asked_is_not_asked_again_by_another_provider():
    story = requiring_action()

    story.answers(story.charge_key, declined("processing_error", retryable=True))

    assert story.payment.status == "failed"
    assert len(story.payment.calls) == 1


def test_a_call_that_never_left_goes_to_the_next_provider():
    story = Story()

    story.answers(story.charge_key, NOT_SENT)

    assert [call.provider for call in story.payment.calls] == ["a", "b"]


# ---------------------------------------------------------------------- not known


@pytest.mark.parametrize(
    "reason", ["timeout", "reset", "server_error", "garbage", "in_progress", "restarted"]
)
def test_what_is_not_known_is_in_doubt_and_never_failed(reason: str):
    story = Story()

    story.answers(story.charge_key, Unknown(reason=reason))  # pyright: ignore[reportArgumentType]  # one of the closed set

    assert story.payment.status == "processing"
    assert in_doubt(story.payment)
    assert len(story.payment.calls) == 1


@pytest.mark.parametrize("nothing", [NOT_VISIBLE, NOT_SENT, TIMEOUT])
def test_absence_proves_nothing_however_often_it_is_found(nothing: Unknown | Declined):
    story = Story()
    story.answers(story.charge_key, TIMEOUT)

    for _ in range(50):
        assert story.answers(story.charge_key, nothing) == []

    assert story.payment.status == "processing"
    assert in_doubt(story.payment)


def test_a_refusal_of_this_request_says_nothing_of_one_that_the_provider_took_on():
    story = Story()
    story.answers(story.charge_key, LATER)

    assert story.answers(story.charge_key, NOT_SENT) == []
    assert story.payment.status == "processing"


@pytest.mark.parametrize("says", [approved(), declined(), CONFIRM, LATER])
def test_whatever_is_said_ends_the_doubt(says: object):
    story = Story()
    story.answers(story.charge_key, TIMEOUT)

    story.answers(story.charge_key, says)  # pyright: ignore[reportArgumentType]  # a union's members

    assert not in_doubt(story.payment)


# ---------------------------------------------------------------------- amounts


@pytest.mark.parametrize(
    "said",
    [
        approved(minor=PRICE - 1),
        approved(minor=PRICE + 1),
        approved(currency="EUR"),
    ],
)
def test_another_amount_or_currency_is_booked_undone_and_never_a_success(said: object):
    story = Story()

    story.answers(story.charge_key, said)  # pyright: ignore[reportArgumentType]  # a union's member

    assert story.payment.status == "processing"
    assert story.payment.attention == "amount_mismatch"
    void = story.open_call("void")
    assert void.amount_minor == story.payment.captured_minor
    story.answers(void.key, approved(minor=void.amount_minor, captured=False))
    assert story.payment.status == "cancelled"
    assert story.payment.failure is not None
    assert story.payment.failure.code == "amount_mismatch"
    assert story.payment.captured_minor == 0


@pytest.mark.parametrize(("minor", "currency"), [(PRICE - 1, "USD"), (PRICE, "EUR")])
def test_an_event_that_differs_from_the_answer_calls_a_person(minor: int, currency: str):
    story = Story()
    story.answers(story.charge_key, approved())

    story.reports(
        webhook("payment.succeeded", reference=story.charge_key, minor=minor, currency=currency)
    )

    assert story.payment.status == "success"
    assert story.payment.attention == "amount_mismatch"


def test_a_wrong_amount_that_cannot_be_voided_any_more_is_refunded_as_a_whole():
    story = Story()
    story.answers(story.charge_key, approved(minor=PRICE + 1))
    story.answers(story.newest.key, declined("already_settled"))

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1)
    story.answers(story.newest.key, approved("re_1", PRICE + 1))
    assert story.payment.status == "cancelled"
    assert story.txns("refund") == []


# ---------------------------------------------------------------------- strays


@pytest.mark.parametrize("said", [approved(), held(), approved(minor=1)])
def test_success_of_a_failed_attempt_is_booked_and_given_back_and_moves_nothing(said: object):
    story = failed()

    story.answers(story.charge_key, said)  # pyright: ignore[reportArgumentType]  # a union's member

    assert story.payment.status == "failed"
    assert story.payment.attention == "stray_charge"
    (stray,) = story.txns("stray")
    (reverse,) = story.txns("reverse")
    assert (stray.status, stray.origin) == ("success", "provider")
    assert (reverse.origin, reverse.amount_minor) == ("system", stray.amount_minor)
    story.answers(story.open_call("void").key, approved(minor=stray.amount_minor, captured=False))
    assert story.txns("reverse")[0].status == "success"
    assert story.payment.status == "failed"
    assert story.payment.captured_minor == 0


def test_a_stray_that_is_settled_already_is_refunded_under_a_key_of_its_own():
    story = failed()
    story.answers(story.charge_key, approved())
    void = story.open_call("void")

    story.answers(void.key, declined("already_settled"))

    refund = story.open_call("refund")
    assert refund.key != void.key
    story.answers(refund.key, approved("re_1"))
    assert story.txns("reverse")[0].status == "success"


def test_a_payer_who_confirms_after_the_void_is_given_the_money_back():
    story = requiring_action()
    story.reverse()
    story.answers(story.newest.key, approved(captured=False))

    story.reports(webhook("payment.succeeded", reference=story.charge_key))

    assert story.payment.status == "cancelled"
    assert len(story.txns("stray")) == 1
    assert story.open_call("void").target == "ch_1"
