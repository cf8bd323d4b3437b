"""Why a payment is where it is, what comes next and who must act: the same words each time."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
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
    authorized,
    cancelled,
    declined,
    failed,
    in_review,
    requiring_action,
    succeeded,
    superseded,
    webhook,
)

import paygate_actors
from paygate_actors import events as e
from paygate_actors.desk import open_calls
from paygate_actors.desk_messages import Explanation, OpenCall
from paygate_actors.explaining import WHY_MAX, Audience, explain
from paygate_actors.telling import CONCERNS, told

FLAG_US = 900 * SECOND_US
WINDOW_ENDS_US = NOW_US + 24 * HOUR_US
NEXT_US = NOW_US + 5 * SECOND_US


def pursued(story: Story, **facts: Any) -> list[OpenCall]:
    """The calls as the payment's actor would tell of them."""
    known: dict[str, Any] = {
        "asks": 3,
        "last_answer": "not_visible",
        "next_check_us": NEXT_US,
        "key_window_ends_us": WINDOW_ENDS_US,
        "can_resend": True,
    }
    return [msgspec.structs.replace(call, **(known | facts)) for call in open_calls(story.payment)]


def explained(
    story: Story, *, audience: Audience = "operator", now_us: int | None = None, **facts: Any
) -> Explanation:
    return explain(
        story.recorded,
        pursued(story, **facts),
        now_us=story.now_us if now_us is None else now_us,
        in_doubt_flag_us=FLAG_US,
        audience=audience,
    )


def steps(found: Explanation) -> list[tuple[str, str, int | None]]:
    return [(step.action, step.by, step.at_us) for step in found.ahead]


def doubted() -> Story:
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    return story


def test_a_success_says_why_and_that_nothing_is_awaited():
    found = explained(succeeded())

    assert [each.text for each in found.why] == [
        "A payment of 100.00 USD was accepted, to be charged at once.",
        f"A charge of 100.00 USD is asked of a ({succeeded().charge_key}).",
        f"The provider did it: 100.00 USD ({succeeded().charge_key}).",
        "The money was taken: the payment is a success.",
    ]
    assert steps(found) == [("nothing", "nobody", None)]
    assert found.ahead[0].text == "Nothing is awaited. 100.00 USD can still be refunded."
    assert found.calls == ()


@pytest.mark.parametrize("make", [failed, cancelled])
def test_what_is_over_awaits_nothing(make: Callable[[], Story]):
    found = explained(make())

    assert steps(found) == [("nothing", "nobody", None)]
    assert found.ahead[0].text == "Nothing is awaited."


def test_a_decline_is_told_with_the_attempts_before_it():
    story = superseded()
    story.answers(story.charge_key, declined("insufficient_funds"))

    told_ = " ".join(each.text for each in explained(story).why)

    assert "processing_error" in told_
    assert "insufficient_funds" in told_
    assert told_.endswith("The payment failed: nothing was charged.")


def test_a_doubt_says_what_is_asked_when_and_what_ends_with_the_key():
    found = explained(doubted())

    assert "no answer came in time" in found.why[-1].text
    assert steps(found) == [
        ("look_up", "paygate", NEXT_US),
        ("send_again", "paygate", WINDOW_ENDS_US - 600 * SECOND_US),
        ("key_forgotten", "provider", WINDOW_ENDS_US),
        ("call_a_person", "paygate", NOW_US + FLAG_US),
    ]
    assert (found.in_doubt, found.calls[0].standing) == (True, "in_doubt")


def test_while_it_is_being_asked_no_time_is_promised():
    found = explained(doubted(), asking=True, next_check_us=None)

    assert steps(found)[0] == ("look_up", "provider", None)


def test_past_the_key_window_a_person_must_decide():
    story = doubted()
    story.waits(25 * HOUR_US)

    found = explained(story, can_resend=False)

    assert [each[:2] for each in steps(found)] == [
        ("look_up", "paygate"),
        ("decide", "operator"),
        ("look", "operator"),
    ]
    assert found.attention == "in_doubt"


def test_what_a_person_has_decided_needs_no_second_decision():
    story = doubted()
    story.now_us += 25 * HOUR_US
    story.correct(story.payment.txns[0].id, "failed", NOT_VISIBLE, force=True)

    found = explained(story, can_resend=False)

    assert (found.status, found.in_doubt) == ("failed", True)
    assert [each[0] for each in steps(found)] == ["look_up"]
    assert "An operator set" in found.why[-1].text


def test_a_provider_that_is_gone_leaves_the_finding_to_a_person():
    found = explained(doubted(), key_window_ends_us=None, can_resend=None, next_check_us=None)

    assert ("decide", "operator", None) in steps(found)


def test_a_call_that_has_not_left_and_one_that_is_out_are_told_apart():
    fresh, refused = Story(), Story()
    refused.answers(refused.charge_key, NOT_SENT)

    assert steps(explained(fresh, asking=True))[0] == ("answer", "provider", None)
    assert steps(explained(refused))[0] == ("look_up", "paygate", NEXT_US)


def test_what_takes_its_time_says_until_when():
    story = Story()
    story.answers(story.charge_key, LATER)

    found = explained(story)

    assert steps(found)[0] == ("answer", "provider", NOW_US + HOUR_US)


def test_a_payer_who_must_confirm_has_a_deadline():
    found = explained(requiring_action())

    until_us = CONFIRM.expires_at_us
    assert ("confirm", "payer", until_us) in steps(found)
    assert ("expire", "paygate", until_us) in steps(found)


def test_a_review_has_a_deadline_and_its_merchant_knows():
    story = in_review()
    until_us = story.payment.expires_at_us

    for audience in ("merchant", "operator"):
        found = explained(story, audience=audience)
        assert steps(found) == [("review", "operator", until_us), ("expire", "paygate", until_us)]


def test_a_hold_is_the_merchants_to_capture_and_is_asked_about():
    found = explained(authorized())

    assert steps(found) == [
        ("capture", "merchant", None),
        ("look_up", "paygate", NOW_US + 24 * HOUR_US),
    ]


def test_a_reverse_waits_for_the_charge():
    story = doubted()
    story.reverse()

    assert ("reverse", "paygate", None) in steps(explained(story))


def test_a_dispute_is_awaited_and_put_before_a_person():
    story = succeeded()
    story.reports(webhook("dispute.opened", minor=PRICE))

    assert [each[:2] for each in steps(explained(story))] == [
        ("dispute", "provider"),
        ("look", "operator"),
    ]


def test_a_merchant_reads_the_same_story_without_keys_and_operators_business():
    story = doubted()
    story.waits(25 * HOUR_US)
    operators, merchants = explained(story), explained(story, audience="merchant")

    (call,) = merchants.calls
    hidden = (call.key, call.asks, call.last_answer, call.key_window_ends_us, call.can_resend)
    assert hidden == (None,) * 5
    assert call.next_check_us == NEXT_US
    words = " ".join(each.text for each in (*merchants.why, *merchants.ahead))
    assert story.charge_key not in words
    assert not [each for each in merchants.ahead if each.by == "operator"]
    assert [each.seq for each in merchants.why] == [each.seq for each in operators.why]


def test_a_merchant_does_not_read_how_long_the_provider_remembers_the_key():
    found = explained(doubted(), audience="merchant")

    assert steps(found) == [
        ("look_up", "paygate", NEXT_US),
        ("call_a_person", "paygate", NOW_US + FLAG_US),
    ]


def test_what_the_journal_knows_to_be_over_is_not_shown_as_open():
    story = doubted()
    before = pursued(story)
    story.answers(story.charge_key, approved())

    found = explain(
        story.recorded, before, now_us=story.now_us, in_doubt_flag_us=FLAG_US, audience="operator"
    )

    assert (found.status, found.calls) == ("success", ())


def test_a_long_history_is_told_by_its_first_and_its_newest():
    story = succeeded()
    for number in range(WHY_MAX):
        story.reports(webhook("dispute.opened", f"dp_{number}", minor=1, at=number))

    why = explained(story).why

    assert len(why) == WHY_MAX
    assert why[0].seq == 1
    assert why[-1].seq == len(story.stream)


@pytest.mark.parametrize("state", IN_STATE)
def test_every_state_is_explained_the_same_way_each_time(state: str):
    story = IN_STATE[state]()

    found = explained(story)

    assert found == explained(story)
    assert found.why
    assert found.ahead
    assert all(each.text.endswith(".") for each in (*found.why, *found.ahead))


def test_every_thing_that_calls_a_person_has_words():
    folder = Path(paygate_actors.__file__).parent
    raised = {
        code
        for file in folder.glob("*.py")
        for code in re.findall(r"""attend\(\s*"(\w+)""", file.read_text())
    }

    assert len(raised) > 10
    assert raised <= CONCERNS.keys()
    assert told(e.AttentionRaised(code="new_thing"), currency="USD").endswith("new_thing")
