"""Judges what a request says about the payer's credential: tokens, who starts it, and step-up.

A payment that the merchant starts finds no payer: nobody can confirm it or agree to anything, and
the networks take it only with a reference to what the payer once did. Each rule is a fault with
the place of its field; none repeats a value.
"""

from typing import Final

from paygate_actors.credentials import (
    BY_CUSTOMER,
    Initiation,
    SealedToken,
    hides_card_number,
    is_network_id,
    is_token,
)
from paygate_actors.payment_methods import (
    CardMethod,
    Method,
    ProviderTokenMethod,
    TokenMethod,
    WalletMethod,
)
from paygate_http.bodies import InitiationBody, PaymentBody, PaymentMethodBody
from paygate_http.validation import Faults

_METHOD: Final = "/paymentMethod"
_NETWORK_ID: Final = "/initiation/networkTransactionID"


def check_provider_token(body: PaymentMethodBody, faults: Faults) -> ProviderTokenMethod | None:
    """Read a provider's own token, and seal it; which providers there are is not known here."""
    if body.provider is None:
        faults.missing(f"{_METHOD}/provider")
    elif hides_card_number(body.provider):
        faults.add(f"{_METHOD}/provider", *_HIDES_A_NUMBER)
    if body.token is None:
        faults.missing(f"{_METHOD}/token")
    elif hides_card_number(body.token):
        faults.add(f"{_METHOD}/token", *_HIDES_A_NUMBER)
    elif not is_token(body.token):
        faults.add(f"{_METHOD}/token", "invalid_token", "must be visible ASCII characters")
    if body.provider is None or body.token is None:
        return None
    return ProviderTokenMethod(provider=body.provider, token=SealedToken(body.token))


def check_initiation(body: PaymentBody, method: Method | None, faults: Faults) -> Initiation:
    """Read who starts the payment, with all that this forbids and demands elsewhere."""
    asked = body.initiation
    if asked is None:
        return BY_CUSTOMER
    if asked.by is None:
        faults.missing("/initiation/by")
        return BY_CUSTOMER
    if asked.network_transaction_id is not None:
        _check_network_id(asked.network_transaction_id, faults)
    if asked.by == "customer":
        _check_by_customer(asked, faults)
        return BY_CUSTOMER
    if asked.reason is None:
        faults.missing("/initiation/reason")
    _check_payer_is_away(body, faults)
    if asked.network_transaction_id is None and _needs_network_id(method):
        faults.add(
            _NETWORK_ID,
            "network_transaction_id_required",
            "is required where the payer is away, unless a stored token is charged",
        )
    return Initiation(
        by="merchant", reason=asked.reason, network_transaction_id=asked.network_transaction_id
    )


def _check_network_id(text: str, faults: Faults) -> None:
    if hides_card_number(text):
        faults.add(_NETWORK_ID, *_HIDES_A_NUMBER)
    elif not is_network_id(text):
        faults.add(
            _NETWORK_ID, "invalid_network_transaction_id", "must be visible ASCII characters"
        )


def _check_by_customer(asked: InitiationBody, faults: Faults) -> None:
    detail = "is for payments that the merchant starts"
    if asked.reason is not None:
        faults.add("/initiation/reason", "not_merchant_initiated", detail)
    if asked.network_transaction_id is not None:
        faults.add(_NETWORK_ID, "not_merchant_initiated", detail)


def _check_payer_is_away(body: PaymentBody, faults: Faults) -> None:
    detail = "needs the payer, who is away when the merchant starts a payment"
    if body.store_credential:
        faults.add("/storeCredential", "payer_absent", detail)
    if body.three_d_secure == "required":
        faults.add("/threeDSecure", "payer_absent", detail)


def _needs_network_id(method: Method | None) -> bool:
    match method:
        case CardMethod() | WalletMethod():
            return True
        case TokenMethod() | ProviderTokenMethod() | None:
            # What is stored tells it by itself; a method at fault has been told of already.
            return False


_HIDES_A_NUMBER: Final = ("card_number_in_text", "must not hold a card number")
