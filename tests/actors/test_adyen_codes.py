"""Adyen's refusals in our words, and its amounts in our units: the literals are its documents'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.decline_codes import DECLINE_CODES, UNEXPLAINED
from paygate_actors.money import Money, currencies
from paygate_actors.providers.adyen_amounts import (
    CURRENCIES,
    TERMS,
    NotRepresentable,
    from_adyen,
    to_adyen,
)
from paygate_actors.providers.adyen_codes import REFUSALS, decline_of, refusal_of
from paygate_actors.providers.adyen_reference import read_reference, write_reference
from paygate_http.sandbox.adyen_money import AmountRefused, minor_of, units_of

# docs.adyen.com/development-resources/refusal-reasons. 0 comes with what was authorised.
DOCUMENTED = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, *range(14, 30), *range(31, 47), 50]


@pytest.mark.parametrize("number", DOCUMENTED)
def test_every_documented_refusal_has_a_word_by_number_and_by_text(number: int):
    refusal = REFUSALS[str(number)]

    assert decline_of(str(number)) == DECLINE_CODES[refusal.code]
    assert decline_of(None, refusal.text).code == refusal.code
    assert decline_of(None, refusal.text.upper()).code == refusal.code


def test_nothing_else_has_one():
    assert sorted(map(int, REFUSALS)) == DOCUMENTED
    assert decline_of("999", "something new") == UNEXPLAINED
    assert decline_of(None, None) == UNEXPLAINED


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("4", "retryable"),  # Acquirer Error
        ("9", "retryable"),  # Issuer Unavailable
        ("2", "needs_payer"),
        ("12", "needs_payer"),
        ("38", "needs_payer"),
        ("5", "hard"),  # Blocked Card
        ("20", "hard"),  # FRAUD
        ("26", "hard"),  # Revocation Of Auth
        ("31", "hard"),
        ("46", "hard"),  # the network charges for each further try
    ],
)
def test_what_a_refusal_leads_to(number: str, kind: str):
    assert decline_of(number).kind == kind


def test_a_request_that_no_issuer_saw_may_succeed_elsewhere_unless_the_card_is_wrong():
    assert refusal_of("905_1").retryable
    assert refusal_of("702").retryable
    assert refusal_of(None).retryable
    assert not refusal_of("101").retryable


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [
        # "differs from standard" on Adyen's page: 2, 0, 0 and 2 decimals.
        ("5", "CLP", 500),
        ("7.00", "CVE", 7),
        ("12000.00", "IDR", 12_000),
        ("5", "ISK", 500),
        # As ISO 4217 has them.
        ("10.00", "GBP", 1_000),
        ("10", "JPY", 10),
        ("10.000", "BHD", 10_000),
        ("5.124", "KWD", 5_124),
        ("10", "UGX", 10),
        ("10.45", "HUF", 1_045),
    ],
)
def test_a_documented_amount_is_written_as_documented(text: str, currency: str, units: int):
    amount = Money.parse(text, currency)

    assert to_adyen(amount) == units
    assert from_adyen(units, currency) == amount


@pytest.mark.parametrize(("text", "currency"), [("7.01", "CVE"), ("0.99", "IDR"), ("1.00", "AFN")])
def test_what_adyen_cannot_represent_is_refused_and_never_rounded(text: str, currency: str):
    amount = Money.parse(text, currency)

    with pytest.raises(NotRepresentable):
        to_adyen(amount)
    assert currency not in TERMS or not TERMS[currency].take(amount.minor)


@pytest.mark.parametrize(("units", "currency"), [(501, "CLP"), (1, "ISK"), (1, "XXX"), (1, "usd")])
def test_what_adyen_cannot_have_meant_is_no_amount(units: int, currency: str):
    with pytest.raises(NotRepresentable):
        from_adyen(units, currency)


def test_every_currency_is_one_of_ours():
    assert currencies() >= CURRENCIES


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, 99_999_999))
def test_there_and_back_is_the_same_amount_for_both_readers(currency: str, count: int):
    amount = Money(count * TERMS[currency].multiple_of, currency)
    units = to_adyen(amount)

    assert from_adyen(units, currency) == amount
    assert units_of(amount.minor, currency) == units
    assert minor_of(units, currency) == amount.minor


@pytest.mark.parametrize(
    ("units", "currency", "code"),
    [(0, "USD", "137"), (-1, "USD", "137"), (150, "ISK", "137"), (100, "XXY", "138")],
)
def test_the_sandbox_refuses_what_adyen_would(units: int, currency: str, code: str):
    with pytest.raises(AmountRefused) as refused:
        minor_of(units, currency)

    assert refused.value.code == code


@given(st.text(min_size=1, max_size=64))
def test_a_reference_gives_the_key_back(key: str):
    for purpose in ("hold", "capture", "void", "refund"):
        read = read_reference(write_reference(key, purpose))
        assert (read.key, read.purpose) == (key, purpose)


def test_a_longest_key_makes_a_reference_that_adyen_takes():
    assert len(write_reference("k" * 64, "capture")) <= 80
