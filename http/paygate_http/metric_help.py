"""What each of the gateway's metrics means, in one sentence: what an operator reads first."""

from collections.abc import Mapping
from typing import Final

HELP: Final[Mapping[str, str]] = {
    "paygate_ready": "1 while requests are taken; 0 while starting and draining.",
    "paygate_live_payments": "Payments that are held in memory.",
    "paygate_parked_payments": "Payments that failed again and again and wait for a person.",
    "paygate_quarantined_payments": "Payments set aside because events of theirs are damaged.",
    "paygate_damaged_rows": "Rows of the store, met since the start, that are not as written.",
    "paygate_oldest_message_seconds": "Age of the oldest message that waits for an actor.",
    "paygate_messages_handled_total": "Messages that actors have handled.",
    "paygate_tasks_failed_total": "Background tasks that ended with an error nobody awaited.",
    "paygate_dead_letters_total": "Messages that could not be delivered, by reason.",
    "paygate_journal_backlog": "Units that wait to be written.",
    "paygate_journal_full": "1 while the disk has no room and writes are refused.",
    "paygate_journal_failed": "1 once the journal has failed; the process is about to end.",
    "paygate_journal_log_bytes": "Bytes of SQLite's log; one that only grows cannot checkpoint.",
    "paygate_journal_groups_total": "Transactions written, each of one or more units.",
    "paygate_journal_units_total": "Units written.",
    "paygate_journal_rows_total": "Rows written.",
    "paygate_journal_conflicts_total": "Units refused because somebody else had written first.",
    "paygate_admission_refused_total": "Requests refused early because the gateway was full.",
    "paygate_webhooks_received_total": "Events from providers that were stored.",
    "paygate_webhooks_repeated_total": "Events from providers that were known already.",
    "paygate_provider_events_fetched_total": "Events that were fetched and were new.",
    "paygate_provider_events_failed_total": "Rounds of fetching events that failed.",
    "paygate_provider_events_age_seconds": "Since the list of events was last read to its end.",
    "paygate_webhooks_refused_total": "Webhooks refused, by provider and the problem's code.",
    "paygate_webhooks_busy": "Events between their arrival and their payment.",
    "paygate_webhooks_parked": "Events about transactions that are not known yet.",
    "paygate_webhooks_parked_oldest_seconds": "Age of the oldest parked event.",
    "paygate_webhooks_unreadable": "Stored events that are damaged: have them sent again.",
    "paygate_notices_sent_total": "Webhooks to merchants, by how an attempt ended; dead: given up.",
    "paygate_notices_under_way": "Webhooks to merchants that are being sent.",
    "paygate_notice_endpoints": "Webhook endpoints of merchants.",
    "paygate_notice_endpoints_disabled": "Webhook endpoints that are sent nothing.",
    "paygate_audit_verified_rows": "Rows of the audit chain that were verified.",
    "paygate_audit_broken": "1 once a row of the audit chain did not fit the one before.",
    "paygate_in_doubt_amount": "Money whose fate at a provider is not known, in major units.",
    "paygate_in_doubt_calls": "Calls to providers whose outcome is not known.",
    "paygate_in_doubt_oldest_seconds": "Age of the oldest call whose outcome is not known.",
    "paygate_payments_moved_total": "Facts that payments recorded, by fact.",
    "paygate_desk_actions_total": "Actions that operators took on the desk, by action.",
    "paygate_attention_total": "Payments put before a person, by reason.",
    "paygate_transactions_total": "Transactions, by type and origin.",
    "paygate_provider_calls_total": "Calls to providers, by verb.",
    "paygate_provider_circuit": "The provider's circuit: 0 closed, 1 half open, 2 open.",
    "paygate_provider_operation_circuit": "The same for one operation at the provider.",
    "paygate_provider_circuit_changes_total": "Circuits of the provider that opened or closed.",
    "paygate_provider_concurrency": "Calls at a time that the provider is given.",
    "paygate_provider_quiet_seconds": "For how long the provider wants to be left alone.",
    "paygate_provider_repeats_left": "Calls it turned away that may be sent again now.",
    "paygate_provider_active": "1 while the provider is switched on.",
    "paygate_provider_success_ratio": "Share of recent calls that were answered.",
    "paygate_provider_calls_running": "Calls that are under way.",
    "paygate_provider_calls_waiting": "Calls that wait for a place.",
}


def help_of(name: str) -> str:
    """Give the sentence for a metric; one that is not listed is described by its name."""
    return HELP.get(name) or name.removeprefix("paygate_").replace("_", " ").capitalize() + "."
