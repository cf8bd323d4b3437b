"""What is heard of a charge that was declined, before anybody has told that it took the money."""

import itertools

import pytest
from payment_cases import PRICE, Story, approved, declined, webhook

from paygate_actors.providers.base import ProviderEvent
from paygate_actors.sums import disputed, refunded

FAULT = declined("processing_error", retryable=True)


def charged_elsewhere() -> Story:
    """Declined at a, and charged at b."""
    story = Story()
    story.answers(story.charge_key, FAULT)
    story.answers(story.charge_key, approved("ch_b"))
    assert story.payment.status == "success"
    return story


def late_success(story: Story) -> ProviderEvent:
    return webhook("payment.succeeded", "ch_a", reference=story.payment.calls[0].key, minor=PRICE)


def a_refund(minor: int | None = 4_000, *, parent: str | None = "ch_a") -> ProviderEvent:
    return webhook("refund.succeeded", "re_a", parent=parent, minor=minor)


def test_a_refund_of_a_declined_charge_is_no_refund_of_the_one_that_stands():
    story = charged_elsewhere()

    story.reports(a_refund())

    (stray,) = story.txns("stray")
    assert (stray.provider_txn_id, stray.amount_minor) == ("ch_a", PRICE)
    assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)
    assert refunded(story.payment, about=stray.id) == 4_000
    assert (story.newest.verb, story.newest.provider, story.newest.target) == ("void", "a", "ch_a")
    assert {concern.code for concern in story.payment.unseen} >= {"stray_charge"}


def test_its_success_says_nothing_new_then():
    story = charged_elsewhere()
    story.reports(a_refund())
    before = len(story.stream)

    story.reports(late_success(story))

    assert len(story.stream) == before
    assert len(story.txns("stray")) == 1


def test_the_rest_of_it_goes_back():
    story = charged_elsewhere()
    story.reports(a_refund())

    story.answers(story.open_call("void").key, declined("charge_refunded"))

    assert (story.newest.verb, story.newest.amount_minor) == ("refund", PRICE - 4_000)
    story.answers(story.newest.key, approved("re_2", PRICE - 4_000))
    assert [txn.status for txn in story.txns("reverse")] == ["success"]
    assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_whatever_order_it_is_heard_the_sums_are_the_same(order: tuple[int, ...]):
    story = charged_elsewhere()
    facts = [
        late_success(story),
        a_refund(),
        webhook("dispute.opened", "dp_a", parent="ch_a", minor=1_000),
    ]

    for place in order:
        story.reports(facts[place])

    (stray,) = story.txns("stray")
    about = (refunded(story.payment, about=stray.id), disputed(story.payment, about=stray.id))
    assert about == (4_000, 1_000)
    assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)
    assert story.refund().refusal is None


def test_a_dispute_that_is_closed_first_is_about_the_declined_charge_as_well():
    story = charged_elsewhere()

    story.reports(webhook("dispute.closed", "dp_a", parent="ch_a", minor=PRICE, won=False))

    (stray,) = story.txns("stray")
    assert disputed(story.payment, about=stray.id) == PRICE
    assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)


def test_a_failed_payment_that_was_refunded_had_been_charged():
    story = Story(routes=("a",))
    story.answers(story.charge_key, declined())

    story.reports(a_refund())

    (stray,) = story.txns("stray")
    assert refunded(story.payment, about=stray.id) == 4_000
    assert story.sums() == ("failed", 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "event",
    [
        webhook("refund.failed", "re_a", parent="ch_a", minor=4_000),
        a_refund(parent=None),  # of which charge it does not say, and nobody knows a name
    ],
)
def test_what_says_nothing_of_a_charge_opens_no_stray(event: ProviderEvent):
    story = charged_elsewhere()

    story.reports(event)

    assert story.txns("stray") == []


def test_what_is_told_of_a_charge_that_was_undone_opens_no_stray():
    """A provider may call the void of a settled charge a refund."""
    story = Story()
    story.answers(story.charge_key, declined("cancelled"))

    story.reports(a_refund())

    assert story.txns("stray") == []
    assert story.payment.status == "cancelled"


def test_a_refund_at_another_provider_is_of_the_stray_there_by_whatever_name():
    """The order is known by one name, and what was captured of it by another."""
    story = charged_elsewhere()
    story.reports(late_success(story))

    story.reports(a_refund(parent="capture_of_a"))

    (stray,) = story.txns("stray")
    assert refunded(story.payment, about=stray.id) == 4_000
    assert refunded(story.payment) == 0
