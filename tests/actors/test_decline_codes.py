"""Declines in our words: every code of Stripe's lists has one."""

import re
from typing import Any, get_args

import pytest
import stripe

from paygate_actors.decline_codes import DECLINE_CODES, UNEXPLAINED
from paygate_actors.providers.stripe_codes import decline_of, is_explained, refusal_of

# docs.stripe.com/declines/codes, the table of cards.
DECLINES = """
authentication_required authentication_not_handled approve_with_id call_issuer card_not_supported
card_velocity_exceeded currency_not_supported do_not_honor do_not_try_again duplicate_transaction
expired_card fraudulent generic_decline incorrect_number incorrect_cvc incorrect_pin incorrect_zip
insufficient_funds invalid_account invalid_amount invalid_cvc invalid_expiry_month
invalid_expiry_year invalid_number invalid_pin issuer_not_available lost_card merchant_blacklist
mobile_device_authentication_required new_account_information_available no_action_taken
not_permitted offline_pin_required online_or_offline_pin_required pickup_card pin_try_exceeded
processing_error reenter_transaction restricted_card revocation_of_all_authorizations
revocation_of_authorization security_violation service_not_allowed stolen_card stop_payment_order
testmode_decline transaction_not_allowed try_again_later withdrawal_count_limit_exceeded
""".split()  # noqa: SIM905 - a list of fifty quoted words is three screens

# Read by a rule of their own, wherever they come.
BY_RULE = """
idempotency_key_in_use lock_timeout rate_limit payment_intent_unexpected_state
""".split()  # noqa: SIM905 - as above

# Of accounts, bank debits, invoices, terminals, taxes and payouts, or a mistake in a request: none
# says why a payer's card was declined, and where one comes it is `provider_refused`.
OF_OTHER_PRODUCTS = """
account_country_invalid_address account_error_country_change_requires_additional_steps
account_information_mismatch account_number_invalid account_token_required_for_v2_account
acss_debit_session_incomplete alipay_upgrade_required application_fees_not_allowed
balance_invalid_parameter bank_account_bad_routing_numbers bank_account_declined
bank_account_exists bank_account_restricted bank_account_unusable bank_account_unverified
bank_account_verification_failed bitcoin_upgrade_required cardholder_phone_number_required
charge_invalid_parameter clearing_code_unsupported country_code_invalid coupon_expired
customer_max_payment_methods customer_max_subscriptions customer_session_expired
customer_tax_location_invalid dispute_evidence_page_limit_exceeded email_invalid
failed_tax_calculation financial_account_balance_does_not_support_currency
financial_account_capability_not_enabled financial_account_capability_restricted
financial_connections_account_inactive financial_connections_account_pending_account_numbers
financial_connections_account_unavailable_account_numbers
financial_connections_consent_locale_invalid financial_connections_consent_locale_unsupported
financial_connections_no_successful_transaction_refresh forwarding_api_inactive
forwarding_api_invalid_parameter forwarding_api_retryable_upstream_error
forwarding_api_upstream_connection_error forwarding_api_upstream_connection_timeout
forwarding_api_upstream_error instant_payouts_config_disabled instant_payouts_currency_disabled
instant_payouts_limit_exceeded instant_payouts_unsupported intent_invalid_state
intent_verification_method_missing invalid_canceled_subscription_fields invalid_characters
invalid_mandate_reference_prefix_format invalid_tax_location invoice_no_customer_line_items
invoice_no_payment_method_types invoice_no_subscription_line_items invoice_not_editable
invoice_on_behalf_of_not_editable invoice_payment_intent_requires_action invoice_upcoming_none
missing no_account not_allowed_on_standard_account out_of_inventory
ownership_declaration_not_allowed parameter_invalid_empty parameter_invalid_integer
parameter_invalid_string_blank parameter_invalid_string_empty parameter_missing parameter_unknown
parameters_exclusive payment_evaluation_on_api_version_not_supported
payment_intent_invalid_parameter
payment_intent_konbini_rejected_confirmation_number payment_method_bank_account_already_verified
payment_method_bank_account_blocked payment_method_configuration_failures
payment_method_invalid_parameter payment_method_invalid_parameter_testmode
payment_method_microdeposit_failed payment_method_microdeposit_processing_error
payment_method_microdeposit_verification_amounts_invalid
payment_method_microdeposit_verification_amounts_mismatch
payment_method_microdeposit_verification_attempts_exceeded
payment_method_microdeposit_verification_descriptor_code_mismatch
payment_method_microdeposit_verification_timeout payment_method_unexpected_state
payout_reconciliation_not_ready payouts_limit_exceeded payouts_not_allowed product_inactive
progressive_onboarding_limit_exceeded resource_already_exists resource_missing
return_intent_already_processed routing_number_invalid sepa_unsupported_account
service_period_coupon_with_metered_tiered_item_unsupported setup_attempt_failed
setup_intent_authentication_failure setup_intent_invalid_parameter setup_intent_mandate_invalid
setup_intent_mobile_wallet_unsupported setup_intent_setup_attempt_expired
setup_intent_unexpected_state shipping_address_invalid shipping_calculation_failed siret_invalid
sku_inactive smart_disputes_not_available state_unsupported status_transition_invalid
storer_capability_missing storer_capability_not_active stripe_tax_inactive
subscription_update_trial_after_billing_cycle_anchor tax_id_invalid tax_id_prohibited
taxes_calculation_failed terminal_location_country_unsupported terminal_reader_busy
terminal_reader_hardware_fault terminal_reader_invalid_location_for_activation
terminal_reader_invalid_location_for_payment terminal_reader_offline terminal_reader_timeout
token_already_used token_card_network_invalid token_in_use
transfer_source_balance_parameters_mismatch transfers_not_allowed url_invalid
""".split()  # noqa: SIM905 - as above


def codes_of_the_sdk() -> list[str]:
    """The codes that the official SDK knows an error of a PaymentIntent to have."""
    annotation = stripe.PaymentIntent.LastPaymentError.__annotations__["code"]
    return sorted(set(_literals(annotation)))


def _literals(annotation: Any) -> list[str]:
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _literals(argument)
    return found


def test_there_are_about_forty_codes_and_each_says_enough():
    assert 35 <= len(DECLINE_CODES) <= 50
    for code, each in DECLINE_CODES.items():
        assert code == each.code
        assert re.fullmatch(r"[a-z_]+", code)
        assert each.message.endswith(".")
        assert each.retryable == (each.kind == "retryable")


@pytest.mark.parametrize("theirs", DECLINES)
def test_every_decline_code_of_the_documents_has_a_word(theirs: str):
    assert is_explained(theirs)
    assert decline_of("card_declined", theirs).code in DECLINE_CODES


def test_every_error_code_of_the_official_sdk_is_accounted_for():
    """A code that a new SDK brings is about a payment and gets a word, or is put on a list here."""
    unexplained = {code for code in codes_of_the_sdk() if not is_explained(code)}

    assert unexplained == {*BY_RULE, *OF_OTHER_PRODUCTS}


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        ("insufficient_funds", "needs_payer"),
        ("authentication_required", "needs_payer"),
        ("lost_card", "hard"),
        ("stolen_card", "hard"),
        ("pickup_card", "hard"),
        ("fraudulent", "hard"),
        ("do_not_try_again", "hard"),
        ("duplicate_transaction", "hard"),
        ("issuer_not_available", "retryable"),
        ("processing_error", "retryable"),
        ("try_again_later", "retryable"),
    ],
)
def test_what_a_decline_leads_to_is_decided_by_its_kind(theirs: str, kind: str):
    assert decline_of("card_declined", theirs).kind == kind


def test_the_more_precise_of_two_codes_is_taken():
    assert decline_of("expired_card", "generic_decline").code == "expired_card"
    assert decline_of("card_declined", "generic_decline") == UNEXPLAINED
    assert decline_of("card_declined", None) == UNEXPLAINED
    assert decline_of(None, None) == UNEXPLAINED
    assert decline_of("new_code", "newer_code") == UNEXPLAINED


def test_a_refusal_before_any_issuer_saw_it_may_succeed_elsewhere():
    assert refusal_of("amount_too_small").code == "amount_not_supported"
    assert refusal_of("parameter_unknown").retryable
    assert refusal_of(None).retryable
