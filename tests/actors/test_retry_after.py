"""`Retry-After` of a 429 or 503 becomes part of the outcome; anything else is no pause."""

import pytest

from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Outcome, Unknown
from paygate_actors.providers.http_client import Answered, Broken, NotSent
from paygate_actors.providers.retry_after import paused
from paygate_actors.providers.sandbox import finding_outcome

BUSY = Declined(code="too_many_requests", conclusive=False)
DOWN = Unknown(reason="server_error")


def wanted(outcome: Outcome) -> float | None:
    return outcome.retry_after_s if isinstance(outcome, Declined | Unknown) else None


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("outcome", [BUSY, DOWN])
def test_the_pause_is_in_the_outcome(status: int, outcome: Outcome):
    exchange = Answered(status=status, body=b"", retry_after=" 7 ")

    assert wanted(paused(exchange, outcome)) == 7.0


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "-1",
        "1.5",
        "1e3",
        "+3",
        "٣",  # a digit, but no ASCII one
        "123456",
        "9" * 5_000,
        "Wed, 21 Oct 2026 07:28:00 GMT",
    ],
)
def test_what_is_no_number_of_seconds_is_no_pause(text: str | None):
    exchange = Answered(status=429, body=b"", retry_after=text)

    assert paused(exchange, BUSY) == BUSY


@pytest.mark.parametrize(
    "exchange",
    [
        Answered(status=200, body=b"", retry_after="7"),
        Answered(status=500, body=b"", retry_after="7"),
        NotSent(detail=""),
        Broken(reason="reset", detail=""),
    ],
)
def test_other_exchanges_ask_for_no_pause(exchange: Answered | NotSent | Broken):
    assert paused(exchange, BUSY) == BUSY


def test_what_was_done_has_no_pause():
    done = Approved(provider_txn_id="ch_1", amount=Money(1, "USD"))

    assert paused(Answered(status=429, body=b"", retry_after="7"), done) == done


def test_a_look_up_that_is_turned_away_says_when_to_come_again():
    exchange = Answered(status=429, body=b"{}", retry_after="2")

    assert finding_outcome(exchange, "key") == Unknown(
        reason="server_error", detail="HTTP 429", retry_after_s=2.0
    )
