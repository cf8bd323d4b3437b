"""What a person is called for: each thing once, off the desk when seen, back for a new thing."""

from typing import Any

import pytest
from payment_cases import (
    HOUR_US,
    NOT_VISIBLE,
    OPERATOR,
    PAYMENT_ID,
    PRICE,
    SECOND_US,
    TIMEOUT,
    Story,
    approved,
    declined,
    succeeded,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.desk import desk_entry, listed
from paygate_actors.draft import Draft
from paygate_actors.evolving import CONCERNS_MAX


def open_codes(story: Story) -> list[str]:
    return [concern.code for concern in story.payment.unseen]


def in_doubt_for_long() -> Story:
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    story.waits(HOUR_US)
    return story


def test_a_payment_that_went_well_is_on_no_desk():
    assert not listed(succeeded().payment)


def test_several_things_are_kept_and_the_newest_is_looked_at_first():
    story = succeeded()

    story.reports(webhook("dispute.opened", minor=PRICE, at=3))
    story.reports(webhook("refund.succeeded", "re_1", parent="ch_1", minor=PRICE, at=4))

    assert open_codes(story) == ["disputed", "refund_exceeds_captured"]
    assert story.payment.attention == "refund_exceeds_captured"
    assert [each.seq for each in story.payment.concerns] == sorted(
        {each.seq for each in story.payment.concerns}
    )


def test_what_was_looked_at_is_off_the_desk_and_on_record_with_the_key_that_did_it():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=3))

    refusal = story.seen()

    newest = story.events[-1]
    assert refusal is None
    assert isinstance(newest, e.AttentionCleared)
    assert (newest.by, newest.note) == (OPERATOR.key_id, "Called the bank.")
    assert story.payment.attention is None
    assert not listed(story.payment)
    assert story.refolded() == story.payment


def test_seen_twice_changes_nothing_the_second_time():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=3))
    story.seen()
    before = len(story.events)

    assert story.seen() is None
    assert len(story.events) == before


def test_the_same_thing_is_not_raised_again_and_a_new_one_is():
    story = succeeded()
    other_sum = approved(minor=PRICE + 1)
    story.answers(story.charge_key, other_sum)
    assert open_codes(story) == ["amount_mismatch"]
    story.seen()

    story.answers(story.charge_key, other_sum)
    assert story.payment.attention is None

    story.reports(webhook("dispute.opened", minor=PRICE, at=3))
    assert story.payment.attention == "disputed"


def test_what_came_while_the_person_looked_stays():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=3))
    shown = story.payment.unseen[-1].seq
    story.reports(webhook("refund.succeeded", "re_1", parent="ch_1", minor=PRICE, at=4))

    story.seen(up_to_seq=shown)

    assert open_codes(story) == ["refund_exceeds_captured"]


def test_a_doubt_that_lasts_cannot_be_seen_away():
    story = in_doubt_for_long()

    refusal = story.seen()

    assert refusal is not None
    assert refusal.code == "still_in_doubt"
    assert story.payment.attention == "in_doubt"


def test_a_doubt_that_lasts_is_raised_beside_other_things_and_shown_behind_them():
    story = Story(routes=("a", "b"))
    story.answers(story.charge_key, declined("processing_error", retryable=True))
    story.answers(story.charge_key, TIMEOUT)
    first = story.payment.calls[0].key
    story.answers(first, approved("ch_a"))
    story.waits(HOUR_US)

    assert open_codes(story) == ["stray_charge", "in_doubt"]
    assert story.payment.attention == "stray_charge"

    assert story.seen() is None
    assert story.payment.attention == "in_doubt"


def test_a_doubt_that_was_raised_before_what_a_person_saw_stays():
    story = in_doubt_for_long()
    story.reports(webhook("dispute.opened", reference=story.charge_key, minor=PRICE))

    story.seen()

    assert open_codes(story) == ["in_doubt"]


def test_a_doubt_ends_by_itself_and_may_come_again():
    story = in_doubt_for_long()
    story.answers(story.charge_key, approved())
    story.waits(0)
    assert story.payment.attention is None

    story.refund(PRICE)
    story.answers(story.newest.key, NOT_VISIBLE)
    story.waits(HOUR_US)

    assert story.payment.attention == "in_doubt"


def test_what_an_operator_has_said_no_more_calls_for_a_person():
    story = in_doubt_for_long()
    first = story.payment.txns[0].id

    story.correct(first, "failed", NOT_VISIBLE, force=True)
    story.waits(SECOND_US)

    assert story.payment.attention is None
    assert listed(story.payment)  # it is asked about all the same
    assert desk_entry(story.payment).actions == ("ask_again",)


@pytest.mark.parametrize("count", [1, CONCERNS_MAX, CONCERNS_MAX + 5])
def test_of_what_is_raised_without_end_the_newest_are_kept(count: int):
    story = succeeded()

    for number in range(count):
        story.reports(webhook("dispute.closed", f"dp_{number}", at=number + 1))

    kept = min(count, CONCERNS_MAX)
    assert len(story.payment.concerns) == kept
    assert open_codes(story) == ["dispute_closed_unclear"] * kept


def test_an_older_journal_that_cleared_a_doubt_folds_as_it_did():
    old: list[tuple[str, bytes]] = [
        ("attention_raised.1", b'{"code":"in_doubt"}'),
        ("attention_cleared.1", b"{}"),
        ("attention_raised.1", b'{"code":"amount_mismatch"}'),
        ("attention_raised.1", b'{"code":"reverse_failed","detail":"txn_9"}'),
        ("attention_raised.1", b'{"code":"amount_mismatch"}'),
    ]
    draft = Draft(PAYMENT_ID, Story().payment, 0)
    shown: list[Any] = []

    for kind, body in old:
        draft.add(e.decode(kind, body))
        shown.append(draft.payment.attention)

    assert shown == ["in_doubt", None, "amount_mismatch", "reverse_failed", "amount_mismatch"]
