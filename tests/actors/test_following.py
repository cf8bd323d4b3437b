"""What providers say about captures, voids and refunds."""

from collections.abc import Callable

import msgspec
import pytest
from payment_cases import (
    CONFIRM,
    PRICE,
    Story,
    approved,
    authorized,
    declined,
    failed,
    held,
    in_review,
    requiring_action,
    succeeded,
    superseded,
    webhook,
)

from paygate_actors.draft import Draft
from paygate_actors.following import follow_up_said
from paygate_actors.outcomes import Declined, Pending
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.record import Call
from paygate_actors.sums import charge_of, left_to_refund, refunds_reserved


def voided(txn_id: str = "ch_1", minor: int = PRICE):
    return approved(txn_id, minor, captured=False)


# ---------------------------------------------------------------------- strays beside a charge


def test_a_stray_being_reversed_does_not_keep_the_next_provider_from_succeeding():
    story = superseded()
    first = story.payment.calls[0].key
    story.answers(first, approved("ch_a"))

    story.answers(story.charge_key, approved("ch_b"))

    assert story.payment.status == "success"
    assert story.sums()[2] == PRICE
    (stray,) = story.txns("stray")
    assert (stray.provider, stray.provider_txn_id, stray.amount_minor) == ("a", "ch_a", PRICE)


def test_a_stray_being_reversed_stays_so_when_the_next_provider_declines():
    story = superseded()
    story.answers(story.payment.calls[0].key, approved("ch_a"))
    void = story.open_call("void")

    story.answers(story.charge_key, declined())

    assert story.payment.status == "failed"
    (reverse,) = story.txns("reverse")
    assert reverse.status == "pending"
    story.answers(void.key, voided("ch_a"))
    assert story.txns("reverse")[0].status == "success"
    assert story.payment.status == "failed"


def test_a_stray_being_reversed_hinders_no_refund_and_no_capture():
    story = Story(manual=True)
    story.answers(story.charge_key, declined("processing_error", retryable=True))
    story.answers(story.charge_key, held("ch_b"))
    story.answers(story.payment.calls[0].key, held("ch_a"))

    capture = story.capture()

    assert story.txn(capture).status == "pending"
    story.answers(story.newest.key, approved("ch_b"))
    refund = story.refund(100)
    assert story.txn(refund).amount_minor == 100


def test_a_stray_hold_that_its_provider_captured_is_not_counted_as_ours():
    story = Story(manual=True)
    story.answers(story.charge_key, declined("processing_error", retryable=True))
    story.answers(story.charge_key, held("ch_b"))
    story.answers(story.payment.calls[0].key, held("ch_a"))

    story.answers(story.payment.calls[0].key, approved("ch_a"))

    assert story.payment.status == "authorized"
    assert (story.payment.provider, story.payment.provider_txn_id) == ("b", "ch_b")
    assert story.payment.captured_minor == 0


def test_a_merchants_own_words_are_never_taken_for_the_systems():
    for reason in ("stray dog", "amount_mismatch", "authentication_expired"):
        story = succeeded()
        story.reverse(reason=reason)

        story.answers(story.newest.key, voided())

        assert story.payment.status == "cancelled"
        assert story.payment.failure is None


def test_a_hold_for_a_charge_that_was_given_up_is_booked_and_undone():
    story = failed()

    story.answers(story.charge_key, held())

    assert story.payment.status == "failed"
    assert len(story.txns("stray")) == 1
    assert story.open_call("void").target == "ch_1"


def test_a_second_capture_that_went_through_is_given_back():
    story = authorized()
    story.capture(6_000)
    first = story.newest.key
    story.answers(first, declined("try_again"))
    story.capture(5_000)
    second = story.newest.key
    story.answers(first, approved(minor=6_000))

    story.answers(second, approved(minor=5_000))

    assert story.payment.captured_minor == 6_000
    assert [stray.amount_minor for stray in story.txns("stray")] == [5_000]
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", 5_000)


# ---------------------------------------------------------------------- captures


def test_a_look_up_of_the_charge_does_not_book_an_open_capture_twice():
    story = authorized()
    story.capture(6_000)
    capture = story.newest.key

    story.answers(story.charge_key, approved())
    story.answers(capture, approved(minor=6_000))

    (booked,) = story.txns("capture")
    assert (booked.origin, booked.status) == ("merchant", "success")
    assert story.sums() == ("success", PRICE, 6_000, 4_000, 0, 0)


def test_a_capture_of_another_amount_is_never_a_success_even_where_it_cannot_be_undone():
    story = authorized()
    story.capture()
    story.answers(story.newest.key, approved(minor=PRICE - 1))
    void = story.open_call("void")

    story.answers(void.key, declined("void_refused"))

    assert story.payment.status == "authorized"
    assert story.payment.attention == "amount_mismatch"


# ---------------------------------------------------------------------- voids


def test_a_charge_of_another_amount_is_never_a_success_even_where_it_cannot_be_undone():
    story = Story()
    story.answers(story.charge_key, approved(minor=PRICE - 1))

    story.answers(story.open_call("void").key, declined("void_refused"))

    assert story.payment.status == "processing"
    assert story.payment.attention == "amount_mismatch"


def test_a_reverse_during_a_charge_of_another_amount_that_cannot_be_undone_is_no_success():
    story = Story()
    story.reverse()
    story.answers(story.charge_key, approved(minor=PRICE - 1))

    story.answers(story.open_call("void").key, declined("void_refused"))

    assert story.payment.status == "processing"
    assert story.payment.attention == "amount_mismatch"


def test_a_reverse_after_a_partial_capture_undoes_what_was_captured_and_no_more():
    story = authorized()
    story.capture(6_000)
    story.answers(story.newest.key, approved(minor=6_000))

    answer = story.reverse()

    assert story.txn(answer).amount_minor == 6_000
    assert story.newest.amount_minor == 6_000
    story.answers(story.newest.key, voided(minor=6_000))
    assert story.payment.status == "cancelled"
    assert story.payment.attention is None


def test_a_void_that_fails_while_the_payer_is_asked_leaves_the_payer_being_asked():
    story = Story()
    story.reverse()
    story.answers(story.charge_key, CONFIRM)

    story.answers(story.open_call("void").key, declined("void_refused"))

    assert story.payment.status == "requires_action"
    assert story.payment.expires_at_us == CONFIRM.expires_at_us


@pytest.mark.parametrize("word", ["cancelled", "charge_cancelled"])
def test_a_void_of_what_the_provider_cancelled_already_has_reached_its_aim(word: str):
    story = requiring_action()
    story.reverse()

    story.answers(story.open_call("void").key, declined(word))

    assert story.payment.status == "cancelled"
    assert [reverse.status for reverse in story.txns("reverse")] == ["success"]


def test_a_reverse_that_is_over_is_not_failed_by_a_late_answer_to_its_void():
    for word, status in (("payment.cancelled", "success"), ("payment.failed", "cancelled")):
        story = requiring_action()
        story.reverse()
        void = story.open_call("void")
        story.reports(webhook(word, reference=story.charge_key))

        story.answers(void.key, declined("charge_failed"))

        assert [reverse.status for reverse in story.txns("reverse")] == [status]
        assert story.payment.attention is None


def test_going_on_as_a_refund_never_gives_back_more_than_is_left():
    story = succeeded()
    story.reverse(or_refund=True)
    void = story.newest.key
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=3_000))

    story.answers(void, declined("already_settled"))

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", 7_000)
    assert refunds_reserved(story.payment) == PRICE


def test_going_on_as_a_refund_of_nothing_is_a_failed_reverse():
    story = succeeded()
    story.reverse(or_refund=True)
    void = story.newest.key
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1"))

    story.answers(void, declined("already_settled"))

    assert not any(call.verb == "refund" for call in story.payment.calls)
    (reverse,) = story.txns("reverse")
    assert reverse.status == "failed"
    assert reverse.failure is not None
    assert reverse.failure.code == "use_refund"


@pytest.mark.parametrize("state", [in_review, requiring_action])
def test_a_deadlines_void_that_is_refused_is_not_tried_again_for_ever(state: Callable[[], Story]):
    story = state()
    story.waits(25 * 3_600 * 1_000_000)
    story.answers(story.open_call("void").key, declined("void_refused"))

    for _ in range(3):
        story.waits(60_000_000)

    assert len(story.txns("reverse")) == 1
    assert story.payment.attention == "reverse_failed"


# ---------------------------------------------------------------------- refunds


def test_a_repeated_answer_with_another_amount_calls_a_person():
    story = succeeded()
    story.refund(1_000)
    refund = story.newest.key
    story.answers(refund, approved("re_1", 1_000))

    story.reports(webhook("refund.succeeded", "re_1", reference=refund, minor=1_500))

    assert story.payment.attention == "amount_mismatch"


def test_a_refund_that_succeeds_after_its_room_was_given_away_calls_a_person():
    story = succeeded()
    story.refund()
    first = story.newest.key
    story.answers(first, declined())
    story.refund()

    story.reports(webhook("refund.succeeded", "re_1", reference=first, minor=PRICE))

    assert refunds_reserved(story.payment) == 2 * PRICE
    assert left_to_refund(story.payment) == 0
    assert story.payment.attention == "refund_exceeds_captured"


def test_our_refund_that_a_webhook_reported_without_our_reference_is_counted_once():
    story = succeeded()
    story.refund(4_000)
    story.reports(webhook("refund.succeeded", "re_1", parent="ch_1", minor=4_000))

    story.answers(story.open_call("refund").key, approved("re_1", 4_000))

    assert story.sums()[4] == 4_000


def test_a_charge_that_its_provider_cancelled_during_a_refund_or_capture_is_cancelled():
    story = succeeded()
    story.refund(100)

    story.reports(webhook("payment.cancelled", reference=story.charge_key))

    assert story.payment.status == "cancelled"
    assert story.payment.attention == "cancelled_by_provider"

    held_one = authorized()
    held_one.capture()
    capture = held_one.newest.key
    held_one.reports(webhook("payment.cancelled", reference=held_one.charge_key))
    assert held_one.payment.status == "cancelled"
    held_one.answers(capture, approved())
    assert held_one.payment.status == "cancelled"
    assert len(held_one.txns("stray")) == 1
    assert held_one.payment.captured_minor == 0


def test_a_void_that_did_nothing_yet_is_sent_again_and_moves_nothing():
    story = succeeded()
    story.reverse()

    events = story.answers(
        story.newest.key, Declined(code="operation_pending", retryable=True, conclusive=False)
    )

    assert events == []
    assert story.newest.unresolved
    assert charge_of(story.payment) is not None


def test_a_deadlines_void_that_goes_on_as_a_refund_gives_back_what_was_taken():
    story = in_review()
    story.waits(25 * 3_600 * 1_000_000)
    void = story.open_call("void")
    # The hold was captured in part at the provider, which is heard only now.
    story.reports(webhook("payment.succeeded", "ch_1", minor=4_000))

    story.answers(void.key, declined("already_settled"))

    assert void.amount_minor == PRICE
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", 4_000)


def test_a_wrong_amount_that_is_being_refunded_is_not_also_voided():
    story = Story()
    story.reverse(or_refund=True)
    story.answers(story.charge_key, approved(minor=PRICE - 1))
    story.answers(story.open_call("void").key, declined("already_settled"))
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE - 1)

    refused = story.reverse().refusal

    assert refused is not None
    assert refused.code == "operation_in_progress"
    story.answers(story.newest.key, approved("re_1", PRICE - 1))
    assert story.payment.status == "cancelled"


def test_a_capture_that_is_declined_ends_no_payment_that_was_captured_otherwise():
    """The money is taken, though of another amount: failed would be a lie."""
    story = Story(review=True)
    story.answers(story.charge_key, held())
    story.review("approve")
    capture = story.newest.key
    story.answers(capture, approved(minor=PRICE + 1))
    second = story.open_call("void")
    story.answers(second.key, declined("api_error"))
    draft = Draft(story.payment.id, story.payment, story.now_us)
    transaction_id = draft.open_transaction("capture", origin="operator", by="k", amount_minor=1)
    draft.start_call(transaction_id, "capture", provider="a", amount_minor=1, target="ch_1")
    call = draft.payment.call(f"{transaction_id}-1")
    assert call is not None

    follow_up_said(draft, call, declined("already_captured"), story.ctx)

    assert draft.payment.status == "review"
    assert draft.payment.captured_minor == PRICE + 1


@pytest.mark.parametrize("word", ["cancelled", "charge_cancelled", "authorization_expired"])
def test_a_charge_that_succeeds_after_its_void_found_it_gone_is_a_stray(word: str):
    story = requiring_action()
    story.reverse()
    story.answers(story.open_call("void").key, declined(word))

    story.answers(story.charge_key, approved())

    assert story.payment.status == "cancelled"
    assert [stray.amount_minor for stray in story.txns("stray")] == [PRICE]
    assert story.open_call("void").target == "ch_1"
    assert story.payment.captured_minor == 0


# ---------------------------------------------------------------------- a charge that is renamed


def asked_by_reference() -> Story:
    """Its payer confirms; so far the provider knows the charge by our reference alone."""
    story = Story()
    by_reference = msgspec.structs.replace(CONFIRM, provider_txn_id=story.charge_key)
    story.answers(story.charge_key, by_reference)
    return story


def paid_meanwhile(story: Story) -> Call:
    """The void was taken in, and the payer has paid: the charge has got its id. The void."""
    void = story.open_call("void")
    assert void.target == story.charge_key
    story.answers(void.key, Pending(provider_txn_id=void.target))
    story.reports(webhook("payment.succeeded", "PSP1", reference=story.charge_key, minor=PRICE))
    return void


def void_is_open(story: Story, void: Call) -> bool:
    now = story.payment.call(void.key)
    return now is not None and now.unresolved


@pytest.mark.parametrize("by_void", [True, False])
def test_a_charge_that_got_its_id_during_the_void_is_cancelled_by_it(*, by_void: bool):
    story = asked_by_reference()
    story.reverse()
    void = paid_meanwhile(story)

    reference = void.key if by_void else story.charge_key
    story.reports(webhook("payment.cancelled", "PSP1", reference=reference, minor=PRICE))

    assert story.sums() == ("cancelled", PRICE, 0, PRICE, 0, 0)
    assert story.txns("reverse")[0].status == "success"
    assert story.refolded() == story.payment


def test_a_charge_that_got_its_id_and_cannot_be_voided_stands_and_can_be_refunded():
    story = asked_by_reference()
    story.reverse()
    void = paid_meanwhile(story)

    failed = webhook("void.failed", "PSP1", reference=story.charge_key, reason="already_settled")
    story.reports(failed)

    assert not void_is_open(story, void)
    assert story.payment.status == "success"
    story.refund(100)
    assert story.open_call("refund").target == "PSP1"


def test_a_void_that_failed_says_nothing_of_the_charge_whose_payer_is_away():
    story = asked_by_reference()

    failed = webhook("void.failed", "PSP1", reference=story.charge_key, reason="already_settled")

    assert story.reports(failed) == []
    assert story.payment.status == "requires_action"


def test_a_charge_that_got_its_id_after_its_time_is_refunded_by_that():
    story = asked_by_reference()
    story.waits(900 * 1_000_000)
    void = paid_meanwhile(story)

    story.answers(void.key, declined("already_settled"))

    refund = story.open_call("refund")
    assert (refund.target, refund.amount_minor) == ("PSP1", PRICE)
    story.answers(refund.key, approved("re_1"))
    assert story.payment.status == "cancelled"


def test_a_hold_of_another_amount_that_its_provider_captures_is_given_back_whole():
    """Its void was refused, and nobody but this report says how much there is to give back."""
    story = Story(manual=True)
    story.answers(story.charge_key, held(minor=PRICE + 1))
    story.answers(story.open_call("void").key, declined("api_error"))

    story.reports(webhook("payment.succeeded", minor=PRICE + 1))

    assert story.sums()[:3] == ("processing", PRICE + 1, PRICE + 1)
    story.answers(story.open_call("void").key, declined("already_settled"))
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1)
    story.answers(story.newest.key, approved("re_1", PRICE + 1))
    assert story.payment.status == "cancelled"


def test_what_a_provider_captured_before_an_early_reverse_came_is_what_can_be_refunded():
    story = Story(review=True)
    story.reverse()
    story.answers(story.charge_key, held())

    story.reports(webhook("payment.succeeded", minor=7_000))
    story.answers(story.open_call("void").key, declined("already_settled"))

    assert story.sums() == ("success", PRICE, 7_000, 3_000, 0, 0)
    assert story.txn(story.refund()).amount_minor == 7_000


def test_a_hold_that_grew_while_it_was_being_undone_is_refunded_whole():
    """The void left with what we had asked for; the provider held one unit more, and took it."""
    story = Story(manual=True)
    story.answers(story.charge_key, CONFIRM)
    story.reverse(or_refund=True)
    story.answers(story.charge_key, held(minor=PRICE + 1))

    story.answers(story.open_call("void").key, declined("already_settled"))

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1)


def test_a_stray_that_cannot_be_undone_calls_a_person_whatever_else_he_is_called_for():
    story = superseded()
    story.answers(story.charge_key, approved("ch_2", PRICE + 1))
    story.reports(webhook("payment.succeeded", reference=story.payment.calls[0].key))

    story.answers(story.newest.key, declined("api_error"))

    codes = {concern.code for concern in story.payment.unseen}
    assert codes == {"amount_mismatch", "stray_charge", "reverse_failed"}


@pytest.mark.parametrize(
    ("reported", "left"),
    [
        (webhook("refund.succeeded", "re_p", parent="ch_1", minor=3_000), 7_000),
        (webhook("dispute.opened", "dp_1", parent="ch_1", minor=3_000), 7_000),
        (webhook("refund.succeeded", "re_p", parent="ch_1", minor=PRICE), 0),
    ],
)
def test_of_a_stray_what_has_gone_back_already_is_not_asked_back_again(
    reported: ProviderEvent, left: int
):
    story = superseded()
    first = story.payment.calls[0].key
    story.answers(first, approved())
    story.reports(reported)

    story.answers(story.open_call("void").key, declined("already_settled"))

    refunds = [call.amount_minor for call in story.payment.calls if call.verb == "refund"]
    assert refunds == ([left] if left else [])
    (reverse,) = story.txns("reverse")
    assert reverse.status == ("pending" if left else "success")
    assert story.payment.status == "processing"


@pytest.mark.parametrize("lost_first", [False, True])
def test_a_dispute_that_is_won_after_the_rest_was_given_back_calls_a_person(*, lost_first: bool):
    """What comes back is the payer's, and no command of ours gives it to him."""
    story = in_review()
    story.review("decline")
    story.reports(webhook("payment.succeeded"))
    story.reports(webhook("dispute.opened", "dp_1", parent="ch_1", minor=3_000, at=2))
    story.answers(story.open_call("void").key, declined("already_settled"))
    story.answers(story.newest.key, approved("re_1", 7_000))
    if lost_first:
        story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=False, at=3))
    story.seen()

    story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=True, at=4))

    assert story.payment.status == "cancelled"
    assert story.payment.attention == "disputed"


@pytest.mark.parametrize("word", ["already_settled", "api_error"])
def test_a_charge_that_stands_is_a_success_though_a_stray_took_another_amount(word: str):
    story = superseded()
    story.reverse()
    story.reports(
        webhook("payment.succeeded", reference=story.payment.calls[0].key, minor=PRICE + 1)
    )
    story.answers(story.charge_key, approved("ch_2"))

    own = next(call for call in story.payment.calls if (call.verb, call.target) == ("void", "ch_2"))
    story.answers(own.key, declined(word))

    assert story.sums()[:3] == ("success", PRICE, PRICE)
    assert story.txn(story.refund()).amount_minor == PRICE
