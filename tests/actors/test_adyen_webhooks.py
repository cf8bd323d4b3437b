"""Adyen's webhooks: whose signature counts, and what each item says."""

import base64
import json
from typing import Any

import pytest
from adyen_rig import LOGIN, SDK, adyen_adapter, item, login_header, notification, signed
from quickest import least_cpu_s

from paygate_actors.money import Money
from paygate_actors.providers.adyen_signature import KEYS_MAX, AdyenSignature
from paygate_actors.providers.base import (
    EVENTS_A_BODY_MAX,
    AnotherAccount,
    BodyInvalid,
    ProviderEvent,
    SignatureInvalid,
)
from paygate_http.sandbox.adyen_tongue import HMAC_KEY

PROVIDER = adyen_adapter("http://127.0.0.1:1")
SUM = Money(1_000, "USD")
PAYMENT = "QFQTPCQ8HXSKGK82"
MADE = "MADEBYUS00000001"
OTHER_KEY = "0B" * 32
# Adyen's own example, of its documents and of the tests of all of its libraries.
OFFICIAL_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
OFFICIAL: dict[str, Any] = {
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
    "amount": {"value": 1_130, "currency": "EUR"},
    "pspReference": "7914073381342284",
    "eventCode": "AUTHORISATION",
    "eventDate": "2019-05-06T17:15:34.121+02:00",
    "merchantAccountCode": "TestMerchant",
    "operations": ["CANCEL", "CAPTURE", "REFUND"],
    "merchantReference": "TestPayment-1407325143704",
    "paymentMethod": "visa",
    "success": "true",
}


def check(body: bytes, *keys: str, headers: dict[str, str] | None = None, **more: Any) -> None:
    AdyenSignature(keys or (HMAC_KEY,), **more).check(headers or {}, body)


def parsed(**changes: Any) -> ProviderEvent:
    """The one event of an item; `ours`: the reference of a modification that we made."""
    (event,) = PROVIDER.parse({}, notification(item(**changes)))
    return event


def modified(code: str, reference: str, **changes: Any) -> ProviderEvent:
    """The event of a modification of the payment."""
    about = {"eventCode": code, "merchantReference": reference, "originalReference": PAYMENT}
    return parsed(**{**about, "pspReference": MADE, **changes})


# ---------------------------------------------------------------------------- whose it is


def test_adyen_s_own_example_is_taken_and_any_change_of_it_is_not():
    check(notification(OFFICIAL), OFFICIAL_KEY)

    changed = {**OFFICIAL, "amount": {"value": 1_131, "currency": "EUR"}}
    with pytest.raises(SignatureInvalid):
        check(notification(changed), OFFICIAL_KEY)
    with pytest.raises(SignatureInvalid):
        check(notification(OFFICIAL), OTHER_KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"originalReference": "9913140798220028", "eventCode": "CAPTURE"},
        {"merchantReference": "a:b"},
        {"merchantReference": "back\\slash:and colon"},
        {"merchantReference": "Zahlung für Grün"},
        {"success": "false", "amount": {"value": 0, "currency": "JPY"}},
    ],
)
def test_the_official_sdk_and_we_sign_alike(changes: dict[str, Any]):
    said = item(**changes)
    by_sdk = SDK.util.generate_notification_sig(said, HMAC_KEY).decode()
    ours = signed(said)

    check(notification({**said, "additionalData": {"hmacSignature": by_sdk}}))

    assert SDK.util.is_valid_hmac_notification(json.loads(notification(ours)), HMAC_KEY)


def test_while_a_key_is_rotated_either_one_counts():
    for key in (HMAC_KEY, OTHER_KEY, OTHER_KEY.lower()):
        check(notification(signed(item(), key)), HMAC_KEY, OTHER_KEY)

    with pytest.raises(SignatureInvalid):
        check(notification(signed(item(), "0C" * 32)), HMAC_KEY, OTHER_KEY)


def test_one_forged_item_spoils_the_batch():
    genuine, forged = signed(item()), {**item(), "pspReference": MADE}
    unsigned = notification(genuine, forged)
    borrowed = notification(genuine, {**forged, "additionalData": genuine["additionalData"]})

    for body in (unsigned, borrowed):
        with pytest.raises(SignatureInvalid):
            check(body)


def test_no_field_can_be_cut_in_another_place_under_the_same_signature():
    """The text that is signed has no escapes: only the reference may hold what separates."""
    genuine = signed(item(merchantReference="x:5:EUR:REFUND:true"))
    shifted = {
        **genuine,
        "merchantAccountCode": f"{genuine['merchantAccountCode']}:x",
        "merchantReference": "5:EUR:REFUND:true",
    }

    check(notification(genuine))

    with pytest.raises(SignatureInvalid):
        check(notification(shifted))


@pytest.mark.parametrize(
    "keys",
    [(), ("",), (HMAC_KEY, ""), ("  ",), ("00",), ("not hex" * 10,), (HMAC_KEY,) * (KEYS_MAX + 1)],
)
def test_a_webhook_without_a_whole_key_is_refused_at_construction(keys: tuple[str, ...]):
    with pytest.raises(ValueError, match="HMAC key"):
        AdyenSignature(keys)


HOSTILE_BODIES = [
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"notificationItems": []}',
    b'{"notificationItems": [{}]}',
    b"[" * 60_000,
    b'{"notificationItems":' * 3_000,
    notification(*[signed(item())] * (EVENTS_A_BODY_MAX + 1)),
    notification(item(additionalData={})),
    notification(item(additionalData={"hmacSignature": ""})),
    notification(item(additionalData={"hmacSignature": "é"})),
    notification(item(additionalData={"hmacSignature": "A" * 60_000})),
    notification(item(additionalData={"hmacSignature": ["x"]})),
    notification({**signed(item()), "amount": {"value": 10**40, "currency": "USD"}}),
    notification({**signed(item()), "amount": {"value": 1.5, "currency": "USD"}}),
    notification({**signed(item()), "success": "TRUE"}),
]


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
def test_a_hostile_body_is_refused_quickly_and_never_an_error(body: bytes):
    def refused() -> None:
        with pytest.raises(SignatureInvalid):
            check(body)

    assert least_cpu_s(refused) < 0.05


def test_a_login_is_demanded_where_there_is_one():
    body = notification(signed(item()))
    check(body, headers=login_header(), login=LOGIN)

    wrong = [login_header("adyen:another"), {}, {"authorization": f"Basic {LOGIN}"}]
    wrong.append({"authorization": "Bearer " + base64.b64encode(LOGIN.encode()).decode()})
    for headers in wrong:
        with pytest.raises(SignatureInvalid):
            check(body, headers=headers, login=LOGIN)


@pytest.mark.parametrize("login", ["", "user", "user:", ":password"])
def test_half_a_login_is_refused_at_construction(login: str):
    with pytest.raises(ValueError, match="USER:PASSWORD"):
        AdyenSignature((HMAC_KEY,), login=login)


# ------------------------------------------------------------------------ what it says


def test_a_charge_is_told_from_a_hold_by_the_reference_which_is_signed():
    charged = parsed(merchantReference="txn_1-1")
    held = parsed(merchantReference="txn_1-1.hold")

    assert (charged.event_type, held.event_type) == ("payment.succeeded", "payment.authorized")
    assert charged.reference == held.reference == "txn_1-1"
    assert (charged.provider_txn_id, charged.amount) == (PAYMENT, SUM)
    assert charged.at_us == 1_767_225_600_000_000


@pytest.mark.parametrize(
    ("reason", "code", "retryable"),
    [
        ("Refused", "card_declined", False),
        ("Not enough balance", "insufficient_funds", False),
        ("Acquirer Error", "processing_error", True),
        ("Expired Card : 54 : Expired", "expired_card", False),
        ("something new", "card_declined", False),
        (None, "card_declined", False),
    ],
)
def test_a_refusal_is_told_in_our_words(reason: str | None, code: str, retryable: bool):  # noqa: FBT001 - parametrized
    event = parsed(success="false", reason=reason)

    assert (event.event_type, event.reason) == ("payment.failed", code)
    assert event.retryable == retryable


@pytest.mark.parametrize(
    ("code", "reference", "success", "event_type", "reason"),
    [
        ("CAPTURE", "txn_2-1.capture", "true", "payment.succeeded", None),
        ("CAPTURE", "txn_2-1.capture", "false", "payment.failed", "capture_failed"),
        ("CANCELLATION", "txn_2-1.void", "true", "payment.cancelled", None),
        ("CANCELLATION", "txn_2-1.void", "false", "payment.failed", "already_settled"),
        ("CANCEL_OR_REFUND", "txn_2-1.void", "true", "payment.cancelled", None),
        ("TECHNICAL_CANCEL", "txn_2-1", "true", "payment.cancelled", None),
    ],
)
def test_a_capture_or_void_is_told_of_the_charge_by_our_key(
    code: str, reference: str, success: str, event_type: str, reason: str | None
):
    event = modified(code, reference, success=success)

    assert (event.event_type, event.reason) == (event_type, reason)
    assert (event.provider_txn_id, event.reference) == (PAYMENT, "txn_2-1")


def test_a_cancellation_by_reference_that_failed_is_told_of_the_void_and_not_of_the_charge():
    event = modified("TECHNICAL_CANCEL", "txn_1-1", success="false")

    assert (event.event_type, event.reason) == ("void.failed", "already_settled")
    assert (event.provider_txn_id, event.reference) == (PAYMENT, "txn_1-1")


@pytest.mark.parametrize("code", ["CAPTURE", "CANCELLATION"])
@pytest.mark.parametrize("reference", ["txn_1-1", "txn_1-1.hold", "txn_3-1.refund", ""])
def test_somebody_else_s_modification_that_failed_is_no_failure_of_the_payment(
    code: str, reference: str
):
    event = modified(code, reference, success="false")

    assert (event.event_type, event.provider_txn_id) == (code, "")


def test_a_capture_that_the_scheme_rejects_later_ends_the_capture_and_undoes_the_charge():
    about = {"eventCode": "CAPTURE_FAILED", "originalReference": PAYMENT, "pspReference": MADE}
    body = notification(item(**about, merchantReference="txn_2-1.capture"))

    ended, undone = PROVIDER.parse({}, body)

    assert (ended.event_type, ended.reference) == ("payment.failed", "txn_2-1")
    assert (undone.event_type, undone.reference) == ("payment.cancelled", None)
    assert undone.provider_txn_id == PAYMENT
    assert ended.event_id != undone.event_id


def test_a_sale_that_the_scheme_rejects_later_is_undone():
    about = {"eventCode": "CAPTURE_FAILED", "originalReference": PAYMENT, "pspReference": MADE}

    (undone,) = PROVIDER.parse({}, notification(item(**about, merchantReference="txn_1-1")))

    assert (undone.event_type, undone.provider_txn_id) == ("payment.cancelled", PAYMENT)


@pytest.mark.parametrize(
    ("code", "success", "event_type"),
    [
        ("REFUND", "true", "refund.succeeded"),
        ("REFUND", "false", "refund.failed"),
        ("REFUND_WITH_DATA", "true", "refund.succeeded"),
        ("REFUND_FAILED", "true", "refund.failed"),
        ("REFUNDED_REVERSED", "true", "refund.failed"),
        ("REFUND_FAILED", "false", "REFUND_FAILED"),
    ],
)
def test_a_refund_is_told_by_an_id_of_its_own(code: str, success: str, event_type: str):
    event = modified(code, "txn_2-1.refund", success=success)

    assert event.event_type == event_type
    if event_type != code:
        assert (event.provider_txn_id, event.parent_txn_id) == (MADE, PAYMENT)
        assert (event.reference, event.amount) == ("txn_2-1", SUM)


@pytest.mark.parametrize(
    ("code", "event_type", "won"),
    [
        ("NOTIFICATION_OF_CHARGEBACK", "dispute.opened", None),
        ("CHARGEBACK", "dispute.opened", None),
        ("CHARGEBACK_REVERSED", "dispute.closed", True),
        ("PREARBITRATION_WON", "dispute.closed", True),
        ("SCHEME_ARBITRATION_WON", "dispute.closed", True),
        ("SECOND_CHARGEBACK", "dispute.closed", False),
        ("PREARBITRATION_LOST", "dispute.closed", False),
        ("SCHEME_ARBITRATION_LOST", "dispute.closed", False),
        ("DISPUTE_DEFENSE_PERIOD_ENDED", "dispute.closed", False),
    ],
)
def test_a_dispute_has_one_id_through_all_its_stages(
    code: str, event_type: str, *, won: bool | None
):
    event = modified(code, "txn_1-1")

    assert (event.event_type, event.dispute_won) == (event_type, won)
    assert (event.provider_txn_id, event.parent_txn_id) == (MADE, PAYMENT)


@pytest.mark.parametrize(
    ("code", "event_type", "reason"),
    [
        ("EXPIRE", "payment.expired", "authorization_expired"),
        ("OFFER_CLOSED", "payment.failed", "payment_expired"),
    ],
)
def test_what_nobody_acted_on_ends_by_itself(code: str, event_type: str, reason: str):
    event = parsed(eventCode=code)

    assert (event.event_type, event.reason) == (event_type, reason)
    assert (event.provider_txn_id, event.reference) == (PAYMENT, "txn_1-1")


@pytest.mark.parametrize("code", ["REPORT_AVAILABLE", "MANUAL_REVIEW_ACCEPT", "NEW_IN_2027"])
def test_what_is_not_about_our_money_keeps_its_name_and_moves_nothing(code: str):
    event = parsed(eventCode=code, pspReference="settlement_detail_report_batch_1.csv")

    assert (event.event_type, event.provider_txn_id) == (code, "")


def test_a_batch_gives_its_events_in_order_and_a_repetition_has_the_same_ids():
    body = notification(
        item(merchantReference="txn_1-1.hold"),
        item(eventCode="CAPTURE", pspReference=MADE, originalReference=PAYMENT),
        item(eventCode="CAPTURE", pspReference=MADE, originalReference=PAYMENT, success="false"),
    )

    events, again = PROVIDER.parse({}, body), PROVIDER.parse({}, body)

    assert [each.event_type for each in events][:2] == ["payment.authorized", "payment.succeeded"]
    assert [each.event_id for each in events] == [each.event_id for each in again]
    assert len({each.event_id for each in events}) == 3


def test_another_merchant_account_in_the_batch_refuses_all_of_it():
    body = notification(item(), item(merchantAccountCode="SomebodyElse"))

    with pytest.raises(AnotherAccount):
        PROVIDER.parse({}, body)


def test_a_notification_of_the_other_mode_is_refused():
    with pytest.raises(BodyInvalid, match="other mode"):
        PROVIDER.parse({}, notification(item(), live="true"))

    live = adyen_adapter("x", url="https://shop-checkout-live.adyenpayments.com/checkout/v72")
    assert len(live.parse({}, notification(item(), live="true"))) == 1
    with pytest.raises(BodyInvalid, match="other mode"):
        live.parse({}, notification(item()))


@pytest.mark.parametrize(
    "changes",
    [
        {"eventDate": "yesterday"},
        {"eventDate": "2026-01-01T01:00:00"},
        {"pspReference": ""},
        {"amount": {"value": 150, "currency": "ISK"}},
        {"amount": {"value": 150, "currency": "XXX"}},
    ],
)
def test_a_signed_item_that_makes_no_sense_is_refused_whole(changes: dict[str, Any]):
    with pytest.raises(BodyInvalid):
        PROVIDER.parse({}, notification(item(), item(**changes)))
