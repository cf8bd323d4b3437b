"""What turns out only later: of captures, reverses and reviews, whichever order it is heard in.

What is said of a payment must be true when everything was heard: what was declined is no success,
what is captured is refunded by nobody unasked, what is over keeps nothing without a person.
"""

import pytest
from payment_cases import (
    HOUR_US,
    PRICE,
    TIMEOUT,
    Story,
    approved,
    authorized,
    declined,
    held,
    in_review,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.outcomes import Pending


def moves(story: Story) -> list[str]:
    return [event.fact for event in story.events if isinstance(event, e.Moved)]


def concerns(story: Story) -> list[str]:
    return [concern.code for concern in story.payment.concerns]


def void_refused(story: Story, word: str = "api_error") -> None:
    story.answers(story.open_call("void").key, declined(word))


def captured_in_vain(story: Story, word: str = "api_error") -> str:
    """A capture that was refused; its key."""
    key = story.open_call("capture").key
    story.answers(key, declined(word))
    return key


# ---------------------------------------------------------------------- our own capture


@pytest.mark.parametrize("minor", [PRICE, 6_000])
def test_a_capture_of_our_own_that_was_taken_for_its_providers_is_never_refunded(minor: int):
    """Its first request was done and never answered, the second found it done already."""
    story = authorized()
    story.capture(minor)
    capture = story.open_call("capture").key
    story.answers(capture, TIMEOUT)
    story.answers(capture, declined("already_captured"))
    story.answers(story.charge_key, approved(minor=minor))

    story.reports(webhook("payment.succeeded", minor=minor, reference=capture))

    assert story.sums()[:3] == ("success", PRICE, minor)
    assert [(txn.origin, txn.status) for txn in story.txns("capture")] == [
        ("merchant", "success"),
        ("provider", "cancelled"),
    ]
    assert not story.txns("stray")
    assert not any(call.verb == "refund" for call in story.payment.calls)
    assert story.refolded() == story.payment


@pytest.mark.parametrize("minor", [PRICE, None])
def test_news_of_a_capture_that_name_the_charge_alone_are_not_of_the_next_one(minor: int | None):
    """It was refused and done after all, while it was asked for again."""
    story = authorized()
    story.capture()
    first = captured_in_vain(story)
    story.capture()
    second = story.open_call("capture").key
    story.reports(webhook("payment.succeeded", minor=PRICE, reference=first))

    story.reports(webhook("payment.succeeded", minor=minor))
    story.answers(second, declined("already_captured"))

    assert story.sums()[:3] == ("success", PRICE, PRICE)
    assert not story.txns("stray")
    assert [txn.status for txn in story.txns("capture")] == ["success", "failed"]


def test_a_capture_that_was_refunded_before_it_was_heard_of_is_no_stray():
    story = in_review()
    story.review("approve")
    capture = captured_in_vain(story)
    void_refused(story, "already_settled")
    story.answers(story.open_call("refund").key, approved("re_1"))
    assert story.payment.status == "cancelled"

    story.reports(webhook("payment.succeeded", minor=PRICE, reference=capture))

    assert not story.txns("stray")
    assert story.payment.status == "cancelled"


# ---------------------------------------------------------------------- declined, for good


@pytest.mark.parametrize("how", ["declined by a person", "nobody came"])
def test_what_was_declined_after_a_failed_approval_goes_back_when_the_approval_was_done_after_all(
    how: str,
):
    story = in_review()
    story.review("approve")
    capture = captured_in_vain(story)
    void_refused(story)
    if how == "nobody came":
        story.waits(25 * HOUR_US)
    else:
        story.review("decline")
    void_refused(story)

    story.answers(capture, approved())

    assert story.payment.status == "review"
    void_refused(story, "already_settled")
    story.answers(story.open_call("refund").key, approved("re_1"))
    assert story.payment.status == "cancelled"
    assert "captured" not in moves(story)


@pytest.mark.parametrize("word", ["api_error", "already_settled"])
def test_a_merchants_reverse_that_fails_makes_no_success_of_what_was_declined(word: str):
    story = in_review()
    story.review("decline")
    void_refused(story)
    story.reverse()
    story.reports(webhook("payment.succeeded", minor=7_000))

    void_refused(story, word)

    assert story.payment.status == "review"
    assert story.review("decline").refusal is None
    void_refused(story, "already_settled")
    assert (story.newest.verb, story.newest.amount_minor) == ("refund", 7_000)


def test_a_merchants_reason_is_no_decline_and_holds_up_no_deadline():
    """It is free text, and may be any of our own words."""
    story = in_review()
    story.reverse(reason="review_declined")
    void_refused(story)
    story.reports(webhook("payment.succeeded", minor=PRICE))
    late = in_review()
    late.reverse(reason="review_expired")
    void_refused(late)

    late.waits(25 * HOUR_US)

    assert story.payment.status == "success"
    assert late.open_call("void").target == "ch_1"


# ---------------------------------------------------------------------- a refund of too much


def refund_of_the_whole_under_way(kind: str) -> Story:
    story = authorized() if kind == "authorized" else in_review()
    if kind == "authorized":
        story.reverse(or_refund=True)
    elif kind == "declined":
        story.review("decline")
    else:
        story.review("approve")
        captured_in_vain(story)
    void_refused(story, "already_settled")
    return story


@pytest.mark.parametrize("kind", ["authorized", "declined", "approved"])
def test_a_part_that_was_captured_ends_alike_whether_its_news_or_the_refusal_comes_first(kind: str):
    news = webhook("payment.succeeded", minor=7_000)
    first, last = (refund_of_the_whole_under_way(kind) for _ in range(2))

    first.reports(news)
    first.answers(first.open_call("refund").key, declined("amount_too_large"))
    last.answers(last.open_call("refund").key, declined("amount_too_large"))
    last.reports(news)

    assert first.sums() == last.sums()
    assert first.payment.status == ("review" if kind == "declined" else "success")
    for story in (first, last):
        pending = [call.amount_minor for call in story.payment.calls if call.unresolved]
        assert pending == ([7_000] if kind == "declined" else [])


def test_what_was_captured_after_all_and_cannot_be_refunded_is_a_success():
    story = authorized()
    story.capture()
    capture = captured_in_vain(story)
    story.reverse(or_refund=True)
    void_refused(story, "already_settled")
    story.answers(capture, approved())

    story.answers(story.open_call("refund").key, declined("insufficient_balance"))

    assert story.sums()[:3] == ("success", PRICE, PRICE)
    assert story.refund().refusal is None


# ---------------------------------------------------------------------- what is over


def test_a_capture_that_is_heard_of_after_its_hold_has_lapsed_calls_a_person():
    """The rest lapsed: how much was taken before, nobody had heard."""
    lapsed = authorized()
    lapsed.reports(webhook("payment.expired", at=5))
    approved_in_vain = in_review()
    approved_in_vain.review("approve")
    captured_in_vain(approved_in_vain, "authorization_expired")

    for story in (lapsed, approved_in_vain):
        story.reports(webhook("payment.succeeded", minor=7_000, at=2))

        assert story.payment.status == "cancelled"
        assert concerns(story) == ["captured_by_provider"]


def test_what_its_payers_bank_took_back_for_good_is_declined_and_over():
    story = in_review()
    story.review("decline")
    story.reports(webhook("payment.succeeded", minor=7_000))
    story.reports(webhook("dispute.opened", "dp_1", at=3, parent="ch_1", minor=7_000))
    story.reports(webhook("dispute.closed", "dp_1", at=4, parent="ch_1", minor=7_000, won=False))

    void_refused(story, "already_settled")

    assert story.payment.status == "cancelled"
    story.reports(webhook("dispute.closed", "dp_1", at=5, parent="ch_1", minor=7_000, won=True))
    assert story.gives_back() is None
    assert story.open_call("void").amount_minor == 7_000


def test_a_repeated_word_on_a_stray_does_not_end_its_void():
    story = Story(manual=True)
    story.answers(story.charge_key, declined("cancelled"))
    story.answers(story.charge_key, held())
    void = story.open_call("void").key
    story.answers(void, Pending())

    story.answers(story.charge_key, held())
    story.answers(void, declined("api_error"))

    assert story.payment.attention == "reverse_failed"
    assert story.gives_back() is None
