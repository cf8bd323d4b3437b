"""What Stripe is told of a payer's credential, and what its charges tell of it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from provider_suite import charge_call
from sandbox_rig import sandbox_rig
from stripe_rig import intent, stripe_adapter

from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined
from paygate_actors.providers.base import ChargeCall, Instrument
from paygate_actors.providers.http_client import Answered, Exchange, HttpClient
from paygate_actors.providers.stripe_credential import (
    LatestCharge,
    Saved,
    Told,
    demanded,
    saved_method,
    told,
)
from paygate_actors.providers.stripe_reading import intent_outcome
from paygate_actors.providers.stripe_wire import (
    confirm_form,
    decode_intent,
    intent_form,
    search_query,
)
from paygate_engine.clock import ManualClock

BACK = "https://shop.example/back"
OPTIONS = "payment_method_options[card]"
EXPAND = {"expand[]": "latest_charge"}


def confirmed(**changes: Any) -> dict[str, str]:
    """The fields of a confirmation."""
    call = ChargeCall(
        key="txn_1-1",
        amount=Money(1_000, "USD"),
        instrument=Instrument(kind="card", provider_token="pm_1"),
        capture=True,
    )
    form = confirm_form("pm_1", msgspec.structs.replace(call, **changes), return_url=BACK)
    return dict(parse_qsl(form.decode()))


def test_a_payment_like_most_says_nothing_of_its_credential():
    assert confirmed() == {"payment_method": "pm_1", "return_url": BACK}


def test_a_payer_who_is_away_is_sent_nowhere():
    said = confirmed(initiator="merchant", reason="recurring", network_txn_id="901151114810210")

    assert (
        said
        == {
            "payment_method": "pm_1",
            "off_session": "true",
            f"{OPTIONS}[mit_exemption][network_transaction_id]": "901151114810210",
        }
        | EXPAND
    )


def test_without_a_network_s_id_stripe_s_own_memory_must_do():
    said = confirmed(initiator="merchant", reason="unscheduled")

    assert said == {"payment_method": "pm_1", "off_session": "true"} | EXPAND


def test_a_credential_that_is_kept_is_set_up_for_later():
    said = confirmed(store=True)

    assert (
        said
        == {
            "payment_method": "pm_1",
            "return_url": BACK,
            "setup_future_usage": "off_session",
        }
        | EXPAND
    )


def test_a_step_up_is_asked_of_any_card():
    said = confirmed(three_d_secure="required")

    assert (
        said
        == {
            "payment_method": "pm_1",
            "return_url": BACK,
            f"{OPTIONS}[request_three_d_secure]": "any",
        }
        | EXPAND
    )


@pytest.mark.parametrize(
    ("token", "saved"),
    [
        ("pm_1", Saved(method="pm_1")),
        ("cus_9/pm_1", Saved(method="pm_1", customer="cus_9")),
        ("card_1", Saved(method="card_1")),
        ("cus_9", None),
        ("cus_9/", None),
        ("/pm_1", None),
        ("cus_9/pm_1/pm_2", None),
        ("tok_visa", None),
        ("pm_1&amount=1", None),
    ],
)
def test_a_token_names_a_method_and_maybe_its_customer(token: str, saved: Saved | None):
    assert saved_method(Instrument(kind="provider_token", provider_token=token)) == saved


@pytest.mark.parametrize("named", ["pm_1", "cus_9/pm_1", "card_1"])
def test_a_wallet_is_never_a_method_that_stripe_keeps_of_some_payer(named: str):
    wallet = Instrument(kind="wallet", wallet_id=named)

    assert saved_method(wallet) is None


@pytest.mark.parametrize(("token", "customer"), [("pm_1", None), ("cus_9/pm_1", "cus_9")])
def test_a_method_that_was_saved_for_a_customer_is_charged_with_them(
    token: str, customer: str | None
):
    call = ChargeCall(
        key="txn_1-1",
        amount=Money(1_000, "USD"),
        instrument=Instrument(kind="provider_token", provider_token=token),
        capture=True,
    )

    assert dict(parse_qsl(intent_form(call).decode())).get("customer") == customer


def test_a_search_shows_the_charge_in_full():
    assert ("expand[]", "data.latest_charge") in parse_qsl(search_query("txn_1-1"))


def charge(card: Any) -> LatestCharge:
    body = {"id": "ch_1", "object": "charge", "payment_method_details": {"card": card}}
    return msgspec.convert(body, LatestCharge)


@pytest.mark.parametrize(
    ("asked", "proved"),
    [
        ({"result": "authenticated", "authentication_flow": "challenge"}, "challenge"),
        ({"result": "authenticated", "authentication_flow": "frictionless"}, "frictionless"),
        ({"result": "authenticated", "authentication_flow": None}, "frictionless"),
        ({"result": "attempt_acknowledged", "authentication_flow": None}, "attempted"),
        ({"result": "data_share_only"}, "none"),
        ({"result": "exempted"}, "none"),
        ({"result": "failed"}, "none"),
        ({"result": "not_supported"}, "none"),
        ({"result": "processing_error"}, "none"),
        ({"result": "something_new"}, None),
        ({"result": None}, None),
        (None, None),
    ],
)
def test_every_result_of_3_d_secure_has_its_word(asked: Any, proved: str | None):
    assert told(charge({"three_d_secure": asked})).authentication == proved


def test_the_network_s_id_is_read_and_an_id_alone_tells_nothing():
    named = charge({"network_transaction_id": "901151114810210"})

    assert told(named) == Told(network_txn_id="901151114810210")
    assert told("ch_1") == told(None) == Told()
    assert told(msgspec.convert({"id": "ch_1", "object": "charge"}, LatestCharge)) == Told()


def test_silence_about_a_step_up_that_was_demanded_is_a_no():
    approved = Approved(provider_txn_id="pi_1", amount=Money(1, "USD"))
    proved = msgspec.structs.replace(approved, authentication="attempted")

    assert demanded(approved) == msgspec.structs.replace(approved, authentication="none")
    assert demanded(proved) == proved
    assert demanded(Declined(code="card_declined")) == Declined(code="card_declined")


@pytest.mark.parametrize(
    "latest", [None, "ch_1", {"id": "ch_1", "object": "charge", "outcome": {"type": "authorized"}}]
)
def test_an_intent_is_read_however_much_of_its_charge_is_shown(latest: Any):
    body = intent(latest_charge=latest)

    outcome = intent_outcome(decode_intent(msgspec.json.encode(body)))

    assert outcome == Approved(provider_txn_id="pi_1", amount=Money(1_000, "USD"), captured=True)


class Silent(HttpClient):
    """A Stripe whose charges tell nothing of 3-D Secure."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1")

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Exchange:
        """Answer as an intent, made and then confirmed."""
        done = path.endswith("/confirm")
        charged = {"latest_charge": {"id": "ch_1", "object": "charge"}}
        made = {"status": "requires_payment_method", "amount_received": 0}
        return Answered(status=200, body=msgspec.json.encode(intent(**(charged if done else made))))


@pytest.mark.parametrize(("asked", "proved"), [("required", "none"), ("automatic", None)])
async def test_a_charge_that_says_nothing_of_the_step_up_had_none(asked: Any, proved: str | None):
    stripe = stripe_adapter("http://127.0.0.1", client=Silent())
    call = ChargeCall(
        key="txn_1-1",
        amount=Money(1_000, "USD"),
        instrument=Instrument(kind="card", provider_token="pm_1"),
        capture=True,
        three_d_secure=asked,
    )

    outcome = await stripe.charge(call)

    assert isinstance(outcome, Approved)
    assert outcome.authentication == proved


@pytest.mark.parametrize(
    ("number", "proved"),
    [
        ("4242424242424242", "attempted"),
        ("5555555555554444", "frictionless"),
        ("378282246310005", "none"),
    ],
)
async def test_what_came_of_a_step_up_is_told_by_the_answer_and_by_every_look_up(
    number: str, proved: str
):
    clock = ManualClock()
    plain = charge_call(number, "txn_1-1")
    call = msgspec.structs.replace(plain, three_d_secure="required", store=True)
    async with sandbox_rig(clock=clock, find_lag_ms=2_000) as rig:
        stripe = stripe_adapter(rig.sandbox.url)
        charged = await stripe.charge(call)
        assert isinstance(charged, Approved)
        found = await stripe.find(call.key, charged.provider_txn_id)
        clock.advance(2)
        searched = await stripe.find(call.key)
        await stripe.close()

    assert charged.authentication == proved
    assert charged.network_txn_id is not None
    assert found == searched == charged
