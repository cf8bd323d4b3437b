"""Amounts at Stripe: the literals are those of its own documents (docs.stripe.com/currencies)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.money import Money, currencies
from paygate_actors.providers.stripe_amounts import (
    CURRENCIES,
    TERMS,
    NotRepresentable,
    from_stripe,
    to_stripe,
)
from paygate_http.sandbox.stripe_money import AmountRefused, minor_of, units_of

DOCUMENTED = [
    # "to charge 10 USD, provide an amount value of 1000"
    ("10.00", "USD", 1_000),
    # To charge 10 JPY it says 10, to charge 500 JPY it says 500.
    ("10", "JPY", 10),
    ("500", "JPY", 500),
    # "to charge 5 ISK, provide an amount value of 500"
    ("5", "ISK", 500),
    # "to charge 5 UGX, provide an amount value of 500"
    ("5", "UGX", 500),
    # Three decimals, the last digit 0: "5.124 KWD must be rounded to 5120 or 5130"
    ("5.120", "KWD", 5_120),
    ("5.130", "KWD", 5_130),
    # Zero decimals at Stripe, two by ISO 4217.
    ("7.00", "MGA", 7),
    # Special for payouts alone: "even though you can charge two-decimal amounts"
    ("10.45", "HUF", 1_045),
    ("800.45", "TWD", 80_045),
]
ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()  # noqa: SIM905


@pytest.mark.parametrize(("text", "currency", "units"), DOCUMENTED)
def test_a_documented_amount_is_written_as_documented(text: str, currency: str, units: int):
    amount = Money.parse(text, currency)

    assert to_stripe(amount) == units
    assert from_stripe(units, currency.lower()) == amount


@pytest.mark.parametrize("currency", ZERO_DECIMAL)
def test_a_zero_decimal_currency_has_no_smaller_unit_at_stripe(currency: str):
    whole = Money.parse("100" if currency != "MGA" else "100.00", currency)

    assert to_stripe(whole) == 100


@pytest.mark.parametrize(
    ("text", "currency"),
    [("5.124", "KWD"), ("0.001", "BHD"), ("7.01", "MGA"), ("1.000", "IQD"), ("1.000", "LYD")],
)
def test_what_stripe_cannot_represent_is_refused_and_never_rounded(text: str, currency: str):
    amount = Money.parse(text, currency)

    with pytest.raises(NotRepresentable):
        to_stripe(amount)
    assert currency not in TERMS or not TERMS[currency].take(amount.minor)


@pytest.mark.parametrize("minor", [0, -1])
def test_no_amount_is_zero_or_less(minor: int):
    with pytest.raises(NotRepresentable):
        to_stripe(Money(minor, "USD"))


@pytest.mark.parametrize(
    ("units", "currency"), [(150, "isk"), (1, "ugx"), (100, "USD"), (100, "zzz"), (100, "iqd")]
)
def test_what_stripe_should_never_say_is_not_taken(units: int, currency: str):
    with pytest.raises(NotRepresentable):
        from_stripe(units, currency)


def test_every_currency_is_one_that_the_gateway_knows():
    assert CURRENCIES - currencies() == set()


@pytest.mark.parametrize(
    ("minor", "currency", "taken"),
    [
        (49, "USD", False),
        (50, "USD", True),
        (99_999_999, "USD", True),
        (100_000_000, "USD", False),
        (999_999, "UGX", True),
        (1_000_000, "UGX", False),
        (9_999_999_900, "MGA", True),
    ],
)
def test_the_bounds_are_those_of_stripe_s_units(
    minor: int,
    currency: str,
    taken: bool,  # noqa: FBT001 - a parametrized expectation
):
    assert TERMS[currency].take(minor) == taken


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, 99_999_999))
def test_there_and_back_is_the_same_amount_for_both_readers(currency: str, minor: int):
    amount = Money(minor * TERMS[currency].multiple_of, currency)
    units = to_stripe(amount)

    assert from_stripe(units, currency.lower()) == amount
    assert units_of(amount.minor, currency.lower()) == units
    if units <= 99_999_999:
        assert minor_of(units, currency.lower()) == amount.minor
    else:
        with pytest.raises(AmountRefused):
            minor_of(units, currency.lower())
