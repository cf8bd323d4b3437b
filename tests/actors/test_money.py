from decimal import Context, Decimal, localcontext

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.amounts import bounds_of, check_bounds
from paygate_actors.config import AmountBounds
from paygate_actors.money import (
    DIGITS_MAX,
    AmountInvalid,
    CurrencyMismatch,
    Money,
    UnknownCurrency,
    currencies,
    exponent,
)

CURRENCIES = sorted(currencies())
AMOUNTS = st.integers(min_value=1, max_value=10**DIGITS_MAX - 1)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Body(msgspec.Struct):
    amount: msgspec.Raw


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("100.00", "USD", 10_000),
        ("100", "USD", 10_000),
        ("100.0", "USD", 10_000),
        ("1e2", "USD", 10_000),
        ("1E+2", "USD", 10_000),
        ("1.5e1", "USD", 1_500),
        ("1000e-2", "USD", 1_000),
        ("1e0000000000002", "USD", 10_000),
        ("1000e-0000000000002", "USD", 1_000),
        ("0.01", "USD", 1),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1_234),
        ("0.0001", "CLF", 1),
        ("999999999999999999", "JPY", 999_999_999_999_999_999),
    ],
)
def test_an_amount_is_read_exactly_in_its_currency(text: str, currency: str, minor: int):
    amount = Money.parse(text, currency)

    assert amount == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency", "code"),
    [
        ('"100.00"', "USD", "amount_not_a_number"),
        ("100.00 ", "USD", "amount_not_a_number"),
        ("", "USD", "amount_not_a_number"),
        ("null", "USD", "amount_not_a_number"),
        ("true", "USD", "amount_not_a_number"),
        ("NaN", "USD", "amount_not_a_number"),
        ("Infinity", "USD", "amount_not_a_number"),
        ("1_000", "USD", "amount_not_a_number"),
        ("+1", "USD", "amount_not_a_number"),
        ("01", "USD", "amount_not_a_number"),
        (".5", "USD", "amount_not_a_number"),
        ("5.", "USD", "amount_not_a_number"),
        ("\N{FULLWIDTH DIGIT ONE}", "USD", "amount_not_a_number"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "USD", "amount_not_a_number"),
        ("0", "USD", "amount_not_positive"),
        ("0.00", "USD", "amount_not_positive"),
        ("-0", "USD", "amount_not_positive"),
        ("-1", "USD", "amount_not_positive"),
        ("0e999999999", "USD", "amount_not_positive"),
        ("100.001", "USD", "amount_too_precise"),
        ("100.000", "USD", "amount_too_precise"),
        ("1e-3", "USD", "amount_too_precise"),
        ("500.0", "JPY", "amount_too_precise"),
        ("1.2345", "KWD", "amount_too_precise"),
        ("1e-999999999", "USD", "amount_too_precise"),
        ("1e999999999", "USD", "amount_too_large"),
        ("1e" + "9" * 5_000, "USD", "amount_too_large"),
        ("0." + "0" * 200 + "1e9999999999", "USD", "amount_too_large"),
        ("9" * 5_000, "USD", "amount_too_large"),
        ("1" + "0" * (DIGITS_MAX - 2), "USD", "amount_too_large"),
    ],
)
def test_what_is_no_amount_of_the_currency_is_refused_by_its_code(
    text: str, currency: str, code: str
):
    with pytest.raises(AmountInvalid) as refused:
        Money.parse(text, currency)

    assert refused.value.code == code
    assert str(refused.value) == code


def test_a_long_mantissa_with_the_power_that_undoes_it_is_still_exact():
    text = "0." + "0" * 5_000 + "1e5001"

    amount = Money.parse(text, "JPY")

    assert amount == Money(1, "JPY")


def test_a_body_is_read_from_its_bytes_and_never_through_a_binary_float():
    """Trap of the seed: amounts as float64. 0.29 * 100 is 28.999999999999996."""
    body = msgspec.json.decode(b'{"amount": 0.29 }', type=Body)

    amount = Money.parse(bytes(body.amount), "USD")

    assert amount.minor == 29


def test_money_holds_what_a_decimal_10_2_cannot():
    """Trap of the seed: DECIMAL(10,2) has no third decimal and no hundred millions."""
    dinar = Money.parse("0.001", "KWD")
    yen = Money.parse("99999999999", "JPY")

    assert str(dinar) == "0.001 KWD"
    assert str(yen) == "99999999999 JPY"


@given(minor=AMOUNTS, currency=st.sampled_from(CURRENCIES))
def test_every_amount_of_every_currency_comes_back_as_it_went_out(minor: int, currency: str):
    money = Money(minor, currency)

    text = _ENCODER.encode(money.to_decimal())

    assert Money.parse(text, currency) == money
    assert len(text.partition(b".")[2]) == exponent(currency)


@given(
    text=st.from_regex(
        r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
    )
)
def test_reading_agrees_with_exact_decimals_on_every_json_number(text: str):
    value = Decimal(text)
    decimals = -int(value.as_tuple().exponent)

    faults = {
        "amount_not_positive": value <= 0 or value.is_signed(),
        "amount_too_precise": decimals > 2,
        "amount_too_large": value >= Decimal(10) ** (DIGITS_MAX - 2),
    }

    try:
        outcome = Money.parse(text, "USD").minor
    except AmountInvalid as refused:
        outcome = refused.code

    expected = {code for code, is_so in faults.items() if is_so} or {
        int(Context(prec=60).multiply(value, Decimal(100)))
    }
    assert outcome in expected


@given(text=st.one_of(st.text(), st.binary()))
def test_no_text_at_all_raises_anything_but_a_coded_refusal(text: str | bytes):
    try:
        money = Money.parse(text, "USD")
    except AmountInvalid:
        return

    assert money.minor > 0


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(-5, "USD"), "-0.05 USD"),
        (Money(0, "JPY"), "0 JPY"),
        (Money(0, "USD"), "0.00 USD"),
        (Money(-1_234, "KWD"), "-1.234 KWD"),
        (Money(7, "CLF"), "0.0007 CLF"),
    ],
)
def test_a_difference_may_be_nothing_or_negative_and_is_written_so(money: Money, text: str):
    assert str(money) == text


def test_writing_does_not_round_to_the_context_of_the_caller():
    money = Money(123_456_789_012_345_678, "USD")

    with localcontext(prec=3):
        written = money.to_decimal()

    assert str(written) == "1234567890123456.78"


@pytest.mark.parametrize(
    "code", ["usd", "XXX", "XAU", "ZZZ", "", "US", "US\N{FULLWIDTH LATIN CAPITAL LETTER D}"]
)
def test_a_code_without_a_minor_unit_is_no_currency(code: str):
    with pytest.raises(UnknownCurrency) as refused:
        exponent(code)
    with pytest.raises(UnknownCurrency):
        Money.parse("1", code)

    assert refused.value.args == (code,)
    assert code not in currencies()


def test_every_currency_that_is_listed_has_its_decimals():
    assert {"USD", "EUR", "JPY", "KWD", "CLF"} < currencies()
    assert {exponent(currency) for currency in currencies()} == {0, 2, 3, 4}


def test_sums_and_comparisons_stay_within_one_currency():
    dollars, yen = Money(100, "USD"), Money(100, "JPY")

    assert dollars + Money(1, "USD") == Money(101, "USD")
    assert dollars - Money(101, "USD") == Money(-1, "USD")
    assert Money(99, "USD") < dollars <= Money(100, "USD")
    assert Money(101, "USD") > dollars >= Money(100, "USD")
    assert not dollars < Money(100, "USD")
    assert not dollars > Money(100, "USD")
    assert not dollars <= Money(99, "USD")
    assert not dollars >= Money(101, "USD")
    assert dollars != yen
    for operation in ("__add__", "__sub__", "__lt__", "__le__", "__gt__", "__ge__"):
        with pytest.raises(CurrencyMismatch, match="USD met JPY"):
            getattr(dollars, operation)(yen)


@pytest.mark.parametrize("minor", [1.0, True, "1", Decimal(1), None])
def test_money_is_made_of_integers_alone(minor: object):
    with pytest.raises(TypeError, match=r"^money is an integer of minor units$"):
        Money(minor, "USD")  # pyright: ignore[reportArgumentType] - that is the test


def test_money_with_a_field_that_nobody_knows_is_not_read():
    read = msgspec.json.Decoder(Money).decode

    assert read(b'{"minor": 5, "currency": "USD"}') == Money(5, "USD")
    with pytest.raises(msgspec.ValidationError, match="unit"):
        read(b'{"minor": 5, "currency": "USD", "unit": "cent"}')


def test_the_longest_amount_fits_the_64_bits_that_the_stores_hold():
    assert 10**DIGITS_MAX < 2**63


def test_money_cannot_be_changed():
    money = Money(1, "USD")

    with pytest.raises(AttributeError):
        money.minor = 2  # pyright: ignore[reportAttributeAccessIssue] - that is the test

    assert money.minor == 1


@pytest.mark.parametrize(
    ("currency", "largest"),
    [("USD", "99999999.99"), ("JPY", "99999999"), ("KWD", "99999999.990")],
)
def test_the_default_bound_is_the_same_in_major_units_of_every_currency(
    currency: str, largest: str
):
    bound = Money.parse(largest, currency)

    assert bounds_of(currency, {}) == AmountBounds(max_minor=bound.minor)

    assert check_bounds(bound, {}) is None
    assert check_bounds(bound + Money(1, currency), {}) == "amount_too_large"
    assert check_bounds(Money(1, currency), {}) is None
    assert check_bounds(Money(0, currency), {}) == "amount_too_small"


def test_a_configured_bound_replaces_the_default_for_its_currency_alone():
    overrides = {"EUR": AmountBounds(min_minor=50, max_minor=100)}

    assert check_bounds(Money(49, "EUR"), overrides) == "amount_too_small"
    assert check_bounds(Money(50, "EUR"), overrides) is None
    assert check_bounds(Money(101, "EUR"), overrides) == "amount_too_large"
    assert bounds_of("USD", overrides) == bounds_of("USD", {})
