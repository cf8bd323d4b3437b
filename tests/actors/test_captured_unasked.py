"""A hold that its provider captures by itself, heard of before the hold or after it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bank_rig import AMOUNT, MERCHANT, BankRig, bank_rig
from payment_cases import (
    HOUR_US,
    PRICE,
    TIMEOUT,
    Story,
    approved,
    declined,
    held,
    in_review,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.messages import ReversePayment
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined

STORIES: dict[str, Callable[[], Story]] = {
    "manual": lambda: Story(manual=True),
    "to be reviewed": lambda: Story(review=True),
}


def moves(story: Story) -> list[str]:
    return [event.fact for event in story.events if isinstance(event, e.Moved)]


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


@pytest.mark.parametrize("how", ["declined by a person", "nobody came"])
def test_what_was_declined_in_review_goes_back_when_it_is_heard_how_much_was_captured(how: str):
    """It is no success because its first reverse asked for a sum that was never taken."""
    story = in_review()
    if how == "nobody came":
        story.waits(25 * HOUR_US)
    else:
        story.review("decline")
    story.answers(story.open_call("void").key, declined("already_settled"))
    story.answers(story.open_call("refund").key, declined("amount_too_large"))
    assert story.payment.status == "review"

    story.reports(webhook("payment.succeeded", minor=7_000))
    story.answers(story.open_call("void").key, declined("already_settled"))

    assert story.newest.amount_minor == 7_000
    story.answers(story.newest.key, approved("re_1", 7_000))
    assert story.payment.status == "cancelled"
    assert "captured" not in moves(story)
    assert story.refolded() == story.payment


def test_what_a_person_approved_after_its_decline_had_failed_is_a_success():
    story = in_review()
    story.review("decline")
    story.answers(story.open_call("void").key, declined("api_error"))
    story.review("approve")
    story.answers(story.open_call("capture").key, declined("already_captured"))

    story.reports(webhook("payment.succeeded", minor=7_000))

    assert story.sums()[:3] == ("success", PRICE, 7_000)


# ---------------------------------------------------------------------- approved, and not taken


def approved_and_not_taken() -> Story:
    story = in_review()
    story.review("approve")
    story.answers(story.open_call("capture").key, declined("api_error"))
    return story


def test_what_its_provider_captured_before_its_own_capture_was_refused_has_not_failed():
    """Nothing was charged, a merchant would be told, of money that was taken unheard."""
    story = approved_and_not_taken()
    assert story.payment.status == "review"

    story.answers(story.open_call("void").key, declined("already_settled"))
    story.reports(webhook("payment.succeeded", minor=PRICE))
    story.answers(story.open_call("refund").key, approved("re_1"))

    assert story.payment.status == "cancelled"
    assert moves(story) == ["charge_started", "held", "cancelled"]
    assert story.refolded() == story.payment


@pytest.mark.parametrize("word", ["already_settled", "api_error"])
def test_a_capture_that_was_refused_and_done_after_all_is_announced_where_it_cannot_be_undone(
    word: str,
):
    story = approved_and_not_taken()
    capture = next(call for call in story.payment.calls if call.verb == "capture")

    story.answers(capture.key, approved())
    assert (story.payment.status, story.payment.captured_minor) == ("review", PRICE)
    story.answers(story.open_call("void").key, declined(word))

    if word == "already_settled":
        story.answers(story.open_call("refund").key, approved("re_1"))
    assert story.payment.status == ("cancelled" if word == "already_settled" else "success")
    assert "failed" not in moves(story)
    assert story.refolded() == story.payment


def test_a_hold_that_could_not_be_given_free_waits_for_a_person_again():
    story = approved_and_not_taken()

    story.answers(story.open_call("void").key, declined("api_error"))

    assert (story.payment.status, story.payment.attention) == ("review", "reverse_failed")
    assert story.review("decline").refusal is None
    story.answers(story.open_call("void").key, approved(captured=False))
    assert story.payment.status == "cancelled"


# ---------------------------------------------------------------------- asked for


def settled_for(minor: int) -> Approved:
    return Approved(provider_txn_id="ch_1", amount=Money(minor, "USD"), captured=True)


async def held_at_a_bank_that_tells_nothing(rig: BankRig) -> str:
    """A hold of which the bank has captured a part, and sent no webhook."""
    rig.bank.says["charge"] = settled_for(AMOUNT.minor)
    payment_id = await rig.pay(manual=True)
    await rig.until_status(payment_id, "authorized")
    rig.bank.says["capture"] = Declined(code="already_captured")
    rig.bank.says["void"] = Declined(code="already_settled")
    rig.bank.says["find"] = settled_for(7_000)
    return payment_id


@pytest.mark.parametrize("tried", ["capture", "void"])
async def test_a_hold_that_a_refusal_says_has_settled_is_asked_about_by_itself(
    tried: str, tmp_path: Path
):
    """A webhook may be lost; nobody would know for days how much was taken."""
    async with bank_rig(tmp_path) as rig:
        payment_id = await held_at_a_bank_that_tells_nothing(rig)
        if tried == "capture":
            await rig.capture(payment_id)
        else:
            await rig.gateway.front.reverse(ReversePayment(caller=MERCHANT, payment_id=payment_id))
        await rig.until(lambda: bool(rig.bank.of(tried)))

        await rig.pass_time(5.0, step_s=1.0)

        view = await rig.until_status(payment_id, "success")
        assert (view.amount_captured_minor, view.attention) == (7_000, "captured_by_provider")
        assert len(rig.bank.of("find")) == 1
