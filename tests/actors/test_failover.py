"""Where a declined payment goes next: what may, what never may, and within which limits."""

from typing import Any, Final

import msgspec
import pytest
from payment_cases import TIMEOUT, Story, approved, declined

from paygate_actors import events as e
from paygate_actors.charging import ELSEWHERE_US
from paygate_actors.decline_codes import DECLINE_CODES
from paygate_actors.draft import Context
from paygate_actors.failover import next_provider
from paygate_actors.outcomes import ActionRequired, Declined, Pending
from paygate_actors.record import Call
from paygate_actors.route import Route
from paygate_actors.routing_config import SOFT_DECLINES

HARD: Final = [code for code, known in DECLINE_CODES.items() if known.kind == "hard"]


def after(
    *declines: str,
    said: Declined,
    route: Route | None = None,
    routes: tuple[str, ...] = ("a", "b", "c"),
    soft_retries: int = 1,
    **about_call: Any,
) -> str | None:
    """Where a payment goes that was declined at a, b... so, the last time by `said`."""
    story = Story()
    calls = tuple(
        Call(
            key=f"k{place}",
            transaction_id="txn_1",
            verb="charge",
            provider="abc"[place],
            amount_minor=1,
            started_at_us=1,
            state="declined",
            declined=code,
            **about_call,
        )
        for place, code in enumerate((*declines, said.code))
    )
    payment = msgspec.structs.replace(story.payment, calls=calls, route=route)
    ctx = Context(now_us=1, routes=routes, soft_retries=soft_retries)
    return next_provider(payment, calls[-1], said, ctx)


def by_rule(*codes: str, retries_max: int = 1) -> Route:
    return Route(
        order=("a", "b", "c"), by="priority", retry_declines=codes, retries_max=retries_max
    )


FAULT: Final = Declined(code="processing_error", retryable=True)
SOFT: Final = Declined(code="do_not_honor")


def test_a_fault_on_the_way_to_the_issuer_goes_to_the_next_without_a_rule():
    assert after(said=FAULT) == "b"
    assert after("processing_error", said=FAULT) == "c"


def test_no_payment_is_tried_at_more_than_three_providers():
    assert (
        after("processing_error", "processing_error", said=FAULT, routes=("a", "b", "c", "d"))
        is None
    )


def test_no_provider_is_tried_twice():
    assert after(said=FAULT, routes=("a",)) is None


@pytest.mark.parametrize("code", HARD)
def test_a_hard_decline_goes_nowhere_whatever_the_provider_says_of_it(code: str):
    said = Declined(code=code, retryable=True)

    assert after(said=said, route=by_rule(code)) is None


@pytest.mark.parametrize("code", sorted(SOFT_DECLINES))
def test_a_soft_decline_goes_elsewhere_only_where_the_rule_names_it(code: str):
    said = Declined(code=code)

    assert after(said=said) is None
    assert after(said=said, route=by_rule()) is None
    assert after(said=said, route=by_rule(code)) == "b"


def test_what_only_the_payer_can_mend_goes_nowhere_though_a_route_names_it():
    said = Declined(code="incorrect_cvc")

    assert after(said=said, route=by_rule("incorrect_cvc")) is None


def test_soft_declines_of_one_payment_are_tried_again_so_often():
    assert after("do_not_honor", said=SOFT, route=by_rule("do_not_honor")) is None
    assert after("do_not_honor", said=SOFT, route=by_rule("do_not_honor", retries_max=2)) == "c"
    assert after(said=SOFT, route=by_rule("do_not_honor", retries_max=0)) is None


def test_faults_on_the_way_do_not_count_as_soft_declines():
    assert after("processing_error", said=SOFT, route=by_rule("do_not_honor")) == "c"


def test_a_card_whose_day_is_used_up_is_tried_nowhere_else():
    assert after(said=SOFT, route=by_rule("do_not_honor"), soft_retries=0) is None
    assert after(said=FAULT, route=by_rule("do_not_honor"), soft_retries=0) == "b", "no soft one"


def test_a_soft_decline_that_is_not_conclusive_proves_nothing():
    said = Declined(code="do_not_honor", conclusive=False)

    assert after(said=said, route=by_rule("do_not_honor")) is None


def test_once_the_payer_was_asked_nobody_else_asks_again():
    assert after(said=FAULT, url="https://bank.example/") is None


# ------------------------------------------------------------------ through the whole decision


def providers_of(story: Story) -> list[str]:
    return [event.provider for _, event in story.stream if isinstance(event, e.CallStarted)]


def test_a_payer_who_confirmed_is_not_sent_elsewhere_by_a_later_decline():
    story = Story()
    key = story.newest.key
    confirm = ActionRequired(provider_txn_id="ch_1", url="https://x.example/", expires_at_us=10**18)

    story.answers(key, confirm)
    story.answers(key, Pending(provider_txn_id="ch_1"))
    story.answers(key, FAULT)

    assert story.payment.status == "failed"
    assert providers_of(story) == ["a"]


def test_what_is_not_known_goes_nowhere():
    story = Story()

    story.answers(story.newest.key, TIMEOUT)

    assert providers_of(story) == ["a"]
    assert story.payment.status == "processing"


def test_a_success_that_comes_after_the_failover_is_a_stray():
    story = Story()
    first = story.newest.key
    story.answers(first, FAULT)

    story.answers(first, approved())

    assert providers_of(story)[:2] == ["a", "b"]
    assert [txn.type for txn in story.payment.txns if txn.type == "stray"] == ["stray"]


@pytest.mark.parametrize(
    ("late_us", "providers"), [(ELSEWHERE_US - 1, ["a", "b"]), (ELSEWHERE_US, ["a"])]
)
def test_a_payer_who_has_gone_is_not_charged_elsewhere(late_us: int, providers: list[str]):
    story = Story()
    story.answers(story.charge_key, TIMEOUT)
    story.waits(late_us)

    story.answers(story.charge_key, declined("processing_error", retryable=True))

    assert [call.provider for call in story.payment.calls] == providers
    assert story.payment.status == ("failed" if len(providers) == 1 else "processing")
