"""Adyen's refusal reasons and error codes in the gateway's own words.

Refusals of a payment have a number (`refusalReasonCode`) in an answer and only the reason's text
in a webhook (docs.adyen.com/development-resources/refusal-reasons): both lead to one word here.
Errors of a request have numbers of their own; they come before any issuer saw the payment.
"""

from typing import Final

from msgspec import Struct

from paygate_actors.decline_codes import DECLINE_CODES, UNEXPLAINED, DeclineCode


class Refusal(Struct, frozen=True):
    """One of Adyen's reasons: its text, and our word for it."""

    text: str
    code: str


REFUSALS: Final = {
    "2": Refusal("Refused", "card_declined"),
    "3": Refusal("Referral", "call_issuer"),
    "4": Refusal("Acquirer Error", "processing_error"),
    "5": Refusal("Blocked Card", "restricted_card"),
    "6": Refusal("Expired Card", "expired_card"),
    "7": Refusal("Invalid Amount", "invalid_amount"),
    "8": Refusal("Invalid Card Number", "incorrect_number"),
    "9": Refusal("Issuer Unavailable", "issuer_unavailable"),
    "10": Refusal("Not supported", "card_not_supported"),
    "11": Refusal("3D Not Authenticated", "authentication_failed"),
    "12": Refusal("Not enough balance", "insufficient_funds"),
    "14": Refusal("Acquirer Fraud", "fraud_suspected"),
    "15": Refusal("Cancelled", "cancelled_by_payer"),
    "16": Refusal("Shopper Cancelled", "cancelled_by_payer"),
    "17": Refusal("Invalid Pin", "incorrect_pin"),
    "18": Refusal("Pin tries exceeded", "pin_tries_exceeded"),
    "19": Refusal("Pin validation not possible", "pin_required"),
    "20": Refusal("FRAUD", "blocked_by_provider"),
    "21": Refusal("Not Submitted", "provider_refused"),
    "22": Refusal("FRAUD-CANCELLED", "blocked_by_provider"),
    "23": Refusal("Transaction Not Permitted", "transaction_not_permitted"),
    "24": Refusal("CVC Declined", "incorrect_cvc"),
    "25": Refusal("Restricted Card", "restricted_card"),
    "26": Refusal("Revocation Of Auth", "authorization_revoked"),
    "27": Refusal("Declined Non Generic", "do_not_honor"),
    "28": Refusal("Withdrawal amount exceeded", "limit_exceeded"),
    "29": Refusal("Withdrawal count exceeded", "limit_exceeded"),
    "31": Refusal("Issuer Suspected Fraud", "fraud_suspected"),
    "32": Refusal("AVS Declined", "incorrect_address"),
    "33": Refusal("Card requires online pin", "pin_required"),
    "34": Refusal("No checking account available on Card", "invalid_account"),
    "35": Refusal("No savings account available on Card", "invalid_account"),
    "36": Refusal("Mobile pin required", "pin_required"),
    "37": Refusal("Contactless fallback", "transaction_not_permitted"),
    "38": Refusal("Authentication required", "authentication_required"),
    "39": Refusal("RReq not received from DS", "authentication_failed"),
    "40": Refusal("Current AID is in Penalty Box.", "card_not_supported"),
    "41": Refusal("CVM Required Restart Payment", "pin_required"),
    "42": Refusal("3DS Authentication Error", "authentication_failed"),
    "43": Refusal("Online PIN required", "pin_required"),
    "44": Refusal("Try another interface", "transaction_not_permitted"),
    "45": Refusal("Chip downgrade mode", "transaction_not_permitted"),
    # The network charges for each further try, wherever it is made.
    "46": Refusal(
        "Transaction blocked by Adyen to prevent excessive retry fees", "do_not_try_again"
    ),
    "50": Refusal("Token Revoked", "authorization_revoked"),
}
"""By `refusalReasonCode`."""

_BY_TEXT: Final = {each.text.casefold(): each.code for each in REFUSALS.values()}

# Errors of requests that say what is wrong with the payment; the others are our own mistake, or
# the account's, and another provider may do better.
_ERRORS: Final = {
    "101": "incorrect_number",
    "103": "incorrect_cvc",
    "129": "invalid_expiry",
    "137": "amount_not_supported",
    "138": "currency_not_supported",
    "140": "invalid_expiry",
    "141": "invalid_expiry",
    "800": "authorization_revoked",  # the contract (a kept card) is not there any more
    "803": "authorization_revoked",
    "901": "provider_misconfigured",
    "905": "payment_method_not_supported",
    "905_1": "payment_method_not_supported",
    "905_3": "payment_method_not_supported",
}

IN_PROGRESS: Final = "704"
"""The first request with this key was taken, and its answer is not there yet."""

NO_SUCH_PAYMENT: Final = "167"
"""A modification that names no payment of this account."""


def decline_of(code: str | None, text: str | None = None) -> DeclineCode:
    """Say in our words why a payment was refused. What is not documented is a plain decline."""
    refusal = REFUSALS.get(code or "")
    if refusal is not None:
        return DECLINE_CODES[refusal.code]
    return DECLINE_CODES.get(_BY_TEXT.get((text or "").casefold(), ""), UNEXPLAINED)


def refusal_of(code: str | None) -> DeclineCode:
    """Say in our words why a request was refused before any issuer saw it."""
    return DECLINE_CODES[_ERRORS.get(code or "", "provider_refused")]
