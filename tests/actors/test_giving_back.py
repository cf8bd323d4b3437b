"""What is given back while its provider captures it, and what can be given back again."""

from collections.abc import Callable

import pytest
from payment_cases import (
    HOUR_US,
    PRICE,
    TIMEOUT,
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

from paygate_actors import events as e
from paygate_actors.desk import desk_entry
from paygate_actors.draft import Draft
from paygate_actors.explaining import explain
from paygate_actors.messages import Failure
from paygate_actors.record import CAPTURE_DECLINED
from paygate_actors.undoing import reverse_by_system


def moves(story: Story) -> list[str]:
    return [event.fact for event in story.events if isinstance(event, e.Moved)]


def ahead(story: Story) -> list[str]:
    told = explain(
        story.recorded,
        (),
        now_us=story.now_us,
        in_doubt_flag_us=HOUR_US,
        audience="operator",
    )
    return [step.action for step in told.ahead]


# ---------------------------------------------------------------------- captured meanwhile


@pytest.mark.parametrize("minor", [PRICE, 7_000])
def test_what_is_captured_at_its_provider_after_an_operator_declined_it_is_never_a_success(
    minor: int,
):
    """Who is told that it is paid sends the goods."""
    story = in_review()
    story.review("decline")

    story.reports(webhook("payment.succeeded", minor=minor))

    assert story.sums()[:3] == ("review", PRICE, minor)
    story.answers(story.open_call("void").key, declined("already_settled"))
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", minor)
    story.answers(story.newest.key, approved("re_1", minor))
    assert moves(story) == ["charge_started", "held", "cancelled"]
    assert story.refolded() == story.payment


def test_what_is_captured_and_voided_at_its_provider_while_it_is_reversed_is_no_success():
    story = authorized()
    story.reverse()

    story.reports(webhook("payment.succeeded", minor=PRICE))
    story.answers(story.open_call("void").key, approved(captured=False))

    assert moves(story) == ["charge_started", "authorized", "cancelled"]
    assert story.sums()[2] == 0


@pytest.mark.parametrize("minor", [PRICE, 7_000])
@pytest.mark.parametrize("word", ["already_settled", "api_error"])
def test_what_is_captured_at_its_provider_and_cannot_be_reversed_is_a_success_then(
    minor: int, word: str
):
    story = authorized()
    story.reverse()
    story.reports(webhook("payment.succeeded", minor=minor))

    story.answers(story.open_call("void").key, declined(word))

    assert story.sums()[:3] == ("success", PRICE, minor)
    assert story.txn(story.refund()).amount_minor == minor


def test_what_is_captured_at_its_provider_while_it_is_reversed_goes_on_as_a_refund_where_it_may():
    story = authorized()
    story.reverse(or_refund=True)
    story.reports(webhook("payment.succeeded", minor=7_000))

    story.answers(story.open_call("void").key, declined("already_settled"))

    assert [txn.amount_minor for txn in story.txns("refund")] == [7_000]
    assert story.payment.status == "success"


def test_a_charge_whose_early_reverse_is_refused_as_a_refund_stands():
    """It was captured in part while it was undone; nobody would ever say what became of it."""
    story = Story(manual=True)
    story.reverse(or_refund=True)
    story.answers(story.charge_key, held())
    story.answers(story.open_call("void").key, declined("already_settled"))
    story.reports(webhook("payment.succeeded", minor=7_000))

    story.answers(story.open_call("refund").key, declined("amount_too_large"))

    assert story.sums()[:3] == ("success", PRICE, 7_000)
    assert story.txn(story.refund()).amount_minor == 7_000


@pytest.mark.parametrize("review", [True, False])
def test_a_capture_that_finds_it_captured_says_nothing_of_what_was_taken(*, review: bool):
    """Nothing was charged, a merchant would be told, of money that was taken at the provider."""
    story = in_review() if review else authorized()
    if review:
        story.review("approve")
    else:
        story.capture()

    story.answers(story.newest.key, declined("already_captured"))

    assert story.payment.status == ("review" if review else "authorized")
    assert story.payment.attention == "captured_by_provider"
    assert story.txns("reverse") == []
    story.reports(webhook("payment.succeeded", minor=7_000))
    assert story.sums()[:3] == ("success", PRICE, 7_000)


@pytest.mark.parametrize("late", [False, True])
def test_what_nobody_approved_is_no_success_though_it_was_captured_and_cannot_be_undone(
    *, late: bool
):
    """A person declined it, or nobody looked in time; whoever looks next can decline it again."""
    story = in_review()
    if late:
        story.waits(25 * HOUR_US)
    else:
        story.review("decline")
    story.reports(webhook("payment.succeeded"))

    story.answers(story.open_call("void").key, declined("api_error"))

    assert moves(story) == ["charge_started", "held"]
    assert story.payment.attention == "reverse_failed"
    assert story.review("decline").refusal is None
    story.answers(story.open_call("void").key, declined("already_settled"))
    story.answers(story.newest.key, approved("re_1"))
    assert story.payment.status == "cancelled"


# ---------------------------------------------------------------------- given back again


def stray(*, word: str = "api_error") -> Story:
    """Money that was taken for an attempt that had been given up; the void of it is refused."""
    story = failed()
    story.answers(story.charge_key, approved())
    story.answers(story.open_call("void").key, declined(word))
    return story


def held_for_nobody() -> Story:
    """Approved by a person, the capture was declined, and then the hold could not be given free.

    In an earlier version such a payment was `failed` before that was known.
    """
    story = in_review()
    story.review("approve")

    def failed_at_once(draft: Draft) -> None:
        failure = Failure(code="try_again", message="")
        capture = draft.payment.calls[-1]
        draft.add(e.CallDeclined(key=capture.key, failure=failure))
        draft.settle(capture.transaction_id, "failed", failure)
        draft.move("failed", failure=failure)
        charge = draft.payment.call(story.charge_key)
        assert charge is not None
        reverse_by_system(draft, charge, CAPTURE_DECLINED)

    story.records(failed_at_once)
    story.answers(story.open_call("void").key, declined("api_error"))
    return story


def taken_otherwise(*, captured: bool) -> Story:
    """One unit more than was asked for, and it cannot be undone."""
    story = Story(manual=not captured)
    story.answers(
        story.charge_key, approved(minor=PRICE + 1) if captured else held(minor=PRICE + 1)
    )
    story.answers(story.open_call("void").key, declined("api_error"))
    return story


def came_back() -> Story:
    """A declined review was refunded, the payment ended, and the payer's account was closed."""
    story = in_review()
    story.review("decline")
    story.answers(story.open_call("void").key, declined("already_settled"))
    refund = story.open_call("refund").key
    story.answers(refund, approved("re_1"))
    story.answers(refund, declined("account_closed"))
    return story


KEPT = {
    "a stray": (stray, PRICE),
    "a hold of a failed payment": (held_for_nobody, PRICE),
    "a charge of another amount": (lambda: taken_otherwise(captured=True), PRICE + 1),
    "a hold of another amount": (lambda: taken_otherwise(captured=False), PRICE + 1),
}
each_kept = pytest.mark.parametrize(("made", "minor"), KEPT.values(), ids=KEPT)


@each_kept
def test_what_could_not_be_voided_is_voided_when_an_operator_has_it_given_back(
    made: Callable[[], Story], minor: int
):
    story = made()
    status = story.payment.status
    assert "give_back" in desk_entry(story.payment).actions

    assert story.gives_back() is None

    void = story.open_call("void")
    assert (void.provider, void.target, void.amount_minor) == ("a", "ch_1", minor)
    assert "give_back" not in desk_entry(story.payment).actions
    story.answers(void.key, approved(minor=minor, captured=False))
    assert [txn.status for txn in story.txns("reverse")] == ["failed", "success"]
    assert story.payment.status == ("failed" if status == "failed" else "cancelled")
    assert story.refolded() == story.payment


@each_kept
def test_what_settled_meanwhile_is_refunded_when_an_operator_has_it_given_back(
    made: Callable[[], Story], minor: int
):
    story = made()
    story.gives_back()

    story.answers(story.open_call("void").key, declined("already_settled"))

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", minor)
    story.answers(story.newest.key, approved("re_1", minor))
    assert [txn.status for txn in story.txns("reverse")] == ["failed", "success"]
    assert "give_back" not in desk_entry(story.payment).actions


@each_kept
def test_what_is_given_back_is_not_given_back_again(made: Callable[[], Story], minor: int):
    story = made()
    story.gives_back()
    under_way = len(story.stream)

    assert story.gives_back() is None
    assert len(story.stream) == under_way

    story.answers(story.open_call("void").key, approved(minor=minor, captured=False))
    over = len(story.stream)
    assert story.gives_back() is None
    assert len(story.stream) == over


@each_kept
def test_what_is_refused_again_calls_a_person_and_can_be_given_back_again(
    made: Callable[[], Story], minor: int
):
    story = made()
    story.seen()
    story.gives_back()

    story.answers(story.open_call("void").key, declined("api_error"))

    assert story.payment.attention == "reverse_failed"
    assert story.gives_back() is None
    assert story.open_call("void").amount_minor == minor


def test_a_refund_that_was_refused_is_refunded_again_and_not_voided():
    story = stray(word="already_settled")
    story.answers(story.open_call("refund").key, declined("insufficient_balance"))

    story.gives_back()

    assert (story.newest.verb, story.newest.amount_minor, story.newest.target) == (
        "refund",
        PRICE,
        "ch_1",
    )


def test_of_a_stray_only_what_has_not_gone_back_is_given_back_again():
    story = stray()
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=4_000))

    story.gives_back()

    assert story.newest.amount_minor == PRICE - 4_000


@pytest.mark.parametrize("heard_before", [True, False])
def test_of_a_stray_hold_only_what_its_provider_has_captured_is_given_back(*, heard_before: bool):
    """A refund of the whole is refused, however often it is asked for."""
    story = Story(manual=True)
    story.answers(story.charge_key, declined())
    story.answers(story.charge_key, held())
    captured = webhook("payment.succeeded", minor=7_000)
    if heard_before:
        story.reports(captured)
        story.answers(story.open_call("void").key, declined("already_settled"))
    else:
        story.answers(story.open_call("void").key, declined("already_settled"))
        story.reports(captured)
        story.answers(story.open_call("refund").key, declined("amount_too_large"))
        story.gives_back()

    story.reports(captured)
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", 7_000)
    story.answers(story.newest.key, approved("re_1", 7_000))
    assert story.txns("reverse")[-1].status == "success"
    assert story.refolded() == story.payment


@pytest.mark.parametrize("by_itself", [0, 3_000, 7_000])
def test_of_a_failed_payments_hold_only_what_its_provider_has_captured_is_given_back(
    by_itself: int,
):
    story = held_for_nobody()
    captured = webhook("payment.succeeded", minor=7_000)
    story.reports(captured)
    story.reports(captured)
    if by_itself:
        story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=by_itself))
    story.gives_back()

    if by_itself < 7_000:
        story.answers(story.open_call("void").key, declined("already_settled"))
        assert (story.newest.verb, story.newest.amount_minor) == ("refund", 7_000 - by_itself)
        story.answers(story.newest.key, approved("re_1", 7_000 - by_itself))
        assert story.txns("reverse")[-1].status == "success"
    assert [txn.amount_minor for txn in story.txns("capture")] == [PRICE, 7_000]
    assert "give_back" not in desk_entry(story.payment).actions
    assert story.payment.status == "failed"


def test_what_came_back_of_a_declined_review_is_given_back_again():
    story = came_back()
    assert (story.payment.status, story.payment.attention) == ("cancelled", "refund_failed")

    assert story.gives_back() is None

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE)
    story.answers(story.newest.key, approved("re_2"))
    assert [txn.status for txn in story.txns("reverse")] == ["failed", "success"]
    assert story.payment.status == "cancelled"


def test_what_is_a_stray_is_not_given_back_with_the_payment_too():
    """The payer's charge could not be undone, was declined, and succeeded after all."""
    story = requiring_action()
    story.reverse()
    story.answers(story.open_call("void").key, declined("api_error"))
    story.answers(story.charge_key, declined())
    story.answers(story.charge_key, approved())
    before = len(story.stream)

    assert "give_back" not in desk_entry(story.payment).actions
    story.gives_back()
    assert len(story.stream) == before

    story.answers(story.open_call("void").key, declined("already_settled"))
    story.answers(story.open_call("refund").key, approved("re_1"))
    story.gives_back()
    assert [call.verb for call in story.payment.calls] == ["charge", "void", "void", "refund"]


@pytest.mark.parametrize("by_itself", [4_000, PRICE])
def test_what_its_provider_has_refunded_since_it_came_back_is_not_given_back_too(by_itself: int):
    story = came_back()

    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=by_itself))

    left = PRICE - by_itself
    assert ("give_back" in desk_entry(story.payment).actions) == (left > 0)
    story.gives_back()
    assert [call.amount_minor for call in story.payment.calls if call.verb == "refund"] == (
        [PRICE, left] if left else [PRICE]
    )


def test_what_was_given_back_in_two_parts_and_came_back_whole_is_given_back_whole():
    story = Story()
    story.answers(story.charge_key, approved(minor=PRICE + 1))
    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=4_000, at=2))
    story.answers(story.open_call("void").key, declined("charge_refunded"))
    refund = story.open_call("refund").key
    story.answers(refund, approved("re_1", PRICE + 1 - 4_000))
    story.answers(refund, declined("account_closed"))
    story.reports(webhook("refund.failed", "re_p", parent="ch_1", minor=4_000, at=3))

    story.gives_back()

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE + 1)


def test_what_came_back_and_went_through_after_it_was_given_back_again_calls_a_person():
    story = stray(word="already_settled")
    first = story.open_call("refund").key
    story.answers(first, approved("re_1"))
    story.reports(webhook("refund.failed", "re_1", reference=first, minor=PRICE, at=5))
    story.gives_back()
    story.answers(story.newest.key, approved("re_2"))
    story.seen()

    story.reports(webhook("refund.succeeded", "re_1", reference=first, minor=PRICE, at=9))

    assert [txn.status for txn in story.txns("reverse")] == ["success", "success"]
    assert story.payment.attention == "refund_exceeds_captured"


NOTHING_KEPT = {
    "a success": succeeded,
    "a failed payment": failed,
    "a payer who is asked": requiring_action,
    "a hold": authorized,
    "a charge that is tried elsewhere": superseded,
}


@pytest.mark.parametrize("made", NOTHING_KEPT.values(), ids=NOTHING_KEPT)
def test_where_nothing_is_kept_nothing_is_given_back(made: Callable[[], Story]):
    story = made()
    before = len(story.stream)

    refused = story.gives_back()

    assert refused is not None
    assert refused.code == "payment_not_reversible"
    assert len(story.stream) == before


def test_a_reverse_that_failed_of_a_success_is_the_merchants_business():
    story = succeeded()
    story.reverse()
    story.answers(story.open_call("void").key, declined("api_error"))

    refused = story.gives_back()

    assert refused is not None
    assert "give_back" not in desk_entry(story.payment).actions


def test_what_a_merchant_has_given_back_is_not_taken_for_a_repetition():
    """Two hundred would say that it is done; the rest of it is not."""
    story = succeeded()
    story.reverse(or_refund=True)
    story.answers(story.open_call("void").key, declined("already_settled"))
    story.answers(story.open_call("refund").key, declined("insufficient_balance"))

    refused = story.gives_back()

    assert refused is not None
    assert refused.code == "payment_not_reversible"


@pytest.mark.parametrize("lost", [False, True])
def test_what_the_payers_bank_has_taken_is_not_given_back_too(*, lost: bool):
    story = taken_otherwise(captured=True)
    story.reports(webhook("dispute.opened", "dp_1", parent="ch_1", minor=3_000, at=2))
    if lost:
        story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=False, at=3))

    refused = story.gives_back()

    assert refused is not None
    story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=True, at=4))
    assert story.gives_back() is None


@each_kept
def test_while_it_is_not_known_what_became_of_it_nothing_is_given_back_beside(
    made: Callable[[], Story], minor: int
):
    """An operator's word ends the transaction; its void may still do it."""
    story = made()
    story.gives_back()
    void = story.open_call("void")
    story.answers(void.key, TIMEOUT)
    story.correct(story.txns("reverse")[-1].id, "failed", None, force=True)
    before = len(story.stream)

    story.gives_back()

    assert len(story.stream) == before
    story.answers(void.key, approved(minor=minor, captured=False))
    assert story.txns("reverse")[-1].status == "success"


def test_while_another_void_of_the_same_charge_is_not_known_a_stray_is_not_given_back_beside():
    """The payment's own reverse ended with the charge that was declined, but its void did not."""
    story = requiring_action()
    story.reverse()
    own = story.open_call("void").key
    story.answers(own, TIMEOUT)
    story.answers(story.charge_key, declined())
    story.answers(story.charge_key, approved())
    story.answers(story.newest.key, declined("api_error"))

    assert "give_back" not in desk_entry(story.payment).actions
    story.answers(own, declined("charge_failed"))
    assert "give_back" in desk_entry(story.payment).actions


@each_kept
def test_an_explanation_says_that_an_operator_can_have_it_given_back(
    made: Callable[[], Story], minor: int
):
    story = made()
    story.seen()

    assert ahead(story) == ["give_back"]

    story.gives_back()
    story.answers(story.open_call("void").key, approved(minor=minor, captured=False))
    assert ahead(story) == ["nothing"]
