"""How the edge spells names, times and numbers, and how its buckets fill."""

import re
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.messages import RefusalCode
from paygate_actors.rfc3339 import time_text
from paygate_engine.clock import ManualClock
from paygate_http import rate
from paygate_http.bodies import REQUIRED, PaymentBody
from paygate_http.decode import decode
from paygate_http.problems import Problem
from paygate_http.rate import TokenBuckets
from paygate_http.validation import FAULTS_MAX, Faults, child
from paygate_http.wire import encode, parse_time, wire_name

YEAR_9999_US = 253_402_300_799_999_999


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("id", "id"),
        ("payment_id", "paymentID"),
        ("provider_txn_id", "providerTxnID"),
        ("return_url", "returnURL"),
        ("customer_ip", "customerIP"),
        ("created_at", "createdAt"),
        ("is_active", "isActive"),
    ],
)
def test_names_are_spelt_as_the_contract_does(name: str, spelt: str) -> None:
    assert wire_name(name) == spelt


@given(st.integers(min_value=0, max_value=YEAR_9999_US))
def test_a_time_survives_the_wire_to_the_microsecond(at_us: int) -> None:
    text = time_text(at_us)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert parse_time(text) == at_us


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_none(text: str) -> None:
    at_us = parse_time(text)

    assert at_us is None or isinstance(at_us, int)


def test_a_time_may_have_an_offset_and_fewer_digits() -> None:
    assert parse_time("1970-01-01T02:00:00.5+02:00") == 500_000
    assert parse_time("1970-01-01t00:00:00z") == 0
    assert parse_time("1969-12-31T23:59:59.999999Z") == -1
    assert parse_time("2026-02-30T00:00:00Z") is None
    assert parse_time("2026-01-01T00:00:00+25:00") is None


def test_a_decimal_is_a_number_with_all_its_digits() -> None:
    assert encode({"a": Decimal("100.00"), "b": Decimal(5)}) == b'{"a":100.00,"b":5}'


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused_with_a_problem(body: bytes) -> None:
    outcome: PaymentBody | Problem
    try:
        outcome = decode(body, PaymentBody, Faults())
    except Problem as problem:
        outcome = problem

    assert isinstance(outcome, PaymentBody) or outcome.code == "malformed_json"


def test_there_are_never_more_faults_than_a_reader_can_bear() -> None:
    faults = Faults()
    for number in range(FAULTS_MAX * 2):
        faults.add(f"/{number}", "code", "detail")
    faults.add("/0", "another", "detail")

    found = faults.problem().faults

    assert len(found) == FAULTS_MAX
    assert found[0].code == "code"


def test_a_pointer_is_escaped_and_never_holds_a_card_number() -> None:
    assert child("/metadata", "a/b~c") == "/metadata/a~1b~0c"
    assert child("/metadata", "4242424242424242") == "/metadata"


def test_what_is_required_is_a_field() -> None:
    for kind, names in REQUIRED.items():
        assert set(names) <= {wire_name(field) for field in kind.__struct_fields__}


def test_a_problem_can_be_made_of_every_refusal_code() -> None:
    assert all(Problem(code, "detail").code == code for code in get_args(RefusalCode))


def test_a_bucket_empties_and_fills_with_the_clock() -> None:
    clock = ManualClock()
    buckets = TokenBuckets(clock, per_s=2, burst=3)

    taken = [buckets.take("a") for _ in range(4)]
    clock.advance(0.25)
    early = buckets.take("a")
    clock.advance(0.25)
    later = buckets.take("a")

    assert taken == [0, 0, 0, 0.5]
    assert early == 0.25
    assert later == 0
    assert buckets.take("b") == 0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = ManualClock()
    buckets = TokenBuckets(clock, per_s=2, burst=3)
    buckets.take("a")
    clock.advance(1_000)

    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_buckets_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "NAMES_MAX", 2)
    buckets = TokenBuckets(ManualClock(), per_s=1, burst=1)

    for name in ("a", "b", "a", "c"):
        buckets.take(name)

    # The one that was asked for longest ago is forgotten, the others are still empty.
    assert buckets.take("a") > 0
    assert buckets.take("c") > 0
    assert buckets.take("b") == 0
