"""Stripe's codes in the gateway's own words: declines, refusals, and what proves nothing.

Two lists of Stripe's are covered: the decline codes of cards (docs.stripe.com/declines/codes) and
the error codes of the API (the SDK types them, and a test holds this table against it). An error
tells its cause by `decline_code` first, then by `code`.
"""

from typing import Final

from paygate_actors.decline_codes import DECLINE_CODES, UNEXPLAINED, DeclineCode

_DECLINES: Final = {
    "authentication_required": "authentication_required",
    "authentication_not_handled": "authentication_required",
    "approve_with_id": "try_again_later",
    "call_issuer": "call_issuer",
    "card_declined": "card_declined",
    "card_not_supported": "card_not_supported",
    "card_velocity_exceeded": "limit_exceeded",
    "currency_not_supported": "card_currency_not_supported",
    "do_not_honor": "do_not_honor",
    "do_not_try_again": "do_not_try_again",
    "duplicate_transaction": "duplicate_transaction",
    "expired_card": "expired_card",
    "fraudulent": "fraud_suspected",
    "generic_decline": "card_declined",
    "highest_risk_level": "blocked_by_provider",
    "incorrect_address": "incorrect_address",
    "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "incorrect_pin": "incorrect_pin",
    "incorrect_zip": "incorrect_address",
    "insufficient_funds": "insufficient_funds",
    "invalid_account": "invalid_account",
    "invalid_amount": "invalid_amount",
    "invalid_cvc": "incorrect_cvc",
    "invalid_expiry_month": "invalid_expiry",
    "invalid_expiry_year": "invalid_expiry",
    "invalid_number": "incorrect_number",
    "invalid_pin": "incorrect_pin",
    "issuer_not_available": "issuer_unavailable",
    "live_mode_test_card": "test_card",
    "lost_card": "lost_card",
    "merchant_blacklist": "blocked_by_provider",
    "mobile_device_authentication_required": "authentication_required",
    "new_account_information_available": "card_replaced",
    "no_action_taken": "do_not_honor",
    "not_permitted": "transaction_not_permitted",
    "offline_pin_required": "pin_required",
    "online_or_offline_pin_required": "pin_required",
    "pickup_card": "pickup_card",
    "pin_try_exceeded": "pin_tries_exceeded",
    "previously_declined_do_not_retry": "do_not_try_again",
    "processing_error": "processing_error",
    "reenter_transaction": "processing_error",
    "restricted_card": "restricted_card",
    "revocation_of_all_authorizations": "authorization_revoked",
    "revocation_of_authorization": "authorization_revoked",
    "rule": "blocked_by_provider",
    "security_violation": "security_violation",
    "service_not_allowed": "transaction_not_permitted",
    "stolen_card": "stolen_card",
    "stop_payment_order": "authorization_revoked",
    "testmode_decline": "test_card",
    "transaction_not_allowed": "transaction_not_permitted",
    "try_again_later": "try_again_later",
    "withdrawal_count_limit_exceeded": "limit_exceeded",
}

_ERRORS: Final = {
    "account_closed": "account_closed",
    "account_invalid": "provider_misconfigured",
    "action_blocked": "blocked_by_provider",
    "amount_too_large": "amount_not_supported",
    "amount_too_small": "amount_not_supported",
    "anomalous_money_movement_request": "blocked_by_provider",
    "api_key_expired": "provider_misconfigured",
    "approval_required": "provider_refused",
    "authentication_failure": "authentication_failed",
    "authentication_required": "authentication_required",
    "balance_insufficient": "provider_refused",
    "billing_invalid_mandate": "authorization_revoked",
    "capability_not_active": "merchant_not_permitted",
    "card_decline_rate_limit_exceeded": "too_many_attempts",
    "charge_exceeds_source_limit": "limit_exceeded",
    "charge_exceeds_transaction_limit": "limit_exceeded",
    "country_unsupported": "merchant_not_permitted",
    "debit_not_authorized": "authorization_revoked",
    "expired_payment_method": "expired_card",
    "incorrect_postal_code": "incorrect_address",
    "india_recurring_payment_mandate_canceled": "authorization_revoked",
    "invalid_card_type": "card_not_supported",
    "invalid_charge_amount": "amount_not_supported",
    "invalid_source_usage": "payment_method_not_supported",
    "livemode_mismatch": "provider_misconfigured",
    "payment_intent_action_required": "authentication_required",
    "payment_intent_authentication_failure": "authentication_failed",
    "payment_intent_incompatible_payment_method": "payment_method_not_supported",
    "payment_intent_mandate_invalid": "authorization_revoked",
    "payment_intent_payment_attempt_expired": "payment_expired",
    "payment_intent_payment_attempt_failed": "card_declined",
    "payment_intent_rate_limit_exceeded": "too_many_attempts",
    "payment_method_billing_details_address_missing": "incorrect_address",
    "payment_method_currency_mismatch": "card_currency_not_supported",
    "payment_method_customer_decline": "cancelled_by_payer",
    "payment_method_not_available": "issuer_unavailable",
    "payment_method_provider_decline": "card_declined",
    "payment_method_provider_timeout": "issuer_unavailable",
    "payment_method_restricted": "restricted_card",
    "payment_method_unactivated": "card_not_activated",
    "payment_method_unsupported_type": "payment_method_not_supported",
    "platform_account_required": "provider_misconfigured",
    "platform_api_key_expired": "provider_misconfigured",
    "postal_code_invalid": "incorrect_address",
    "refer_to_customer": "call_issuer",
    "request_blocked": "blocked_by_provider",
    "secret_key_required": "provider_misconfigured",
    "testmode_charges_only": "provider_misconfigured",
    "three_d_secure_authentication_not_supported": "authentication_failed",
    "three_d_secure_authentication_upstream_error": "processing_error",
    "tls_version_unsupported": "provider_misconfigured",
}

STATE_CODES: Final = {
    "capture_charge_authorization_expired": "authorization_expired",
    "capture_unauthorized_payment": "not_confirmed",
    "charge_already_captured": "already_captured",
    "charge_already_refunded": "charge_refunded",
    "charge_disputed": "charge_disputed",
    "charge_expired_for_capture": "authorization_expired",
    "charge_not_refundable": "charge_not_refundable",
    "refund_disputed_payment": "charge_disputed",
}
"""A capture, void or refund that the object's state forbids; in the words of the sandbox."""

_WORDED: Final = {**_ERRORS, **_DECLINES}


def is_explained(code: str) -> bool:
    """Tell whether the code is about a payment and has a word of ours."""
    return code in _WORDED or code in STATE_CODES


def decline_of(code: str | None, decline_code: str | None) -> DeclineCode:
    """Say in our words why Stripe said no. What Stripe never documented is a plain decline."""
    for theirs in (decline_code, code):
        ours = _WORDED.get(theirs or "")
        # The decline code `card_declined` or `generic_decline` says less than any other code.
        if ours is not None and (ours != UNEXPLAINED.code or theirs == code):
            return DECLINE_CODES[ours]
    return UNEXPLAINED


def refusal_of(code: str | None) -> DeclineCode:
    """Say in our words why a request was refused before any issuer saw it."""
    return DECLINE_CODES[_ERRORS.get(code or "", "provider_refused")]
