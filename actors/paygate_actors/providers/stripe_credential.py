"""How a payer's credential is used at Stripe, and what Stripe tells of it with the charge.

The card network's id and how the payer proved who they are stand in the charge behind an intent,
which Stripe shows where it is told to (`expand`); without that nothing is known of either.
"""

import re
from typing import Final, Literal

import msgspec
from msgspec import Struct

from paygate_actors.outcomes import Approved, Authentication, Outcome
from paygate_actors.providers.base import ChargeCall, Instrument

EXPAND: Final = ("expand[]", "latest_charge")
EXPAND_FOUND: Final = ("expand[]", "data.latest_charge")

_OPTIONS: Final = "payment_method_options[card]"


_SAVED = re.compile(r"(?:(cus_[A-Za-z0-9]{1,100})/)?((?:pm|card|src)_[A-Za-z0-9_]{1,200})")


class Saved(Struct, frozen=True, kw_only=True):
    """What Stripe keeps of a payer. A method that was saved for a customer is charged with them."""

    method: str
    customer: str | None = None


def saved_method(instrument: Instrument) -> Saved | None:
    """Read a token, `pm_...` or `cus_.../pm_...`; None where the instrument is none of Stripe's."""
    token = instrument.provider_token  # a wallet's id is whatever a merchant writes there
    match = None if token is None else _SAVED.fullmatch(token)
    return None if match is None else Saved(customer=match[1], method=match[2])


class ThreeDSecure(Struct, frozen=True, kw_only=True):
    """What came of asking who the payer is. Stripe may add results at any time."""

    result: str | None = None
    authentication_flow: str | None = None


class CardDetails(Struct, frozen=True, kw_only=True):
    """The card as it was charged."""

    network_transaction_id: str | None = None
    three_d_secure: ThreeDSecure | None = None


class MethodDetails(Struct, frozen=True, kw_only=True):
    """The payment method as it was charged; nothing is read of others than cards."""

    card: CardDetails | None = None


class LatestCharge(Struct, frozen=True, kw_only=True):
    """The newest charge of an intent, shown in full."""

    id: str
    object: Literal["charge"]
    payment_method_details: MethodDetails | None = None


class Told(Struct, frozen=True, kw_only=True):
    """What Stripe tells of the credential; None for what it does not."""

    network_txn_id: str | None = None
    authentication: Authentication | None = None


NOTHING: Final = Told()


def credential_fields(call: ChargeCall) -> list[tuple[str, str]]:
    """What a confirmation says of the credential; nothing for a payment like most.

    `mit_exemption` is for accounts that Stripe has let use it.
    """
    fields: list[tuple[str, str]] = []
    if call.initiator == "merchant":
        fields.append(("off_session", "true"))
        if call.network_txn_id is not None:
            name = f"{_OPTIONS}[mit_exemption][network_transaction_id]"
            fields.append((name, call.network_txn_id))
    if call.store:
        fields.append(("setup_future_usage", "off_session"))
    if call.three_d_secure == "required":
        fields.append((f"{_OPTIONS}[request_three_d_secure]", "any"))
    return [*fields, EXPAND] if fields else []


def told(charge: LatestCharge | str | None) -> Told:
    """Read what an intent's charge tells; an id alone tells nothing."""
    if not isinstance(charge, LatestCharge) or charge.payment_method_details is None:
        return NOTHING
    card = charge.payment_method_details.card
    if card is None:
        return NOTHING
    return Told(
        network_txn_id=card.network_transaction_id,
        authentication=_authentication(card.three_d_secure),
    )


def demanded(outcome: Outcome) -> Outcome:
    """The outcome of a charge for which a step-up was demanded: silence about it is a no."""
    if not isinstance(outcome, Approved) or outcome.authentication is not None:
        return outcome
    return msgspec.structs.replace(outcome, authentication="none")


def _authentication(asked: ThreeDSecure | None) -> Authentication | None:
    if asked is None:
        return None
    match asked.result:
        case "authenticated":
            return "challenge" if asked.authentication_flow == "challenge" else "frictionless"
        case "attempt_acknowledged":
            return "attempted"
        case "data_share_only" | "exempted" | "failed" | "not_supported" | "processing_error":
            return "none"
        case _:
            return None
