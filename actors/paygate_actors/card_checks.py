"""What is checked about a card beside its number, and card numbers where none should be.

Pure: lists of faults, none of which repeats a value.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

from paygate_actors.brands import cvv_length, is_issued_shape
from paygate_actors.card import DIGITS_MAX, DIGITS_MIN, SealedCard, normalise_number
from paygate_actors.faults import FieldFault

# ISO/IEC 7813 leaves 26 characters for the name on the stripe; forms collect longer ones.
HOLDER_NAME_MIN = 2
HOLDER_NAME_MAX = 100

# Four digits, as every provider writes a year. Two-digit years are refused rather than guessed.
YEAR_MIN = 1000
YEAR_MAX = 9999
MONTHS = 12


def check_card(
    card: SealedCard,
    *,
    expiry_month: int,
    expiry_year: int,
    holder_name: str | None,
    now_us: int,
) -> list[FieldFault]:
    """List every fault of a card, by its name on the wire. `now_us`: UTC microseconds."""
    faults: list[FieldFault] = []
    if not card.number_valid:
        detail = f"must be {DIGITS_MIN} to {DIGITS_MAX} digits with a valid check digit"
        faults.append(FieldFault("cardNumber", "invalid_card_number", detail))
    faults += check_expiry(expiry_month, expiry_year, now_us=now_us)
    if not card.cvv_valid:
        length = f"{cvv_length(card.brand)} digits" if card.number_valid else "3 or 4 digits"
        faults.append(FieldFault("cvv", "invalid_cvv", f"must be {length}"))
    if holder_name is not None:
        faults += check_holder_name(holder_name)
    return faults


def check_expiry(month: int, year: int, *, now_us: int) -> list[FieldFault]:
    """List the faults of an expiry date; a date that is over is `expired_card`."""
    faults: list[FieldFault] = []
    if not 1 <= month <= MONTHS:
        faults.append(
            FieldFault("expiryMonth", "invalid_expiry_month", "must be a month from 1 to 12")
        )
    if not YEAR_MIN <= year <= YEAR_MAX:
        faults.append(
            FieldFault("expiryYear", "invalid_expiry_year", "must be a year of four digits")
        )
    if not faults and is_expired(month, year, now_us=now_us):
        faults.append(FieldFault("expiryYear", "expired_card", "the card has expired"))
    return faults


def is_expired(month: int, year: int, *, now_us: int) -> bool:
    """Tell whether the last day of the month is over, in UTC.

    The month ends at one instant for everybody: a payer's, a merchant's or a server's own zone
    would give two nodes two answers. West of Greenwich a card so loses the last hours of its
    last day; east of it the issuer, who alone knows its zone, has the last word.
    """
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    return (year, month) < (now.year, now.month)


def check_holder_name(name: str) -> list[FieldFault]:
    """List the faults of a holder's name; a card number in it is one."""
    if looks_like_card_number(name):
        return [FieldFault("holderName", "card_number_in_text", "must not hold a card number")]
    if len(name.strip()) < HOLDER_NAME_MIN or len(name) > HOLDER_NAME_MAX:
        detail = f"must have {HOLDER_NAME_MIN} to {HOLDER_NAME_MAX} characters"
        return [FieldFault("holderName", "invalid_holder_name", detail)]
    if not name.isprintable():
        return [FieldFault("holderName", "invalid_holder_name", "must be printable text")]
    return []


def looks_like_card_number(text: str) -> bool:
    """Tell whether a card number of a known brand stands somewhere in free text.

    Found with spaces, dashes or dots between its groups, in digits of any script, and beside
    other numbers. A longer run of digits that merely holds such a number is none. An order
    number is taken for a card where a brand issues its first digits and length, and by chance
    (one in ten) its check digit is right. Linear in the text.
    """
    if not text.isascii():
        text = "".join(map(_plain, unicodedata.normalize("NFKC", text)))
    if len(text) < DIGITS_MIN:
        return False  # as nearly every text, and looking through it is not cheap
    return any(
        is_issued_shape(number) and normalise_number(number) is not None
        for run in _RUN.findall(text)
        for number in _candidates(_DIGITS.findall(run))
    )


# Up to three separators stand between two groups, as in " - ".
_RUN = re.compile(r"[0-9]{4,}(?:[\s.\-\u2010-\u2015]{1,3}[0-9]+)*")
_DIGITS = re.compile(r"[0-9]+")

# A card is printed with its first group of four or more digits.
_FIRST_GROUP_MIN = 4


def _candidates(groups: list[str]) -> Iterator[str]:
    """Join neighbouring groups to every number of 13 to 19 digits that they can make."""
    for start, first in enumerate(groups):
        if len(first) < _FIRST_GROUP_MIN:
            continue
        number = ""
        # Each group has a digit: no more than this many can be part of one number.
        for group in groups[start : start + DIGITS_MAX]:
            number += group
            if len(number) > DIGITS_MAX:
                break
            if len(number) >= DIGITS_MIN:
                yield number


def _plain(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)
