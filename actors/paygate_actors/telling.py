"""What is recorded of a payment, in plain words: for explanations, and for the simulator's stories.

A sentence without its full stop for each event; amounts are written in major units.
"""

from typing import Final, assert_never

from paygate_actors import events as e
from paygate_actors.money import Money
from paygate_actors.outcomes import UnknownReason
from paygate_actors.telling_routes import routed_by

VERBS: Final[dict[e.Verb, str]] = {
    "charge": "charge",
    "authorize": "hold",
    "capture": "capture",
    "void": "void",
    "refund": "refund",
}

FACTS: Final = {
    "charge_started": "the payment is being processed",
    "action_required": "the payer was asked to confirm",
    "resumed": "the payer has confirmed, and the provider goes on",
    "held": "the funds are held until a person decides",
    "authorized": "the funds are held until they are captured",
    "captured": "the money was taken: the payment is a success",
    "failed": "the payment failed: nothing was charged",
    "cancelled": "the payment was cancelled: what was held or taken was given back",
}

REASONS: Final[dict[UnknownReason, str]] = {
    "timeout": "no answer came in time",
    "reset": "the connection broke",
    "server_error": "the provider answered with an error of its own",
    "garbage": "the answer could not be understood",
    "not_visible": "the provider does not see it, which may change",
    "key_known": "the provider has had the request, and says no more",
    "in_progress": "the provider still works on it",
    "restarted": "the gateway was restarted meanwhile",
}

CONCERNS: Final = {
    "in_doubt": "a call has been in doubt for long",
    "amount_mismatch": "the provider confirmed another amount or currency",
    "assertion_overruled": "the provider has what an operator had marked as not charged",
    "asserted_against_provider": "an operator set an end that the provider does not confirm",
    "cancelled_by_provider": "the provider cancelled a payment that was a success",
    "captured_by_provider": "the provider captured by itself what was only held",
    "charged_twice": "the provider did it twice under one key: look there, and give one back",
    "dispute_closed_unclear": "a dispute was closed without word of who won",
    "dispute_exceeds_captured": "more was disputed than was left undisputed",
    "disputed": "the payer disputes the payment, or lost or won a dispute again",
    "event_of_no_call": "a provider reported a charge that was never asked for",
    "refund_exceeds_captured": "more was refunded than was captured",
    "refund_failed": "a refund that had succeeded came back",
    "pending_long": "the provider took a call on days ago, and has not said what became of it",
    "refund_without_amount": "the provider refunded by itself and did not say how much",
    "refunded_by_provider": "the provider refunded by itself",
    "release_failed": "what was prepared at the provider could not be cancelled there",
    "step_up_missing": "a payer who had to prove who they are was charged without",
    "reverse_failed": "what should be given back could not be",
    "stray_charge": "money was taken for an attempt that had been given up; it is given back",
}


def told(event: e.PaymentEvent, *, currency: str, keys: bool = True) -> str:
    """One event; `currency` is the payment's. Without `keys` no call is named by its key."""
    match event:
        case e.PaymentCreated():
            manual = event.capture_method == "manual"
            how = "held, and captured on demand" if manual else "charged at once"
            amount = _money(event.amount_minor, currency)
            return f"a payment of {amount} was accepted, to be {how}"
        case e.FraudScored():
            return _scored(event)
        case (
            e.CallStarted()
            | e.CallPrepared()
            | e.CallInDoubt()
            | e.CallPending()
            | e.ActionRequested()
            | e.CallApproved()
            | e.CallDeclined()
        ):
            said = _of_call(event, currency) + (f" ({event.key})" if keys else "")
            # Rules, and how providers do, are the operators' business: as keys are.
            route = event.route if keys and isinstance(event, e.CallStarted) else None
            return said if route is None else said + routed_by(route)
        case e.CredentialNoted():
            return _noted(event)
        case e.Moved():
            return FACTS[event.fact]
        case e.TransactionOpened():
            amount = _money(event.amount_minor, event.currency)
            kind = event.type.replace("_", " ")
            return f"a {kind} of {amount} was opened ({event.origin}): {event.id}"
        case e.TransactionSettled():
            return f"{event.id} is {event.status}{_because(event.failure)}"
        case e.StatusAsserted():
            return f"an operator set {event.transaction_id} to {event.status}"
        case e.Reviewed():
            return f"an operator decided: {event.decision}"
        case e.AttentionRaised():
            return f"a person was called: {CONCERNS.get(event.code, event.code)}"
        case e.AttentionCleared():
            return "a person has looked" if event.up_to_seq else "nothing is in doubt any more"
        case _:
            assert_never(event)


def _of_call(
    event: e.CallStarted
    | e.CallPrepared
    | e.CallInDoubt
    | e.CallPending
    | e.ActionRequested
    | e.CallApproved
    | e.CallDeclined,
    currency: str,
) -> str:
    match event:
        case e.CallStarted():
            amount = _money(event.amount_minor, currency)
            return f"a {VERBS[event.verb]} of {amount} is asked of {event.provider}"
        case e.CallPrepared():
            return f"the provider has prepared it as {event.provider_txn_id}; now it is confirmed"
        case e.CallInDoubt():
            return f"what became of the call is not known: {REASONS[event.reason]}"
        case e.CallPending():
            return "the provider took it on and will say later"
        case e.ActionRequested():
            return "the provider wants the payer to confirm"
        case e.CallApproved():
            return f"the provider did it: {_money(event.amount_minor, event.currency)}"
        case e.CallDeclined():
            return f"the provider did not do it{_because(event.failure)}"
        case _:
            assert_never(event)


def _noted(event: e.CredentialNoted) -> str:
    proved = {
        "challenge": "the payer confirmed who they are",
        "frictionless": "the issuer took the payer for who they are, unasked",
        "attempted": "the issuer cannot ask the payer, and the network vouches for the attempt",
        "none": "the payer did not prove who they are",
    }
    said = [] if event.authentication is None else [proved[event.authentication]]
    if event.network_transaction_id is not None:
        said.append("the card network gave the payment an id of its own")
    return "; ".join(said) or "the provider said nothing of the credential"


def _scored(event: e.FraudScored) -> str:
    what = "blocked" if event.blocked else "to be reviewed" if event.review else "let through"
    return f"the fraud rules scored it {event.risk_level}: {what}"


def _because(failure: e.Failure | None) -> str:
    return "" if failure is None else f": {failure.code}"


def _money(minor: int, currency: str) -> str:
    return str(Money(minor, currency))
