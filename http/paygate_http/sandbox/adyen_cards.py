"""Adyen's ways to name a card, and its words for a refusal."""

from typing import Final

from msgspec import Struct

from paygate_actors.card import normalise_number
from paygate_http.sandbox.adyen_errors import AdyenTrouble
from paygate_http.sandbox.adyen_wire import Method

STORED: Final = {
    "STOREDVISA000001": "4242424242424242",
    "STOREDREFUSED001": "4000000000000002",
    "STOREDCONFIRM001": "4000002760003184",
}
"""Cards that the account keeps from the start, and the numbers that they stand for."""

# Adyen's test platform takes a number in clear behind this for an encrypted one.
_ENCRYPTED: Final = "test_"

# Test cards of Adyen's own that do here what one of the sandbox's does.
_LIKE: Final = {
    "4212345678901237": "4000002760003184",
    "5201281505129736": "4000002760003184",
}

_BRANDS: Final = {"mastercard": "mc", "unionpay": "cup"}


class Words(Struct, frozen=True):
    """How Adyen words one of the sandbox's declines."""

    result_code: str
    code: str
    text: str


_WORDS: Final = {
    "card_declined": Words("Refused", "2", "Refused"),
    "insufficient_funds": Words("Refused", "12", "Not enough balance"),
    "lost_card": Words("Refused", "5", "Blocked Card"),
    "stolen_card": Words("Refused", "5", "Blocked Card"),
    "expired_card": Words("Refused", "6", "Expired Card"),
    "incorrect_cvc": Words("Refused", "24", "CVC Declined"),
    "processing_error": Words("Error", "4", "Acquirer Error"),
    "authentication_failed": Words("Refused", "11", "3D Not Authenticated"),
    "authentication_required": Words("Refused", "38", "Authentication required"),
}

# Why a modification came to nothing, in the text of its notification.
REASONS: Final = {
    "not_captured": "Transaction hasn't been captured, refund not possible",
    "amount_too_large": "Insufficient balance on payment",
    "already_captured": "Transaction is already captured",
}


def words_of(code: str) -> Words:
    """Give Adyen's words for a decline of the sandbox."""
    return _WORDS.get(code, Words("Refused", "2", "Refused"))


def number_of(method: Method) -> str:
    """Give the number of the card that is named. Raises `AdyenTrouble`."""
    given = method.number
    if given is None and method.encrypted_card_number is not None:
        _, marked, given = method.encrypted_card_number.partition(_ENCRYPTED)
        if not marked:
            raise AdyenTrouble(422, "174", "Unable to decrypt data")
    if given is None and method.stored_payment_method_id is not None:
        given = STORED.get(method.stored_payment_method_id)
        if given is None:
            raise AdyenTrouble(422, "800", "Contract not found")
    number = normalise_number(given or "")
    if number is None:
        raise AdyenTrouble(422, "101", "Invalid card number")
    return _LIKE.get(number, number)


def brand_name(brand: str) -> str:
    """Give Adyen's name of a card brand."""
    return _BRANDS.get(brand, brand)
