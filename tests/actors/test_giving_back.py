"""What is given back while its provider captures it, and what can be given back again."""

import pytest
from payment_cases import (
    PRICE,
    Story,
    approved,
    authorized,
    declined,
    in_review,
    webhook,
)

from paygate_actors import events as e


def moves(story: Story) -> list[str]:
    return [event.fact for event in story.events if isinstance(event, e.Moved)]


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
