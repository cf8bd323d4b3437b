"""Every provider's story in every order, with repetitions: the end is the same."""

from collections.abc import Callable
from typing import Any

import pytest
from payment_cases import (
    NOT_VISIBLE,
    PRICE,
    TIMEOUT,
    Story,
    approved,
    authorized,
    declined,
    held,
    orders,
    requiring_action,
    succeeded,
    webhook,
)

from paygate_actors.outcomes import Declined, Outcome
from paygate_actors.sums import in_doubt

Step = Callable[[Story], object]
CHARGE = "txn_" + "0" * 26 + "-1"


def answer(outcome: Outcome, key: str = CHARGE) -> Step:
    return lambda story: story.answers(key, outcome)


def event(kind: str, txn_id: str = "ch_1", **fields: Any) -> Step:
    said = webhook(kind, txn_id, **fields)
    return lambda story: story.reports(said)


def capturing() -> Story:
    story = authorized()
    story.capture(6_000)
    return story


def refunding() -> Story:
    story = succeeded()
    story.refund(4_000)
    return story


def voiding_a_hold() -> Story:
    story = authorized()
    story.reverse()
    return story


def confirming_while_reversed() -> Story:
    story = requiring_action()
    story.reverse()
    return story


def key_of(make: Callable[[], Story]) -> str:
    return make().newest.key


CAPTURE = key_of(capturing)
REFUND = key_of(refunding)
VOID = key_of(voiding_a_hold)
ACTION_VOID = key_of(confirming_while_reversed)

# A provider's whole story, told in every order with one part of it repeated: how it ends.
STORIES: dict[str, tuple[Callable[[], Story], list[Step], tuple[object, ...]]] = {
    "approved": (
        Story,
        [
            answer(approved()),
            event("payment.succeeded", reference=CHARGE, minor=PRICE),
            event("payment.succeeded"),
            answer(TIMEOUT),
        ],
        ("success", PRICE, PRICE, 0, 0, 0),
    ),
    "approved, the reply lost": (
        Story,
        [
            answer(TIMEOUT),
            answer(NOT_VISIBLE),
            event("payment.succeeded", reference=CHARGE, minor=PRICE),
        ],
        ("success", PRICE, PRICE, 0, 0, 0),
    ),
    "declined": (
        Story,
        [
            answer(declined()),
            event("payment.failed", reference=CHARGE, reason="card_declined"),
            answer(TIMEOUT),
        ],
        ("failed", 0, 0, 0, 0, 0),
    ),
    "held": (
        lambda: Story(manual=True),
        [
            answer(held()),
            event("payment.authorized", reference=CHARGE, minor=PRICE),
            event("payment.authorized", reference=CHARGE),
        ],
        ("authorized", PRICE, 0, 0, 0, 0),
    ),
    "held, then captured in part": (
        capturing,
        [
            answer(approved(minor=6_000), CAPTURE),
            event("payment.succeeded", reference=CAPTURE, minor=6_000),
            event("payment.authorized", reference=CHARGE, minor=PRICE),
        ],
        ("success", PRICE, 6_000, 4_000, 0, 0),
    ),
    "held, then it expired": (
        authorized,
        [
            event("payment.cancelled", reference=CHARGE, at=9),
            event("payment.authorized", reference=CHARGE, at=1),
            answer(Declined(code="cancelled")),
        ],
        ("cancelled", PRICE, 0, PRICE, 0, 0),
    ),
    "a void races the provider's capture": (
        voiding_a_hold,
        [
            answer(approved(captured=False), VOID),
            event("payment.cancelled", reference=VOID, at=5),
            event("payment.succeeded", reference=CHARGE, minor=PRICE, at=1),
        ],
        ("cancelled", PRICE, 0, PRICE, 0, 0),
    ),
    "the payer did not confirm, and it was reversed": (
        confirming_while_reversed,
        [
            answer(declined("charge_cancelled"), ACTION_VOID),
            event("payment.cancelled", reference=CHARGE, at=5),
        ],
        ("cancelled", 0, 0, 0, 0, 0),
    ),
    "refunded": (
        refunding,
        [
            answer(approved("re_1", 4_000), REFUND),
            event("refund.succeeded", "re_1", reference=REFUND, minor=4_000),
            event("payment.succeeded", reference=CHARGE, minor=PRICE),
        ],
        ("success", PRICE, PRICE, 0, 4_000, 0),
    ),
    "refunded without a reference": (
        refunding,
        [
            answer(approved("re_1", 4_000), REFUND),
            event("refund.succeeded", "re_1", parent="ch_1", minor=4_000),
        ],
        ("success", PRICE, PRICE, 0, 4_000, 0),
    ),
    "refunded, and the refund bounced": (
        refunding,
        [
            answer(approved("re_1", 4_000), REFUND),
            event("refund.succeeded", "re_1", reference=REFUND, minor=4_000, at=3),
            event("refund.failed", "re_1", reference=REFUND, minor=4_000, at=5),
        ],
        ("success", PRICE, PRICE, 0, 0, 0),
    ),
    "the provider refunded, and it bounced": (
        succeeded,
        [
            event("refund.succeeded", "re_p", parent="ch_1", minor=4_000, at=3),
            event("refund.failed", "re_p", parent="ch_1", minor=4_000, at=5),
        ],
        ("success", PRICE, PRICE, 0, 0, 0),
    ),
    "disputed and lost": (
        succeeded,
        [
            event("dispute.opened", minor=PRICE, at=3),
            event("dispute.closed", minor=PRICE, won=False, at=5),
        ],
        ("success", PRICE, PRICE, 0, 0, PRICE),
    ),
    "disputed and won": (
        succeeded,
        [
            event("dispute.opened", minor=PRICE, at=3),
            event("dispute.closed", minor=PRICE, won=True, at=5),
        ],
        ("success", PRICE, PRICE, 0, 0, 0),
    ),
    "disputed, lost, and won back": (
        succeeded,
        [
            event("dispute.opened", minor=PRICE, at=3),
            event("dispute.closed", minor=PRICE, won=False, at=5),
            event("dispute.closed", minor=PRICE, won=True, at=7),
        ],
        ("success", PRICE, PRICE, 0, 0, 0),
    ),
    "disputed, won, and lost at last": (
        succeeded,
        [
            event("dispute.opened", minor=PRICE, at=3),
            event("dispute.closed", minor=PRICE, won=True, at=5),
            event("dispute.closed", minor=PRICE, won=False, at=7),
        ],
        ("success", PRICE, PRICE, 0, 0, PRICE),
    ),
    "a dispute overtakes the charge": (
        Story,
        [answer(approved()), event("dispute.opened", reference=CHARGE)],
        ("success", PRICE, PRICE, 0, 0, PRICE),
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_order_and_the_repetition_of_facts_do_not_matter(name: str):
    make, happenings, end = STORIES[name]

    for order in orders(happenings):
        story = make()
        for happening in order:
            happening(story)

        assert story.sums() == end
        assert story.refolded() == story.payment
        assert not in_doubt(story.payment)


# Declined at `a`, approved at `b`; then `a` turns out to have charged after all.
def test_a_decline_that_turns_out_to_be_a_success_is_a_stray_in_every_order():
    late: list[Step] = [
        lambda story: story.answers(story.payment.calls[0].key, approved("ch_a")),
        lambda story: story.reports(webhook("payment.succeeded", "ch_a", reference=CHARGE)),
        lambda story: story.reports(
            webhook("payment.succeeded", "ch_b", reference=story.payment.calls[1].key),
            provider="b",
        ),
    ]
    for order in orders(late):
        story = Story()
        story.answers(story.charge_key, declined("processing_error", retryable=True))
        for happening in order:
            happening(story)

        assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)
        assert len(story.txns("stray")) == len(story.txns("reverse")) == 1
        assert story.payment.provider == "b"


def refused() -> Story:
    """A refund that an answer told the failure of, five seconds after it was asked for."""
    story = refunding()
    story.waits(5_000_000)
    story.answers(REFUND, declined("account_closed"))
    assert story.sums()[4] == 0
    return story


def test_a_success_from_before_the_answer_that_a_refund_failed_is_older_than_the_failure():
    story = refused()

    story.reports(webhook("refund.failed", "re_1", reference=REFUND, minor=4_000, at=4))
    story.reports(webhook("refund.succeeded", "re_1", reference=REFUND, minor=4_000, at=3))

    assert story.sums() == ("success", PRICE, PRICE, 0, 0, 0)


def test_a_success_from_after_the_answer_that_a_refund_failed_is_newer_than_the_failure():
    story = refused()

    story.reports(webhook("refund.succeeded", "re_1", reference=REFUND, minor=4_000, at=6))

    assert story.sums() == ("success", PRICE, PRICE, 0, 4_000, 0)
