import copy
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from paygate_actors.brands import brand_of
from paygate_actors.card import SealedCard, check_digit_fits, normalise_number
from paygate_actors.payment_methods import CardMethod

NUMBER = "4242424242424242"
CVV = "739"


def _with_check_digit(digits: str) -> str:
    return digits + luhn.calc_check_digit(digits)


NUMBERS = st.text("0123456789", min_size=12, max_size=18).map(_with_check_digit)


@pytest.fixture
def card() -> SealedCard:
    return SealedCard("4242 4242 4242 4242", CVV)


def _shows_nothing(text: str) -> bool:
    text = re.sub(r" at 0x[0-9a-f]+", "", text)  # three digits of an address may be those of a CVV
    return not any(secret in text for secret in (NUMBER, NUMBER[:6], "4242 4242", CVV))


@given(st.text("0123456789", min_size=13, max_size=19))
def test_a_check_digit_fits_where_a_library_says_so(digits: str):
    assert check_digit_fits(digits) == luhn.is_valid(digits)


def test_only_reveal_gives_the_number_and_the_cvv(card: SealedCard):
    assert card.reveal() == (NUMBER, CVV)


@pytest.mark.parametrize(
    "show", [repr, str, format, ascii, "{0}".format, "{0:>40}".format, "%s".__mod__, "%r".__mod__]
)
def test_printing_a_card_shows_no_digit_of_it(card: SealedCard, show: Callable[[object], str]):
    text = show(card)

    assert text.strip() == "<sealed card>"


def test_a_struct_that_holds_a_card_prints_no_digit_of_it(card: SealedCard):
    method = CardMethod(kind="card", card=card, expiry_month=1, expiry_year=2030)

    assert "<sealed card>" in repr(method)
    assert _shows_nothing(repr(method))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_card_cannot_be_pickled(card: SealedCard, protocol: int):
    with pytest.raises(TypeError) as refused:
        pickle.dumps(card, protocol)

    assert _shows_nothing(str(refused.value))


@pytest.mark.parametrize(
    "encode",
    [
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        vars,
        dict,
        list,
        bytes,
        memoryview,
    ],
)
def test_a_card_cannot_be_copied_or_encoded(card: SealedCard, encode: Callable[[object], object]):
    with pytest.raises(TypeError) as refused:
        encode(card)

    assert _shows_nothing(str(refused.value))


def test_a_struct_that_holds_a_card_cannot_be_encoded(card: SealedCard):
    method = CardMethod(kind="card", card=card, expiry_month=1, expiry_year=2030)

    with pytest.raises(TypeError) as refused:
        msgspec.json.encode(method)

    assert _shows_nothing(str(refused.value))
    assert _shows_nothing(json.dumps(msgspec.structs.asdict(method), default=str))


def test_cards_of_one_number_are_as_unlike_as_any_two(card: SealedCard):
    twin = SealedCard(NUMBER, CVV)

    assert card != twin
    assert card != NUMBER
    assert hash(card) != hash(twin)
    with pytest.raises(TypeError):
        sorted([card, twin])  # pyright: ignore[reportArgumentType] - that is the test


def test_a_walk_over_the_attributes_finds_no_digit_but_the_last_four(card: SealedCard):
    found = {name: repr(getattr(card, name)) for name in dir(card)}

    del found["last4"]
    assert _shows_nothing(repr(found))
    assert not hasattr(card, "__dict__")


def test_a_traceback_with_locals_shows_no_digit(card: SealedCard):
    def charge(sealed: SealedCard) -> None:
        raise RuntimeError(f"cannot charge {sealed}")

    with pytest.raises(RuntimeError) as failed:
        charge(card)

    stack = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
    text = "".join(stack.format())
    assert "<sealed card>" in text
    assert _shows_nothing(text)


def test_a_log_record_shows_no_digit(card: SealedCard, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("canary").debug("paying with %s %r", card, {"card": card})

    assert "<sealed card>" in caplog.text
    assert _shows_nothing(caplog.text)


def test_without_cvv_keeps_the_number_and_forgets_the_cvv(card: SealedCard):
    stripped = card.without_cvv()

    assert stripped.reveal() == (NUMBER, None)
    assert card.reveal() == (NUMBER, CVV)


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        " 4242424242424242 ",
        "3782 822463 10005",
        "4222222222222",
        "6304000000000000 000",
    ],
)
def test_a_number_may_be_written_with_spaces_and_dashes(text: str):
    assert normalise_number(text) == "".join(filter(str.isdecimal, text))
    assert SealedCard(text).number_valid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242424242424241",
        "424242424242",
        "42424242424242424242",
        "4242  424242424242",
        "4242_4242_4242_4242",
        "4242.4242.4242.4242",
        "-4242424242424242",
        "4242424242424242\n",
        "4242424242424242x",
        "４２４２４２４２４２４２４２４２",  # noqa: RUF001 - full-width digits are the test
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
        "4" * 100_000,
    ],
)
def test_what_is_no_card_number_is_told_from_one(text: str):
    card = SealedCard(text)

    assert normalise_number(text) is None
    assert not card.number_valid
    assert card.last4 == ""
    assert card.brand == "unknown"


@given(number=NUMBERS)
def test_every_number_with_its_check_digit_is_valid_and_no_other_digit_will_do(number: str):
    others = [number[:-1] + digit for digit in "0123456789" if digit != number[-1]]

    assert normalise_number(number) == number
    assert not any(SealedCard(other).number_valid for other in others)


@given(number=NUMBERS, data=st.data())
def test_one_mistyped_digit_never_passes(number: str, data: st.DataObject):
    place = data.draw(st.integers(0, len(number) - 1))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != number[place]]))

    mistyped = number[:place] + digit + number[place + 1 :]

    assert normalise_number(mistyped) is None


@given(text=st.text(), cvv=st.none() | st.text())
def test_no_text_makes_a_card_raise_and_none_is_shown(text: str, cvv: str | None):
    card = SealedCard(text, cvv)

    assert repr(card) == "<sealed card>"
    assert card.reveal()[1] == cvv


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2221000000000009", "mastercard"),
        ("2720999999999996", "mastercard"),
        ("2721000000000004", "unknown"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("30569309025904", "diners"),
        ("3530111333300000", "jcb"),
        ("6200000000000005", "unionpay"),
        ("6759649826438453", "maestro"),
        ("2200000000000004", "mir"),
        ("0000000000000000", "unknown"),
    ],
)
def test_the_first_digits_tell_the_brand(number: str, brand: str):
    assert brand_of(number) == brand
    assert SealedCard(number).brand == brand


@pytest.mark.parametrize(
    ("number", "cvv", "valid"),
    [
        (NUMBER, None, True),
        (NUMBER, "123", True),
        (NUMBER, "1234", False),
        (NUMBER, "12", False),
        (NUMBER, "", False),
        (NUMBER, "12a", False),
        (NUMBER, " 123", False),
        (NUMBER, "１２３", False),  # noqa: RUF001 - full-width digits are the test
        (NUMBER, "²²²", False),
        ("378282246310005", "1234", True),
        ("378282246310005", "123", False),
        ("4242424242424241", "1234", True),
        ("4242424242424241", "12345", False),
    ],
)
def test_a_cvv_has_three_digits_and_four_for_american_express(
    number: str, cvv: str | None, *, valid: bool
):
    assert SealedCard(number, cvv).cvv_valid is valid
