"""New rules over old payments: what changed, what is known, and how much of it history covers."""

import random
from typing import Any, Final

import msgspec
import pytest

from paygate_actors import events as e
from paygate_actors.messages import MethodView
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Call, CallState, Payment, Txn
from paygate_actors.route import Route
from paygate_actors.routing import Candidate, decide
from paygate_actors.routing import Facts as RoutingFacts
from paygate_actors.routing_config import Cost, Routing, Rule, Target, When
from paygate_actors.routing_replay import NOBODY, Change, Costs, Report, RoutingReplay

CAN: Final = Capabilities(
    deadline_s=1, key_window_s=1_000, find_lag_s=1, ask_first_s=0.5, ask_max_s=5
)
CANDIDATES: Final = (Candidate(id="a", can=CAN), Candidate(id="b", can=CAN))
TO_A: Final = Rule(name="to a", targets=(Target(provider="a"),))
TO_B: Final = Rule(name="to b", targets=(Target(provider="b"),))


def created(**changes: Any) -> e.PaymentCreated:
    about: dict[str, Any] = {
        "merchant": "m_1",
        "by": "key_m",
        "transaction_id": "txn_1",
        "amount_minor": 10_000,
        "currency": "USD",
        "capture_method": "automatic",
        "method": MethodView(kind="card", brand="visa", last4="4242"),
        "livemode": False,
    }
    return e.PaymentCreated(**(about | changes))


def made(
    number: int,
    provider: str,
    answer: str | None,
    *,
    route: Route | None = None,
    **changes: Any,
) -> Payment:
    """A payment that went to a provider first; `answer`: its decline, `yes`, or None: not known."""
    state: CallState = "open" if answer is None else "approved" if answer == "yes" else "declined"
    of = created(**changes)
    txn = Txn(
        id="txn_1",
        type="payment",
        origin="merchant",
        status="pending",
        amount_minor=of.amount_minor,
        currency=of.currency,
        created_at_us=1,
        updated_at_us=1,
    )
    call = Call(
        key="k",
        transaction_id="txn_1",
        verb="charge",
        provider=provider,
        amount_minor=of.amount_minor,
        started_at_us=1,
        state=state,
        declined=answer if state == "declined" else None,
    )
    return Payment(
        id=f"pay_{number:026}",
        created=of,
        created_at_us=1,
        updated_at_us=1,
        status="processing",
        txns=(txn,),
        calls=(call,),
        route=route or Route(order=(provider,), by="priority", bin="424242"),
    )


def replayed(routing: Routing, *payments: Payment) -> Report:
    replay = RoutingReplay(routing, CANDIDATES)
    for payment in payments:
        replay.add(payment)
    return replay.report()


def rules(*these: Rule, **more: Any) -> Routing:
    return msgspec.structs.replace(Routing(rules=these), **more)


def test_rules_that_change_nothing_are_covered_by_all_of_history():
    payments = [made(n, "a", "yes" if n % 4 else "do_not_honor") for n in range(8)]

    report = replayed(rules(TO_A), *payments)

    assert (report.payments, report.changed, report.judged) == (8, 0, 8)
    assert (report.approval_milli, report.expected_approval_milli) == (750, 750)
    assert (report.coverage_milli, report.samples) == (1_000, 8)
    assert report.by_rule == {"to a": 8}


def test_of_where_nothing_ever_went_nothing_is_known():
    report = replayed(rules(TO_B), made(1, "a", "yes"), made(2, "a", "do_not_honor"))

    assert report.changes == (Change(was="a", now="b", payments=2),)
    assert report.approval_milli == 500
    assert (report.coverage_milli, report.expected_approval_milli, report.samples) == (0, None, 0)


def test_coverage_is_the_share_that_stays_where_it_was():
    euro = Rule(name="euro", when=When(currency=("EUR",)), targets=(Target(provider="b"),))
    payments = [
        *(made(n, "a", "yes") for n in range(3)),
        made(3, "a", "do_not_honor", currency="EUR"),
    ]

    report = replayed(rules(euro, TO_A), *payments)

    assert report.coverage_milli == 750
    assert report.expected_approval_milli == 1_000, "of the three that stay"


def test_what_ended_without_a_yes_or_a_no_judges_nobody():
    endings = [None, "not_sent", "cancelled", "too_many_requests"]

    report = replayed(rules(TO_A), *(made(n, "a", end) for n, end in enumerate(endings)))

    assert (report.payments, report.judged, report.approval_milli) == (4, 0, None)
    assert (report.coverage_milli, report.cost_coverage_milli) == (None, None)


def test_a_payment_that_was_blocked_was_never_routed():
    blocked = msgspec.structs.replace(made(1, "a", "yes"), calls=())

    assert replayed(rules(TO_A), blocked).payments == 0


def test_where_nobody_would_take_it_the_report_says_so():
    nowhere = Rule(name="gone", targets=(Target(provider="z"),))

    report = replayed(rules(nowhere), made(1, "a", "yes"))

    assert (report.refused, report.changes) == (1, (Change(was="a", now=NOBODY, payments=1),))
    assert report.coverage_milli == 0


@pytest.mark.parametrize(
    ("prefix", "undecided"), [("42424299", 1), ("4242429", 1), ("424243", 0), ("4242", 0)]
)
def test_digits_that_were_not_kept_decide_nothing(prefix: str, undecided: int):
    rule = Rule(name="bin", when=When(bin=(prefix,)), targets=(Target(provider="b"),))

    report = replayed(rules(rule, TO_A), made(1, "a", "yes"))

    assert report.undecided == undecided
    assert report.judged == 1 - undecided


def test_costs_are_those_of_what_was_approved_where_both_are_known():
    costs = {"a": Cost(rate_ppm=29_000, fixed_minor={"USD": 30}), "b": Cost(rate_ppm=20_000)}
    payments = [
        made(1, "a", "yes"),
        made(2, "a", "yes"),
        made(3, "a", "do_not_honor"),
        made(4, "a", "yes", currency="EUR"),
    ]

    report = replayed(rules(TO_B, costs=costs), *payments)

    assert report.costs == (
        Costs(
            currency="USD",
            payments=2,
            was_micro=2 * (290 + 30) * 1_000_000,
            now_micro=2 * 200 * 1_000_000,
        ),
    )
    assert report.cost_coverage_milli == 666


def test_success_rates_are_learned_as_the_payments_went():
    best = Rule(name="best", by="success_rate")
    payments = [made(n, "b", "yes") for n in range(5)] + [made(9, "b", "yes")]

    report = replayed(rules(best, exploration_milli=0), *payments)

    assert report.changed == 1, "the first alone: nothing was known, and a comes before b"


def test_what_went_by_chance_tells_how_other_rules_would_have_done():
    """Of rules that spread payments, another spread is estimated without having been tried."""
    rng = random.Random(20_261_123)
    even = rules(Rule(name="even", by="weight"))
    approves = {"a": 0.9, "b": 0.5}
    payments: list[Payment] = []
    for number in range(4_000):
        facts = RoutingFacts(payment_id=f"pay_{number:026}", created=created())
        decision = decide(even, facts, CANDIDATES, rate=lambda _, __: 500)
        assert decision is not None
        first = decision.route.order[0]
        answer = "yes" if rng.random() < approves[first] else "do_not_honor"
        payments.append(made(number, first, answer, route=decision.route))

    targets = (Target(provider="a", weight=9), Target(provider="b", weight=1))
    report = replayed(rules(Rule(name="mostly a", by="weight", targets=targets)), *payments)

    assert report.approval_milli == pytest.approx(700, abs=25)
    assert report.coverage_milli == 1_000
    assert report.expected_approval_milli == pytest.approx(860, abs=25)
    assert report.samples < 4_000, "as good as fewer: most of one half counts little"


def test_the_same_history_gives_the_same_report():
    payments = [made(n, "ab"[n % 2], "yes" if n % 3 else "do_not_honor") for n in range(50)]
    spread = rules(Rule(name="spread", by="weight"))

    assert replayed(spread, *payments) == replayed(spread, *payments)
