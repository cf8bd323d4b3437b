"""Webhooks, time and operators: facts in any order, deadlines, corrections."""

import itertools
import json
from collections.abc import Callable

import pytest
from payment_cases import (
    CONFIRM,
    HOUR_US,
    IN_STATE,
    LATER,
    NOT_SENT,
    NOT_VISIBLE,
    NOW_US,
    PRICE,
    SECOND_US,
    TIMEOUT,
    Story,
    approved,
    cancelled,
    declined,
    failed,
    held,
    in_review,
    requiring_action,
    succeeded,
    superseded,
    webhook,
)

from paygate_actors import events as e
from paygate_actors.outcomes import Declined, Outcome, Pending
from paygate_actors.providers.sandbox import SandboxProvider
from paygate_actors.states import FINAL, TRANSITIONS
from paygate_actors.sums import disputed, in_doubt, left_to_refund
from paygate_actors.views import payment_view


def refunding() -> Story:
    story = succeeded()
    story.refund(4_000)
    return story


# ---------------------------------------------------------------------- every state, every fact

OUTCOMES: dict[str, Outcome] = {
    "approved": approved(),
    "held": held(),
    "another amount": approved(minor=PRICE - 1),
    "another currency": approved(currency="EUR"),
    "declined": declined(),
    "declined, retryable": declined("processing_error", retryable=True),
    "cancelled": declined("cancelled"),
    "not sent": NOT_SENT,
    "action": CONFIRM,
    "pending": LATER,
    "timeout": TIMEOUT,
    "not visible": NOT_VISIBLE,
}
# What the charge's own call may still say to a payment in a state, and where it leads. All that
# is not here changes neither the status nor a sum.
LEADS: dict[tuple[str, str], str] = {
    ("processing", "approved"): "success",
    ("processing", "action"): "requires_action",
    ("processing", "declined"): "failed",
    ("processing", "cancelled"): "cancelled",
    ("requires_action", "approved"): "success",
    ("requires_action", "held"): "processing",
    ("requires_action", "declined"): "failed",
    ("requires_action", "declined, retryable"): "failed",
    ("requires_action", "cancelled"): "cancelled",
    ("requires_action", "pending"): "processing",
    ("review", "approved"): "success",
    # A provider that takes less than it holds has captured a part of it: so may we.
    ("review", "another amount"): "success",
    ("authorized", "another amount"): "success",
    ("review", "cancelled"): "cancelled",
    ("authorized", "approved"): "success",
    ("authorized", "cancelled"): "cancelled",
    ("success", "cancelled"): "cancelled",
}


@pytest.mark.parametrize(("state", "outcome"), list(itertools.product(IN_STATE, OUTCOMES)))
def test_an_answer_about_the_charge_leads_where_the_contract_says(state: str, outcome: str):
    story = IN_STATE[state]()

    events = story.answers(story.charge_key, OUTCOMES[outcome])

    assert story.payment.status == LEADS.get((state, outcome), state)
    moved = [happened.fact for happened in events if isinstance(happened, e.Moved)]
    assert len(moved) == (story.payment.status != state)
    assert all(fact in TRANSITIONS[state] for fact in moved)  # pyright: ignore[reportArgumentType]  # a state's name
    assert story.refolded() == story.payment


@pytest.mark.parametrize("state", IN_STATE)
@pytest.mark.parametrize("outcome", ["declined", "not sent", "timeout", "not visible", "pending"])
def test_what_a_final_payment_hears_of_no_consequence_is_not_even_recorded(
    state: str, outcome: str
):
    story = IN_STATE[state]()
    if story.payment.status not in FINAL:
        return

    assert story.answers(story.charge_key, OUTCOMES[outcome]) == []


@pytest.mark.parametrize("state", IN_STATE)
def test_an_event_of_an_unknown_kind_changes_nothing(state: str):
    story = IN_STATE[state]()

    assert story.reports(webhook("payment.surprised", reference=story.charge_key)) == []


@pytest.mark.parametrize("state", IN_STATE)
@pytest.mark.parametrize(
    "kind", ["payment.succeeded", "payment.cancelled", "refund.succeeded", "dispute.opened"]
)
def test_an_event_of_another_providers_account_changes_nothing(state: str, kind: str):
    story = IN_STATE[state]()
    foreign = webhook(kind, "ch_1", reference=story.charge_key, minor=PRICE)

    assert story.reports(foreign, provider="z") == []


def test_one_providers_account_does_not_speak_for_the_call_at_another():
    story = superseded()
    foreign = webhook("payment.succeeded", "ch_x", reference=story.payment.calls[0].key)

    assert story.reports(foreign, provider="b") == []


def test_an_event_binds_by_our_reference_before_the_providers_id():
    story = refunding()
    refund = story.newest.key

    story.reports(webhook("refund.succeeded", "ch_1", reference=refund, minor=4_000))

    assert story.sums()[4] == 4_000
    assert story.txns("refund")[0].origin == "merchant"


# ---------------------------------------------------------------------- the provider's own doings


def test_a_refund_by_the_provider_is_booked_even_beyond_the_limit():
    story = refunding()

    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=7_000))

    (_, booked) = story.txns("refund")
    assert (booked.origin, booked.status, booked.amount_minor) == ("provider", "success", 7_000)
    assert story.payment.attention == "refund_exceeds_captured"
    assert left_to_refund(story.payment) == 0


def test_a_refund_by_the_provider_without_an_amount_may_have_been_all_that_was_left():
    story = succeeded()

    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1"))

    (refund,) = story.txns("refund")
    assert story.payment.attention == "refund_without_amount"
    assert (refund.amount_minor, refund.status) == (PRICE, "success")
    assert left_to_refund(story.payment) == 0


def test_a_refund_by_the_provider_in_another_currency_is_booked_as_such_and_adds_to_nothing():
    story = succeeded()

    story.reports(webhook("refund.succeeded", "re_p", parent="ch_1", minor=300, currency="JPY"))

    (refund,) = story.txns("refund")
    assert story.payment.attention == "amount_mismatch"
    assert (refund.amount_minor, refund.currency) == (300, "JPY")
    assert left_to_refund(story.payment) == PRICE


def test_a_charge_reported_for_a_payment_that_was_never_sent_calls_a_person():
    story = Story(blocked=True)

    story.reports(webhook("payment.succeeded", "ch_9", minor=PRICE))

    assert story.payment.status == "failed"
    assert story.payment.attention == "event_of_no_call"


def test_a_call_that_the_provider_refuses_to_look_at_is_put_before_a_person_in_the_end():
    story = succeeded()
    refund_id = story.refund(1).transaction_id
    refused = Declined(code="too_many_requests", retryable=True, conclusive=False)
    story.answers(f"{refund_id}-1", refused)

    story.waits(900_000_000)

    assert not in_doubt(story.payment)
    assert story.payment.attention == "in_doubt"


def test_a_failure_that_is_worded_like_a_cancellation_undoes_nothing():
    story = succeeded()

    story.reports(webhook("payment.failed", reference=story.charge_key, reason="cancelled"))

    assert story.payment.status == "success"


def test_a_dispute_blocks_refunds_until_it_is_won():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))

    refused = story.refund(1).refusal
    assert refused is not None
    assert refused.code == "payment_not_refundable"
    assert disputed(story.payment) == PRICE

    story.reports(webhook("dispute.closed", won=True, at=2))
    assert story.txn(story.refund(1)).status == "pending"


def test_the_end_of_an_earlier_dispute_does_not_end_a_later_one():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=3))

    story.reports(webhook("dispute.closed", won=True, at=2))

    assert disputed(story.payment) == PRICE


def test_a_lost_dispute_leaves_nothing_to_refund():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))
    story.reports(webhook("dispute.closed", won=False, at=2))

    refused = story.refund(1).refusal

    assert refused is not None
    assert refused.code == "payment_not_refundable"
    assert [txn.status for txn in story.txns("chargeback")] == ["success"]


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("make", "after_us", "reason", "failure"),
    [
        (requiring_action, 900 * SECOND_US, "authentication_expired", "authentication_expired"),
        (in_review, 24 * HOUR_US, "review_expired", None),
    ],
)
def test_a_deadline_voids_what_is_held_and_the_confirmed_void_cancels(
    make: Callable[[], Story], after_us: int, reason: str, failure: str | None
):
    story = make()
    before = story.payment.status
    assert story.waits(after_us - 1) == []

    story.waits(1)

    assert story.payment.status == before
    (reverse,) = story.txns("reverse")
    assert (reverse.origin, reverse.reason) == ("system", reason)
    story.answers(story.open_call("void").key, approved(captured=False))
    assert story.payment.status == "cancelled"
    assert (story.payment.failure.code if story.payment.failure else None) == failure


def test_a_payer_who_confirms_while_the_deadline_is_being_enforced_is_still_voided():
    story = requiring_action()
    story.waits(900 * SECOND_US)

    story.answers(story.charge_key, approved())

    assert story.payment.status == "requires_action"
    story.answers(story.open_call("void").key, approved(captured=False))
    assert story.payment.status == "cancelled"
    assert story.payment.captured_minor == 0


def test_doubt_calls_a_person_after_its_time_and_only_once():
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    assert story.waits(900 * SECOND_US - 1) == []

    assert len(story.waits(1)) == 1
    assert story.waits(HOUR_US) == []
    assert story.payment.attention == "in_doubt"
    assert story.payment.status == "processing"


def test_a_person_is_not_kept_when_the_doubt_is_over():
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    story.waits(900 * SECOND_US)

    story.answers(story.charge_key, approved())
    story.waits(0)

    assert story.payment.attention is None


# ---------------------------------------------------------------------- an operator's word


def test_a_correction_that_the_provider_agrees_with_is_the_providers_fact():
    story = refunding()
    (refund,) = story.txns("refund")

    answered = story.correct(refund.id, "success", approved("re_1", 4_000))

    assert answered.refusal is None
    assert story.sums()[4] == 4_000
    assert not any(isinstance(happened, e.StatusAsserted) for happened in story.events)


def test_a_correction_that_the_provider_disagrees_with_is_refused_and_its_truth_booked():
    story = refunding()
    (refund,) = story.txns("refund")

    refused = story.correct(refund.id, "failed", approved("re_1", 4_000), force=True).refusal

    assert refused is not None
    assert refused.code == "provider_disagrees"
    assert story.sums()[4] == 4_000


def test_a_forced_correction_is_shown_and_reserves_its_room_until_the_truth_comes():
    story = refunding()
    (refund,) = story.txns("refund")

    answered = story.correct(refund.id, "failed", TIMEOUT, force=True)

    assert answered.refusal is None
    assert story.txns("refund")[0].asserted == "failed"
    assert story.open_call("refund").in_doubt
    assert left_to_refund(story.payment) == PRICE - 4_000
    story.answers(story.newest.key, approved("re_1", 4_000))
    (settled,) = story.txns("refund")
    assert (settled.status, settled.asserted) == ("success", None)


def test_a_payer_who_is_asked_after_all_is_shown_whatever_an_operator_had_said():
    story = Story()
    own = story.payment.txns[0].id
    story.answers(story.charge_key, TIMEOUT)
    story.correct(own, "cancelled", TIMEOUT, force=True)
    before = payment_view(story.payment).status

    story.answers(story.charge_key, CONFIRM)

    assert (before, payment_view(story.payment).status) == ("cancelled", "requires_action")
    assert story.payment.attention == "assertion_overruled"


@pytest.mark.parametrize("fresh", [None, TIMEOUT, NOT_VISIBLE, LATER])
def test_without_the_providers_word_only_force_corrects(fresh: Outcome | None):
    story = Story()
    own = story.payment.txns[0].id

    refused = story.correct(own, "failed", fresh).refusal

    assert refused is not None
    assert refused.code == "provider_disagrees"
    assert story.payment.status == "processing"
    assert story.correct(own, "failed", fresh, force=True).refusal is None
    assert payment_view(story.payment).status == "failed"
    story.answers(story.charge_key, approved())
    assert payment_view(story.payment).status == "success"


@pytest.mark.parametrize("make", [succeeded, failed, cancelled])
def test_a_final_transaction_is_not_corrected_by_any_force(make: Callable[[], Story]):
    story = make()

    refused = story.correct(story.payment.txns[0].id, "failed", approved(), force=True).refusal

    assert refused is not None
    assert refused.code == "illegal_transition"


def test_a_transaction_that_is_not_there_is_not_corrected():
    refused = Story().correct("txn_nobody", "failed", None, force=True).refusal

    assert refused is not None
    assert refused.code == "transaction_not_found"


def test_times_of_facts_are_the_providers():
    story = succeeded()

    story.reports(webhook("dispute.closed", won=False, at=7))

    assert story.txns("chargeback")[0].fact_at_us == NOW_US + 7 * SECOND_US


# ---------------------------------------------------------------------- the adapter's reading


def test_a_decline_that_is_reported_before_it_is_answered_fails_over_all_the_same():
    story = Story()
    adapter = SandboxProvider(
        id="a",
        name="a",
        url="http://127.0.0.1:1",
        webhook_secret="whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0",
    )
    body = {
        "providerID": "a",
        "eventType": "payment.failed",
        "transactionID": "ch_1",
        "data": {"reference": story.charge_key, "reason": "processing_error"},
        "timestamp": "2026-01-01T00:00:00Z",
    }

    (event,) = adapter.parse({"webhook-id": "evt_1"}, json.dumps(body).encode())
    story.reports(event)

    assert [call.provider for call in story.payment.calls] == ["a", "b"]
    assert story.payment.status == "processing"


# ---------------------------------------------------------------------- about a stray


def strayed() -> Story:
    """The first provider's charge came late: a stray beside the second provider's charge."""
    story = superseded()
    story.answers(story.charge_key, approved("ch_b"))
    story.answers(story.payment.calls[0].key, approved("ch_a"))
    return story


def test_a_refund_of_a_stray_by_its_provider_takes_nothing_from_the_payment():
    story = strayed()

    story.reports(webhook("refund.succeeded", "re_a", parent="ch_a", minor=4_000))

    refund = story.txns("refund")[-1]
    assert (refund.amount_minor, refund.origin) == (4_000, "provider")
    assert left_to_refund(story.payment) == PRICE


def test_what_a_dispute_has_taken_is_not_taken_by_a_second_one():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))
    story.reports(webhook("dispute.closed", won=False, at=2))

    story.reports(webhook("dispute.opened", minor=PRICE, at=3))
    story.reports(webhook("dispute.closed", won=False, at=4))

    assert disputed(story.payment) == PRICE
    assert len(story.txns("chargeback")) == 1
    assert story.payment.attention == "dispute_exceeds_captured"


@pytest.mark.parametrize(
    ("first", "second", "booked", "code"),
    [
        (6_000, 3_000, 9_000, "disputed"),
        (6_000, 6_000, PRICE, "disputed"),
        (6_000, None, PRICE, "disputed"),
    ],
)
def test_parts_may_be_disputed_one_by_one_up_to_the_whole(
    first: int, second: int | None, booked: int, code: str
):
    story = succeeded()
    story.reports(webhook("dispute.opened", "dp_1", parent="ch_1", minor=first, at=1))

    story.reports(webhook("dispute.opened", "dp_2", parent="ch_1", minor=second, at=2))

    assert disputed(story.payment) == booked
    assert story.payment.attention == code


def test_a_person_is_called_for_what_a_provider_took_on_and_never_ended():
    story = succeeded()
    story.refund(4_000)
    refund = story.newest.key
    story.answers(refund, Pending(provider_txn_id="re_1"))

    story.waits(47 * 3_600 * SECOND_US)
    assert story.payment.attention is None

    story.waits(2 * 3_600 * SECOND_US)
    story.waits(2 * 3_600 * SECOND_US)
    assert [(each.code, each.detail) for each in story.payment.concerns] == [
        ("pending_long", refund)
    ]


def test_a_charge_that_is_cancelled_ends_the_void_that_was_taken_on_and_is_never_mentioned():
    story = requiring_action()
    story.reverse()
    void = story.newest.key
    story.answers(void, Pending(provider_txn_id="ch_1"))

    story.reports(webhook("payment.cancelled", reference=story.charge_key))

    assert story.payment.status == "cancelled"
    ended = story.payment.call(void)
    assert ended is not None
    assert ended.state == "approved"
    assert [txn.status for txn in story.txns("reverse")] == ["success"]
    assert story.payment.attention is None


def test_a_dispute_in_another_currency_is_kept_as_it_was_said_and_stops_refunds():
    story = succeeded()

    story.reports(webhook("dispute.opened", "dp_1", parent="ch_1", minor=3_000_000, currency="JPY"))

    (dispute,) = story.txns("chargeback")
    assert (dispute.amount_minor, dispute.currency) == (3_000_000, "JPY")
    assert disputed(story.payment) == 0
    assert left_to_refund(story.payment) == 0
    assert {concern.code for concern in story.payment.unseen} == {"amount_mismatch", "disputed"}


def test_what_was_disputed_in_another_currency_may_be_refunded_once_it_is_won():
    story = succeeded()
    opened = webhook("dispute.opened", "dp_1", parent="ch_1", minor=9, currency="JPY", at=1)
    story.reports(opened)

    story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=True, at=2))

    assert left_to_refund(story.payment) == PRICE
    assert [txn.status for txn in story.txns("chargeback")] == ["cancelled"]


def test_what_was_lost_in_another_currency_and_won_back_comes_back_in_it():
    story = succeeded()
    opened = webhook("dispute.opened", "dp_1", parent="ch_1", minor=9, currency="JPY", at=1)
    story.reports(opened)
    story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=False, at=2))

    story.reports(webhook("dispute.closed", "dp_1", parent="ch_1", won=True, at=3))

    (back,) = story.txns("chargeback_reversal")
    assert (back.amount_minor, back.currency) == (9, "JPY")
    assert left_to_refund(story.payment) == PRICE


def test_a_dispute_that_was_won_may_be_opened_again():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))
    story.reports(webhook("dispute.closed", won=True, at=2))

    story.reports(webhook("dispute.opened", minor=PRICE, at=3))

    assert disputed(story.payment) == PRICE
    assert [txn.status for txn in story.txns("chargeback")] == ["cancelled", "pending"]


def test_what_was_lost_and_won_back_may_be_disputed_again():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))
    story.reports(webhook("dispute.closed", won=False, at=2))
    story.reports(webhook("dispute.closed", won=True, at=3))

    story.reports(webhook("dispute.opened", minor=PRICE, at=4))

    assert disputed(story.payment) == PRICE


def test_a_dispute_about_a_stray_hinders_no_refund():
    story = strayed()

    story.reports(webhook("dispute.opened", "ch_a", minor=PRICE))

    assert disputed(story.payment) == 0
    assert story.refund(1).refusal is None


def test_what_was_won_back_and_lost_again_is_gone():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))
    story.reports(webhook("dispute.closed", won=False, at=2))
    story.reports(webhook("dispute.closed", won=True, at=3))

    story.reports(webhook("dispute.closed", won=False, at=4))
    story.reports(webhook("dispute.closed", won=True, at=3))

    assert (disputed(story.payment), left_to_refund(story.payment)) == (PRICE, 0)
    refusal = story.refund(1).refusal
    assert refusal is not None and refusal.code == "payment_not_refundable"
    assert [txn.status for txn in story.txns("chargeback_reversal")] == ["cancelled"]


def test_what_was_lost_twice_and_won_in_the_end_is_back():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE, at=1))
    for at, won in ((2, False), (3, True), (4, False), (5, True)):
        story.reports(webhook("dispute.closed", won=won, at=at))

    assert (disputed(story.payment), left_to_refund(story.payment)) == (0, PRICE)
