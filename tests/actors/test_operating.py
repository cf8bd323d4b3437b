"""Capture, refund, reverse and review: what may be asked when, and what it starts."""

import itertools

import pytest
from payment_cases import (
    CONFIRM,
    HOUR_US,
    IN_STATE,
    LATER,
    PRICE,
    TIMEOUT,
    Story,
    approved,
    authorized,
    declined,
    held,
    in_review,
    requiring_action,
    succeeded,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.draft import Answer
from paygate_actors.sums import left_to_refund, refunds_reserved

KEY = e.RequestKey(name="m_1\x1fkey", mac="first")
OTHER = e.RequestKey(name="m_1\x1fkey", mac="other")

# Which command a payment takes in which state; all others are refused with this code.
TAKEN = {
    ("capture", "authorized"),
    ("refund", "success"),
    ("reverse", "processing"),
    ("reverse", "requires_action"),
    ("reverse", "review"),
    ("reverse", "authorized"),
    ("reverse", "success"),
    ("review", "review"),
}
REFUSED = {
    "capture": "payment_not_capturable",
    "refund": "payment_not_refundable",
    "reverse": "payment_not_reversible",
    "review": "payment_not_reviewable",
}


def ask(story: Story, command: str) -> Answer:
    match command:
        case "capture":
            return story.capture()
        case "refund":
            return story.refund()
        case "reverse":
            return story.reverse()
        case _:
            return story.review("approve")


def code(answer: Answer) -> str:
    assert answer.refusal is not None, answer
    return answer.refusal.code


@pytest.mark.parametrize(("command", "state"), list(itertools.product(REFUSED, IN_STATE)))
def test_a_command_is_taken_in_its_states_and_changes_nothing_in_others(command: str, state: str):
    story = IN_STATE[state]()
    before = story.payment

    answer = ask(story, command)

    if (command, state) in TAKEN:
        assert answer.refusal is None
        assert story.txn(answer).status == "pending"
        assert story.payment.status == state
    else:
        assert code(answer) == REFUSED[command]
        assert story.payment is before


# ---------------------------------------------------------------------- capture


def test_a_partial_capture_releases_the_rest():
    story = authorized()
    story.capture(6_000)

    story.answers(story.newest.key, approved(minor=6_000))

    assert story.sums() == ("success", PRICE, 6_000, 4_000, 0, 0)


def test_more_than_was_authorised_is_not_captured():
    story = authorized()

    assert code(story.capture(PRICE + 1)) == "capture_exceeds_authorized"
    assert len(story.payment.calls) == 1


def test_a_declined_capture_leaves_the_hold_and_may_be_tried_again():
    story = authorized()
    story.capture()
    story.answers(story.newest.key, declined("try_later"))

    assert story.payment.status == "authorized"
    assert [txn.status for txn in story.txns("capture")] == ["failed"]
    assert story.capture(5_000).refusal is None


@pytest.mark.parametrize("word", ["authorization_expired", "cancelled", "charge_cancelled"])
def test_a_capture_of_a_hold_that_is_gone_cancels_the_payment(word: str):
    story = authorized()
    story.capture()

    story.answers(story.newest.key, declined(word))

    assert story.payment.status == "cancelled"
    assert story.payment.released_minor == PRICE


def test_only_one_of_capture_and_reverse_is_under_way():
    for first, second in itertools.product(["capture", "reverse"], repeat=2):
        story = authorized()
        ask(story, first)
        before = story.payment

        assert code(ask(story, second)) == "operation_in_progress"
        assert story.payment is before


# ---------------------------------------------------------------------- refund


def test_refunds_that_are_pending_count_against_what_is_left():
    story = succeeded()
    for minor in (4_000, 4_000):
        assert story.refund(minor).refusal is None

    assert code(story.refund(2_001)) == "refund_exceeds_remaining"
    assert story.txn(story.refund()).amount_minor == 2_000
    assert code(story.refund()) == "refund_exceeds_remaining"
    assert refunds_reserved(story.payment) == PRICE


def test_a_failed_refund_gives_its_room_back():
    story = succeeded()
    story.refund()
    assert left_to_refund(story.payment) == 0

    story.answers(story.newest.key, declined())

    assert left_to_refund(story.payment) == PRICE


def test_a_refund_in_doubt_keeps_its_room():
    story = succeeded()
    story.refund(9_999)
    story.answers(story.newest.key, TIMEOUT)

    assert code(story.refund(2)) == "refund_exceeds_remaining"


def test_a_refund_is_of_what_was_captured_not_of_what_was_asked_for():
    story = authorized()
    story.capture(6_000)
    story.answers(story.newest.key, approved(minor=6_000))

    assert code(story.refund(6_001)) == "refund_exceeds_remaining"
    assert story.txn(story.refund()).amount_minor == 6_000


def test_a_refund_waits_for_a_reverse_and_a_reverse_for_no_refund():
    story = succeeded()
    story.reverse()
    assert code(story.refund(1)) == "operation_in_progress"

    other = succeeded()
    other.refund(1)
    assert code(other.reverse()) == "payment_not_reversible"
    other.answers(other.newest.key, approved("re_1", 1))
    assert code(other.reverse()) == "payment_not_reversible"


def test_a_refund_that_failed_does_not_stand_in_the_way_of_a_reverse():
    story = succeeded()
    story.refund(1)
    story.answers(story.newest.key, declined())

    assert story.reverse().refusal is None


# ---------------------------------------------------------------------- reverse


def test_a_reverse_during_a_charge_waits_and_then_voids():
    story = Story()
    reverse = story.reverse()
    assert len(story.payment.calls) == 1

    story.answers(story.charge_key, approved())

    assert story.payment.status == "processing"
    story.answers(story.open_call("void").key, approved(captured=False))
    assert story.payment.status == "cancelled"
    assert story.txn(reverse).status == "success"


def test_a_reverse_during_a_charge_that_is_declined_is_cancelled_and_nothing_fails_over():
    story = Story()
    reverse = story.reverse()

    story.answers(story.charge_key, declined("processing_error", retryable=True))

    assert story.payment.status == "failed"
    assert story.txn(reverse).status == "cancelled"
    assert len(story.payment.calls) == 1


def test_a_reverse_during_a_charge_in_doubt_cancels_nothing_before_it_is_known():
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    story.reverse()
    story.waits(48 * HOUR_US)

    assert story.payment.status == "processing"
    story.answers(story.charge_key, LATER)
    story.answers(story.charge_key, approved())
    assert story.payment.status == "processing"
    assert story.open_call("void").target == "ch_1"


def test_a_reverse_while_the_payer_is_about_to_be_asked_voids_the_unconfirmed_object():
    story = Story()
    story.reverse()

    story.answers(story.charge_key, CONFIRM)

    assert story.open_call("void").target == "ch_1"
    assert story.payment.status == "processing"


def test_cancelled_is_written_when_the_void_is_confirmed_and_not_before():
    story = authorized()
    story.reverse()
    story.answers(story.newest.key, TIMEOUT)
    assert story.payment.status == "authorized"

    story.answers(story.newest.key, approved(captured=False))

    assert story.payment.status == "cancelled"
    assert story.payment.released_minor == PRICE


def test_a_settled_payment_is_not_reversed_and_says_what_to_do():
    story = succeeded()
    reverse = story.reverse()

    story.answers(story.newest.key, declined("already_settled"))

    settled = story.txn(reverse)
    assert settled.status == "failed"
    assert settled.failure is not None
    assert settled.failure.code == "use_refund"
    assert story.payment.status == "success"
    assert story.refund().refusal is None


def test_a_reverse_goes_on_as_a_refund_of_the_whole_where_it_may():
    story = succeeded()
    reverse = story.reverse(or_refund=True, reason="wrong size")

    story.answers(story.newest.key, declined("already_settled"))

    (refund,) = story.txns("refund")
    assert (refund.amount_minor, refund.reason, refund.origin) == (PRICE, "wrong size", "merchant")
    assert story.txn(reverse).status == "cancelled"
    story.answers(story.newest.key, approved("re_1"))
    assert story.sums() == ("success", PRICE, PRICE, 0, PRICE, 0)


# ---------------------------------------------------------------------- review


def test_an_approved_review_captures_and_a_declined_one_voids():
    story = in_review()
    story.review("approve")
    assert (story.newest.verb, story.payment.status) == ("capture", "review")
    story.answers(story.newest.key, approved())
    assert story.payment.status == "success"

    other = in_review()
    other.review("decline")
    assert (other.newest.verb, other.payment.status) == ("void", "review")
    other.answers(other.newest.key, approved(captured=False))
    assert other.payment.status == "cancelled"


def test_a_review_is_decided_once():
    for first, second in itertools.product(["approve", "decline"], repeat=2):
        story = in_review()
        story.review(first)

        assert code(story.review(second)) == "operation_in_progress"


def test_an_approved_review_whose_capture_is_declined_frees_the_hold_and_has_failed_then():
    story = in_review()
    story.review("approve")

    story.answers(story.newest.key, declined())

    assert story.payment.status == "review"
    story.answers(story.open_call("void").key, approved(captured=False))
    assert story.payment.status == "failed"
    assert story.payment.failure is not None
    assert story.payment.failure.code == "card_declined"
    assert story.payment.released_minor == PRICE


def test_a_review_of_a_manual_payment_captures_when_it_is_approved():
    story = Story(manual=True, review=True)
    story.answers(story.charge_key, held())
    assert story.payment.status == "review"

    story.review("approve")

    assert story.newest.verb == "capture"


# ---------------------------------------------------------------------- idempotency


@pytest.mark.parametrize(
    ("make", "command"),
    [(authorized, "capture"), (succeeded, "refund"), (succeeded, "reverse")],
)
def test_the_same_key_gives_the_same_transaction_and_another_request_is_refused(
    make: type[Story], command: str
):
    story = make()
    first = getattr(story, command)(key=KEY)
    before = story.payment

    again = getattr(story, command)(key=KEY)
    other = getattr(story, command)(key=OTHER)

    assert (again.transaction_id, again.replayed) == (first.transaction_id, True)
    assert code(other) == "idempotency_key_reused"
    assert story.payment is before


def test_a_key_answers_after_its_operation_made_the_next_one_impossible():
    story = succeeded()
    first = story.reverse(key=KEY)
    story.answers(story.newest.key, approved(captured=False))

    again = story.reverse(key=KEY)

    assert (again.transaction_id, again.replayed) == (first.transaction_id, True)


def test_a_refused_request_claims_no_key():
    story = requiring_action()
    assert code(story.refund(1, key=KEY)) == "payment_not_refundable"
    story.answers(story.charge_key, approved())

    assert story.refund(2, key=OTHER).replayed is False


def test_a_reused_key_names_the_fields_that_differ():
    story = succeeded()
    story.refund(1, reason="a", key=KEY)

    refusal = story.refund(2, reason="a", key=OTHER).refusal

    assert refusal is not None
    assert [fault.pointer for fault in refusal.faults] == ["/amount"]


def test_a_key_lives_for_a_day_after_its_operation_is_over_and_not_in_doubt():
    story = succeeded()
    first = story.refund(1, key=KEY)
    story.answers(story.newest.key, TIMEOUT)
    story.waits(72 * HOUR_US)
    assert story.refund(1, key=KEY).transaction_id == first.transaction_id
    story.answers(story.newest.key, approved("re_1", 1))
    story.waits(24 * HOUR_US)
    assert story.refund(1, key=KEY).replayed

    story.waits(1)

    assert story.refund(1, key=KEY).transaction_id != first.transaction_id


# ---------------------------------------------------------------------- captured for another amount


def captured_otherwise(*, review: bool) -> Story:
    """The capture took one unit more than was asked, and the void of it was refused."""
    story = Story(manual=not review, review=review)
    story.answers(story.charge_key, held())
    if review:
        story.review("approve")
    else:
        story.capture()
    story.answers(story.newest.key, approved(minor=PRICE + 1))
    story.answers(story.open_call("void").key, declined("api_error"))
    return story


def test_held_funds_that_were_captured_otherwise_cannot_be_approved_again():
    story = captured_otherwise(review=True)
    before = len(story.stream)

    refused = story.review("approve").refusal

    assert refused is not None
    assert refused.code == "payment_not_reviewable"
    assert len(story.stream) == before
    assert story.review("decline").refusal is None


def test_a_hold_that_was_captured_otherwise_cannot_be_captured_again():
    story = captured_otherwise(review=False)
    before = len(story.stream)

    refused = story.capture().refusal

    assert refused is not None
    assert refused.code == "payment_not_capturable"
    assert len(story.stream) == before


def settled(story: Story, word: str = "already_settled") -> None:
    story.answers(story.open_call("void").key, declined(word))


def test_a_declined_review_gives_back_what_has_settled_and_ends():
    """The provider takes no void any more: an operator could decline for ever."""
    story = captured_otherwise(review=True)
    story.review("decline")

    settled(story)

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1)
    assert story.newest.target == "ch_1"
    story.answers(story.newest.key, approved("re_1", PRICE + 1))
    assert story.sums() == ("cancelled", PRICE + 1, 0, PRICE + 1, 0, 0)
    assert [txn.status for txn in story.txns("reverse")] == ["failed", "success"]


def test_a_declined_review_of_a_hold_that_was_captured_elsewhere_is_refunded_as_held():
    story = in_review()
    story.review("decline")

    settled(story)

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE)
    story.answers(story.newest.key, approved("re_1"))
    assert story.payment.status == "cancelled"


@pytest.mark.parametrize("review", [True, False])
def test_a_reverse_with_a_refund_ends_what_was_captured_otherwise(*, review: bool):
    """It never was a success: refunded whole, it would be under review or held for ever."""
    story = captured_otherwise(review=review)
    story.reverse(or_refund=True)

    settled(story)

    assert story.txns("refund") == []
    story.answers(story.newest.key, approved("re_1", PRICE + 1))
    assert story.sums() == ("cancelled", PRICE + 1, 0, PRICE + 1, 0, 0)
    story.waits(25 * HOUR_US)
    assert not any(call.unresolved for call in story.payment.calls)


def test_a_reverse_with_a_refund_ends_a_hold_that_has_settled_unheard_of():
    """Not captured as far as we know, it is refused every refund."""
    story = authorized()
    story.reverse(or_refund=True)

    settled(story)

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE)
    story.answers(story.newest.key, approved("re_1"))
    assert story.sums() == ("cancelled", PRICE, 0, PRICE, 0, 0)


@pytest.mark.parametrize("disputed", [False, True])
def test_a_charge_that_an_early_reverse_could_not_undo_stands_and_is_refunded(*, disputed: bool):
    """It took what we asked for; that a refund of it fails is no reason to stay under way."""
    story = Story()
    story.reverse(or_refund=True)
    story.answers(story.charge_key, approved())
    if disputed:
        story.reports(webhook("dispute.opened", "dp_1", parent="ch_1", minor=PRICE))

    settled(story)

    assert story.payment.status == "success"
    assert [txn.amount_minor for txn in story.txns("refund")] == ([] if disputed else [PRICE])


def test_a_merchants_reverse_is_not_refunded_without_his_word_whatever_its_reason():
    story = captured_otherwise(review=False)
    reverse = story.reverse(reason="review_declined")

    settled(story)

    failure = story.txn(reverse).failure
    assert failure is not None and failure.code == "use_refund"
    assert "orRefund" in failure.message  # a plain refund of it is refused
    assert all(call.verb != "refund" for call in story.payment.calls)


def test_what_was_captured_otherwise_says_that_it_is_reversed_with_a_refund():
    refused = captured_otherwise(review=False).refund().refusal

    assert refused is not None
    assert refused.code == "payment_not_refundable"
    assert "orRefund" in refused.detail


def test_a_deadline_gives_back_only_what_its_provider_has_not_refunded_by_itself():
    story = captured_otherwise(review=True)
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=4_000))
    story.waits(25 * HOUR_US)

    settled(story)

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1 - 4_000)


def test_a_deadline_ends_what_its_provider_has_refunded_whole():
    story = captured_otherwise(review=True)
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=PRICE + 1))
    story.waits(25 * HOUR_US)

    settled(story)

    assert story.payment.status == "cancelled"
    assert not any(call.unresolved for call in story.payment.calls)


@pytest.mark.parametrize("word", ["already_settled", "charge_refunded"])
@pytest.mark.parametrize("by_itself", [4_000, PRICE + 1])
def test_what_was_captured_otherwise_is_reversed_though_its_provider_gave_a_part_back(
    by_itself: int, word: str
):
    """A refund is refused with the word that a reverse does it, and then it has to."""
    story = captured_otherwise(review=False)
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=by_itself))

    assert story.reverse(or_refund=True).refusal is None

    settled(story, word)
    left = PRICE + 1 - by_itself
    if left:
        assert (story.newest.verb, story.newest.amount_minor) == ("refund", left)
        story.answers(story.newest.key, approved("re_1", left))
    assert story.payment.status == "cancelled"
    assert not any(call.unresolved for call in story.payment.calls)


def test_what_is_disputed_whole_is_not_refunded_too_and_calls_a_person():
    story = captured_otherwise(review=True)
    story.reports(webhook("dispute.opened", "dp_1", parent="ch_1", minor=PRICE + 1))
    story.seen()
    story.waits(25 * HOUR_US)

    settled(story)

    assert story.payment.status == "review"
    assert story.txns("reverse")[-1].status == "failed"
    assert "reverse_failed" in {concern.code for concern in story.payment.unseen}


def test_a_declined_review_gives_back_the_rest_of_what_the_provider_refunded_a_part_of():
    """No void is taken any more, and it is not for the age of the charge: it stayed in review."""
    story = captured_otherwise(review=True)
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=4_000))
    story.review("decline")

    settled(story, "charge_refunded")

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1 - 4_000)
    story.answers(story.newest.key, approved("re_1", PRICE + 1 - 4_000))
    assert story.payment.status == "cancelled"
    assert [txn.status for txn in story.txns("reverse")] == ["failed", "success"]
