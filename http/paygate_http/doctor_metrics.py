"""What the doctor reads out of a running server's metrics."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_CIRCUITS: Final = {0: "closed", 1: "half open", 2: "open"}
_SHOWN: Final = (
    "paygate_live_payments",
    "paygate_sleeping_payments",
    "paygate_journal_backlog",
    "paygate_webhooks_parked",
    "paygate_in_doubt_calls",
)
# A number over zero, and what it asks of a person.
_ALARMS: Final = {
    "paygate_journal_failed": "The journal failed: read the log, see to the disk, and restart.",
    "paygate_journal_full": "The disk is full: make room; the server goes on by itself.",
    "paygate_parked_payments": "Payments failed too often and are parked: read the log, restart.",
    "paygate_quarantined_payments": "Payments are quarantined: run doctor on the folder.",
    "paygate_webhooks_unreadable": "Stored webhooks are damaged: have them sent again.",
    "paygate_audit_broken": "The audit chain is broken: run `paygate audit verify`.",
}

Rows = list[tuple[str, str]]


def read_metrics(page: str) -> tuple[Rows, list[str]]:
    """The rows, and a sentence for each thing that needs a person. Raises `ValueError`."""
    rows: Rows = []
    found: list[str] = []
    letters = 0
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            name, value = sample.name, sample.value
            provider = sample.labels.get("provider", "")
            if name in _SHOWN:
                rows.append((f"  {name.removeprefix('paygate_').replace('_', ' ')}", f"{value:,g}"))
            elif name == "paygate_dead_letters_total":
                letters += round(value)
            elif name == "paygate_provider_circuit":
                circuit = _CIRCUITS.get(round(value), "unknown")
                rows.append((f"  breaker of {provider}", circuit))
                if circuit == "open":
                    found.append(f"The breaker of {provider} is open: see how the provider does.")
            elif name in _ALARMS and value:
                found.append(_ALARMS[name])
            else:
                found += _of_webhooks(name, sample.labels, value)
    # Messages of our own actors: "dead letters" are webhooks to merchants everywhere else.
    rows.append(("  undelivered between actors", f"{letters:,}"))
    return rows, found


def _of_webhooks(name: str, labels: Mapping[str, str], value: float) -> Iterator[str]:
    provider = labels.get("provider", "")
    if name == "paygate_webhooks_refused_total" and labels.get("code") == "another_account":
        yield (
            f"{provider} sent {round(value)} webhooks about another account, which were refused:"
            " see to its webhook's settings, and to `account` of the provider here."
        )
    elif name == "paygate_provider_events_overdue_seconds" and value:
        yield (
            f"The events of {provider} were last read {round(value / 60)} minutes ago: see how the"
            " provider does; a webhook that is missed comes no other way."
        )
