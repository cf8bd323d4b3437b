"""Where a new payment goes: first match, candidates, order, chance that can be made again."""

from collections import Counter
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.credentials import Initiation
from paygate_actors.messages import Address, FraudCheck, MethodView
from paygate_actors.payment_methods import METHOD_KINDS
from paygate_actors.providers.base import Capabilities, CurrencyTerms
from paygate_actors.route import Aside, Route
from paygate_actors.route_order import cost_micro
from paygate_actors.routing import (
    BIN_DIGITS,
    Candidate,
    Facts,
    decide,
    digest_of,
    facts_of,
    fits,
)
from paygate_actors.routing_config import Cost, Routing, Rule, Target, When

CAN: Final = Capabilities(
    deadline_s=1, key_window_s=1_000, find_lag_s=1, ask_first_s=0.5, ask_max_s=5
)
A: Final = Candidate(id="a", can=CAN, priority=1)
B: Final = Candidate(id="b", can=CAN, priority=2)
C: Final = Candidate(id="c", can=CAN, priority=3)
ALL: Final = (C, A, B)
EVERY_ONE: Final = tuple(Target(provider=each.id) for each in (A, B, C))


def facts(**changes: Any) -> Facts:
    """A payment of 100.00 USD with a Visa card; `changes` are of the request or of the check."""
    created: dict[str, Any] = {
        "merchant": "m_1",
        "by": "key_m",
        "transaction_id": "txn_1",
        "amount_minor": 10_000,
        "currency": "USD",
        "capture_method": "automatic",
        "method": MethodView(kind="card", brand="visa", last4="4242"),
        "livemode": False,
        "billing": Address(country="DE"),
        "metadata": {"tier": "gold"},
    }
    own = {name: changes.pop(name) for name in list(changes) if name in Facts.__struct_fields__}
    own.setdefault("payment_id", "pay_1")
    own.setdefault("bin", "42424242")
    return Facts(created=e.PaymentCreated(**(created | changes)), **own)


def route(
    routing: Routing | None = None, of: Facts | None = None, among: Any = ALL, **rates: int
) -> Route | None:
    decision = decide(
        routing or Routing(),
        of or facts(),
        among,
        rate=lambda _, provider: rates.get(provider, 500),
    )
    return None if decision is None else decision.route


def order(*args: Any, **more: Any) -> tuple[str, ...]:
    found = route(*args, **more)
    return () if found is None else found.order


def one_rule(**about: Any) -> Routing:
    return Routing(rules=(Rule(name="r", **about),))


# ------------------------------------------------------------------ which rule


@pytest.mark.parametrize(
    ("when", "does"),
    [
        (When(), True),
        (When(currency=("EUR", "USD")), True),
        (When(currency=("EUR",)), False),
        (When(amount_from=10_000, currency=("USD",)), True),
        (When(amount_from=10_001, currency=("USD",)), False),
        (When(amount_to=10_000, currency=("USD",)), True),
        (When(amount_to=9_999, currency=("USD",)), False),
        (When(method=("card",)), True),
        (When(method=("wallet",)), False),
        (When(brand=("visa",)), True),
        (When(brand=("amex",)), False),
        (When(bin=("51", "4242")), True),
        (When(bin=("42424242",)), True),
        (When(bin=("42424243",)), False),
        (When(country=("DE",)), True),
        (When(country=("US",)), False),
        (When(merchant=("m_1",)), True),
        (When(merchant=("m_2",)), False),
        (When(metadata={"tier": "gold"}), True),
        (When(metadata={"tier": "gold", "shop": "x"}), False),
        (When(risk=("low",)), True),
        (When(risk=("high", "medium")), False),
        (When(score_from_milli=0), True),
        (When(score_from_milli=1), False),
    ],
)
def test_a_rule_fits_when_all_that_it_names_holds(when: When, does: bool):  # noqa: FBT001  # a column
    assert fits(when, facts()) is does


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (MethodView(kind="card", brand="visa"), {"card"}),
        (MethodView(kind="credit_card", brand="visa"), {"card", "credit_card"}),
        (MethodView(kind="debit_card", brand="maestro"), {"card", "debit_card"}),
        (MethodView(kind="token", brand="unknown", token="tok_1"), {"card", "token"}),
        (MethodView(kind="token", token="ptk_1"), {"token"}),
        (MethodView(kind="provider_token", token="ptk_1"), {"provider_token"}),
        (MethodView(kind="wallet", wallet_id="w_1"), {"wallet"}),
    ],
)
def test_a_card_is_a_card_by_whatever_word_it_comes(method: MethodView, words: set[str]):
    fitting = {word for word in METHOD_KINDS if fits(When(method=(word,)), facts(method=method))}

    assert fitting == words


def test_what_a_payment_does_not_have_fits_no_rule_that_names_it():
    bare = facts(method=MethodView(kind="wallet", wallet_id="w"), billing=None, bin=None)

    for when in (When(brand=("visa",)), When(country=("DE",)), When(bin=("4",))):
        assert not fits(when, bare)


def test_the_first_rule_that_fits_decides():
    routing = Routing(
        rules=(
            Rule(name="euro", when=When(currency=("EUR",)), targets=(Target(provider="a"),)),
            Rule(name="cards", when=When(method=("card",)), targets=(Target(provider="b"),)),
            Rule(name="rest", targets=(Target(provider="c"),)),
        )
    )

    found = route(routing)

    assert found is not None
    assert (found.rule, found.order) == ("cards", ("b",))


def test_without_rules_providers_go_by_their_priority():
    found = route()

    assert found == Route(order=("a", "b", "c"), by="priority", bin="424242")


# ------------------------------------------------------------------ who is a candidate


ONLY_EUR: Final = msgspec.structs.replace(CAN, currencies=frozenset({"EUR"}))
WHOLE_UNITS: Final = msgspec.structs.replace(
    CAN, currency_terms={"USD": CurrencyTerms(multiple_of=100)}
)
NO_STEP_UP: Final = msgspec.structs.replace(CAN, three_d_secure=False)
WANTS_CVV: Final = msgspec.structs.replace(CAN, takes_no_cvv=False)


@pytest.mark.parametrize(
    ("candidate", "of", "why"),
    [
        (msgspec.structs.replace(A, active=False), facts(), "inactive"),
        (msgspec.structs.replace(A, accepts_charges=False), facts(), "no_charges"),
        (msgspec.structs.replace(A, can=ONLY_EUR), facts(), "currency"),
        (msgspec.structs.replace(A, can=WHOLE_UNITS), facts(amount_minor=10_001), "amount"),
        (
            msgspec.structs.replace(A, can=NO_STEP_UP),
            facts(three_d_secure="required"),
            "three_d_secure",
        ),
        (msgspec.structs.replace(A, can=WANTS_CVV), facts(without_cvv=True), "cvv"),
        (A, facts(method=MethodView(kind="provider_token", token="ptk_1")), "method"),
    ],
)
def test_who_cannot_do_exactly_what_is_asked_is_no_candidate(
    candidate: Candidate, of: Facts, why: Any
):
    able = msgspec.structs.replace(B, can=msgspec.structs.replace(CAN, provider_tokens=True))

    found = route(of=of, among=(candidate, able))

    assert found is not None
    assert found.order == ("b",)
    assert found.left_out == (Aside(provider="a", why=why),)


def test_a_target_that_is_not_configured_is_left_out():
    found = route(one_rule(targets=(Target(provider="z"), Target(provider="b"))))

    assert found is not None
    assert found.order == ("b",)
    assert found.left_out == (Aside(provider="z", why="not_configured"),)


def test_a_rule_whose_targets_take_nothing_refuses_unless_any_other_may_have_it():
    only_a = {"targets": (Target(provider="a"),)}
    off = (msgspec.structs.replace(A, active=False), B, C)

    assert route(one_rule(**only_a), among=off) is None
    assert order(one_rule(**only_a, otherwise="any"), among=off) == ("b", "c")


def test_those_who_are_not_targets_come_after_all_that_are():
    routing = one_rule(targets=(Target(provider="c"),), otherwise="any")

    assert order(routing) == ("c", "a", "b")


def test_a_payment_that_names_its_provider_goes_nowhere_else():
    found = route(one_rule(targets=(Target(provider="a"),)), facts(provider_pin="c"))

    assert found is not None
    assert (found.order, found.by, found.retries_max) == (("c",), "pin", 0)


def test_a_rule_may_demand_that_the_payer_proves_who_they_are():
    cannot = msgspec.structs.replace(A, can=NO_STEP_UP)

    found = route(one_rule(three_d_secure=True), among=(cannot, B))

    assert found is not None
    assert (found.order, found.three_d_secure) == (("b",), True)


def test_nobody_is_asked_who_they_are_where_the_merchant_started_the_payment():
    cannot = msgspec.structs.replace(A, can=NO_STEP_UP)
    by_merchant = facts(initiation=Initiation(by="merchant", reason="recurring"))

    assert order(one_rule(three_d_secure=True), by_merchant, (cannot,)) == ("a",)


# ------------------------------------------------------------------ in which order


@pytest.mark.parametrize("why", ["circuit_open", "told_to_wait", "full"])
def test_who_does_badly_comes_last_and_is_not_dropped(why: Any):
    bad = msgspec.structs.replace(A, behind=why)

    found = route(among=(bad, B, C))

    assert found is not None
    assert found.order == ("b", "c", "a")
    assert found.behind == (Aside(provider="a", why=why),)


def test_when_all_do_badly_the_best_is_tried_all_the_same():
    bad = [msgspec.structs.replace(each, behind="circuit_open") for each in ALL]

    assert order(among=bad) == ("a", "b", "c")


def test_by_priority_targets_go_as_they_stand():
    assert order(one_rule(targets=tuple(reversed(EVERY_ONE)))) == ("c", "b", "a")


def test_by_cost_the_cheapest_is_first_and_the_unknown_last():
    routing = Routing(
        rules=(Rule(name="r", by="cost"),),
        costs={
            "b": Cost(rate_ppm=10_000, fixed_minor={"USD": 30}),  # 1 % and 0.30: 1.30
            "c": Cost(rate_ppm=14_000),  # 1.4 %: 1.40
        },
    )

    assert order(routing) == ("b", "c", "a")
    assert order(routing, facts(amount_minor=1_000)) == ("c", "b", "a")


def test_a_fixed_sum_in_other_currencies_alone_is_no_known_cost():
    cost = Cost(rate_ppm=10_000, fixed_minor={"EUR": 25})

    assert cost_micro(cost, facts().amount) is None
    assert cost_micro(cost, facts(currency="EUR").amount) == 100_000_000 + 25_000_000


def test_by_success_rate_the_best_is_first():
    routing = Routing(rules=(Rule(name="r", by="success_rate"),), exploration_milli=0)

    found = route(routing, a=400, b=900, c=700)

    assert found is not None
    assert (found.order, found.share_milli, found.explored) == (("b", "c", "a"), 1_000, False)


def many(routing: Routing, count: int = 4_000, **rates: int) -> list[Route]:
    found = [route(routing, facts(payment_id=f"pay_{n}"), **rates) for n in range(count)]
    return [each for each in found if each is not None]


def test_a_share_of_payments_explores_and_each_says_how_likely_it_was():
    routing = Routing(rules=(Rule(name="r", by="success_rate"),), exploration_milli=300)

    routes = many(routing, a=400, b=900, c=700)

    firsts = Counter(each.order[0] for each in routes)
    # Hashes of 4,000 fixed names: the same counts at each run. 800, 100 and 100 are expected.
    assert firsts["b"] / len(routes) == pytest.approx(0.8, abs=0.03)
    assert firsts["a"] / len(routes) == pytest.approx(0.1, abs=0.02)
    assert {(each.order[0], each.share_milli, each.explored) for each in routes} == {
        ("b", 800, False),
        ("a", 100, True),
        ("c", 100, True),
    }


def test_by_weight_payments_are_spread_and_the_rest_is_in_reserve():
    targets = (Target(provider="a", weight=7), Target(provider="b", weight=2), Target(provider="c"))
    routing = one_rule(targets=targets, by="weight")

    routes = many(routing)

    firsts = Counter(each.order[0] for each in routes)
    assert firsts["a"] / len(routes) == pytest.approx(0.7, abs=0.03)
    assert firsts["c"] / len(routes) == pytest.approx(0.1, abs=0.02)
    assert {each.share_milli for each in routes if each.order[0] == "b"} == {200}
    assert all(sorted(each.order) == ["a", "b", "c"] for each in routes)


def test_chances_are_those_among_the_providers_that_do_well():
    targets = (Target(provider="a", weight=5), Target(provider="b", weight=3), Target(provider="c"))
    routing = one_rule(targets=targets, by="weight")
    bad = (msgspec.structs.replace(A, behind="circuit_open"), B, C)

    routes = [route(routing, facts(payment_id=f"pay_{n}"), bad) for n in range(2_000)]

    firsts = Counter((each.order[0], each.share_milli) for each in routes if each is not None)
    assert set(firsts) == {("b", 750), ("c", 250)}
    assert firsts["b", 750] / len(routes) == pytest.approx(0.75, abs=0.03)


def test_a_target_without_weight_is_first_only_where_nobody_else_is_there():
    targets = (Target(provider="a", weight=0), Target(provider="b", weight=1))
    routing = one_rule(targets=targets, by="weight")
    b_off = (A, msgspec.structs.replace(B, active=False))

    assert {each.order for each in many(routing, count=200)} == {("b", "a")}
    assert order(routing, among=b_off) == ("a",)


# ------------------------------------------------------------------ always


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Routing, Facts, tuple[Candidate, ...]]:
    """Any rules, a payment, and providers in any state."""
    ids = st.sampled_from(["a", "b", "c", "d"])
    targets = st.lists(ids, unique=True, max_size=4).flatmap(
        lambda names: st.tuples(
            *(
                st.builds(Target, provider=st.just(name), weight=st.integers(0, 5) | st.none())
                for name in names
            )
        )
    )
    rules = st.lists(
        st.builds(
            Rule,
            name=st.uuids().map(str),
            when=st.builds(When, currency=st.sampled_from([(), ("USD",), ("EUR",)])),
            targets=targets,
            by=st.sampled_from(["priority", "weight", "success_rate", "cost"]),
            otherwise=st.sampled_from(["refuse", "any"]),
            three_d_secure=st.booleans(),
        ),
        max_size=3,
    )
    candidates = st.lists(
        st.builds(
            Candidate,
            id=ids,
            can=st.sampled_from([CAN, ONLY_EUR, NO_STEP_UP]),
            active=st.booleans(),
            accepts_charges=st.booleans(),
            priority=st.integers(0, 3),
            weight=st.integers(0, 3),
            behind=st.sampled_from([None, None, "circuit_open", "full"]),
        ),
        unique_by=lambda candidate: candidate.id,
        max_size=4,
    )
    routing = Routing(rules=tuple(draw(rules)), exploration_milli=draw(st.integers(0, 1_000)))
    payment = facts(
        payment_id=draw(st.uuids().map(str)),
        provider_pin=draw(st.none() | ids),
        currency=draw(st.sampled_from(["USD", "EUR"])),
    )
    return routing, payment, tuple(draw(candidates))


@given(worlds())
def test_a_route_holds_able_providers_once_each_and_the_healthy_first(
    world: tuple[Routing, Facts, tuple[Candidate, ...]],
):
    routing, payment, candidates = world
    by_id = {each.id: each for each in candidates}

    found = route(routing, payment, candidates)

    if found is None:
        return
    assert found.order
    assert len(set(found.order)) == len(found.order)
    for provider in found.order:
        candidate = by_id[provider]
        assert candidate.active
        assert candidate.accepts_charges
        assert candidate.can.takes(payment.amount)
        assert candidate.can.three_d_secure or not found.three_d_secure
        assert payment.pin in (None, provider)
    badly = [by_id[provider].behind is not None for provider in found.order]
    assert badly == sorted(badly)
    assert 0 <= found.share_milli <= 1_000
    assert not {aside.provider for aside in found.left_out} & set(found.order)


@given(worlds())
def test_the_same_payment_is_decided_alike_in_whatever_order_providers_come(
    world: tuple[Routing, Facts, tuple[Candidate, ...]],
):
    routing, payment, candidates = world

    assert route(routing, payment, candidates) == route(routing, payment, candidates[::-1])


@given(worlds())
def test_a_route_is_read_back_as_it_was_recorded(
    world: tuple[Routing, Facts, tuple[Candidate, ...]],
):
    found = route(*world)

    assert msgspec.json.decode(msgspec.json.encode(found), type=Route | None) == found


# ------------------------------------------------------------------ what is known, what is kept


def test_more_of_a_number_is_matched_than_is_kept():
    check = FraudCheck(
        transaction_id="txn_1",
        score_milli=700,
        risk_level="high",
        factors=(),
        blocked=False,
        created_at_us=1,
    )

    known = facts_of("pay_1", facts().created, check, SealedCard("4242424242424242"))
    found = route(one_rule(when=When(bin=("42424242",))), known)

    assert (known.bin, known.risk, known.score_milli) == ("42424242", "high", 700)
    assert found is not None
    assert (found.rule, found.bin) == ("r", "4" + "242424"[: BIN_DIGITS - 1])


def test_a_digest_is_of_what_the_rules_say():
    one, other = one_rule(), one_rule(by="cost")

    assert digest_of(one) == digest_of(one_rule())
    assert digest_of(one) != digest_of(other)
