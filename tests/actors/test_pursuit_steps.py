"""The next step of a pursuit, by what its provider can do: two steps, no look-ups, no keys."""

from typing import Any, Final

import pytest
from msgspec.structs import replace
from payment_cases import NOW_US, SECOND_US, TIMEOUT, Story, declined, succeeded

from paygate_actors.outcomes import Declined, Outcome, Prepared, Unknown
from paygate_actors.pool import GRACE_S, QUEUE_WAIT_S
from paygate_actors.providers import adyen_terms, paypal_terms, stripe_terms
from paygate_actors.providers.base import Capabilities, OperationTerms
from paygate_actors.pursuit import (
    KEY_WINDOW_MARGIN_S,
    LOST_AFTER_S,
    RETRY_AFTER_S_MAX,
    UNSEEN_MARGIN_S,
    Pursuit,
    Step,
    cannot_succeed_from_us,
    key_window_ends_us,
    shows,
)
from paygate_actors.record import Call

DAY_S: Final = 24 * 3_600
CAN: Final = Capabilities(
    deadline_s=2, key_window_s=DAY_S, find_lag_s=2, ask_first_s=0.5, ask_max_s=5
)
BLIND: Final = replace(CAN, finds=False)
KEYLESS: Final = replace(CAN, key_window_s=0)
IN_TWO: Final = replace(CAN, steps=2)
PREPARED: Final = Prepared(provider_txn_id="ch_1")
KEY_KNOWN: Final = Unknown(reason="key_known")
IN_PROGRESS: Final = Unknown(reason="in_progress")


@pytest.mark.parametrize("pace", [adyen_terms.Pace, paypal_terms.Pace, stripe_terms.Pace])
def test_nothing_is_held_to_be_lost_while_it_may_still_wait_or_be_under_way(pace: Any):
    assert QUEUE_WAIT_S + pace().deadline_s + GRACE_S < LOST_AFTER_S


def doubtful(**options: Any) -> Call:
    story = Story(**options)
    story.answers(story.charge_key, TIMEOUT)
    return story.newest


def preparing() -> Call:
    return doubtful(two_steps=("a",))


def confirming(*, later_us: int = 0) -> Call:
    story = Story(two_steps=("a",))
    story.now_us += later_us
    story.is_prepared()
    story.answers(story.charge_key, TIMEOUT)
    return story.newest


def step(call: Call, can: Capabilities, *heard: Outcome, age_s: float = 1) -> Step | None:
    pursuit = Pursuit("txn_1-1", provider="a")
    for outcome in heard:
        pursuit.hear(outcome)
    return pursuit.next_step(call, can, now_us=NOW_US + round(age_s * SECOND_US))


def test_a_doubtful_call_is_looked_up_and_what_cannot_be_is_sent_again():
    assert step(doubtful(), CAN) == "look_up"
    assert step(doubtful(), BLIND) == "send"


def test_what_cannot_be_looked_up_is_sent_again_for_as_long_as_its_key_is_surely_known():
    edge_s = DAY_S - UNSEEN_MARGIN_S

    assert step(doubtful(), BLIND, age_s=edge_s - 1) == "send"
    assert step(doubtful(), BLIND, age_s=edge_s) is None


def test_a_clock_that_went_back_gives_no_key_to_who_has_none():
    pursuit = Pursuit("txn_1-1", provider="a")

    assert not pursuit.may_send(doubtful(), KEYLESS, now_us=NOW_US - 3 * DAY_S * SECOND_US)


def test_what_takes_no_key_is_looked_up_and_where_nothing_shows_it_nothing_is_done():
    assert step(doubtful(), KEYLESS) == "look_up"
    assert step(doubtful(), replace(KEYLESS, finds=False)) is None


def test_the_same_key_is_asked_again_while_its_request_is_in_progress():
    assert step(doubtful(), BLIND, IN_PROGRESS) == "send"


def test_a_key_that_was_used_with_other_parameters_answers_nothing_more():
    assert step(doubtful(), BLIND, KEY_KNOWN) is None


def test_what_was_lost_inside_is_not_taken_for_what_never_left():
    pursuit = Pursuit("txn_1-1", provider="a")
    untouched = Story().newest
    now_us = NOW_US + SECOND_US

    before = pursuit.next_step(untouched, KEYLESS, now_us=now_us)
    pursuit.touched = True

    assert before == "send"
    assert pursuit.next_step(untouched, KEYLESS, now_us=now_us) == "look_up"


@pytest.mark.parametrize("age_s", [1, 30 * DAY_S])
def test_what_is_not_prepared_yet_is_prepared_again_however_late(age_s: float):
    assert step(preparing(), IN_TWO, age_s=age_s) == "send"


def test_what_a_preparation_says_of_its_key_says_nothing_of_the_confirmation():
    pursuit = Pursuit("txn_1-1", provider="a")

    pursuit.hear(KEY_KNOWN, source="prepare")
    prepared = pursuit.arrived
    pursuit.hear(KEY_KNOWN)

    assert (prepared, pursuit.arrived) == (False, True)


def test_what_is_prepared_is_looked_at_by_its_id_also_where_no_key_finds_it():
    blind = replace(IN_TWO, operations={"charge": OperationTerms(key_window_s=None, finds=False)})

    assert shows(blind, confirming())
    assert not shows(blind, preparing())
    assert step(confirming(), blind) == "look_up"


def test_the_window_of_a_confirmation_begins_when_it_can_first_have_left():
    call = confirming(later_us=100 * SECOND_US)

    assert key_window_ends_us(call, IN_TWO) == NOW_US + (100 + DAY_S) * SECOND_US
    margin_us = round(KEY_WINDOW_MARGIN_S * SECOND_US)
    assert cannot_succeed_from_us(call, IN_TWO) == key_window_ends_us(call, IN_TWO) + margin_us


def test_each_operation_has_the_window_of_its_own_key():
    can = replace(CAN, operations={"refund": OperationTerms(key_window_s=60)})
    story = succeeded()
    story.refund(100)

    assert key_window_ends_us(story.newest, can) == story.newest.started_at_us + 60 * SECOND_US


@pytest.mark.parametrize(
    "outcome",
    [
        Declined(code="too_many_requests", conclusive=False, retry_after_s=40.0),
        Unknown(reason="server_error", retry_after_s=40.0),
    ],
)
def test_a_provider_that_wants_to_be_left_alone_is(outcome: Outcome):
    pursuit = Pursuit("txn_1-1", provider="a")

    pursuit.hear(outcome)
    waits_s = pursuit.delay_s(doubtful(), CAN, now_us=NOW_US)
    pursuit.hear(TIMEOUT)

    assert waits_s == 40.0
    assert pursuit.delay_s(doubtful(), CAN, now_us=NOW_US) == CAN.ask_first_s


def test_nobody_is_left_alone_for_longer_than_a_person_should_wait():
    pursuit = Pursuit("txn_1-1", provider="a")

    pursuit.hear(Unknown(reason="server_error", retry_after_s=1e9))

    assert pursuit.delay_s(doubtful(), CAN, now_us=NOW_US) == RETRY_AFTER_S_MAX


@pytest.mark.parametrize(
    ("outcome", "word"),
    [(PREPARED, "prepared"), (declined("lost_card"), "lost_card"), (TIMEOUT, "timeout")],
)
def test_an_answer_is_kept_in_a_word(outcome: Outcome | Prepared, word: str):
    pursuit = Pursuit("txn_1-1", provider="a")

    pursuit.hear(outcome)

    assert pursuit.heard == word
