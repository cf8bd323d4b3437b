"""Where a payer's approval moves no money: who notices it, and what it licenses."""

import msgspec
import pytest
from payment_cases import NOT_VISIBLE, PAYMENT_ID, URL, Story, approved, webhook

from paygate_actors.draft import Draft
from paygate_actors.facts import PAYER_DONE, payer_came
from paygate_actors.outcomes import ActionRequired, Unknown
from paygate_actors.preparing import payer_is_done
from paygate_actors.providers.paypal_events import PAYER_DONE as OF_PAYPAL
from paygate_actors.record import Call

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
