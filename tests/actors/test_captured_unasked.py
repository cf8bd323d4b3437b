"""A hold that its provider captures by itself, heard of before the hold or after it."""

from collections.abc import Callable

import pytest
from payment_cases import (
    PRICE,
    TIMEOUT,
    Story,
    approved,
    declined,
    held,
    webhook,
)

STORIES: dict[str, Callable[[], Story]] = {
    "manual": lambda: Story(manual=True),
    "to be reviewed": lambda: Story(review=True),
}


def seen(story: Story) -> tuple[object, ...]:
    """What is left of it: where the money is, who moved it, and what a person was called for."""
    return (
        story.sums(),
        [(txn.type, txn.origin, txn.amount_minor, txn.status) for txn in story.payment.txns],
        [concern.code for concern in story.payment.concerns],
    )


@pytest.mark.parametrize("minor", [PRICE, 7_000])
@pytest.mark.parametrize("kind", STORIES)
def test_a_capture_that_is_heard_of_before_its_hold_ends_as_one_heard_of_after(
    kind: str, minor: int
):
    """Nobody asked for it, so a person is called; a review is not skipped unseen."""
    before, after, late = (STORIES[kind]() for _ in range(3))
    before.answers(before.charge_key, TIMEOUT)

    before.reports(webhook("payment.succeeded", minor=minor, reference=before.charge_key))
    after.answers(after.charge_key, held())
    after.reports(webhook("payment.succeeded", minor=minor))
    late.reports(webhook("payment.succeeded", minor=minor, reference=late.charge_key))
    late.answers(late.charge_key, held())

    assert before.sums()[:3] == ("success", PRICE, minor)
    assert [concern.code for concern in before.payment.concerns] == ["captured_by_provider"]
    assert seen(before) == seen(after) == seen(late)
    assert before.refolded() == before.payment


@pytest.mark.parametrize("kind", STORIES)
def test_a_capture_that_is_told_again_is_told_once(kind: str):
    story = STORIES[kind]()
    story.answers(story.charge_key, approved())
    known = seen(story)

    story.answers(story.charge_key, approved())
    story.reports(webhook("payment.succeeded", minor=PRICE))

    assert seen(story) == known


@pytest.mark.parametrize("minor", [PRICE, 7_000])
def test_a_capture_that_is_heard_of_while_its_hold_is_given_back_goes_back_as_a_refund(minor: int):
    story = Story(review=True)
    story.answers(story.charge_key, TIMEOUT)
    story.reverse(or_refund=True)

    story.reports(webhook("payment.succeeded", minor=minor, reference=story.charge_key))
    story.answers(story.open_call("void").key, declined("already_settled"))

    refund = story.open_call("refund")
    assert refund.amount_minor == minor
    story.answers(refund.key, approved("re_1", minor))
    assert story.sums()[:5] == ("success", PRICE, minor, PRICE - minor, minor)


@pytest.mark.parametrize(("minor", "currency"), [(PRICE + 1, "USD"), (PRICE, "EUR")])
def test_a_capture_of_more_than_was_asked_for_is_given_back(minor: int, currency: str):
    story = Story(manual=True)

    story.answers(story.charge_key, approved(minor=minor, currency=currency))

    assert "amount_mismatch" in [concern.code for concern in story.payment.concerns]
    assert story.open_call("void").target == "ch_1"
    assert story.payment.status == "processing"
