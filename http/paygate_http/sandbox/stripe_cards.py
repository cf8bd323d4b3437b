"""Stripe's test cards, by number and by name, and the words of its declines."""

from typing import Final, Literal

from msgspec import Struct

from paygate_actors.brands import brand_of
from paygate_http.sandbox.cards import Approve, Confirm, Decline, judge_card
from paygate_http.sandbox.presence import asked_of
from paygate_http.sandbox.stripe_records import Method
from paygate_http.sandbox.wire import ProviderId

NAMED: Final = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_discover": "6011111111111117",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedLostCard": "4000000000009987",
    "pm_card_visa_chargeDeclinedStolenCard": "4000000000009979",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_chargeDeclinedProcessingError": "4000000000000119",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "pm_card_createDispute": "4000000000000259",
}
"""Payment methods that exist in every test account, and the cards that they stand for."""

# Cards of Stripe's that do here what one of the sandbox's own does.
_LIKE: Final = {
    "4000000000000341": "4000000000000002",
    "4000000000003220": "4000002760003184",
    "4000002500003155": "4000002760003184",
}


class Words(Struct, frozen=True):
    """How Stripe words one of the sandbox's declines."""

    code: str
    decline_code: str | None
    type: Literal["card_error", "invalid_request_error"] = "card_error"


_WORDS: Final = {
    "card_declined": Words("card_declined", "generic_decline"),
    "insufficient_funds": Words("card_declined", "insufficient_funds"),
    "lost_card": Words("card_declined", "lost_card"),
    "stolen_card": Words("card_declined", "stolen_card"),
    "expired_card": Words("expired_card", "expired_card"),
    "incorrect_cvc": Words("incorrect_cvc", "incorrect_cvc"),
    "processing_error": Words("processing_error", "processing_error"),
    "authentication_required": Words("authentication_required", "authentication_required"),
    "authentication_failed": Words(
        "payment_intent_authentication_failure", None, "invalid_request_error"
    ),
}


def words_of(code: str) -> Words:
    """Give Stripe's words for a decline of the sandbox."""
    return _WORDS.get(code, Words("card_declined", code))


def method_of(
    number: str,
    *,
    id_: str,
    provider: ProviderId,
    exp_month: int,
    exp_year: int,
    holder_name: str | None,
    now_us: int,
) -> Method:
    """Make the payment method of a card; its number is judged here and then forgotten."""
    match judge_card(_LIKE.get(number, number), provider=provider):
        case Approve(disputed=disputed):
            does, code = ("dispute" if disputed else "approve"), None
        case Confirm():
            does, code = "confirm", None
        case Decline(code=declined):
            does, code = "decline", declined
    return Method(
        id=id_,
        does=does,
        decline_code=code,
        brand=brand_of(number),
        last4=number[-4:],
        exp_month=exp_month,
        exp_year=exp_year,
        holder_name=holder_name,
        created_at_us=now_us,
        asked=asked_of(number),
    )
