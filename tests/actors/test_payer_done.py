"""Where a payer's approval moves no money: who notices it, and what it licenses."""

from typing import Literal

import msgspec
import pytest
from payment_cases import NOT_VISIBLE, PAYMENT_ID, TIMEOUT, URL, Story, approved, webhook

from paygate_actors import events as e
from paygate_actors.desk import desk_entry
from paygate_actors.draft import Draft
from paygate_actors.facts import PAYER_DONE, payer_came
from paygate_actors.outcomes import ActionRequired, Outcome, Unknown
from paygate_actors.payment import hear
from paygate_actors.pool_messages import Answered
from paygate_actors.preparing import payer_is_done
from paygate_actors.providers.paypal_events import PAYER_DONE as OF_PAYPAL
from paygate_actors.record import Call
from paygate_actors.sums import in_doubt

ASKED = ActionRequired(provider_txn_id="ch_1", url=URL, expires_at_us=2_000_000_000_000_000)
UNCONFIRMED = Unknown(reason="not_visible", provider_txn_id="ch_1")


@pytest.fixture
def story() -> Story:
    """A prepared charge whose payer was sent away."""
    story = Story(two_steps=("a",))
    story.is_prepared()
    story.answers(story.charge_key, ASKED)
    return story


def charge_of(story: Story) -> Call:
    call = story.payment.call(story.charge_key)
    assert call is not None
    return call


def came(story: Story, *, provider: str = "a", event_type: str = PAYER_DONE) -> str | None:
    event = msgspec.structs.replace(webhook("payment.failed"), event_type=event_type)
    event = msgspec.structs.replace(event, reference=None, provider_txn_id="ch_1", amount=None)
    return payer_came(Draft(PAYMENT_ID, story.payment, story.now_us), event, provider)


def heard(
    story: Story, outcome: Outcome, source: Literal["call", "look_up"]
) -> list[e.PaymentEvent]:
    """What is decided when this comes in of the charge."""
    draft = Draft(PAYMENT_ID, story.payment, story.now_us)
    hear(
        draft,
        charge_of(story),
        Answered(key=story.charge_key, outcome=outcome, source=source),
        story.ctx,
    )
    story.payment = draft.payment
    return draft.events


def test_the_adapter_and_the_core_have_one_word_for_it():
    assert OF_PAYPAL == PAYER_DONE


def test_an_approval_is_about_the_call_whose_payer_is_away(story: Story):
    assert came(story) == story.charge_key
    assert came(story, provider="b") is None
    assert came(story, event_type="payment.succeeded") is None


def test_an_approval_of_what_was_taken_already_is_old_news(story: Story):
    story.answers(story.charge_key, approved())

    assert came(story) is None


def test_an_approval_moves_nothing_by_itself(story: Story):
    event = msgspec.structs.replace(webhook("payment.failed"), event_type=PAYER_DONE)

    assert story.reports(event) == []
    assert story.payment.status == "requires_action"


def test_only_the_object_that_waits_for_us_licenses_another_confirmation(story: Story):
    call = charge_of(story)

    assert payer_is_done(call, UNCONFIRMED)
    assert not payer_is_done(call, NOT_VISIBLE)
    assert not payer_is_done(call, Unknown(reason="not_visible", provider_txn_id="ch_2"))
    assert not payer_is_done(call, Unknown(reason="server_error", provider_txn_id="ch_1"))
    assert not payer_is_done(call, ASKED)


def test_a_call_whose_payer_was_never_asked_is_not_about_a_payer():
    story = Story(two_steps=("a",))
    story.is_prepared()

    assert not payer_is_done(charge_of(story), UNCONFIRMED)


def test_money_that_was_asked_for_after_the_payer_is_in_doubt_until_somebody_tells(story: Story):
    recorded = heard(story, TIMEOUT, "call")

    assert [type(event) for event in recorded] == [e.CallInDoubt]
    entry = desk_entry(story.payment)
    assert (entry.in_doubt, entry.status) == (True, "requires_action")
    assert [call.standing for call in entry.calls] == ["in_doubt"]
    assert "mark_not_charged" in entry.actions
    assert heard(story, TIMEOUT, "call") == []
    story.answers(story.charge_key, approved())
    assert (story.payment.status, in_doubt(story.payment)) == ("success", False)


def test_a_payer_who_is_asked_once_more_ends_the_doubt(story: Story):
    heard(story, TIMEOUT, "call")

    heard(story, ASKED, "look_up")

    assert not in_doubt(story.payment)
    assert story.payment.status == "requires_action"


def test_a_look_up_that_says_nothing_makes_no_doubt_of_a_payer_who_is_away(story: Story):
    assert heard(story, TIMEOUT, "look_up") == []
    assert heard(story, UNCONFIRMED, "look_up") == []
