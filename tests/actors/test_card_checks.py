import time
from datetime import UTC, datetime
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.card import SealedCard
from paygate_actors.card_checks import (
    HOLDER_NAME_MAX,
    check_card,
    check_expiry,
    check_holder_name,
    is_expired,
    looks_like_card_number,
)


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("month", "year", "now", "expired"),
    [
        (1, 2026, "2026-01-31T23:59:59Z", False),
        (1, 2026, "2026-02-01T00:00:00Z", True),
        (2, 2028, "2028-02-29T23:59:59Z", False),
        (2, 2028, "2028-03-01T00:00:00Z", True),
        (2, 2027, "2027-02-28T23:59:59Z", False),
        (2, 2027, "2027-03-01T00:00:00Z", True),
        (12, 2026, "2026-12-31T23:59:59Z", False),
        (12, 2026, "2027-01-01T00:00:00Z", True),
        (4, 2026, "2026-04-30T23:59:59-00:30", True),
        (11, 2027, "2026-12-01T00:00:00Z", False),
        (12, 2025, "2026-01-15T00:00:00Z", True),
    ],
)
def test_a_card_is_good_through_the_last_day_of_its_month_in_utc(
    month: int, year: int, now: str, *, expired: bool
):
    assert is_expired(month, year, now_us=us(now)) is expired


def test_a_card_is_good_to_the_last_microsecond_of_its_month():
    midnight = us("2026-02-01T00:00:00Z")

    assert not is_expired(1, 2026, now_us=midnight - 1)
    assert is_expired(1, 2026, now_us=midnight)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Kiritimati"])
def test_the_servers_own_time_zone_does_not_move_the_end_of_the_month(
    monkeypatch: pytest.MonkeyPatch, zone: str
):
    midnight = us("2026-02-01T00:00:00Z")

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        told = [is_expired(1, 2026, now_us=midnight - 1), is_expired(1, 2026, now_us=midnight)]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert told == [False, True]


def test_the_sample_card_of_the_seed_is_judged_by_the_clock_that_is_handed_in():
    """Trap of the seed: its sample expires in 12/2025, and was checked against the real clock."""
    sample = {"month": 12, "year": 2025}

    assert check_expiry(**sample, now_us=us("2024-01-15T10:30:00Z")) == []
    assert [fault.code for fault in check_expiry(**sample, now_us=us("2026-01-01T00:00:00Z"))] == [
        "expired_card"
    ]


@given(month=st.integers(1, 12), year=st.integers(1000, 9999), data=st.data())
def test_expiry_agrees_with_the_calendar_at_any_moment(month: int, year: int, data: st.DataObject):
    now = data.draw(st.datetimes(timezones=st.just(UTC)))
    now_us = int((now - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000

    assert is_expired(month, year, now_us=now_us) is ((year, month) < (now.year, now.month))


@pytest.mark.parametrize(
    ("month", "year", "codes"),
    [
        (0, 2030, ["invalid_expiry_month"]),
        (13, 2030, ["invalid_expiry_month"]),
        (-1, 2030, ["invalid_expiry_month"]),
        (10**30, 2030, ["invalid_expiry_month"]),
        (1, 30, ["invalid_expiry_year"]),
        (1, 20_300, ["invalid_expiry_year"]),
        (0, 0, ["invalid_expiry_month", "invalid_expiry_year"]),
        (12, 2030, []),
    ],
)
def test_a_month_that_is_none_and_a_year_that_is_none_are_two_faults(
    month: int, year: int, codes: list[str]
):
    faults = check_expiry(month, year, now_us=us("2026-06-15T00:00:00Z"))

    assert [fault.code for fault in faults] == codes


def test_every_fault_of_a_card_is_named_at_once_and_repeats_no_value():
    card = SealedCard("4242424242424241", "98765")

    faults = check_card(
        card,
        expiry_month=13,
        expiry_year=77,
        holder_name="4242 4242 4242 4242",
        now_us=us("2026-06-15T00:00:00Z"),
    )

    assert [(fault.field, fault.code) for fault in faults] == [
        ("cardNumber", "invalid_card_number"),
        ("expiryMonth", "invalid_expiry_month"),
        ("expiryYear", "invalid_expiry_year"),
        ("cvv", "invalid_cvv"),
        ("holderName", "card_number_in_text"),
    ]
    told = " ".join(fault.detail for fault in faults)
    assert not any(value in told for value in ("4242", "98765", "77"))


def test_a_good_card_has_no_fault():
    card = SealedCard("378282246310005", "1234")

    faults = check_card(
        card,
        expiry_month=6,
        expiry_year=2026,
        holder_name="Zoë O'Neil-Núñez 3rd",
        now_us=us("2026-06-30T23:59:59Z"),
    )

    assert faults == []


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("Bo", True),
        ("李明", True),
        ("B", False),
        ("   B   ", False),
        ("", False),
        ("x" * HOLDER_NAME_MAX, True),
        ("x" * (HOLDER_NAME_MAX + 1), False),
        ("Bo\x00", False),
        ("Bo\nFake: header", False),
    ],
)
def test_a_holder_name_is_printable_text_of_bounded_length(name: str, *, good: bool):
    assert (check_holder_name(name) == []) is good


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "order-4242424242424242",
        "paid with 4242 4242 4242 4242 exp 12/27",
        "Card 4242 4242 4242 4242 12/27",
        "12345 4242424242424242",
        "4242-4242-4242-4242",
        "4242.4242.4242.4242",
        "4242 - 4242 - 4242 - 4242",
        "4242\u20134242\u20134242\u20134242",
        "4242\u00a04242\u00a04242\u00a04242",
        "4242\n4242\n4242\n4242",
        "3782 822463 10005",
        "amex:378282246310005;",
        "４２４２ ４２４２ ４２４２ ４２４２",  # noqa: RUF001 - full-width digits are the test
        "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢",
        '{"pan":"5555555555554444"}',
    ],
)
def test_a_card_number_is_found_in_free_text(text: str):
    assert looks_like_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order123",
        "customer456",
        "4242424242424241",
        "1732345678901234",
        "0000000000000000",
        "44242424242424242424",
        "pay_01k3v8qz6y2m4n5p6r7s8t9v0w",
        "+1 415 555 0132",
        "2026-11-23T06:31:17.000000Z",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "4222222222226222222",
    ],
)
def test_other_numbers_are_not_taken_for_cards(text: str):
    assert not looks_like_card_number(text)


@pytest.mark.parametrize(
    "piece", ["4444 ", "4", "4000000000000000 ", "4 ", "42424242 4 ", "4242   ", "4\u2013", " "]
)
def test_looking_for_a_card_number_is_linear_in_hostile_text(piece: str):
    def seconds(characters: int) -> float:
        text = piece * (characters // len(piece))
        begun = perf_counter()
        looks_like_card_number(text)
        return perf_counter() - begun

    # 64 KiB is the largest body. Quadratic work would take minutes, not a second.
    assert seconds(65_536) < 2
