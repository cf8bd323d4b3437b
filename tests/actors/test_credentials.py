"""Credentials: what may be one, who may use it where, and what is recorded of it."""

import copy
import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from payment_cases import HOUR_US, NOW_US, PRICE, URL, Story, webhook

from paygate_actors import events as e
from paygate_actors.credential_use import (
    STEP_UP_MISSING,
    lacks_cvv,
    note_credential,
    step_up_of,
    told_too_little,
    unfit,
)
from paygate_actors.credentials import (
    BY_CUSTOMER,
    Initiation,
    SealedToken,
    hides_card_number,
    is_network_id,
    is_token,
    recordable_network_id,
)
from paygate_actors.draft import Draft
from paygate_actors.messages import MethodView
from paygate_actors.money import Money
from paygate_actors.outcomes import ActionRequired, Approved, Declined, Pending
from paygate_actors.providers.base import Capabilities, ChargeCall, Instrument
from paygate_actors.record import Call
from paygate_actors.route import Route

TOKEN = "pm_1NxYzAbCdEfGhIjKlMnOpQrS"
NETWORK_ID = "901151114810210"
CAN = Capabilities(deadline_s=1.0, key_window_s=1.0, find_lag_s=0.0, ask_first_s=1.0, ask_max_s=1.0)
CARD = MethodView(kind="card", brand="visa", last4="4242", token="tok_1")
WALLET = MethodView(kind="wallet", wallet_id="w_1")
THEIRS = MethodView(kind="provider_token", token="ptk_1")
THEIRS_BY_OURS = MethodView(kind="token", token="ptk_1")
BY_MERCHANT = Initiation(by="merchant", reason="recurring")


def created(**changes: Any) -> e.PaymentCreated:
    plain = e.PaymentCreated(
        merchant="m",
        by="key_m",
        transaction_id="txn_1",
        amount_minor=1_000,
        currency="USD",
        capture_method="automatic",
        method=CARD,
        livemode=False,
    )
    return msgspec.structs.replace(plain, **changes)


# -------------------------------------------------------------------- what may be one


def test_a_sealed_token_gives_nothing_away():
    token = SealedToken(TOKEN)

    shown = [repr(token), str(token), f"{token}", f"{token:>40}", repr([token])]

    assert token.reveal() == TOKEN
    assert not any(TOKEN in text for text in shown)
    for spread in (copy.copy, copy.deepcopy, pickle.dumps, json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            spread(token)


def test_what_is_charged_shows_no_token():
    instrument = Instrument(kind="provider_token", provider_token=TOKEN)
    call = ChargeCall(key="k", amount=Money(1, "USD"), instrument=instrument, capture=True)

    assert TOKEN not in repr(instrument)
    assert TOKEN not in repr(call)


@pytest.mark.parametrize("text", ["p", "pm_1", "8415718415718404", "x" * 200, "a/b+c=="])
def test_visible_text_may_be_a_token(text: str):
    assert is_token(text)


@pytest.mark.parametrize("text", ["", " ", "pm 1", "pm_1\n", "pm\x00", "pmé", "x" * 201])
def test_what_cannot_be_seen_or_is_too_long_is_no_token(text: str):
    assert not is_token(text)


@pytest.mark.parametrize(
    ("text", "fits"), [(NETWORK_ID, True), ("x" * 64, True), ("", False), ("x" * 65, False)]
)
def test_a_network_s_id_is_short_visible_text(text: str, *, fits: bool):
    assert is_network_id(text) is fits


@given(
    mark=st.text("-_.:/|+=~ ", max_size=3),
    before=st.sampled_from(["", "pm_", "tok-", "x:"]),
    number=st.sampled_from(["4242424242424242", "378282246310005", "6011111111111117"]),
)
def test_no_mark_hides_a_card_number(mark: str, before: str, number: str):
    groups = [number[at : at + 4] for at in range(0, len(number), 4)]

    assert hides_card_number(before + mark.join(groups))


@pytest.mark.parametrize("text", [TOKEN, NETWORK_ID, "MCC0123450101", "8415718415718404", "w_1"])
def test_tokens_and_networks_ids_as_they_come_are_no_card_numbers(text: str):
    assert not hides_card_number(text)


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (NETWORK_ID, NETWORK_ID),
        ("MCC0123450101  ", "MCC0123450101"),
        (None, None),
        ("", None),
        ("two words", None),
        ("x" * 65, None),
        ("4242424242424242", None),
    ],
)
def test_only_what_can_be_a_network_s_id_is_recorded(given_: str | None, kept: str | None):
    assert recordable_network_id(given_) == kept


# -------------------------------------------------------------------- who may use it where

NO_TOKENS = CAN
TOKENS = msgspec.structs.replace(CAN, provider_tokens=True)
WANTS_CVV = msgspec.structs.replace(TOKENS, takes_no_cvv=False)
NO_3DS = msgspec.structs.replace(TOKENS, three_d_secure=False)


@pytest.mark.parametrize(
    ("payment", "can", "step_up", "why"),
    [
        (created(), NO_TOKENS, "automatic", None),
        (created(method=THEIRS), NO_TOKENS, "automatic", "method"),
        (created(method=THEIRS_BY_OURS), NO_TOKENS, "automatic", "method"),
        (created(method=THEIRS), TOKENS, "automatic", None),
        (created(), WANTS_CVV, "automatic", None),
        (created(without_cvv=True), WANTS_CVV, "automatic", "cvv"),
        (created(without_cvv=True), TOKENS, "automatic", None),
        (created(without_cvv=True, initiation=BY_MERCHANT), WANTS_CVV, "automatic", None),
        (created(method=THEIRS), WANTS_CVV, "automatic", None),
        (created(method=WALLET), WANTS_CVV, "automatic", None),
        (created(), NO_3DS, "required", "three_d_secure"),
        (created(), NO_3DS, "automatic", None),
        (created(), TOKENS, "required", None),
    ],
)
def test_a_provider_has_a_payment_only_if_it_can_use_its_credential(
    payment: e.PaymentCreated, can: Capabilities, step_up: Any, why: str | None
):
    assert unfit(payment, can, step_up=step_up) == why


@pytest.mark.parametrize(
    ("payment", "can", "has_card", "lacks"),
    [
        (created(), WANTS_CVV, True, False),
        (created(), WANTS_CVV, False, True),
        (created(without_cvv=True), WANTS_CVV, True, True),
        (created(), TOKENS, False, False),
        (created(initiation=BY_MERCHANT), WANTS_CVV, False, False),
        (created(method=WALLET), WANTS_CVV, False, False),
        (created(method=THEIRS), WANTS_CVV, False, False),
        (created(method=THEIRS_BY_OURS), WANTS_CVV, False, False),
    ],
)
def test_a_card_is_not_sent_without_its_cvv_where_that_is_wanted(
    payment: e.PaymentCreated, can: Capabilities, *, has_card: bool, lacks: bool
):
    assert lacks_cvv(payment, can, has_card=has_card) is lacks


@pytest.mark.parametrize(
    ("asked", "by_rule", "initiation", "step_up"),
    [
        ("automatic", False, BY_CUSTOMER, "automatic"),
        ("required", False, BY_CUSTOMER, "required"),
        ("automatic", True, BY_CUSTOMER, "required"),
        ("automatic", True, BY_MERCHANT, "automatic"),
    ],
)
def test_a_step_up_is_demanded_by_the_merchant_or_a_rule_and_never_of_a_payer_who_is_away(
    asked: Any, *, by_rule: bool, initiation: Initiation, step_up: str
):
    payment = created(three_d_secure=asked, initiation=initiation)

    assert step_up_of(payment, by_rule=by_rule) == step_up


# -------------------------------------------------------------------- what is recorded of it


def drafted(payment: e.PaymentCreated, *, by_rule: bool = False) -> tuple[Draft, Call]:
    """A payment whose charge is out."""
    draft = Draft("pay_1", None, 1)
    draft.add(payment)
    draft.start_call(
        "txn_1",
        "charge",
        provider="a",
        amount_minor=1_000,
        route=Route(order=("a",), by="priority", three_d_secure=by_rule),
    )
    return draft, draft.payment.calls[0]


def approved(**said: Any) -> Approved:
    return Approved(provider_txn_id="ch_1", amount=Money(1_000, "USD"), captured=True, **said)


def test_what_is_told_of_a_credential_is_recorded_once():
    draft, call = drafted(created())
    before = len(draft.events)

    note_credential(draft, call, approved(network_txn_id=NETWORK_ID))
    note_credential(draft, call, approved(network_txn_id=NETWORK_ID))
    note_credential(draft, call, approved(network_txn_id="ANOTHER", authentication="frictionless"))
    note_credential(draft, call, approved(authentication="none"))

    assert draft.events[before:] == [
        e.CredentialNoted(key="txn_1-1", network_transaction_id=NETWORK_ID),
        e.CredentialNoted(key="txn_1-1", authentication="frictionless"),
    ]
    assert draft.payment.network_txn_id == NETWORK_ID
    assert draft.payment.authentication == "frictionless"


def test_an_approval_that_tells_nothing_leaves_no_trace():
    draft, call = drafted(created())
    before = len(draft.events)

    note_credential(draft, call, approved())
    note_credential(draft, call, approved(network_txn_id="4242424242424242"))

    assert len(draft.events) == before


def test_a_payer_who_was_asked_has_proved_who_they_are():
    draft, call = drafted(created(three_d_secure="required"))

    note_credential(draft, msgspec.structs.replace(call, url=URL), approved())

    assert draft.payment.authentication == "challenge"
    assert draft.payment.attention is None


def test_a_payer_who_was_asked_has_proved_it_also_where_the_provider_took_its_time():
    story = Story()
    key = story.charge_key
    asked = ActionRequired(provider_txn_id="ch_1", url=URL, expires_at_us=NOW_US + HOUR_US)
    story.answers(key, asked)
    story.answers(key, Pending(provider_txn_id="ch_1"))

    story.answers(key, Approved(provider_txn_id="ch_1", amount=Money(PRICE, "USD"), captured=True))

    assert story.payment.authentication == "challenge"


@pytest.mark.parametrize(
    ("asked", "by_rule", "said", "concern"),
    [
        ("required", False, "none", STEP_UP_MISSING),
        ("automatic", True, "none", STEP_UP_MISSING),
        ("automatic", False, "none", None),
        ("required", False, "attempted", None),
        ("required", False, None, None),
    ],
)
def test_a_person_is_called_where_the_step_up_that_was_demanded_was_left_out(
    asked: Any, *, by_rule: bool, said: Any, concern: str | None
):
    draft, call = drafted(created(three_d_secure=asked), by_rule=by_rule)

    note_credential(draft, call, approved(authentication=said))

    assert draft.payment.attention == concern


@pytest.mark.parametrize(
    ("payment", "said", "too_little"),
    [
        (created(), {}, False),
        (created(store_credential=True), {}, True),
        (created(store_credential=True), {"network_txn_id": NETWORK_ID}, False),
        (created(three_d_secure="required"), {}, True),
        (created(three_d_secure="required"), {"authentication": "none"}, False),
    ],
)
def test_more_is_asked_for_where_it_will_be_needed(
    payment: e.PaymentCreated, said: dict[str, Any], *, too_little: bool
):
    draft, call = drafted(payment)

    note_credential(draft, call, approved(**said))

    assert told_too_little(draft.payment) is too_little


def test_an_event_tells_of_the_credential_as_an_answer_does():
    story = Story()
    event = webhook("payment.succeeded", reference=story.charge_key, minor=PRICE)

    story.reports(
        msgspec.structs.replace(event, network_txn_id=NETWORK_ID, authentication="challenge")
    )

    assert story.payment.network_txn_id == NETWORK_ID
    assert story.payment.authentication == "challenge"


def test_what_was_given_up_tells_nothing_of_the_payment_s_credential():
    story = Story()
    key = story.charge_key
    story.answers(key, Declined(code="card_declined"))

    story.answers(key, approved(network_txn_id=NETWORK_ID))

    assert story.txns("stray")
    assert story.payment.network_txn_id is None
