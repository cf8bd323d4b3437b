"""Amounts at PayPal: the literals of its currency page, read by two tables that share no code."""

import random

import pytest

from paygate_actors.money import Money, currencies
from paygate_actors.providers.paypal_amounts import (
    CURRENCIES,
    TERMS,
    NotRepresentable,
    from_paypal,
    to_paypal,
)
from paygate_actors.providers.paypal_terms import SANDBOX_PACE, capabilities_of
from paygate_http.sandbox.paypal_money import TAKEN, amount_json, minor_of

# developer.paypal.com, currency codes; a 1 behind a name says "does not support decimals".
PAGE = """
AUD BRL CAD CNY CZK DKK EUR HKD HUF1 ILS JPY1 MYR MXN TWD1 NZD NOK PHP PLN GBP RUB SGD SEK CHF THB
USD
""".split()  # noqa: SIM905 - the page's own list


@pytest.mark.parametrize(
    ("minor", "currency", "value"),
    [
        (1_000, "USD", "10.00"),
        (1, "USD", "0.01"),
        (100_001, "EUR", "1000.01"),
        (500, "JPY", "500"),
        (50_000, "HUF", "500"),
        (100, "TWD", "1"),
    ],
)
def test_an_amount_is_written_as_paypal_has_it_and_read_back(minor: int, currency: str, value: str):
    amount = Money(minor, currency)

    assert to_paypal(amount) == value
    assert from_paypal(value, currency) == amount


@pytest.mark.parametrize(
    ("minor", "currency"), [(150, "HUF"), (1, "TWD"), (1_000, "KWD"), (1_000, "ISK"), (0, "USD")]
)
def test_what_cannot_be_represented_is_no_candidate_and_never_rounded(minor: int, currency: str):
    amount = Money(minor, currency)

    assert not capabilities_of(SANDBOX_PACE).takes(amount)
    with pytest.raises(NotRepresentable):
        to_paypal(amount)


@pytest.mark.parametrize(
    ("value", "currency"),
    [
        ("500.50", "JPY"),
        ("1.5", "HUF"),
        ("1.001", "USD"),
        ("-1.00", "USD"),
        ("1e3", "USD"),
        ("", "USD"),
        ("NaN", "USD"),
        ("\u0661\u0660", "USD"),
        ("1" * 16, "USD"),
        ("10.00", "KWD"),
        ("10.00", "usd"),
    ],
)
def test_an_answer_with_no_amount_in_it_is_not_read_as_one(value: str, currency: str):
    with pytest.raises(NotRepresentable):
        from_paypal(value, currency)


def test_zeros_behind_the_point_are_no_fraction():
    assert from_paypal("500.00", "JPY") == Money(500, "JPY")
    assert from_paypal("7.5", "USD") == Money(750, "USD")
    assert from_paypal("7", "USD") == Money(700, "USD")


def test_the_currencies_are_those_of_the_page():
    assert {each.removesuffix("1") for each in PAGE} == CURRENCIES == TAKEN
    whole = {each for each in CURRENCIES if "." not in to_paypal(Money(10_000, each))}
    assert whole == {each.removesuffix("1") for each in PAGE if each.endswith("1")}
    assert currencies() >= CURRENCIES


def test_both_tables_read_each_other_s_amounts():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - what a failure is reproduced by
    rng = random.Random(seed)
    for currency in sorted(CURRENCIES):
        for _ in range(50):
            minor = rng.randrange(1, 10**9) * TERMS[currency].multiple_of

            value = to_paypal(Money(minor, currency))

            assert minor_of(value, currency) == minor
            assert amount_json(minor, currency) == {"currency_code": currency, "value": value}
