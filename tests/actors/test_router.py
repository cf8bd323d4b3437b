"""What routing learns from what was committed, and rules that change meanwhile."""

from itertools import count
from typing import Any, Final

import msgspec

from paygate_actors import creating, facts
from paygate_actors import events as e
from paygate_actors.draft import Context, Draft, first_transaction_id
from paygate_actors.messages import FraudCheck, MethodView
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Outcome
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Payment
from paygate_actors.router import DAY_US, Router
from paygate_actors.routing import Candidate, Facts
from paygate_actors.routing_config import Routing, Rule
from paygate_actors.success_rates import SuccessRates
from paygate_engine.clock import ManualClock

CAN: Final = Capabilities(
    deadline_s=1, key_window_s=1_000, find_lag_s=1, ask_first_s=0.5, ask_max_s=5
)
YES: Final = Approved(provider_txn_id="ch_1", amount=Money(10_000, "USD"), captured=True)
SOFT: Final = Declined(code="do_not_honor")
GONE: Final = Declined(code="not_sent", retryable=True, conclusive=False)
FAULT: Final = Declined(code="processing_error", retryable=True)
RULE: Final = Rule(name="r", by="success_rate", retry_declines=("do_not_honor",))


class Shop:
    """Providers `a` and `b`, a router over them, and payments that run their whole course."""

    def __init__(self, **routing: Any) -> None:
        self.clock = ManualClock(1_000_000)
        self.candidates = [Candidate(id="a", can=CAN), Candidate(id="b", can=CAN)]
        self.routing = msgspec.structs.replace(
            Routing(rules=(RULE,), exploration_milli=0), **routing
        )
        self.router = Router(
            self.routing, clock=self.clock, candidates=lambda: tuple(self.candidates)
        )
        self._numbers = count()

    def facts(self, *, card: str | None = "card", manual: bool = False) -> Facts:
        payment_id = f"pay_{next(self._numbers):026}"
        created = e.PaymentCreated(
            merchant="m_1",
            by="key_m",
            transaction_id=first_transaction_id(payment_id),
            amount_minor=10_000,
            currency="USD",
            capture_method="manual" if manual else "automatic",
            method=MethodView(kind="card", brand="visa", last4="4242", token="card_1"),
            livemode=False,
            fingerprint=card,
        )
        return Facts(payment_id=payment_id, created=created)

    def switch(self, provider: str, *, on: bool) -> None:
        """Let the provider take charges, or not."""
        self.candidates = [
            msgspec.structs.replace(each, accepts_charges=on) if each.id == provider else each
            for each in self.candidates
        ]

    def best(self) -> str:
        """Where a new payment goes first."""
        found = self.router.route(self.facts())
        assert found is not None
        return found.order[0]

    def opened(self, *, card: str | None = "card", manual: bool = False) -> Payment:
        """A payment whose first call is intended."""
        of = self.facts(card=card, manual=manual)
        route = self.router.route(of)
        assert route is not None
        check = FraudCheck(
            transaction_id=of.created.transaction_id,
            score_milli=0,
            risk_level="low",
            factors=(),
            blocked=False,
            created_at_us=self.clock.now_us(),
        )
        ctx = Context(now_us=self.clock.now_us(), routes=route.order, route=route)
        draft = creating.create(of.payment_id, of.created, check, review=False, ctx=ctx)
        return self._kept(None, draft)

    def answered(self, payment: Payment, outcome: Outcome) -> Payment:
        """The payment after its newest call was answered."""
        ctx = Context(
            now_us=self.clock.now_us(),
            routes=self.router.again(payment),
            soft_retries=self.router.soft_retries(payment),
        )
        draft = Draft(payment.id, payment, ctx.now_us)
        facts.said(draft, payment.calls[-1], outcome, ctx)
        return self._kept(payment, draft)

    def pays(self, *answers: Outcome, card: str | None = "card") -> list[str]:
        """Make a payment that is answered so, one call after another; where it went."""
        payment = self.opened(card=card)
        for answer in answers:
            payment = self.answered(payment, answer)
        return [call.provider for call in payment.calls]

    def _kept(self, before: Payment | None, draft: Draft) -> Payment:
        self.router.learned(before, draft.payment, draft.events)
        return draft.payment


# ------------------------------------------------------------------ what it learns


def test_where_payers_are_declined_new_payments_go_last():
    shop = Shop()
    assert shop.best() == "a"

    shop.pays(Declined(code="insufficient_funds"))

    assert shop.best() == "b"


def test_where_payers_are_approved_new_payments_stay():
    shop = Shop()
    shop.pays(Declined(code="insufficient_funds"))
    shop.pays(YES)

    assert shop.best() == "b"


def test_what_never_left_says_nothing_about_payers():
    shop = Shop()

    shop.pays(GONE, YES)

    assert shop.router.route(shop.facts()) is not None
    assert shop.best() == "b", "b has approved one, and nothing was learned of a"


def test_a_charge_that_is_approved_twice_is_learned_once():
    shop = Shop()
    held = msgspec.structs.replace(YES, captured=False)
    payment = shop.answered(shop.opened(manual=True), held)
    shop.switch("a", on=False)
    shop.pays(YES)
    shop.pays(YES)
    shop.switch("a", on=True)

    payment = shop.answered(payment, YES)

    assert payment.status == "success", "the provider captured by itself what was held"
    assert shop.best() == "b", "which has approved two, and a one"


def test_only_the_newest_charges_count():
    rates = SuccessRates(3)
    for _ in range(5):
        rates.learn("r", "a", approved=False)

    for _ in range(3):
        rates.learn("r", "a", approved=True)

    assert rates.milli("r", "a") == 800  # three of three, and one of each kind beside
    assert rates.milli("r", "b") == 500


def test_a_smaller_window_forgets_what_is_older():
    rates = SuccessRates(10)
    for _ in range(9):
        rates.learn("r", "a", approved=False)
    rates.resize(2)

    rates.learn("r", "a", approved=True)

    assert rates.milli("r", "a") == 500  # one of two


# ------------------------------------------------------------------ limits of retries


def test_a_soft_decline_is_tried_elsewhere_and_counted_for_its_card():
    shop = Shop(retries_per_card_day=2)
    tries = [shop.pays(SOFT, SOFT) for _ in range(3)]

    assert [len(each) for each in tries] == [2, 2, 1]
    assert len(shop.pays(SOFT, SOFT, card="another")) == 2


def test_a_day_later_the_card_may_be_tried_again():
    shop = Shop(retries_per_card_day=1)
    shop.pays(SOFT, SOFT)
    assert len(shop.pays(SOFT)) == 1

    shop.clock.advance(DAY_US / 1_000_000)

    assert len(shop.pays(SOFT, SOFT)) == 2


def test_all_cards_together_are_tried_again_so_often_a_day():
    shop = Shop(retries_per_day=2)

    tries = [shop.pays(SOFT, card=f"card_{n}") for n in range(4)]

    assert [len(each) for each in tries] == [2, 2, 1, 1]


def test_failing_over_without_a_soft_decline_is_not_counted():
    shop = Shop(retries_per_card_day=1)

    for fault in (GONE, FAULT, GONE, FAULT):
        assert len(shop.pays(fault)) == 2

    assert len(shop.pays(SOFT)) == 2


# ------------------------------------------------------------------ rules that change


def test_a_payment_keeps_the_route_that_it_was_given():
    shop = Shop()
    payment = shop.opened()

    shop.router.adopt(Routing(rules=()))

    assert payment.route is not None
    assert len(shop.answered(payment, SOFT).calls) == 2, "by the rule of its time"
    assert len(shop.pays(SOFT)) == 1


def test_new_rules_are_named_by_another_digest():
    shop = Shop()
    old = shop.opened()

    shop.router.adopt(Routing())

    new = shop.opened()
    assert old.route is not None
    assert new.route is not None
    assert (new.route.rule, new.route.rules == old.route.rules) == (None, False)


def test_counts_stay_when_rules_change_and_their_limits_do_not():
    shop = Shop(retries_per_card_day=1)
    shop.pays(SOFT)

    shop.router.adopt(msgspec.structs.replace(shop.routing, exploration_milli=10))

    assert len(shop.pays(SOFT)) == 1


def test_a_declined_payment_goes_to_none_that_was_switched_off_meanwhile():
    shop = Shop()
    payment = shop.opened()
    shop.switch("b", on=False)

    payment = shop.answered(payment, FAULT)

    assert (payment.status, len(payment.calls)) == ("failed", 1)


def test_a_payment_from_before_routes_were_kept_goes_by_the_rules_of_now():
    shop = Shop()
    payment = msgspec.structs.replace(shop.opened(), route=None)

    assert shop.router.again(payment) == ("a", "b")
