"""PayPal's codes in the gateway's own words: declines, refusals, and what proves nothing.

Two lists are covered. A card that was declined has a processor's response code (the official SDK
names them, and a test holds this table against it). A request that was refused has an *issue*
(the specification lists them for each operation, and a test holds this table against that).
"""

from typing import Final

from paygate_actors.decline_codes import DECLINE_CODES, UNEXPLAINED, DeclineCode

APPROVED: Final = frozenset({"0000", "1000", "7600"})
"""Response codes of what went through: in whole, in part, or as a hold alone."""

PROCESSOR: Final = {
    "00N7": "incorrect_cvc", "0100": "call_issuer", "0390": "invalid_account",
    "0500": "do_not_honor", "0580": "transaction_not_permitted", "0800": "processing_error",
    "0880": "processing_error", "0890": "incorrect_pin", "0960": "processing_error",
    "0R00": "cancelled_by_payer", "10BR": "card_declined", "1300": "processing_error",
    "1310": "invalid_amount", "1312": "transaction_not_permitted", "1317": "processing_error",
    "1320": "currency_not_supported", "1330": "invalid_account", "1335": "invalid_account",
    "1340": "provider_misconfigured", "1350": "provider_misconfigured",
    "1352": "restricted_card", "1360": "processing_error", "1370": "merchant_not_permitted",
    "1380": "invalid_expiry", "1382": "incorrect_cvc", "1384": "processing_error",
    "1390": "provider_refused", "1393": "card_declined", "5100": "card_declined",
    "5110": "incorrect_cvc", "5120": "insufficient_funds", "5130": "incorrect_pin",
    "5135": "pin_tries_exceeded", "5140": "account_closed", "5150": "pickup_card",
    "5160": "transaction_not_permitted", "5170": "incorrect_address", "5180": "restricted_card",
    "5190": "incorrect_address", "5200": "duplicate_transaction",
    "5210": "transaction_not_permitted", "5400": "expired_card", "5500": "incorrect_pin",
    "5650": "authentication_required", "5700": "transaction_not_permitted",
    "5710": "limit_exceeded", "5800": "processing_error", "5900": "invalid_account",
    "5910": "issuer_unavailable", "5920": "issuer_unavailable", "5930": "card_not_activated",
    "5950": "card_replaced", "6300": "invalid_account", "7700": "authentication_failed",
    "7710": "authentication_failed", "7800": "incorrect_number", "7900": "incorrect_pin",
    "8000": "processing_error", "8010": "processing_error", "8020": "provider_misconfigured",
    "8030": "transaction_not_permitted", "8100": "processing_error", "8110": "processing_error",
    "8220": "processing_error", "9100": "try_again_later", "9500": "fraud_suspected",
    "9510": "security_violation", "9520": "lost_card", "9530": "call_issuer",
    "9540": "card_declined", "9600": "card_declined", "PCNR": "provider_refused",
    "PCVV": "incorrect_cvc", "PP06": "account_closed", "PPRN": "do_not_try_again",
    "PPAD": "incorrect_address", "PPAB": "restricted_card", "PPAE": "card_not_supported",
    "PPAG": "transaction_not_permitted", "PPAI": "invalid_amount", "PPAR": "card_declined",
    "PPAU": "merchant_not_permitted", "PPAV": "incorrect_address", "PPAX": "limit_exceeded",
    "PPBG": "transaction_not_permitted", "PPC2": "incorrect_cvc",
    "PPCE": "provider_misconfigured", "PPCO": "merchant_not_permitted",
    "PPCR": "provider_refused", "PPCT": "card_not_supported",
    "PPCU": "card_currency_not_supported", "PPD3": "authentication_failed",
    "PPDC": "provider_refused", "PPDI": "card_not_supported", "PPDV": "card_declined",
    "PPDT": "too_many_attempts", "PPEF": "expired_card", "PPEL": "limit_exceeded",
    "PPER": "processing_error", "PPEX": "invalid_expiry", "PPFE": "provider_refused",
    "PPFI": "invalid_account", "PPFR": "restricted_card", "PPFV": "provider_refused",
    "PPGR": "provider_refused", "PPH1": "processing_error", "PPIF": "processing_error",
    "PPII": "provider_refused", "PPIM": "provider_refused", "PPIT": "processing_error",
    "PPLR": "processing_error", "PPLS": "processing_error", "PPMB": "provider_refused",
    "PPMC": "card_not_supported", "PPMD": "card_declined", "PPNC": "provider_refused",
    "PPNL": "too_many_attempts", "PPNM": "provider_misconfigured", "PPNT": "processing_error",
    "PPPH": "provider_refused", "PPPI": "provider_refused",
    "PPPM": "payment_method_not_supported", "PPQC": "transaction_not_permitted",
    "PPRE": "provider_refused", "PPRF": "provider_refused", "PPRR": "provider_misconfigured",
    "PPS0": "provider_refused", "PPS1": "provider_refused", "PPS2": "provider_refused",
    "PPS3": "provider_refused", "PPS4": "provider_refused", "PPS5": "provider_refused",
    "PPS6": "provider_refused", "PPSC": "blocked_by_provider", "PPSD": "card_declined",
    "PPSE": "card_declined", "PPTE": "authorization_revoked", "PPTF": "processing_error",
    "PPTI": "processing_error", "PPTR": "authorization_revoked",
    "PPTT": "transaction_not_permitted", "PPTV": "invalid_account",
    "PPUA": "provider_misconfigured", "PPUC": "currency_not_supported",
    "PPUE": "provider_refused", "PPUI": "provider_refused", "PPUP": "provider_refused",
    "PPUR": "provider_refused", "PPVC": "card_currency_not_supported",
    "PPVE": "provider_refused", "PPVT": "provider_misconfigured",
}  # fmt: skip
"""The processor's response codes of what did not go through."""

DECLINES: Final = {
    "AGREEMENT_ALREADY_CANCELLED": "authorization_revoked",
    "BILLING_AGREEMENT_NOT_FOUND": "authorization_revoked",
    # The issuer wants the payer, and they could not come back.
    "CANCEL_URL_REQUIRED": "authentication_required",
    "CARD_BRAND_NOT_SUPPORTED": "card_not_supported",
    "CARD_EXPIRED": "expired_card",
    "CARD_TYPE_NOT_SUPPORTED": "card_not_supported",
    "COMPLIANCE_VIOLATION": "blocked_by_provider",
    "CURRENCY_NOT_SUPPORTED_FOR_CARD_TYPE": "card_currency_not_supported",
    "DECLINED_DUE_TO_RELATED_TXN": "card_declined",
    "DOMESTIC_TRANSACTION_REQUIRED": "transaction_not_permitted",
    "INSTRUMENT_DECLINED": "card_declined",
    "INVALID_EXPIRY_DATE": "invalid_expiry",
    "INVALID_SECURITY_CODE_LENGTH": "incorrect_cvc",
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": "too_many_attempts",
    "PAYEE_BLOCKED_TRANSACTION": "blocked_by_provider",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED": "account_closed",
    "PAYER_ACCOUNT_RESTRICTED": "restricted_card",
    "PAYER_CANNOT_PAY": "card_declined",
    "PAYMENT_SOURCE_CANNOT_BE_USED": "payment_method_not_supported",
    "PAYMENT_SOURCE_DECLINED_BY_PROCESSOR": "card_declined",
    "PAYMENT_SOURCE_INFO_CANNOT_BE_VERIFIED": "invalid_account",
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": "card_declined",
    "REFERENCED_CARD_EXPIRED": "expired_card",
    "RETURN_URL_REQUIRED": "authentication_required",
    "TOKEN_EXPIRED": "authorization_revoked",
    "TRANSACTION_BLOCKED_BY_PAYEE": "blocked_by_provider",
    "TRANSACTION_LIMIT_EXCEEDED": "limit_exceeded",
    "TRANSACTION_REFUSED": "blocked_by_provider",
}
"""Issues that are a no to this payment: the order was looked at, and its payer was refused."""

REFUSALS: Final = {
    "AUTH_CAPTURE_NOT_ENABLED": "merchant_not_permitted",
    "CANNOT_BE_ZERO_OR_NEGATIVE": "amount_not_supported",
    "CONSENT_NEEDED": "merchant_not_permitted",
    "DECIMALS_NOT_SUPPORTED": "amount_not_supported",
    "DECIMAL_PRECISION": "amount_not_supported",
    "INVALID_CURRENCY_CODE": "currency_not_supported",
    "MAX_VALUE_EXCEEDED": "amount_not_supported",
    "NOT_ELIGIBLE_FOR_TOKEN_PROCESSING": "merchant_not_permitted",
    "NOT_ENABLED_FOR_CARD_PROCESSING": "merchant_not_permitted",
    "NOT_ENABLED_TO_VAULT_PAYMENT_SOURCE": "merchant_not_permitted",
    "PAYEE_ACCOUNT_INVALID": "provider_misconfigured",
    "PAYEE_ACCOUNT_LOCKED_OR_CLOSED": "merchant_not_permitted",
    "PAYEE_ACCOUNT_RESTRICTED": "merchant_not_permitted",
    "PAYEE_NOT_ENABLED_FOR_CARD_PROCESSING": "merchant_not_permitted",
    "PAYMENT_SOURCE_NOT_SUPPORTED": "payment_method_not_supported",
    "PERMISSION_DENIED": "merchant_not_permitted",
    "PERMISSION_DENIED_FOR_DONATION_ITEMS": "merchant_not_permitted",
    "TRANSACTION_RECEIVING_LIMIT_EXCEEDED": "merchant_not_permitted",
    "UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE": "payment_method_not_supported",
}
"""Issues that are about the account or the request, before any payer was looked at."""

STATES: Final = {
    "AUTHORIZATION_ALREADY_CAPTURED": "already_captured",
    "AUTHORIZATION_DENIED": "charge_failed",
    "AUTHORIZATION_EXPIRED": "authorization_expired",
    "AUTHORIZATION_VOIDED": "charge_cancelled",
    "AUTH_CAPTURE_CURRENCY_MISMATCH": "currency_mismatch",
    "CANNOT_BE_VOIDED": "not_voidable",
    "CAPTURE_FULLY_REFUNDED": "charge_refunded",
    "CURRENCY_MISMATCH": "currency_mismatch",
    "MAX_CAPTURE_AMOUNT_EXCEEDED": "amount_too_large",
    "MAX_CAPTURE_COUNT_EXCEEDED": "already_captured",
    "MAX_NUMBER_OF_REFUNDS_EXCEEDED": "charge_not_refundable",
    "PARTIAL_REFUND_NOT_ALLOWED": "charge_not_refundable",
    "PREVIOUSLY_CAPTURED": "already_settled",
    "REFUND_AMOUNT_EXCEEDED": "amount_too_large",
    "REFUND_AMOUNT_TOO_LOW": "amount_not_supported",
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "currency_mismatch",
    "REFUND_FAILED_INSUFFICIENT_FUNDS": "refund_failed",
    "REFUND_IS_RESTRICTED": "charge_not_refundable",
    "REFUND_NOT_ALLOWED": "charge_not_refundable",
    "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK": "charge_disputed",
    "REFUND_TIME_LIMIT_EXCEEDED": "charge_not_refundable",
    "TRANSACTION_DISPUTED": "charge_disputed",
}
"""A capture, void or refund that the object's state forbids; in the words of the sandbox."""

SETTLED_BEFORE: Final = frozenset(
    {
        "ORDER_ALREADY_AUTHORIZED",
        "ORDER_ALREADY_CAPTURED",
        "ORDER_ALREADY_COMPLETED",
        "ORDER_COMPLETED_OR_VOIDED",
        "MAX_AUTHORIZATION_COUNT_EXCEEDED",
        "ACTION_DOES_NOT_MATCH_INTENT",
    }
)
"""An earlier request did something to the order: only the order itself tells what."""

NEEDS_PAYER: Final = frozenset({"ORDER_NOT_APPROVED", "PAYER_ACTION_REQUIRED"})
BUSY: Final = frozenset(
    {
        "ORDER_COMPLETION_IN_PROGRESS",
        "PENDING_CAPTURE",
        "PREVIOUS_REQUEST_IN_PROGRESS",
    }
)
"""What is under way, or cannot be said yet, and ends some day."""
KNOWN: Final = frozenset({"DUPLICATE_INVOICE_ID", "DUPLICATE_REQUEST_ID"})
"""Our key was there before: an earlier request did arrive."""


def declined_by_processor(response_code: str | None) -> DeclineCode:
    """Say in our words why a processor said no; what nobody documented is a plain decline."""
    return DECLINE_CODES[PROCESSOR.get(response_code or "", UNEXPLAINED.code)]


def refusal_of(issue: str) -> DeclineCode:
    """Say in our words why a request was refused before any payer was looked at."""
    return DECLINE_CODES[REFUSALS.get(issue, "provider_refused")]
