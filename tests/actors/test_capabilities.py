"""What a provider says that it can do, and who is a candidate for an amount."""

import pytest
from sandbox_adapter_rig import adapter
from stripe_rig import stripe_adapter

from paygate_actors.money import Money
from paygate_actors.providers.base import (
    Capabilities,
    CurrencyTerms,
    OperationTerms,
    Provider,
)

PLAIN = Capabilities(
    deadline_s=1.0, key_window_s=100.0, find_lag_s=2.0, ask_first_s=1.0, ask_max_s=5.0
)
STRIPE = stripe_adapter("https://api.stripe.com", pace=None).capabilities


def test_a_provider_that_says_nothing_of_amounts_takes_all_of_them():
    assert PLAIN.takes(Money(1, "KWD"))
    assert not PLAIN.takes(Money(0, "USD"))


@pytest.mark.parametrize(
    ("minor", "currency", "taken"),
    [
        (10, "USD", True),
        (9, "USD", False),
        (101, "USD", False),
        (15, "KWD", True),
        (16, "KWD", False),
        (7, "EUR", True),
        (8, "EUR", False),
        (7, "JPY", False),
    ],
)
def test_an_amount_is_taken_exactly_or_not_at_all(
    minor: int,
    currency: str,
    taken: bool,  # noqa: FBT001 - a parametrized expectation
):
    choosy = Capabilities(
        deadline_s=1.0,
        key_window_s=100.0,
        find_lag_s=2.0,
        ask_first_s=1.0,
        ask_max_s=5.0,
        currencies=frozenset({"USD", "KWD", "EUR"}),
        currency_terms={
            "USD": CurrencyTerms(minor_min=10, minor_max=100),
            "KWD": CurrencyTerms(multiple_of=5),
        },
        other_terms=CurrencyTerms(minor_max=7),
    )

    assert choosy.takes(Money(minor, currency)) == taken


def test_an_operation_without_terms_of_its_own_has_those_of_the_provider():
    assert PLAIN.terms("capture") == OperationTerms(
        partial=True, key_window_s=100.0, find_lag_s=2.0
    )
    assert not PLAIN.terms("void").partial


def test_stripe_says_for_each_operation_what_a_look_up_by_our_key_can_see():
    found = {each: STRIPE.terms(each).finds for each in ("charge", "capture", "refund", "void")}

    assert found == {"charge": True, "capture": True, "refund": False, "void": False}
    assert (STRIPE.terms("refund").partial, STRIPE.terms("void").partial) == (True, False)
    assert len("-prepare") + STRIPE.key_length_max == 255
    assert STRIPE.find_sees.endswith(".")


def test_stripe_takes_no_currency_that_it_does_not_name():
    assert STRIPE.takes(Money(50, "USD"))
    assert not STRIPE.takes(Money(1_000, "IQD"))


def test_every_adapter_promises_what_the_contract_has():
    adapters: list[Provider] = [
        adapter("http://127.0.0.1:1"),
        stripe_adapter("http://127.0.0.1:1"),
    ]

    assert [each.capabilities.steps for each in adapters] == [1, 2]
