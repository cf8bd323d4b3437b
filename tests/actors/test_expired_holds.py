"""A hold that lapses at its provider, by itself: all of it, or what a capture left."""

from payment_cases import Story, approved, authorized, succeeded, webhook


def expired(story: Story) -> None:
    story.reports(webhook("payment.expired", reference=story.charge_key))


def test_a_hold_that_lapsed_cancels_the_payment_and_is_booked_as_the_provider_s():
    story = authorized()

    expired(story)

    (reverse,) = story.txns("reverse")
    assert story.payment.status == "cancelled"
    assert (reverse.origin, reverse.status) == ("provider", "success")


def test_the_rest_of_a_hold_that_was_captured_in_part_lapses_without_any_change():
    story = authorized()
    story.capture(4_000)
    story.answers(story.newest.key, approved(minor=4_000))
    before = story.sums()

    expired(story)

    assert story.sums() == before


def test_a_lapse_that_crosses_a_capture_waits_for_what_the_capture_says():
    story = authorized()
    story.capture()

    expired(story)

    assert story.payment.status == "authorized"
    story.answers(story.newest.key, approved())
    assert story.payment.status == "success"


def test_what_was_captured_at_once_cannot_lapse():
    story = succeeded()
    before = story.sums()

    expired(story)

    assert story.sums() == before
