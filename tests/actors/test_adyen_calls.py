"""What Adyen's adapter sends, and what it makes of the answers, whoever gives them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from adyen_rig import RETURN_URL, adyen_adapter, faults
from provider_suite import SUM, charge_call
from sandbox_rig import APPROVED
from stranger_rig import adapter_of_stranger, answer

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.adyen import AdyenProvider
from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.adyen_calls import API_KEY
from paygate_http.sandbox.adyen_objects import MERCHANT_ACCOUNT

PSP = "993617895204576J"
CALL = charge_call(APPROVED, "txn_1-1")
FOLLOW = FollowUpCall(key="txn_2-1", provider_txn_id=PSP, amount=Money(400, "USD"))
AUTHORISED: dict[str, Any] = {
    "pspReference": PSP,
    "resultCode": "Authorised",
    "merchantReference": "txn_1-1",
    "amount": {"value": 1_000, "currency": "USD"},
}
RECEIVED: dict[str, Any] = {
    "merchantAccount": MERCHANT_ACCOUNT,
    "paymentPspReference": PSP,
    "pspReference": "MADEBYADYEN00001",
    "reference": "txn_2-1.refund",
    "status": "received",
    "amount": {"value": 400, "currency": "USD"},
}


class Scripted:
    """A stranger with one answer, who keeps what it was sent."""

    def __init__(self, status: int, said: object, *headers: bytes) -> None:
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self._raw = answer(status, content, *headers)
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        self.path = first.split(" ")[1]
        self.headers = {name.lower(): value for name, _, value in pairs}
        self.body = json.loads(await reader.readexactly(int(self.headers["content-length"])))
        writer.write(self._raw)
        await writer.drain()


async def done(script: Scripted, act: Callable[[AdyenProvider], Any], **changes: Any) -> Outcome:
    def adapter(url: str) -> AdyenProvider:
        return adyen_adapter(url, **changes)

    async with adapter_of_stranger(script.serve, adapter) as provider:
        return await act(provider)


async def charged(said: object, *, status: int = 200, call: ChargeCall = CALL) -> Outcome:
    return await done(Scripted(status, said), lambda provider: provider.charge(call))


async def sent(call: ChargeCall) -> dict[str, Any]:
    """What is sent for the charge."""
    script = Scripted(200, AUTHORISED)
    await done(script, lambda provider: provider.charge(call))
    return script.body


# ------------------------------------------------------------------------- what is sent


async def test_a_charge_is_sent_whole_with_our_key_as_key_and_reference():
    script = Scripted(200, AUTHORISED)
    call = msgspec.structs.replace(CALL, customer_ip="192.0.2.1", return_url="https://s.example/b")

    await done(script, lambda provider: provider.charge(call))

    door = script.body.pop("returnUrl")
    assert door.startswith(f"{RETURN_URL}?for=txn_1-1&to=")
    assert script.path == "/v72/payments"
    assert script.headers["idempotency-key"] == "txn_1-1"
    assert script.headers["x-api-key"] == API_KEY
    assert script.body == {
        "merchantAccount": MERCHANT_ACCOUNT,
        "amount": {"value": 1_000, "currency": "USD"},
        "reference": "txn_1-1",
        "paymentMethod": {
            "type": "scheme",
            "number": APPROVED,
            "expiryMonth": "12",
            "expiryYear": "2040",
            "cvc": "123",
        },
        "channel": "Web",
        "shopperInteraction": "Ecommerce",
        "captureDelayHours": 0,
        "authenticationData": {"threeDSRequestData": {"nativeThreeDS": "disabled"}},
        "shopperIP": "192.0.2.1",
    }


async def test_a_hold_says_that_it_is_captured_by_hand_and_so_does_its_reference():
    body = await sent(msgspec.structs.replace(CALL, capture=False))

    assert body["additionalData"] == {"manualCapture": "true"}
    assert "captureDelayHours" not in body
    assert body["reference"] == "txn_1-1.hold"
    assert body["returnUrl"].startswith(f"{RETURN_URL}?for=txn_1-1.hold&to=&by=")


@pytest.mark.parametrize(
    ("reason", "model"),
    [
        ("recurring", "Subscription"),
        ("unscheduled", "UnscheduledCardOnFile"),
        ("installment", "UnscheduledCardOnFile"),
        (None, "UnscheduledCardOnFile"),
    ],
)
async def test_a_merchant_s_own_payment_refers_to_the_first_one(reason: Any, model: str):
    call = msgspec.structs.replace(
        CALL, initiator="merchant", reason=reason, network_txn_id="MCC123456789012"
    )

    body = await sent(call)

    assert body["shopperInteraction"] == "ContAuth"
    assert body["recurringProcessingModel"] == model
    assert body["paymentMethod"]["networkPaymentReference"] == "MCC123456789012"
    assert "authenticationData" not in body


async def test_a_card_that_is_to_be_kept_says_so_while_its_payer_is_there():
    body = await sent(msgspec.structs.replace(CALL, store=True))

    assert body["shopperInteraction"] == "Ecommerce"
    assert body["recurringProcessingModel"] == "CardOnFile"


async def test_a_demanded_confirmation_is_demanded():
    body = await sent(msgspec.structs.replace(CALL, three_d_secure="required"))

    assert body["authenticationData"]["attemptAuthentication"] == "always"


@pytest.mark.parametrize(
    ("token", "shopper"),
    [("8415736847425855", None), ("customer/7/8415736847425855", "customer/7")],
)
async def test_a_provider_s_token_goes_without_any_number(token: str, shopper: str | None):
    instrument = Instrument(kind="provider_token", provider_token=token)
    call = ChargeCall(key="txn_1-1", amount=SUM, instrument=instrument, capture=True)

    body = await sent(call)

    stored = {"type": "scheme", "storedPaymentMethodId": "8415736847425855"}
    assert body["paymentMethod"] == stored
    assert body.get("shopperReference") == shopper
    assert body["shopperInteraction"] == "ContAuth"
    assert body["recurringProcessingModel"] == "CardOnFile"


@pytest.mark.parametrize(
    ("verb", "path", "reference", "amount"),
    [
        ("capture", f"/v72/payments/{PSP}/captures", "txn_2-1.capture", True),
        ("refund", f"/v72/payments/{PSP}/refunds", "txn_2-1.refund", True),
        ("void", f"/v72/payments/{PSP}/cancels", "txn_2-1.void", False),
    ],
)
async def test_a_modification_names_its_payment_and_a_void_no_sum(
    verb: str, path: str, reference: str, *, amount: bool
):
    script = Scripted(201, {**RECEIVED, "reference": reference})

    await done(script, lambda provider: getattr(provider, verb)(FOLLOW))

    sum_ = {"amount": {"value": 400, "currency": "USD"}} if amount else {}
    assert script.path == path
    assert script.headers["idempotency-key"] == "txn_2-1"
    assert script.body == {"merchantAccount": MERCHANT_ACCOUNT, "reference": reference, **sum_}


async def test_a_payment_that_has_no_id_so_far_is_cancelled_by_its_reference():
    script = Scripted(
        201,
        {
            "merchantAccount": MERCHANT_ACCOUNT,
            "paymentReference": "txn_1-1",
            "pspReference": PSP,
            "reference": "txn_2-1.void",
            "status": "received",
        },
    )
    call = FollowUpCall(key="txn_2-1", provider_txn_id="txn_1-1", amount=SUM)

    outcome = await done(script, lambda provider: provider.void(call))

    assert script.path == "/v72/cancels"
    assert script.body["paymentReference"] == "txn_1-1"
    assert outcome == Pending(provider_txn_id="txn_1-1")


async def test_what_is_sent_is_valid_by_the_specification():
    stored = Instrument(kind="provider_token", provider_token="shopper/8415736847425855")
    calls = [
        CALL,
        msgspec.structs.replace(CALL, capture=False, customer_ip="192.0.2.1", store=True),
        msgspec.structs.replace(CALL, three_d_secure="required", return_url="https://s.example/b"),
        msgspec.structs.replace(CALL, initiator="merchant", network_txn_id="MCC1"),
        msgspec.structs.replace(CALL, instrument=stored),
    ]
    by_verb = {"capture": "PaymentCapture", "refund": "PaymentRefund", "void": "PaymentCancel"}

    for call in calls:
        assert faults(await sent(call), "PaymentRequest") == []
    for verb, schema in by_verb.items():
        script = Scripted(201, RECEIVED)
        await done(script, lambda provider, verb=verb: getattr(provider, verb)(FOLLOW))
        assert faults(script.body, f"{schema}Request") == []


async def test_what_adyen_cannot_take_is_not_sent():
    wallet = msgspec.structs.replace(CALL, instrument=Instrument(kind="wallet", wallet_id="w"))
    part = msgspec.structs.replace(CALL, amount=Money(701, "CVE"))
    refund = msgspec.structs.replace(FOLLOW, amount=Money(701, "CVE"))
    provider = adyen_adapter("http://127.0.0.1:1")

    outcomes = [
        await provider.charge(wallet),
        await provider.charge(part),
        await provider.refund(refund),
    ]

    codes = [outcome.code for outcome in outcomes if isinstance(outcome, Declined)]
    assert codes == ["payment_method_not_supported", *["amount_not_supported"] * 2]


# ----------------------------------------------------------------------- what is answered


async def test_an_authorised_charge_is_captured_and_a_hold_is_not():
    held = msgspec.structs.replace(CALL, capture=False)

    charge = await charged(AUTHORISED)
    hold = await charged({**AUTHORISED, "merchantReference": "txn_1-1.hold"}, call=held)

    assert charge == Approved(provider_txn_id=PSP, amount=SUM, captured=True)
    assert hold == Approved(provider_txn_id=PSP, amount=SUM, captured=False)


async def test_the_network_s_id_of_the_payment_is_handed_on():
    outcome = await charged({**AUTHORISED, "additionalData": {"networkTxReference": "MCC1"}})

    assert isinstance(outcome, Approved)
    assert outcome.network_txn_id == "MCC1"


@pytest.mark.parametrize(
    ("data", "demanded", "told"),
    [
        ({"threeDAuthenticated": "true", "threeDAuthenticatedResponse": "Y"}, True, "frictionless"),
        ({"threeDAuthenticated": "true", "threeDAuthenticatedResponse": "A"}, True, "attempted"),
        ({"threeDAuthenticated": "false"}, False, "none"),
        ({}, True, "none"),
        ({}, False, None),
    ],
)
async def test_how_the_payer_proved_who_they_are_is_handed_on(
    data: dict[str, str], told: str | None, *, demanded: bool
):
    step_up: Any = "required" if demanded else "automatic"
    call = msgspec.structs.replace(CALL, three_d_secure=step_up)

    outcome = await charged({**AUTHORISED, "additionalData": data}, call=call)

    assert isinstance(outcome, Approved)
    assert outcome.authentication == told


async def test_another_sum_is_handed_on_as_it_was_said():
    part = {"value": 400, "currency": "USD"}
    bare = {name: value for name, value in AUTHORISED.items() if name != "amount"}

    other = await charged({**AUTHORISED, "amount": {"value": 999, "currency": "EUR"}})
    partial = await charged({**AUTHORISED, "resultCode": "PartiallyAuthorised", "amount": part})
    unsaid = await charged(bare)

    amounts = [each.amount for each in (other, partial, unsaid) if isinstance(each, Approved)]
    assert amounts == [Money(999, "EUR"), Money(400, "USD"), SUM]


@pytest.mark.parametrize(
    ("result", "code", "ours", "retryable"),
    [
        ("Refused", "12", "insufficient_funds", False),
        ("Refused", "46", "do_not_try_again", False),
        ("Error", "4", "processing_error", True),
        ("Cancelled", "16", "cancelled_by_payer", False),
    ],
)
async def test_a_refusal_is_a_conclusive_no(result: str, code: str, ours: str, *, retryable: bool):
    outcome = await charged({**AUTHORISED, "resultCode": result, "refusalReasonCode": code})

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.decline_code) == (ours, code)
    assert (outcome.retryable, outcome.conclusive) == (retryable, True)
    assert outcome.provider_txn_id == PSP


@pytest.mark.parametrize("result", ["Pending", "Received"])
async def test_what_takes_its_time_is_pending(result: str):
    outcome = await charged({**AUTHORISED, "resultCode": result})

    assert outcome == Pending(provider_txn_id=PSP)


async def test_a_payer_is_sent_away_for_an_hour_by_the_gateway_s_clock():
    clock = ManualClock()
    action = {"type": "redirect", "method": "GET", "url": "https://bank.example/3ds"}
    said = {**AUTHORISED, "resultCode": "RedirectShopper", "action": action}
    nameless = {name: value for name, value in said.items() if name != "pspReference"}

    asked, unnamed = [
        await done(Scripted(200, each), lambda provider: provider.charge(CALL), clock=clock)
        for each in (said, nameless)
    ]

    expires_us = clock.now_us() + 3_600_000_000
    url = "https://bank.example/3ds"
    assert asked == ActionRequired(provider_txn_id=PSP, url=url, expires_at_us=expires_us)
    assert unnamed == ActionRequired(provider_txn_id="txn_1-1", url=url, expires_at_us=expires_us)


@pytest.mark.parametrize(
    "said",
    [
        {"resultCode": "IdentifyShopper", "action": {"type": "threeDS2"}},
        {"resultCode": "ChallengeShopper", "action": {"type": "threeDS2"}},
        {"resultCode": "RedirectShopper"},
        {
            "resultCode": "RedirectShopper",
            "action": {"type": "redirect", "method": "POST", "url": "https://bank.example"},
        },
    ],
)
async def test_a_payer_who_can_be_sent_nowhere_is_a_no(said: dict[str, Any]):
    outcome = await charged({**AUTHORISED, **said})

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("authentication_required", True)


async def test_a_payer_who_is_not_there_is_sent_nowhere():
    action = {"type": "redirect", "method": "GET", "url": "https://bank.example/3ds"}
    said = {**AUTHORISED, "resultCode": "RedirectShopper", "action": action}

    outcome = await charged(said, call=msgspec.structs.replace(CALL, initiator="merchant"))

    assert isinstance(outcome, Declined)
    assert outcome.code == "authentication_required"


@pytest.mark.parametrize(
    "said",
    [
        b"<html>",
        b"",
        b"null",
        b"\xff",
        b"[" * 60_000,
        {},
        {**AUTHORISED, "resultCode": "AuthenticationFinished"},
        {**AUTHORISED, "resultCode": "NewInAnotherVersion"},
        {**AUTHORISED, "merchantReference": "txn_9-1"},
        {**AUTHORISED, "merchantReference": "txn_1-1.hold"},
        {**AUTHORISED, "pspReference": None},
        {**AUTHORISED, "amount": {"value": float("nan"), "currency": "USD"}},
        {**AUTHORISED, "amount": {"value": -1, "currency": "USD"}},
        {**AUTHORISED, "amount": {"value": 10**30, "currency": "USD"}},
        {**AUTHORISED, "amount": {"value": 501, "currency": "ISK"}},
        {**AUTHORISED, "resultCode": "PartiallyAuthorised", "amount": None},
        {**AUTHORISED, "refusalReason": "x" * 70_000},
    ],
)
async def test_nonsense_and_other_payments_are_not_known(said: object):
    outcome = await charged(said)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


@pytest.mark.parametrize(
    "changes",
    [
        {"paymentPspReference": "SOMEBODYELSES001"},
        {"reference": "txn_9-1.refund"},
        {"reference": "txn_2-1.capture"},
        {"merchantAccount": "SomebodyElse"},
        {"status": "done"},
        {"pspReference": ""},
    ],
)
async def test_an_answer_about_another_modification_is_not_known(changes: dict[str, Any]):
    script = Scripted(201, {**RECEIVED, **changes})

    outcome = await done(script, lambda provider: provider.refund(FOLLOW))

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


async def test_a_refund_that_was_taken_in_has_an_id_of_its_own():
    outcome = await done(Scripted(201, RECEIVED), lambda provider: provider.refund(FOLLOW))

    assert outcome == Pending(provider_txn_id="MADEBYADYEN00001")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (422, "704", "in_progress"),
        (422, "101", "incorrect_number"),
        (422, "138", "currency_not_supported"),
        (422, "14_030", "provider_refused"),
        (400, "702", "provider_refused"),
        (401, "000", "provider_misconfigured"),
        (403, "901", "provider_misconfigured"),
        (429, "000", "too_many_requests"),
        (500, "905", "server_error"),
        (503, "000", "server_error"),
    ],
)
async def test_an_error_proves_nothing_about_an_earlier_request(
    status: int, code: str, expected: str
):
    said = {"status": status, "errorCode": code, "message": "4242", "errorType": "validation"}

    outcome = await charged(said, status=status)

    assert "4242" not in repr(outcome)
    if isinstance(outcome, Unknown):
        assert outcome.reason == expected
    else:
        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.conclusive) == (expected, False)


@pytest.mark.parametrize("status", [429, 503])
async def test_the_pause_that_adyen_asks_for_is_handed_on(status: int):
    script = Scripted(status, {"status": status, "errorCode": "000"}, b"Retry-After: 7")

    outcome = await done(script, lambda provider: provider.charge(CALL))

    assert isinstance(outcome, Declined | Unknown)
    assert outcome.retry_after_s == 7.0


async def test_that_a_payment_is_not_there_is_not_believed():
    said = {"status": 422, "errorCode": "167", "message": "x", "errorType": "validation"}

    outcome = await done(Scripted(422, said), lambda provider: provider.capture(FOLLOW))

    assert isinstance(outcome, Unknown)


async def test_a_redirect_and_an_error_in_html_are_not_known():
    for status in (302, 404, 422):
        outcome = await charged(b"<html>moved</html>", status=status)
        assert isinstance(outcome, Unknown)


# ------------------------------------------------------------------------ how it is made


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://checkout-test.adyen.com/v72"},
        {"url": "https://checkout-test.adyen.com"},
        {"url": "https://user:password@checkout-test.adyen.com/v72"},
        {"url": "https://checkout-test.adyen.com/v72?x=1"},
        {"url": "checkout-test.adyen.com/v72"},
        {"api_key": ""},
        {"api_key": "two words"},
        {"merchant_account": ""},
        {"merchant_account": "a:b"},
        {"hmac_keys": ()},
        {"return_url": ""},
        {"return_url": "shop.example"},
    ],
)
def test_an_account_that_cannot_be_used_is_refused(changes: dict[str, Any]):
    with pytest.raises(ValueError):  # noqa: PT011 - the texts differ, and are for people
        adyen_adapter("http://127.0.0.1:1", **changes)


def test_nothing_can_be_seen_and_the_capabilities_say_so():
    can = adyen_adapter("http://127.0.0.1:1").capabilities

    assert not can.finds
    assert not can.terms("charge").finds
    assert can.webhook_reply == "[accepted]"
    assert (can.key_length_max, can.key_window_s) == (64, 7 * 86_400)
    assert can.takes(Money(700, "CVE"))
    assert not can.takes(Money(701, "CVE"))
    assert not can.takes(Money(1, "AFN"))
