"""Why payments are declined, in one language for all providers.

About forty codes; each provider's own codes map onto them by a table beside its adapter
(`providers/stripe_codes.py`). What a decline leads to is decided by its `kind`, never by its text:

* `retryable`: the fault lay between the provider and the issuer, or with the provider; another
  provider may succeed with the same card.
* `hard`: the issuer or the scheme forbids it; the same card must not be tried again anywhere.
* `needs_payer`: only the payer can help: other digits, another card, a confirmation, more funds.
"""

from typing import Final, Literal

from msgspec import Struct

Kind = Literal["retryable", "hard", "needs_payer"]


class DeclineCode(Struct, frozen=True):
    """One normalised code. `message` is for merchants; it tells a payer nothing about fraud."""

    code: str
    kind: Kind
    message: str

    @property
    def retryable(self) -> bool:
        """Whether another provider may succeed."""
        return self.kind == "retryable"


_ELSEWHERE: Final = {
    "processing_error": "An error occurred while the card was processed.",
    "issuer_unavailable": "The issuer could not be reached.",
    "try_again_later": "The issuer asks to try again later.",
    "provider_refused": "The provider refused the request on its own account.",
    "provider_misconfigured": "The provider does not accept the gateway's account or key.",
    "merchant_not_permitted": "The merchant's account at the provider may not take this payment.",
    "payment_method_not_supported": "The provider does not take this kind of payment method.",
    "currency_not_supported": "The provider does not take this currency.",
    "amount_not_supported": "The provider does not take this amount in this currency.",
    "too_many_attempts": "The provider limits how often this is tried.",
}

_NEVER_AGAIN: Final = {
    "lost_card": "The card was reported lost.",
    "stolen_card": "The card was reported stolen.",
    "pickup_card": "The issuer wants the card back.",
    "restricted_card": "The card may not be used for this.",
    "fraud_suspected": "The payment was refused as suspected fraud.",
    "blocked_by_provider": "The provider's risk rules block this payment.",
    "security_violation": "The issuer refused the card for a security violation.",
    "do_not_try_again": "The issuer does not want this card to be tried again.",
    "authorization_revoked": "The cardholder revoked the authorisation or stopped the payment.",
    "account_closed": "The account behind the card is closed.",
    "invalid_account": "The card or the account behind it is not valid.",
    "duplicate_transaction": "A payment of the same amount with this card was made a moment ago.",
    "test_card": "A test card was used for a live payment, or a live card for a test.",
}

_BY_THE_PAYER: Final = {
    "card_declined": "The card was declined.",
    "do_not_honor": "The issuer declined the card and does not say why.",
    "call_issuer": "The payer should call the issuer.",
    "insufficient_funds": "The card has insufficient funds.",
    "limit_exceeded": "A limit of the card is exceeded.",
    "expired_card": "The card has expired.",
    "invalid_expiry": "The expiry date is not valid.",
    "incorrect_number": "The card number is incorrect.",
    "incorrect_cvc": "The security code is incorrect.",
    "incorrect_pin": "The PIN is incorrect.",
    "pin_required": "The card must be used with its PIN.",
    "pin_tries_exceeded": "The PIN was entered wrongly too often.",
    "incorrect_address": "The billing address does not match.",
    "authentication_required": "The issuer demands that the payer confirms the payment.",
    "authentication_failed": "The payer did not confirm the payment.",
    "card_not_supported": "The card does not support this type of purchase.",
    "card_not_activated": "The card is not active.",
    "card_replaced": "The issuer has replaced this card by another.",
    "transaction_not_permitted": "The card does not permit this transaction.",
    "card_currency_not_supported": "The card does not support this currency.",
    "invalid_amount": "The issuer does not accept this amount.",
    "cancelled_by_payer": "The payer cancelled the payment.",
    "payment_expired": "The payer did not finish the payment in time.",
}


def _codes(kind: Kind, messages: dict[str, str]) -> dict[str, DeclineCode]:
    return {code: DeclineCode(code, kind, message) for code, message in messages.items()}


DECLINE_CODES: Final[dict[str, DeclineCode]] = {
    **_codes("retryable", _ELSEWHERE),
    **_codes("hard", _NEVER_AGAIN),
    **_codes("needs_payer", _BY_THE_PAYER),
}
"""Every normalised code by its name."""

UNEXPLAINED: Final = DECLINE_CODES["card_declined"]
"""A decline whose code nobody has documented: only the payer's bank knows more."""
