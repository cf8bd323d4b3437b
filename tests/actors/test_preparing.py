"""Charges of two steps: what may be concluded before, between and after them."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from payment_cases import (
    HOUR_US,
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
from paygate_actors.outcomes import Approved, Declined, Outcome, Unknown
from paygate_actors.preparing import is_unconfirmed, may_confirm, may_give_up
from paygate_actors.providers.base import Capabilities, OperationTerms
from paygate_actors.record import Call
from paygate_actors.sums import in_doubt, release_of

UNCONFIRMED: Final = Unknown(reason="not_visible", provider_txn_id="ch_1")
VOIDED: Final = approved(captured=False)
CAN: Final = Capabilities(
    deadline_s=2, key_window_s=24 * 3_600, find_lag_s=2, ask_first_s=0.5, ask_max_s=5, steps=2
)


def preparing() -> Story:
    return Story(two_steps=("a",))


def confirming(**options: Any) -> Story:
    story = Story(two_steps=("a",), **options)
    story.is_prepared()
    return story


def releasing(**options: Any) -> Story:
    """The confirmation is in doubt, and what was prepared is being cancelled."""
    story = confirming(**options)
    story.answers(story.charge_key, TIMEOUT)
    story.gives_up()
    return story


def charge_of(story: Story) -> Call:
    call = story.payment.call(story.charge_key)
    assert call is not None
    return call


def providers(story: Story) -> list[str]:
    return [call.provider for call in story.payment.calls if call.charges]


# ---------------------------------------------------------------------- before there is an object


def test_what_is_prepared_is_written_down_once_and_named():
    story = preparing()

    first, again = story.is_prepared(), story.is_prepared("ch_2")

    assert first == [e.CallPrepared(key=story.charge_key, provider_txn_id="ch_1")]
    assert again == []
    assert story.payment.provider_txn_id == "ch_1"
    assert charge_of(story).confirming


def test_a_provider_of_one_step_is_confirmed_at_once():
    story = Story()

    assert not charge_of(story).unprepared
    assert story.is_prepared() == []


def test_an_unknown_preparation_is_in_doubt_until_there_is_an_object():
    story = preparing()

    story.answers(story.charge_key, TIMEOUT)
    doubtful = in_doubt(story.payment)
    story.is_prepared()

    assert doubtful
    assert not in_doubt(story.payment)


@pytest.mark.parametrize("no", [NOT_SENT, declined("provider_misconfigured", retryable=True)])
def test_a_refused_preparation_is_a_definite_no_even_after_an_unknown_one(no: Declined):
    story = preparing()
    story.answers(story.charge_key, TIMEOUT)

    story.answers(story.charge_key, no)

    assert providers(story) == ["a", "b"]
    assert story.payment.status == "processing"


def test_the_next_provider_does_not_inherit_the_first_one_s_object():
    story = confirming()

    story.answers(story.charge_key, declined("processing_error", retryable=True))

    assert story.payment.provider == "b"
    assert story.payment.provider_txn_id is None
    assert story.payment.txns[0].provider_txn_id is None


def test_an_attempt_without_an_object_is_given_up_at_once_and_tried_elsewhere():
    story = preparing()
    story.answers(story.charge_key, TIMEOUT)
    given_up = story.charge_key

    story.gives_up()

    assert providers(story) == ["a", "b"]
    assert story.payment.call(given_up).state == "declined"  # pyright: ignore[reportOptionalMemberAccess]
    assert not in_doubt(story.payment)


def test_the_object_of_an_attempt_that_was_given_up_is_never_confirmed():
    story = preparing()
    first = story.charge_key
    story.gives_up()

    story.answers(first, NOT_VISIBLE)
    made = story.is_prepared("ch_late")

    assert made == []  # the newest attempt is one of one step, at another provider
    assert story.payment.call(first).prepared_id is None  # pyright: ignore[reportOptionalMemberAccess]


def test_a_payer_who_waited_for_minutes_is_not_charged_elsewhere():
    story = preparing()
    story.answers(story.charge_key, TIMEOUT)
    story.now_us += 120 * SECOND_US

    story.gives_up()

    assert providers(story) == ["a"]
    assert story.payment.status == "failed"
    assert story.payment.failure is not None
    assert (story.payment.failure.code, story.payment.failure.retryable) == ("not_confirmed", True)


def test_a_reverse_before_there_is_an_object_cancels_at_once():
    story = preparing()

    answer = story.reverse()

    assert story.payment.status == "cancelled"
    assert story.txn(answer).status == "success"
    assert [call.verb for call in story.payment.calls] == ["charge"]


# ---------------------------------------------------------------------- with an object


def test_an_unknown_confirmation_stays_unknown():
    story = confirming()

    story.answers(story.charge_key, TIMEOUT)
    story.answers(story.charge_key, UNCONFIRMED)

    assert story.payment.status == "processing"
    assert providers(story) == ["a"]
    assert in_doubt(story.payment)


def test_only_a_look_up_that_names_the_object_says_that_it_is_unconfirmed():
    story = confirming()
    call = charge_of(story)

    assert is_unconfirmed(call, UNCONFIRMED)
    assert not is_unconfirmed(call, NOT_VISIBLE)
    assert not is_unconfirmed(call, Unknown(reason="not_visible", provider_txn_id="ch_2"))
    assert not is_unconfirmed(call, Unknown(reason="server_error", provider_txn_id="ch_1"))


def test_a_reverse_cancels_what_is_prepared_and_lets_nobody_confirm_it():
    story = confirming()

    story.reverse()
    void = story.open_call("void")
    wanted = may_confirm(story.payment, charge_of(story))
    story.answers(void.key, VOIDED)

    assert (void.target, wanted) == ("ch_1", False)
    assert story.payment.status == "cancelled"
    assert charge_of(story).state == "declined"


def test_a_reverse_that_comes_after_the_confirmation_waits_for_its_answer():
    story = confirming()
    story.reverse()

    story.answers(story.open_call("void").key, declined("already_settled"))
    story.answers(story.charge_key, approved())
    story.answers(story.open_call("void").key, declined("already_settled"))

    assert story.payment.status == "success"
    assert story.txns("reverse")[0].status == "failed"


def test_a_charge_that_was_declined_meanwhile_leaves_the_reverse_with_nothing_to_do():
    story = confirming()
    story.reverse()
    void = story.open_call("void").key

    story.answers(story.charge_key, declined())
    story.answers(void, VOIDED)

    assert story.payment.status == "failed"
    assert story.txns("reverse")[0].status == "cancelled"


# ---------------------------------------------------------------------- giving it up


def test_giving_up_cancels_the_object_first_and_concludes_nothing():
    story = releasing()

    void = story.open_call("void")

    assert (void.provider, void.target, void.amount_minor) == ("a", "ch_1", PRICE)
    assert void.transaction_id == story.payment.txns[0].id
    assert providers(story) == ["a"]
    assert in_doubt(story.payment)
    assert not may_confirm(story.payment, charge_of(story))


CANCELLED: Final[dict[str, Callable[[Story], object]]] = {
    "the void says so": lambda it: it.answers(it.open_call("void").key, VOIDED),
    "it was cancelled before": lambda it: it.answers(
        it.open_call("void").key, declined("charge_cancelled")
    ),
    "a look-up says so": lambda it: it.answers(it.charge_key, declined("cancelled")),
    "a webhook says so": lambda it: it.reports(
        webhook("payment.cancelled", reference=it.charge_key)
    ),
}


@pytest.mark.parametrize("cancelled", CANCELLED.values(), ids=CANCELLED)
def test_what_is_cancelled_there_is_a_definite_no(cancelled: Callable[[Story], object]):
    story = releasing()

    cancelled(story)

    assert providers(story) == ["a", "b"]
    assert story.payment.status == "processing"
    assert (story.payment.provider, story.payment.provider_txn_id) == ("b", None)
    assert story.txns("reverse") == []


@pytest.mark.parametrize("cancelled", CANCELLED.values(), ids=CANCELLED)
def test_what_is_cancelled_too_late_for_the_payer_fails(cancelled: Callable[[Story], object]):
    story = releasing()
    story.now_us += HOUR_US

    cancelled(story)

    assert story.payment.status == "failed"
    assert story.payment.txns[0].status == "failed"


@pytest.mark.parametrize("cancelled", CANCELLED.values(), ids=CANCELLED)
def test_that_it_is_cancelled_leads_to_one_other_attempt_however_often_it_is_said(
    cancelled: Callable[[Story], object],
):
    story = releasing()
    first, void = story.charge_key, story.open_call("void").key

    cancelled(story)
    story.answers(first, declined("cancelled"))
    story.answers(void, VOIDED)

    assert providers(story) == ["a", "b"]
    assert story.payment.call(void).state in ("approved", "declined")  # pyright: ignore[reportOptionalMemberAccess]


UNSAID: Final[dict[str, Outcome]] = {
    "silence": TIMEOUT,
    "not looked at": NOT_SENT,
    "settled": declined("already_settled"),
    "refunded in part": declined("charge_refunded"),
    "refused": declined("provider_refused"),
}


@pytest.mark.parametrize("outcome", UNSAID.values(), ids=UNSAID)
def test_nothing_but_cancelled_is_a_definite_no(outcome: Outcome):
    story = releasing()

    story.answers(story.open_call("void").key, outcome)

    assert providers(story) == ["a"]
    assert story.payment.status == "processing"
    assert charge_of(story).unresolved


@pytest.mark.parametrize("word", ["already_settled", "charge_refunded"])
def test_a_confirmation_that_was_faster_than_its_cancellation_is_a_success(word: str):
    story = releasing()

    story.answers(story.open_call("void").key, declined(word))
    story.answers(story.charge_key, approved())

    assert story.sums()[:3] == ("success", PRICE, PRICE)
    assert story.payment.attention is None
    assert providers(story) == ["a"]


def test_a_cancellation_that_undid_a_confirmation_ends_the_payment():
    story = releasing()
    void = story.open_call("void").key

    story.answers(story.charge_key, approved())
    story.answers(void, VOIDED)

    assert story.payment.status == "cancelled"
    assert story.payment.attention == "cancelled_by_provider"
    assert story.sums()[2] == 0


def test_a_success_that_is_told_after_it_was_cancelled_is_a_stray():
    story = releasing()
    first = story.charge_key
    story.answers(story.open_call("void").key, VOIDED)

    story.answers(first, approved())

    assert [txn.type for txn in story.payment.txns[1:]] == ["stray", "reverse"]
    assert story.payment.status == "processing"


def test_that_it_undid_a_confirmation_is_booked_once():
    story = releasing()
    void = story.open_call("void").key
    story.answers(story.charge_key, approved())
    story.answers(void, VOIDED)
    booked = story.payment

    assert story.answers(void, VOIDED) == []
    assert story.payment == booked


def test_an_object_that_its_provider_will_not_cancel_calls_a_person_and_stays_in_doubt():
    story = releasing()

    story.answers(story.open_call("void").key, declined("provider_refused"))

    assert story.payment.attention == "release_failed"
    assert in_doubt(story.payment)
    assert not may_give_up(story.payment, charge_of(story))


def test_an_attempt_is_given_up_once():
    story = releasing()

    assert story.gives_up() == []


def test_what_was_given_up_says_nothing_about_the_payment_s_own_transaction():
    story = releasing()
    txn = story.payment.txns[0]
    story.correct(txn.id, "failed", None, force=True)

    story.answers(story.open_call("void").key, VOIDED)

    assert providers(story) == ["a"], "an operator has told somebody that nothing is charged"
    assert story.payment.status == "failed"


def test_a_correction_asks_about_the_charge_and_not_about_its_cancellation():
    story = releasing()

    answer = story.correct(story.payment.txns[0].id, "success", approved())

    assert answer.refusal is None
    assert story.payment.status == "success"


# ---------------------------------------------------------------------- operators


def test_what_has_no_object_may_be_marked_as_not_charged_at_any_time():
    story = preparing()
    story.answers(story.charge_key, TIMEOUT)

    refusal = story.not_charged(None, can=CAN)

    assert refusal is None
    assert story.payment.status == "failed"
    assert providers(story) == ["a"], "who gives it up wants it tried nowhere else"


def test_what_is_unconfirmed_is_cancelled_before_it_counts_as_not_charged():
    story = confirming()
    story.answers(story.charge_key, TIMEOUT)
    story.now_us += 900 * SECOND_US

    refusal = story.not_charged(UNCONFIRMED, can=CAN)
    before = story.payment.status
    story.answers(story.open_call("void").key, VOIDED)

    assert refusal is not None
    assert (refusal.code, before) == ("still_may_succeed", "processing")
    assert story.payment.status == "failed"
    assert story.not_charged(UNCONFIRMED, can=CAN) is None


def test_what_may_still_be_tried_elsewhere_is_not_marked_as_not_charged():
    story = confirming()
    story.answers(story.charge_key, TIMEOUT)

    refusal = story.not_charged(UNCONFIRMED, can=CAN)

    assert refusal is not None
    assert refusal.code == "still_may_succeed"
    assert release_of(story.payment, charge_of(story)) is None


def test_where_nothing_is_shown_no_silence_is_ever_taken_for_not_charged():
    blind = OperationTerms(key_window_s=3_600, finds=False)
    can = Capabilities(
        deadline_s=2,
        key_window_s=3_600,
        find_lag_s=2,
        ask_first_s=0.5,
        ask_max_s=5,
        operations={"charge": blind},
    )
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    story.now_us += 1_000 * HOUR_US

    refusal = story.not_charged(NOT_VISIBLE, can=can)

    assert refusal is not None
    assert refusal.code == "still_may_succeed"
    assert story.payment.txns[0].asserted is None


def test_every_event_of_two_steps_folds_to_the_same_payment_when_it_is_read_back():
    story = releasing()
    story.answers(story.open_call("void").key, VOIDED)

    assert isinstance(VOIDED, Approved)
    assert story.refolded() == story.payment
