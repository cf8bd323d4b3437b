"""What the doctor reads out of a running server's metrics: a row each, and what calls a person."""

import pytest

from paygate_http.doctor_metrics import read_metrics

BANK = '{provider="bank"}'


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("paygate_journal_failed 1", "The journal failed"),
        (f"paygate_provider_circuit{BANK} 2", "The breaker of bank is open"),
        (
            f"paygate_provider_events_overdue_seconds{BANK} 7200",
            "The events of bank were last read 120 minutes ago",
        ),
        (
            'paygate_webhooks_refused_total{provider="bank",code="another_account"} 3',
            "bank sent 3 webhooks about another account",
        ),
    ],
)
def test_what_needs_a_person_is_a_sentence(line: str, sentence: str):
    _, found = read_metrics(line + "\n")

    assert [each.startswith(sentence) for each in found] == [True]


@pytest.mark.parametrize(
    "line",
    [
        "paygate_journal_failed 0",
        f"paygate_provider_circuit{BANK} 1",
        f"paygate_provider_events_overdue_seconds{BANK} 0",
        f"paygate_provider_events_age_seconds{BANK} 90000",
        'paygate_dead_letters_total{reason="stopped"} 9',
    ],
)
def test_what_is_as_it_should_be_calls_nobody(line: str):
    _, found = read_metrics(line + "\n")

    assert found == []


def test_messages_that_actors_did_not_get_are_not_told_as_webhooks():
    page = 'paygate_dead_letters_total{reason="a"} 2\npaygate_dead_letters_total{reason="b"} 3\n'

    rows, _ = read_metrics(page)

    assert rows == [("  undelivered between actors", "5")]
