"""An operator says that a charge was not made: what the provider says counts, silence does not."""

from collections.abc import Callable

import pytest
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
    authorized,
    cancelled,
    declined,
    failed,
    held,
    succeeded,
)

from paygate_actors.messages import Refusal
from paygate_actors.outcomes import Outcome, Unknown
from paygate_actors.providers.base import Capabilities
from paygate_actors.pursuit import KEY_WINDOW_MARGIN_S
from paygate_actors.views import payment_view

CAN = Capabilities(
    deadline_s=2.0, key_window_s=24 * 3_600, find_lag_s=2.0, ask_first_s=1.0, ask_max_s=5.0
)
WINDOW_US = 24 * HOUR_US
MARGIN_US = round(KEY_WINDOW_MARGIN_S) * SECOND_US
SLOW_TO_SEE = Capabilities(
    deadline_s=2.0, key_window_s=24 * 3_600, find_lag_s=7_200.0, ask_first_s=1.0, ask_max_s=5.0
)


def doubted(*, age_us: int = SECOND_US, manual: bool = False) -> Story:
    story = Story(manual=manual)
    story.answers(story.charge_key, TIMEOUT)
    story.now_us += age_us
    return story


def code_of(refusal: Refusal | None) -> str | None:
    return None if refusal is None else refusal.code


@pytest.mark.parametrize("said", [declined(), declined("cancelled")])
def test_the_providers_no_settles_it_by_the_providers_word(said: Outcome):
    story = doubted()

    assert story.not_charged(said, can=CAN) is None

    assert story.payment.status in ("failed", "cancelled")
    assert story.payment.txns[0].asserted is None


def test_a_decline_that_others_might_take_is_tried_nowhere_else():
    story = doubted()

    assert story.not_charged(declined("processing_error", retryable=True), can=CAN) is None

    assert story.payment.status == "failed"
    assert len(story.payment.calls) == 1


@pytest.mark.parametrize(
    ("said", "status"),
    [(approved(), "success"), (LATER, "processing"), (CONFIRM, "requires_action")],
)
def test_what_the_provider_has_is_booked_and_the_mark_refused(said: Outcome, status: str):
    story = doubted()

    refusal = story.not_charged(said, can=CAN)

    assert code_of(refusal) == "provider_disagrees"
    assert story.payment.status == status


@pytest.mark.parametrize(
    "said",
    [None, TIMEOUT, Unknown(reason="reset"), Unknown(reason="server_error"), NOT_SENT],
)
def test_a_provider_that_says_nothing_changes_nothing(said: Outcome | None):
    story = doubted(age_us=WINDOW_US + 2 * MARGIN_US)
    before = story.payment

    refusal = story.not_charged(said, can=CAN)

    assert code_of(refusal) == "provider_silent"
    assert story.payment == before


@pytest.mark.parametrize(
    ("age_us", "said", "code"),
    [
        (SECOND_US, NOT_VISIBLE, "still_may_succeed"),
        (WINDOW_US, NOT_VISIBLE, "still_may_succeed"),
        (WINDOW_US + MARGIN_US - SECOND_US, NOT_VISIBLE, "still_may_succeed"),
        (WINDOW_US + MARGIN_US, NOT_VISIBLE, None),
        (WINDOW_US + MARGIN_US, Unknown(reason="in_progress"), "still_may_succeed"),
        (WINDOW_US + MARGIN_US, Unknown(reason="key_known"), "still_may_succeed"),
    ],
)
def test_absence_proves_nothing_before_the_key_is_forgotten(
    age_us: int, said: Outcome, code: str | None
):
    story = doubted(age_us=age_us)

    refusal = story.not_charged(said, can=CAN)

    assert code_of(refusal) == code
    assert story.payment.status == "processing"
    assert story.payment.txns[0].asserted == (None if code else "failed")


def test_the_refusal_says_from_when_on_it_can_be_marked():
    story = doubted()

    refusal = story.not_charged(NOT_VISIBLE, can=CAN)

    assert refusal is not None
    assert "until 2027-01-16T08:10:00.000000Z" in refusal.detail, refusal.detail


def test_a_provider_that_is_slow_to_see_is_given_its_time():
    story = doubted(age_us=WINDOW_US + MARGIN_US)

    assert code_of(story.not_charged(NOT_VISIBLE, can=SLOW_TO_SEE)) == "still_may_succeed"


def test_an_answer_about_another_call_is_none():
    story = doubted(age_us=WINDOW_US + MARGIN_US)

    refusal = story.not_charged(NOT_VISIBLE, can=CAN, key="txn_other-1")

    assert code_of(refusal) == "provider_silent"


def test_a_provider_that_is_not_configured_any_more_cannot_be_asked():
    story = doubted(age_us=WINDOW_US + MARGIN_US)

    assert code_of(story.not_charged(NOT_VISIBLE, can=None)) == "provider_silent"


def test_what_is_marked_is_shown_as_failed_stays_in_doubt_and_says_who_did_it():
    story = doubted(age_us=WINDOW_US + MARGIN_US)

    story.not_charged(NOT_VISIBLE, can=CAN)

    view = payment_view(story.payment)
    assert (view.status, view.in_doubt) == ("failed", True)
    assert view.failure is not None
    assert view.failure.code == "set_by_operator"
    assert story.refolded() == story.payment


def test_marked_twice_is_marked_once():
    story = doubted(age_us=WINDOW_US + MARGIN_US)
    story.not_charged(NOT_VISIBLE, can=CAN)
    before = len(story.events)

    assert story.not_charged(NOT_VISIBLE, can=CAN) is None
    assert len(story.events) == before


@pytest.mark.parametrize("manual", [False, True])
def test_the_truth_wins_when_it_comes_and_calls_a_person(*, manual: bool):
    story = doubted(age_us=WINDOW_US + MARGIN_US, manual=manual)
    story.not_charged(NOT_VISIBLE, can=CAN)

    story.answers(story.charge_key, held() if manual else approved())

    assert story.payment.status == ("authorized" if manual else "success")
    assert story.payment.attention == "assertion_overruled"
    assert story.payment.txns[0].asserted is None


def test_a_decline_that_comes_after_the_mark_is_tried_nowhere_else():
    story = doubted(age_us=WINDOW_US + MARGIN_US)
    story.not_charged(NOT_VISIBLE, can=CAN)

    story.answers(story.charge_key, declined("processing_error", retryable=True))

    assert story.payment.status == "failed"
    assert len(story.payment.calls) == 1


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_correction_leads_to_no_other_provider(status: str):
    story = doubted()
    first = story.payment.txns[0].id

    story.correct(first, status, declined("processing_error", retryable=True))

    assert story.payment.status == "failed"
    assert len(story.payment.calls) == 1


@pytest.mark.parametrize("make", [failed, cancelled])
def test_what_is_known_to_be_not_charged_is_so_already(make: Callable[[], Story]):
    story = make()
    before = story.payment

    assert story.not_charged(NOT_VISIBLE, can=CAN) is None
    assert story.payment == before


@pytest.mark.parametrize("make", [succeeded, authorized, Story])
def test_what_is_in_no_doubt_cannot_be_marked(make: Callable[[], Story]):
    story = make()
    before = story.payment

    assert code_of(story.not_charged(NOT_VISIBLE, can=CAN)) == "not_in_doubt"
    assert story.payment == before


def test_a_refund_in_doubt_is_no_charge():
    story = succeeded()
    story.refund(PRICE)
    story.answers(story.newest.key, TIMEOUT)

    assert code_of(story.not_charged(NOT_VISIBLE, can=CAN)) == "not_in_doubt"


@pytest.mark.parametrize("word", [CONFIRM, LATER, held()], ids=["action", "pending", "held"])
def test_a_provider_that_has_what_was_said_to_have_failed_calls_a_person(word: Outcome):
    story = doubted(manual=True)
    story.correct(story.payment.txns[0].id, "failed", None, force=True)
    assert story.payment.attention is None

    story.answers(story.charge_key, word)

    assert story.payment.attention == "assertion_overruled"


def test_who_forces_an_end_upon_what_the_provider_holds_is_looked_at():
    story = authorized()

    answer = story.correct(story.payment.txns[0].id, "failed", held(), force=True)

    assert answer.refusal is None
    assert story.payment.attention == "asserted_against_provider"


def test_an_end_that_nobody_knows_otherwise_can_be_forced_in_peace():
    story = doubted()

    story.correct(story.payment.txns[0].id, "failed", None, force=True)

    assert story.payment.attention is None


@pytest.mark.parametrize("review", [False, True])
def test_a_hold_that_stands_is_shown_though_an_end_was_forced_while_it_was_undone(*, review: bool):
    """Merchants are told that it is held; they would read that it is cancelled."""
    story = Story(manual=not review, review=review)
    story.reverse()
    story.answers(story.charge_key, held())
    story.correct(story.payment.txns[0].id, "cancelled", None, force=True)
    before = payment_view(story.payment).status

    story.answers(story.open_call("void").key, declined("api_error"))

    stands = "review" if review else "authorized"
    assert (before, payment_view(story.payment).status) == ("cancelled", stands)
    assert story.payment.attention == "assertion_overruled"
    assert story.refolded() == story.payment
