"""A route in words: which rule, why that order, who is in reserve and who was left out."""

from typing import get_args

import pytest
from payment_cases import PRICE

from paygate_actors import events as e
from paygate_actors.route import Aside, Behind, LeftOut, Route, RoutedBy
from paygate_actors.telling import told
from paygate_actors.telling_routes import routed_by

STARTED = e.CallStarted(
    key="txn_1-1",
    transaction_id="txn_1",
    verb="charge",
    provider="a",
    amount_minor=PRICE,
    route=Route(order=("a", "b"), by="priority"),
)


def test_the_next_one_is_named():
    assert told(STARTED, currency="USD").endswith(": by priority; then b")


def test_merchants_do_not_hear_of_rules():
    assert "priority" not in told(STARTED, currency="USD", keys=False)


def test_a_rule_with_all_its_reasons():
    route = Route(
        order=("b", "a"),
        by="weight",
        rule="large",
        share_milli=125,
        left_out=(Aside(provider="c", why="amount"),),
        behind=(Aside(provider="a", why="full"),),
        three_d_secure=True,
    )

    assert routed_by(route) == (
        ": rule 'large', by weight; as 12.5 % of such payments;"
        " the payer must prove who they are; then a;"
        " left out: c cannot take the amount exactly; put last: a has no place"
    )


def test_what_was_explored_says_what_for():
    route = Route(order=("b",), by="success_rate", share_milli=25, explored=True)

    assert routed_by(route) == ": by success rate; to learn how it does"


@pytest.mark.parametrize("by", get_args(RoutedBy))
def test_every_order_has_words(by: RoutedBy):
    assert len(routed_by(Route(order=("a",), by=by))) > 2


@pytest.mark.parametrize("why", [*get_args(LeftOut), *get_args(Behind)])
def test_every_reason_has_words(why: LeftOut | Behind):
    route = Route(order=("a",), by="priority", left_out=(Aside(provider="z", why=why),))

    assert "z " in routed_by(route)
