import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.config import Fraud
from paygate_actors.fraud_rules import FraudRules, risk_level
from paygate_actors.messages import ScoreRequest
from paygate_actors.money import Money, currencies
from paygate_actors.usd_rates import UsdRates
from paygate_actors.velocity import Excess

BLOCKED_CARD = "4100 0000 0000 0019"
PLAIN = ScoreRequest(
    merchant="merchant_a",
    amount=Money(10_000, "USD"),
    has_card=True,
    number_valid=True,
    expired=False,
    fingerprint="fingerprint of 4242424242424242",
    customer_id="customer456",
    customer_ip="192.0.2.7",
)
NOTHING_EXCEEDED = Excess()


def rules(**settings: object) -> FraudRules:
    config = msgspec.convert(settings, Fraud)
    return FraudRules(config, fingerprint=lambda number: f"fingerprint of {number}")


def request(**changes: object) -> ScoreRequest:
    return msgspec.structs.replace(PLAIN, **changes)


@pytest.mark.parametrize(
    ("changes", "score_milli", "level", "factors"),
    [
        ({}, 0, "low", ()),
        ({"amount": Money(1_000_000, "USD")}, 0, "low", ()),
        ({"amount": Money(1_000_001, "USD")}, 300, "medium", ("high_amount",)),
        ({"number_valid": False}, 500, "medium", ("invalid_card_number",)),
        ({"expired": True}, 400, "medium", ("expired_card",)),
        (
            {"number_valid": False, "expired": True},
            900,
            "high",
            ("invalid_card_number", "expired_card"),
        ),
        (
            {"amount": Money(1_000_001, "USD"), "number_valid": False, "expired": True},
            1_000,
            "high",
            ("high_amount", "invalid_card_number", "expired_card"),
        ),
    ],
)
def test_the_three_rules_of_the_seed_add_up_and_stop_at_one(
    changes: dict[str, object], score_milli: int, level: str, factors: tuple[str, ...]
):
    verdict = rules().score(request(**changes), NOTHING_EXCEEDED)

    assert (verdict.score_milli, verdict.risk_level, verdict.factors) == (
        score_milli,
        level,
        factors,
    )


@pytest.mark.parametrize(
    ("score_milli", "level"),
    [(0, "low"), (299, "low"), (300, "medium"), (699, "medium"), (700, "high"), (1_000, "high")],
)
def test_levels_begin_where_the_table_says(score_milli: int, level: str):
    assert risk_level(score_milli) == level


def test_card_rules_do_not_touch_wallets_and_tokens():
    """The naive rules score every wallet 0.9: an empty number and the year 0."""
    wallet = request(has_card=False, number_valid=False, expired=True, fingerprint=None)

    verdict = rules().score(wallet, NOTHING_EXCEEDED)

    assert verdict == (0, "low", (), False)


@pytest.mark.parametrize(
    ("excess", "score_milli", "factors"),
    [
        (Excess(card=True), 400, ("card_velocity",)),
        (Excess(customer=True), 300, ("customer_velocity",)),
        (Excess(ip=True), 200, ("ip_velocity",)),
        (
            Excess(card=True, customer=True, ip=True),
            900,
            ("card_velocity", "customer_velocity", "ip_velocity"),
        ),
    ],
)
def test_each_exceeded_velocity_limit_has_its_weight(
    excess: Excess, score_milli: int, factors: tuple[str, ...]
):
    verdict = rules().score(PLAIN, excess)

    assert (verdict.score_milli, verdict.factors) == (score_milli, factors)


@pytest.mark.parametrize(
    ("limit", "blocked"), [(None, False), (901, False), (900, True), (700, True), (0, True)]
)
def test_a_score_at_the_block_threshold_is_blocked(limit: int | None, *, blocked: bool):
    bad = request(number_valid=False, expired=True)

    assert rules(block_score_milli=limit).score(bad, NOTHING_EXCEEDED).blocked is blocked


def test_the_default_blocks_at_seven_tenths_as_the_seed_does():
    high = request(amount=Money(1_000_001, "USD"))

    assert rules().score(high, Excess(card=True)) == (
        700,
        "high",
        ("high_amount", "card_velocity"),
        True,
    )
    assert not rules().score(PLAIN, Excess(card=True, ip=True)).blocked


@pytest.mark.parametrize(
    ("settings", "changes", "factor"),
    [
        (
            {"block_cards": [BLOCKED_CARD]},
            {"fingerprint": "fingerprint of 4100000000000019"},
            "blocked_card",
        ),
        ({"block_cards": ["ab" * 32]}, {"fingerprint": "ab" * 32}, "blocked_card"),
        ({"block_customers": ["customer456"]}, {}, "blocked_customer"),
        ({"block_customers": ["merchant_a/customer456"]}, {}, "blocked_customer"),
        ({"block_ips": ["192.0.2.7"]}, {}, "blocked_ip"),
        ({"block_ips": ["192.0.2.0/24"]}, {}, "blocked_ip"),
        ({"block_ips": ["192.0.2.7"]}, {"customer_ip": "::ffff:192.0.2.7"}, "blocked_ip"),
        ({"block_ips": ["2001:db8::/32"]}, {"customer_ip": "2001:DB8::1"}, "blocked_ip"),
    ],
)
def test_whoever_is_on_a_block_list_is_blocked_even_when_no_score_blocks(
    settings: dict[str, object], changes: dict[str, object], factor: str
):
    listed = request(**changes)

    verdict = rules(block_score_milli=None, **settings).score(listed, NOTHING_EXCEEDED)

    assert verdict == (1_000, "high", (factor,), True)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"block_cards": [BLOCKED_CARD]}, {}),
        ({"block_cards": [BLOCKED_CARD]}, {"has_card": False, "fingerprint": None}),
        ({"block_customers": ["customer45", "merchant_b/customer456"]}, {}),
        ({"block_customers": ["customer456"]}, {"customer_id": None}),
        ({"block_ips": ["192.0.2.8", "198.51.100.0/24"]}, {}),
        ({"block_ips": ["192.0.2.7"]}, {"customer_ip": None}),
        ({"block_ips": ["192.0.2.7"]}, {"customer_ip": "no address"}),
    ],
)
def test_whoever_is_on_no_block_list_is_not_blocked(
    settings: dict[str, object], changes: dict[str, object]
):
    verdict = rules(**settings).score(request(**changes), NOTHING_EXCEEDED)

    assert verdict == (0, "low", (), False)


def test_a_trusted_customer_is_not_scored_by_amount_and_velocity_but_by_everything_else():
    trusting = rules(allow_customers=["merchant_a/customer456"], block_ips=["203.0.113.1"])
    high = request(amount=Money(9_000_000, "USD"))
    everything = Excess(card=True, customer=True, ip=True)

    assert trusting.score(high, everything) == (0, "low", ("allowed_customer",), False)
    assert trusting.score(request(expired=True), everything).factors == (
        "allowed_customer",
        "expired_card",
    )
    assert trusting.score(request(customer_ip="203.0.113.1"), everything).blocked
    assert trusting.score(request(merchant="merchant_b"), everything).score_milli == 900


@given(
    number_valid=st.booleans(),
    expired=st.booleans(),
    has_card=st.booleans(),
    minor=st.integers(1, 10**18 - 1),
    currency=st.sampled_from(sorted(currencies())),
    excess=st.builds(Excess, card=st.booleans(), customer=st.booleans(), ip=st.booleans()),
)
def test_every_score_is_within_its_bounds_and_the_same_each_time(
    number_valid: bool,  # noqa: FBT001 - hypothesis passes them by name
    expired: bool,  # noqa: FBT001
    has_card: bool,  # noqa: FBT001
    minor: int,
    currency: str,
    excess: Excess,
):
    asked = request(
        number_valid=number_valid,
        expired=expired,
        has_card=has_card,
        amount=Money(minor, currency),
    )

    verdict = rules().score(asked, excess)

    assert 0 <= verdict.score_milli <= 1_000
    assert verdict.blocked is (verdict.score_milli >= 700)
    assert (verdict.score_milli == 0) is (verdict.factors == ())
    assert verdict == rules().score(asked, excess)


def test_the_static_check_is_the_same_without_velocity_and_says_so():
    high = request(amount=Money(1_000_001, "USD"))

    check = rules().static_check(high, transaction_id="txn_1", now_us=7)

    assert (check.transaction_id, check.created_at_us, check.static_only) == ("txn_1", 7, True)
    assert (check.score_milli, check.factors) == (300, ("high_amount",))


def test_the_static_check_still_blocks_who_is_on_a_list():
    listed = rules(block_customers=["customer456"])

    assert listed.static_check(PLAIN, transaction_id="txn_1", now_us=7).blocked


@pytest.mark.parametrize(
    ("settings", "minor", "wanted"),
    [
        ({}, 10**15, False),
        ({"review_score_milli": 300}, 1_000_001, True),
        ({"review_score_milli": 301}, 1_000_001, False),
        ({"review_amount_usd_minor": 5_000}, 5_000, False),
        ({"review_amount_usd_minor": 5_000}, 5_001, True),
    ],
)
def test_review_is_wanted_by_score_or_amount_and_off_by_default(
    settings: dict[str, object], minor: int, *, wanted: bool
):
    ruled = rules(**settings)
    amount = Money(minor, "USD")
    check = ruled.static_check(request(amount=amount), transaction_id="txn_1", now_us=7)

    assert ruled.wants_review(check, amount) is wanted


@pytest.mark.parametrize(
    ("rates", "currency", "most"),
    [
        ({}, "USD", 1_000_000),
        ({"EUR": "1.25"}, "EUR", 800_000),
        ({"JPY": "0.008"}, "JPY", 1_250_000),
        ({"KWD": "3.2"}, "KWD", 3_125_000),
        ({"CLF": "40"}, "CLF", 2_500_000),
        ({"USD": "2"}, "USD", 500_000),
    ],
)
def test_thresholds_are_in_dollars_by_the_configured_rate(
    rates: dict[str, str], currency: str, most: int
):
    table = UsdRates(rates)

    assert not table.exceeds(Money(most, currency), usd_minor=1_000_000)
    assert table.exceeds(Money(most + 1, currency), usd_minor=1_000_000)


def test_a_currency_without_a_rate_counts_its_minor_unit_as_a_cent():
    table = UsdRates({})

    assert not table.exceeds(Money(1_000_000, "ISK"), usd_minor=1_000_000)
    assert table.exceeds(Money(1_000_001, "ISK"), usd_minor=1_000_000)


def test_twenty_thousand_yen_are_no_high_amount():
    """Trap of the seed: 10,000 of whatever currency."""
    verdict = rules().score(request(amount=Money(20_000, "JPY")), NOTHING_EXCEEDED)

    assert verdict.factors == ()


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "one", "NaN", "Infinity", "1e9999", "1e-9999", "1e21", "1" * 21]
)
def test_a_rate_that_is_none_is_refused_by_its_name(text: str):
    with pytest.raises(ValueError, match=r"usd_rates\.EUR"):
        UsdRates({"EUR": text})


def test_a_rate_of_no_currency_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"usd_rates\.BTC"):
        UsdRates({"BTC": "60000"})


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"block_cards": [BLOCKED_CARD, "4242424242424241"]}, r"block_cards\[1\]"),
        ({"block_cards": ["AB" * 32]}, r"block_cards\[0\]"),
        ({"block_ips": ["192.0.2.7", "192.0.2.7/24"]}, r"block_ips\[1\]"),
        ({"block_ips": ["localhost"]}, r"block_ips\[0\]"),
    ],
)
def test_a_list_entry_that_is_none_is_refused_by_its_place(settings: dict[str, object], place: str):
    with pytest.raises(ValueError, match=place) as refused:
        rules(**settings)

    assert "4242" not in str(refused.value)


def test_a_verdict_is_plain_data():
    verdict = rules().score(PLAIN, NOTHING_EXCEEDED)

    assert json.loads(msgspec.json.encode(verdict._asdict())) == {
        "score_milli": 0,
        "risk_level": "low",
        "factors": [],
        "blocked": False,
    }
