"""What one decision commits: events, documents, links, wake-up and audit, in one unit."""

import msgspec
import pytest
from payment_cases import (
    CONFIRM,
    HOUR_US,
    IN_STATE,
    NOW_US,
    PAYMENT_ID,
    TIMEOUT,
    Story,
    approved,
    authorized,
    declined,
    in_review,
    requiring_action,
    succeeded,
)

from paygate_actors import events as e
from paygate_actors import facts, projection
from paygate_actors.draft import Draft
from paygate_actors.outcomes import Outcome
from paygate_actors.projection import Cause, unit, wake_at_us
from paygate_actors.views import payment_view
from paygate_engine.stores.base import Claim, Done, Unit

CAUSE = Cause(who="provider:a", what="call charge", why="because")


def said(story: Story, outcome: Outcome, *, seq: int = 4) -> Unit:
    """The unit of what follows when the newest call is answered."""
    draft = Draft(PAYMENT_ID, story.payment, NOW_US + 5)
    facts.said(draft, story.newest, outcome, story.ctx)
    return unit(draft, seq=seq, at_us=draft.at_us, cause=CAUSE)


def test_events_are_numbered_on_from_the_newest_and_carry_their_bytes():
    committed = said(Story(), approved())

    assert [event.seq for event in committed.events] == [5, 6]
    assert {event.stream for event in committed.events} == {PAYMENT_ID}
    kinds = [type(e.decode(event.kind, event.body)) for event in committed.events]
    assert kinds == [e.CallApproved, e.Moved]


def test_the_payments_document_is_what_everybody_sees_after_the_commit():
    story = Story()

    committed = said(story, approved())

    story.now_us = NOW_US + 5
    story.answers(story.charge_key, approved())
    (document,) = (doc for doc in committed.documents if doc.kind == projection.PAYMENT)
    assert projection.read_payment(document) == payment_view(story.payment)
    assert document.facets == ("success", "a")
    assert document.scope == "m_1"


def test_a_view_that_was_looked_at_early_shows_what_is_decided_after_it_too():
    story = Story()
    draft = Draft(PAYMENT_ID, story.payment, NOW_US + 5)
    early = draft.view

    facts.said(draft, story.newest, approved(), story.ctx)

    assert (early.status, draft.view.status) == ("processing", "success")
    assert draft.view == payment_view(draft.payment)


def test_a_transaction_is_found_by_its_payment_and_by_the_providers_id():
    committed = said(Story(), approved())

    (document,) = (doc for doc in committed.documents if doc.kind == projection.TRANSACTION)
    assert document.links == (("payment_id", PAYMENT_ID), (projection.charge_link("a"), "ch_1"))
    assert document.facets == ("success", "payment", "a", "USD")


def test_only_transactions_that_changed_are_written():
    story = succeeded()
    story.refund(100)

    committed = said(story, approved("re_1", 100))

    written = [doc.id for doc in committed.documents if doc.kind == projection.TRANSACTION]
    assert written == [story.txns("refund")[0].id]


def test_the_first_transaction_is_written_again_when_the_payer_is_asked_or_it_fails_over():
    for outcome in (CONFIRM, declined("processing_error", retryable=True)):
        story = Story()

        committed = said(story, outcome)

        written = [doc.id for doc in committed.documents if doc.kind == projection.TRANSACTION]
        assert written == [story.payment.txns[0].id]


def test_the_cause_is_audited_with_the_time_and_the_payment():
    (entry,) = said(Story(), approved()).audit

    assert (entry.who, entry.what, entry.why) == ("provider:a", "call charge", "because")
    assert (entry.stream, entry.at_us) == (PAYMENT_ID, NOW_US + 5)


def test_what_is_claimed_and_what_is_done_are_in_the_same_unit():
    story = Story()
    draft = Draft(PAYMENT_ID, story.payment, NOW_US)
    facts.said(draft, story.newest, approved(), story.ctx)
    claim = Claim(name="k", stream=PAYMENT_ID, body=b"")
    done = Done(queue=projection.INBOX, id="a/evt_1", at_us=NOW_US)

    committed = unit(draft, seq=4, at_us=NOW_US, cause=CAUSE, claim=claim, done=(done,))

    assert committed.claims == (claim,)
    assert committed.done == (done,)
    assert committed.events


def test_a_creation_wakes_at_once_after_a_crash_and_a_blocked_one_never():
    for blocked, wakes in ((False, [0]), (True, [])):
        story = Story(blocked=blocked)
        draft = Draft(PAYMENT_ID, None, NOW_US)
        for event in story.events:
            draft.add(event)

        committed = unit(draft, seq=0, at_us=NOW_US, cause=CAUSE)

        assert [wake.at_us for wake in committed.wakes] == wakes


def test_a_payment_that_is_over_is_not_woken_any_more():
    (wake,) = said(Story(), approved()).wakes

    assert (wake.stream, wake.at_us) == (PAYMENT_ID, None)


def test_a_wake_that_stays_the_same_is_not_written_again():
    assert said(Story(), TIMEOUT).wakes == ()


@pytest.mark.parametrize(
    ("state", "at_us"),
    [
        ("processing", 0),
        ("success", None),
        ("failed", None),
        ("cancelled", None),
        ("review", NOW_US + 24 * HOUR_US),
        ("authorized", NOW_US + 24 * HOUR_US),
        ("requires_action", 0),
    ],
)
def test_a_payment_is_woken_while_anything_is_open_and_at_its_deadlines(
    state: str, at_us: int | None
):
    assert wake_at_us(IN_STATE[state]().payment) == at_us


def test_a_final_payment_with_a_refund_under_way_is_woken():
    story = succeeded()
    story.refund(1)

    assert wake_at_us(story.payment) == 0


@pytest.mark.parametrize(
    ("make", "at_us"),
    [
        (requiring_action, CONFIRM.expires_at_us),
        (in_review, NOW_US + 24 * HOUR_US),
        (authorized, NOW_US + projection.HOLD_CHECK_US),
        (succeeded, None),
    ],
)
def test_deadlines_are_looked_at_whatever_is_asked_meanwhile(make: type[Story], at_us: int | None):
    assert projection.look_at_us(make().payment) == at_us


def test_no_document_holds_what_only_the_vault_may():
    committed = said(Story(), approved())

    for document in committed.documents:
        fields = set(msgspec.json.decode(document.body, type=dict[str, object]))
        assert not fields & {"fingerprint", "card", "cvv", "number", "key"}
