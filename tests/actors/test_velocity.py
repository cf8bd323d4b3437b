import random
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.config import Fraud
from paygate_actors.messages import ScoreRequest
from paygate_actors.money import Money
from paygate_actors.velocity import Excess, SlidingWindow, Velocity

PAYMENT = ScoreRequest(
    merchant="merchant_a",
    amount=Money(1, "USD"),
    has_card=True,
    number_valid=True,
    expired=False,
    fingerprint="card",
    customer_id="customer",
    customer_ip="192.0.2.7",
)


def test_the_payment_that_exceeds_the_limit_is_the_one_after_the_last_allowed():
    window = SlidingWindow(window_us=100, count_max=3)

    told: list[bool] = []
    for now_us in range(5):
        told.append(window.is_used_up("key", now_us=now_us))
        window.count("key", now_us=now_us)

    assert told == [False, False, False, True, True]


def test_a_payment_leaves_the_window_exactly_at_its_edge():
    window = SlidingWindow(window_us=100, count_max=1)
    window.count("key", now_us=1_000)

    assert window.is_used_up("key", now_us=1_099)
    assert not window.is_used_up("key", now_us=1_100)


def test_asking_counts_nothing():
    window = SlidingWindow(window_us=100, count_max=1)

    for _ in range(10):
        assert not window.is_used_up("key", now_us=0)
    assert len(window) == 0


def test_one_key_does_not_use_up_anothers_limit():
    window = SlidingWindow(window_us=100, count_max=1)
    window.count("one", now_us=0)

    assert window.is_used_up("one", now_us=1)
    assert not window.is_used_up("other", now_us=1)


def test_a_clock_that_steps_back_never_frees_a_used_up_key_early():
    window = SlidingWindow(window_us=100, count_max=2)
    window.count("key", now_us=1_000)
    window.count("key", now_us=900)

    assert window.is_used_up("key", now_us=901)
    assert window.is_used_up("key", now_us=1_001)


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=200),
    count_max=st.integers(1, 5),
)
def test_the_windows_agree_with_a_list_of_everything(steps: list[tuple[str, int]], count_max: int):
    window = SlidingWindow(window_us=100, count_max=count_max)
    everything: defaultdict[str, list[int]] = defaultdict(list)
    now_us = 0

    for key, step in steps:
        now_us += step
        live = [at for at in everything[key] if at > now_us - 100]
        assert window.is_used_up(key, now_us=now_us) is (len(live) >= count_max)
        window.count(key, now_us=now_us)
        everything[key].append(now_us)


def test_keys_are_bounded_and_the_one_that_was_quiet_longest_goes_first():
    window = SlidingWindow(window_us=1_000_000, count_max=1, keys_max=3)
    for now_us, key in enumerate(["a", "b", "c", "a", "d"]):
        window.count(key, now_us=now_us)

    assert len(window) == 3
    assert window.evicted == 1
    assert [key for key in "abcd" if window.is_used_up(key, now_us=5)] == ["a", "c", "d"]


def test_keys_whose_window_is_over_are_forgotten_without_being_evicted():
    window = SlidingWindow(window_us=100, count_max=1)
    seed = 7
    rng = random.Random(seed)
    for now_us in range(0, 20_000, 10):
        window.count(f"key {rng.random()}", now_us=now_us)

    # Ten payments fit into a window; a few more may wait to be swept.
    assert len(window) <= 12, f"seed {seed}"
    assert window.evicted == 0


def test_what_a_burst_left_behind_is_swept_while_new_keys_come():
    window = SlidingWindow(window_us=100, count_max=1)
    for place in range(100):
        window.count(f"burst {place}", now_us=0)

    for place in range(1, 102):
        window.count(f"later {place}", now_us=place * 100)

    assert len(window) == 1


@pytest.mark.parametrize("wrong", ["window_us", "count_max", "keys_max"])
def test_a_window_of_nothing_is_refused(wrong: str):
    sizes = {"window_us": 1, "count_max": 1, "keys_max": 1} | {wrong: 0}

    with pytest.raises(ValueError, match="at least 1"):
        SlidingWindow(**sizes)


def velocity(**limits: int) -> Velocity:
    settings = {"velocity_card_max": 1, "velocity_customer_max": 1, "velocity_ip_max": 1}
    return Velocity(msgspec.convert({**settings, "velocity_window_s": 60, **limits}, Fraud))


@pytest.mark.parametrize(
    ("changes", "excess"),
    [
        ({}, Excess(card=True, customer=True, ip=True)),
        ({"fingerprint": "other"}, Excess(customer=True, ip=True)),
        ({"fingerprint": None, "has_card": False}, Excess(customer=True, ip=True)),
        ({"customer_id": None, "customer_ip": None}, Excess(card=True)),
        # A card tester spreads over merchants; a customer's id is its merchant's own.
        ({"merchant": "merchant_b"}, Excess(card=True, ip=True)),
        ({"customer_ip": "192.0.2.8"}, Excess(card=True, customer=True)),
        ({"customer_ip": "::ffff:192.0.2.7"}, Excess(card=True, customer=True, ip=True)),
    ],
)
def test_what_two_payments_share_is_counted_together(changes: dict[str, object], excess: Excess):
    counted = velocity()
    counted.count(PAYMENT, now_us=0)

    assert counted.excess(msgspec.structs.replace(PAYMENT, **changes), now_us=1) == excess


def test_an_ipv6_household_counts_as_one_and_its_neighbour_does_not():
    counted = velocity()
    at_home, cousin, neighbour = (
        ScoreRequest(
            merchant="merchant_a",
            amount=Money(1, "USD"),
            has_card=False,
            number_valid=False,
            expired=False,
            customer_ip=address,
        )
        for address in ("2001:db8:0:1::1", "2001:DB8:0:1:ffff::2", "2001:db8:0:2::1")
    )
    counted.count(at_home, now_us=0)

    assert counted.excess(cousin, now_us=1).ip
    assert not counted.excess(neighbour, now_us=1).ip


def test_each_limit_and_the_window_come_from_the_configuration():
    counted = velocity(velocity_customer_max=2, velocity_ip_max=3)

    seen: list[Excess] = []
    for second in range(4):
        seen.append(counted.excess(PAYMENT, now_us=second * 1_000_000))
        counted.count(PAYMENT, now_us=second * 1_000_000)

    assert seen == [
        Excess(),
        Excess(card=True),
        Excess(card=True, customer=True),
        Excess(card=True, customer=True, ip=True),
    ]
    assert counted.excess(PAYMENT, now_us=63_000_000) == Excess()
