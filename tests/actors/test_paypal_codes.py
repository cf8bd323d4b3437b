"""PayPal's codes in our words: every code of the SDK's and every issue of the specification's."""

import importlib
import warnings
from collections.abc import Iterator
from typing import Any, cast

import pytest
from paypal_rig import official_schemas

from paygate_actors.decline_codes import DECLINE_CODES, UNEXPLAINED
from paygate_actors.providers.paypal_codes import (
    APPROVED,
    BUSY,
    DECLINES,
    KNOWN,
    NEEDS_PAYER,
    PROCESSOR,
    REFUSALS,
    SETTLED_BEFORE,
    STATES,
    declined_by_processor,
    refusal_of,
)

# Where a request is not what PayPal wants of it, or is about what this adapter never sends: a
# `provider_refused`, which another provider may take.
OF_REQUESTS = """
AMOUNT_CANNOT_BE_SPECIFIED APPLE_PAY_AMOUNT_MISMATCH AUTHORIZATION_AMOUNT_EXCEEDED
AUTHORIZATION_CURRENCY_MISMATCH BANK_NOT_SUPPORTED_FOR_VERIFICATION BILLING_AGREEMENT_ID_MISMATCH
CANNOT_BE_NEGATIVE CARD_EXPIRY_REQUIRED CARD_NUMBER_REQUIRED
CURRENCY_NOT_SUPPORTED_FOR_BANK IBAN_COUNTRY_NOT_SUPPORTED IDENTIFIER_NOT_FOUND
INCOMPATIBLE_PARAMETER_VALUE INVALID_COUNTRY_CODE INVALID_IBAN INVALID_PARAMETER_SYNTAX
INVALID_PARAMETER_VALUE INVALID_PICKUP_ADDRESS INVALID_PREVIOUS_TRANSACTION_REFERENCE
INVALID_STRING_LENGTH MALFORMED_REQUEST_JSON MERCHANT_INITIATED_WITH_AUTHENTICATION_RESULTS
MERCHANT_INITIATED_WITH_MULTIPLE_PURCHASE_UNITS MERCHANT_INITIATED_WITH_SECURITY_CODE
MISMATCHED_VAULT_ID_TO_PAYMENT_SOURCE MISSING_CRYPTOGRAM MISSING_PREVIOUS_REFERENCE
MISSING_REQUIRED_PARAMETER NOT_ELIGIBLE_FOR_PAYPAL_TRANSACTION_ID_PROCESSING
NOT_ELIGIBLE_FOR_PNREF_PROCESSING NOT_ENABLED_FOR_BANK_PROCESSING ONLY_ONE_BANK_SOURCE_ALLOWED
ORDER_CANNOT_BE_SAVED PAYEE_FX_RATE_ID_EXPIRED PAYEE_NOT_ENABLED_FOR_BANK_PROCESSING
PAYMENT_SOURCE_MISMATCH PAYMENT_TYPE_NOT_SUPPORTED_FOR_INTENT PAYPAL_TRANSACTION_ID_EXPIRED
PAYPAL_TRANSACTION_ID_NOT_FOUND PLATFORM_FEE_EXCEEDED PLATFORM_FEE_NOT_ENABLED
PLATFORM_FEE_PAYEE_CANNOT_BE_SAME_AS_PAYER PNREF_EXPIRED PNREF_NOT_FOUND
PREFERRED_PAYMENT_SOURCE_MISMATCH PREVIOUS_TRANSACTION_REFERENCE_HAS_CHARGEBACK
PREVIOUS_TRANSACTION_REFERENCE_VOIDED REQUIRED_PARAMETER_FOR_CUSTOMER_INITIATED_PAYMENT
SAVE_ORDER_NOT_SUPPORTED SETUP_ERROR_FOR_BANK SHIPPING_ADDRESS_INVALID
TOKEN_ID_NOT_FOUND VAULT_INSTRUCTION_REQUIRED
""".split()  # noqa: SIM905 - a list of sixty quoted words is three screens
# Read by a rule of their own, wherever they come.
BY_RULE = {"ORDER_EXPIRED", "PREVIOUSLY_VOIDED"}
SECTIONS = {
    "paypal_checkout_orders_v2.json": [
        "orders.authorize-400", "orders.authorize-403", "orders.authorize-422",
        "orders.capture-400", "orders.capture-403", "orders.capture-422",
    ],
    "paypal_payments_payment_v2.json": [
        "409", "422", "authorizations.void-422", "captures.refund-400", "captures.refund-422",
    ],
}  # fmt: skip


def codes_of_the_sdk() -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = importlib.import_module("paypalserversdk.models.processor_response_code")
    codes: Any = module.ProcessorResponseCode
    return sorted(getattr(codes, name) for name in dir(codes) if name.startswith("RESPONSE_"))


def issues_of(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        fields = cast("dict[str, Any]", content)
        if isinstance(fields.get("issue"), dict):
            yield from fields["issue"].get("enum", ())
        for value in fields.values():
            yield from issues_of(value)
    elif isinstance(content, list):
        for value in cast("list[Any]", content):
            yield from issues_of(value)


def test_every_response_code_of_the_official_sdk_is_accounted_for():
    assert set(codes_of_the_sdk()) == {*PROCESSOR, *APPROVED}
    assert len(codes_of_the_sdk()) > 130


def test_every_response_code_of_the_specification_is_accounted_for():
    schemas = official_schemas("paypal_checkout_orders_v2.json")["components"]["schemas"]
    codes = set(schemas["processor_response"]["properties"]["response_code"]["enum"])

    assert codes <= {*PROCESSOR, *APPROVED}


def test_every_issue_of_the_specification_is_accounted_for():
    """A new one is about a payment and gets a word, or is put on the list above."""
    known = {*DECLINES, *REFUSALS, *STATES, *SETTLED_BEFORE, *NEEDS_PAYER, *BUSY, *KNOWN}
    found = {
        issue
        for name, sections in SECTIONS.items()
        for section in sections
        for issue in issues_of(official_schemas(name)["components"]["schemas"][section])
    }

    assert found - known == {*OF_REQUESTS, *BY_RULE}


def test_no_issue_has_two_meanings_but_where_each_is_read_apart():
    groups = [DECLINES, REFUSALS, STATES, SETTLED_BEFORE, NEEDS_PAYER, BUSY, KNOWN]
    every = [issue for group in groups for issue in group]

    assert len(every) == len(set(every))


def test_every_word_is_one_of_ours():
    for table in (PROCESSOR, DECLINES, REFUSALS):
        assert set(table.values()) <= set(DECLINE_CODES)


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        ("5120", "needs_payer"),
        ("5400", "needs_payer"),
        ("5650", "needs_payer"),
        ("9500", "hard"),
        ("9520", "hard"),
        ("5150", "hard"),
        ("PPRN", "hard"),
        ("5920", "retryable"),
        ("8000", "retryable"),
        ("9100", "retryable"),
    ],
)
def test_what_a_decline_leads_to_is_decided_by_its_kind(theirs: str, kind: str):
    assert declined_by_processor(theirs).kind == kind


def test_what_nobody_documented_is_a_plain_decline_or_refusal():
    assert declined_by_processor("XXXX") == declined_by_processor(None) == UNEXPLAINED
    assert refusal_of("NEW_ISSUE").code == "provider_refused"
