"""Outcomes in few words, for verdicts; and what a webhook comes to as an outcome."""

from typing import Literal

from paygate_actors.outcomes import ActionRequired, Approved, Declined, Outcome, Pending, Unknown
from paygate_actors.providers.base import ChargeCall, FollowUpCall, ProviderEvent

Verb = Literal["charge", "authorize", "capture", "void", "refund"]
"""What is asked of a provider."""


def told(outcome: object) -> str:
    """Say what an outcome was, in few words."""
    match outcome:
        case Approved():
            captured = "captured" if outcome.captured else "not captured"
            return f"Approved({outcome.amount.minor} {outcome.amount.currency}, {captured})"
        case Declined():
            proof = "conclusive" if outcome.conclusive else "proves nothing"
            return f"Declined({outcome.code}, {proof})"
        case Unknown():
            return f"Unknown({outcome.reason})"
        case ActionRequired() | Pending():
            return type(outcome).__name__
        case _:
            return type(outcome).__name__


def outcome_of(event: ProviderEvent, verb: Verb, call: ChargeCall | FollowUpCall) -> Outcome:
    """Say what the call came to, as a webhook about it tells."""
    ending = event.event_type.rpartition(".")[2]
    undone = ending == "cancelled" and verb != "void"
    if ending == "failed" or undone:
        return Declined(code=event.reason or "card_declined", retryable=event.retryable)
    return Approved(
        provider_txn_id=event.provider_txn_id,
        amount=event.amount or call.amount,
        captured=verb == "charge",
    )
