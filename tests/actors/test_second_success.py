"""A charge or refund under more than one name: the same one, or a second one under one key."""

import pytest
from payment_cases import PRICE, Story, approved, authorized, cancelled, succeeded, webhook

from paygate_actors.sums import refunded


def test_a_prepared_charge_keeps_the_name_by_which_it_was_prepared():
    story = Story(two_steps=("a",))
    story.is_prepared("ORDER1")

    story.reports(webhook("payment.succeeded", "CAPTURE9", reference=story.charge_key, minor=PRICE))
    story.answers(story.charge_key, approved("ORDER1"))

    assert (story.payment.status, story.payment.provider_txn_id) == ("success", "ORDER1")
    assert story.payment.unseen == ()
    story.refund(100)
    assert story.open_call("refund").target == "ORDER1"


@pytest.mark.parametrize("reversed_before", [True, False])
def test_a_second_charge_under_one_key_calls_a_person_and_changes_nothing(*, reversed_before: bool):
    story = cancelled() if reversed_before else succeeded()
    before = story.sums()
    again = webhook("payment.succeeded", "ch_2", reference=story.charge_key, minor=PRICE)

    story.reports(again)

    concerns = [(each.code, each.detail) for each in story.payment.unseen]
    assert concerns == [("charged_twice", "ch_2")]
    assert story.sums() == before
    assert story.payment.provider_txn_id == "ch_1"
    assert story.reports(again) == []


def test_a_second_charge_beside_a_hold_is_no_capture_of_it():
    story = authorized()

    story.reports(webhook("payment.succeeded", "ch_2", reference=story.charge_key, minor=PRICE))

    assert (story.payment.status, story.payment.attention) == ("authorized", "charged_twice")


def test_a_second_refund_under_one_key_calls_a_person():
    story = succeeded()
    story.refund(100)
    refund = story.open_call("refund")
    story.answers(refund.key, approved("re_1", 100))

    story.reports(webhook("refund.succeeded", "re_1", reference=refund.key, minor=100))
    assert story.payment.unseen == ()
    story.reports(webhook("refund.succeeded", "re_2", reference=refund.key, minor=100))

    assert story.payment.attention == "charged_twice"
    assert refunded(story.payment) == 100


def test_our_refund_that_was_reported_without_our_reference_and_came_back_is_not_counted():
    story = succeeded()
    story.refund(4_000)
    refund = story.open_call("refund").key
    story.reports(webhook("refund.succeeded", "re_1", parent="ch_1", minor=4_000, at=2))

    story.reports(webhook("refund.failed", "re_1", reference=refund, minor=4_000, at=3))
    story.reports(webhook("refund.succeeded", "re_1", parent="ch_1", minor=4_000, at=2))

    assert refunded(story.payment) == 0
    assert story.txn(story.refund()).amount_minor == PRICE


@pytest.mark.parametrize("reported", [True, False])
def test_our_refund_that_was_reported_as_come_back_before_we_heard_of_it_has_come_back(
    *, reported: bool
):
    story = succeeded()
    story.refund(4_000)
    refund = story.open_call("refund").key
    if reported:
        story.reports(webhook("refund.succeeded", "re_1", parent="ch_1", minor=4_000, at=2))
    story.reports(webhook("refund.failed", "re_1", parent="ch_1", minor=4_000, at=3))

    story.answers(refund, approved("re_1", 4_000))
    story.reports(webhook("refund.succeeded", "re_1", reference=refund, minor=4_000, at=2))

    assert refunded(story.payment) == 0
    assert "refund_failed" in {concern.code for concern in story.payment.unseen}
    assert story.txn(story.refund()).amount_minor == PRICE
    assert story.refolded() == story.payment
