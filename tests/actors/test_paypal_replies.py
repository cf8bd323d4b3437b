"""PayPal's adapter before strangers: errors of every kind, answers to something else, noise."""

import asyncio
import json
from typing import Any

import pytest
from paypal_rig import amount, capture, order, paypal_adapter, refund, trouble
from provider_suite import SUM, charge_call
from sandbox_rig import APPROVED
from stranger_rig import adapter_of_stranger, answer, read_request

from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.base import FollowUpCall
from paygate_actors.providers.paypal import PayPalProvider

CALL = charge_call(APPROVED, "txn_1-1")
FOLLOW = FollowUpCall(key="txn_2-1", provider_txn_id="ORDER1", amount=SUM)
TOKEN = {"access_token": "t", "expires_in": 32_400}
UNPAID = order(status="CREATED", payments={})
HELD = order(payments={"authorizations": [capture(id="AUTH1", status="CREATED")]})


def said(content: object, status: int = 200) -> bytes:
    return answer(status, json.dumps(content).encode())


def refused(*issues: str, status: int = 422, **more: Any) -> bytes:
    return said(trouble(*issues, **more), status)


class Scripted:
    """A stranger that answers by method and the end of the path, and keeps what it was sent.

    An answer may be a list: one for each time that it is asked for, the last one for ever.
    """

    def __init__(self, **answers: bytes | list[bytes]) -> None:
        self.heads: list[bytes] = []
        self._answers: dict[str, list[bytes]] = {
            "orders": [said(UNPAID, 201)],
            "token": [said(TOKEN)],
        }
        for name, raw in answers.items():
            self._answers[name] = raw if isinstance(raw, list) else [raw]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        method, path = head.decode().split(" ", 2)[:2]
        end = path.rpartition("/")[2]
        name = "read" if method == "GET" else "change" if method == "PATCH" else end
        name = "read_refund" if "/refunds/" in path else name
        if name != "token":
            self.heads.append(head)
        left = self._answers[name]
        raw = left.pop(0) if len(left) > 1 else left[0]
        # One request a connection: the next one opens another.
        writer.write(raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await writer.drain()

    def header(self, name: str) -> list[str]:
        found: list[str] = []
        for head in self.heads:
            lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            found.append(lines.get(name.encode(), b"").decode())
        return found


async def confirmed(raw: bytes | list[bytes], **more: bytes | list[bytes]) -> Outcome:
    """What a charge comes to whose confirmation is answered so."""
    script = Scripted(capture=raw, **more)
    async with adapter_of_stranger(script.serve, paypal_adapter) as provider:
        return await provider.charge(CALL)


async def followed(
    operation: str, standing: dict[str, Any], **answers: bytes | list[bytes]
) -> Outcome:
    script = Scripted(read=said(standing), **answers)
    async with adapter_of_stranger(script.serve, paypal_adapter) as provider:
        return await getattr(provider, operation)(FOLLOW)


async def found(standing: bytes, key: str = "txn_1-1", **answers: bytes) -> Outcome:
    script = Scripted(read=standing, **{"read_refund": refused(status=404), **answers})
    async with adapter_of_stranger(script.serve, paypal_adapter) as provider:
        return await provider.find(key, "ORDER1")


async def test_every_request_carries_the_id_of_its_step_and_wants_the_whole_answer():
    script = Scripted(capture=said(order(), 201))
    async with adapter_of_stranger(script.serve, paypal_adapter) as provider:
        await provider.charge(CALL)

    assert script.header("PayPal-Request-Id") == ["txn_1-1-prepare", "txn_1-1"]
    assert set(script.header("Prefer")) == {"return=representation"}
    assert set(script.header("Authorization")) == {"Bearer t"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Approved(provider_txn_id="ORDER1", amount=SUM, captured=True)),
        ({"status": "PENDING"}, Pending(provider_txn_id="ORDER1")),
        (
            {"amount": amount("9.99")},
            Approved(provider_txn_id="ORDER1", amount=Money(999, "USD"), captured=True),
        ),
        (
            {"amount": amount("10.00", "EUR")},
            Approved(provider_txn_id="ORDER1", amount=Money(1_000, "EUR"), captured=True),
        ),
        (
            {"network_transaction_reference": {"id": "123456789"}},
            Approved(
                provider_txn_id="ORDER1",
                amount=SUM,
                captured=True,
                network_txn_id="123456789",
            ),
        ),
    ],
)
async def test_a_capture_is_taken_as_it_says(changes: dict[str, Any], expected: Outcome):
    assert await confirmed(said(order(payments={"captures": [capture(**changes)]}))) == expected


@pytest.mark.parametrize(
    ("status", "authentication"), [("Y", "challenge"), ("A", "attempted"), ("U", None)]
)
async def test_how_the_payer_proved_himself_is_handed_on(status: str, authentication: str | None):
    result = {"three_d_secure": {"authentication_status": status}}
    source = {"card": {"authentication_result": result}}

    outcome = await confirmed(said(order(payment_source=source)))

    assert isinstance(outcome, Approved)
    assert outcome.authentication == authentication


async def test_a_declined_capture_is_a_conclusive_no_in_our_words():
    declined = capture(status="DECLINED", processor_response={"response_code": "5120"})

    outcome = await confirmed(said(order(payments={"captures": [declined]}), 201))

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.decline_code, outcome.retryable, outcome.conclusive) == (
        "insufficient_funds",
        "5120",
        False,
        True,
    )


@pytest.mark.parametrize(
    "raw",
    [
        said(order(id="OTHER")),
        said(order(custom_id="txn_9-1")),
        said(order(payments={})),
        said(order(purchase_units=[])),
        said(order(payments={"captures": [capture(status="SOMETHING")]})),
        said(order(payments={"captures": [capture(amount=amount("-1.00"))]})),
        said(order(payments={"captures": [capture(amount=amount("1.00", "XXX"))]})),
        answer(200, b"<html>"),
        answer(200, b"{" * 5_000),
        answer(200, b'{"id":NaN}'),
        answer(204, b""),
        answer(302, b"", b"Location: http://127.0.0.1:9/"),
        answer(422, b"<html>"),
        answer(422, b"{}"),
    ],
)
async def test_an_answer_about_something_else_is_not_known(raw: bytes):
    outcome = await confirmed(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


async def test_ten_megabytes_are_not_read():
    outcome = await confirmed(answer(200, b" " * 10_000_000))

    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (refused("DUPLICATE_INVOICE_ID"), "key_known"),
        (refused("PREVIOUS_REQUEST_IN_PROGRESS", status=409), "in_progress"),
        (refused("ORDER_COMPLETION_IN_PROGRESS"), "in_progress"),
        (refused(status=500), "server_error"),
        (answer(503, b""), "server_error"),
    ],
)
async def test_what_proves_nothing_is_not_known(raw: bytes, reason: str):
    outcome = await confirmed(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == reason


@pytest.mark.parametrize(
    ("raw", "code", "retryable", "conclusive"),
    [
        (refused("INSTRUMENT_DECLINED"), "card_declined", False, True),
        (refused("TRANSACTION_REFUSED"), "blocked_by_provider", False, True),
        (refused("CARD_EXPIRED"), "expired_card", False, True),
        (refused("ORDER_EXPIRED"), "payment_expired", False, True),
        (refused("PAYEE_ACCOUNT_RESTRICTED"), "merchant_not_permitted", True, False),
        (refused("MISSING_PREVIOUS_REFERENCE"), "provider_refused", True, False),
        (refused("INVALID_RESOURCE_ID", status=404), "provider_refused", True, False),
        (refused("PERMISSION_DENIED", status=403), "merchant_not_permitted", True, False),
        (
            refused("INVALID_PARAMETER_SYNTAX", status=400, name="INVALID_REQUEST"),
            "provider_refused",
            True,
            False,
        ),
        (refused(status=429, name="RATE_LIMIT_REACHED"), "too_many_requests", True, False),
    ],
)
async def test_a_refused_confirmation_is_a_no_of_its_kind(
    raw: bytes, code: str, *, retryable: bool, conclusive: bool
):
    outcome = await confirmed(raw)

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable, outcome.conclusive) == (code, retryable, conclusive)


async def test_an_order_that_was_paid_before_is_read_as_it_is():
    outcome = await confirmed(refused("ORDER_ALREADY_CAPTURED"), read=said(order()))

    assert outcome == Approved(provider_txn_id="ORDER1", amount=SUM, captured=True)


async def test_an_order_that_is_called_paid_and_does_not_look_so_is_not_known():
    outcome = await confirmed(refused("ORDER_ALREADY_CAPTURED"), read=said(UNPAID))

    assert isinstance(outcome, Unknown)
    assert outcome.reason == "garbage"


async def test_a_payer_who_is_wanted_is_sent_where_the_order_says():
    link = {"href": "https://www.paypal.com/checkoutnow?token=ORDER1", "rel": "payer-action"}
    asked = order(status="PAYER_ACTION_REQUIRED", payments={}, links=[link])

    outcome = await confirmed(refused("PAYER_ACTION_REQUIRED"), read=said(asked))

    assert isinstance(outcome, ActionRequired)
    assert outcome.url == link["href"]
    assert outcome.expires_at_us == (1_767_225_600 + 3 * 3_600) * 1_000_000


async def test_a_link_that_is_no_web_address_is_not_handed_to_a_payer():
    link = {"href": "javascript:alert(1)", "rel": "payer-action"}
    asked = order(status="PAYER_ACTION_REQUIRED", payments={}, links=[link])

    outcome = await confirmed(refused("PAYER_ACTION_REQUIRED"), read=said(asked))

    assert isinstance(outcome, Unknown)


async def test_what_the_payer_approved_is_taken_under_another_id_if_the_first_says_no():
    approved = order(status="APPROVED", payments={})
    no = refused("PAYER_ACTION_REQUIRED")
    script = Scripted(capture=[no, no, said(order(), 201)], read=said(approved))
    async with adapter_of_stranger(script.serve, paypal_adapter) as provider:
        outcome = await provider.charge(CALL)

    assert isinstance(outcome, Approved)
    assert script.header("PayPal-Request-Id") == [
        "txn_1-1-prepare",
        "txn_1-1",
        "",
        "txn_1-1",
        "txn_1-1-approved",
    ]


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        (order(), "already_settled"),
        (order(payments={"captures": [capture(status="DECLINED")]}), "charge_failed"),
        (HELD | {"purchase_units": [{"payments": {"authorizations": [capture(status="DENIED")]}}]},
         "charge_failed"),
    ],
)  # fmt: skip
async def test_a_void_of_what_is_no_hold_is_a_no_at_once(standing: dict[str, Any], code: str):
    outcome = await followed("void", standing)

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == (code, True)


@pytest.mark.parametrize(
    "raw", [answer(204, b""), said({**capture(id="AUTH1"), "status": "VOIDED"}),
            refused("PREVIOUSLY_VOIDED")]
)  # fmt: skip
async def test_a_void_that_was_done_is_done_whoever_did_it(raw: bytes):
    assert await followed("void", HELD, void=raw) == Approved(provider_txn_id="ORDER1", amount=SUM)


async def test_an_order_that_cannot_be_changed_now_is_no_proof_that_it_was_given_up():
    outcome = await followed("void", UNPAID, change=refused("ORDER_ALREADY_COMPLETED"))

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("operation_pending", False)


@pytest.mark.parametrize(
    ("operation", "standing", "issue", "code"),
    [
        ("capture", HELD, "AUTHORIZATION_VOIDED", "charge_cancelled"),
        ("capture", HELD, "AUTHORIZATION_EXPIRED", "authorization_expired"),
        ("capture", HELD, "MAX_CAPTURE_AMOUNT_EXCEEDED", "amount_too_large"),
        ("capture", HELD, "TRANSACTION_REFUSED", "blocked_by_provider"),
        ("refund", order(), "REFUND_AMOUNT_EXCEEDED", "amount_too_large"),
        ("refund", order(), "CAPTURE_FULLY_REFUNDED", "charge_refunded"),
        ("refund", order(), "TRANSACTION_DISPUTED", "charge_disputed"),
        ("void", HELD, "PREVIOUSLY_CAPTURED", "already_settled"),
    ],
)
async def test_a_follow_up_that_the_state_forbids_is_a_conclusive_no(
    operation: str, standing: dict[str, Any], issue: str, code: str
):
    outcome = await followed(operation, standing, **{operation: refused(issue)})

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.decline_code, outcome.conclusive) == (code, issue, True)


@pytest.mark.parametrize("operation", ["capture", "void", "refund"])
async def test_a_follow_up_whose_order_cannot_be_read_has_asked_for_nothing(operation: str):
    for raw in (answer(500, b""), answer(200, b"<html>"), said(order(id="OTHER"))):
        script = Scripted(read=raw)
        async with adapter_of_stranger(script.serve, paypal_adapter) as provider:
            outcome = await getattr(provider, operation)(FOLLOW)

        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.conclusive) == ("not_sent", False)
        assert len(script.heads) == 1


async def test_a_refund_of_somebody_elses_is_not_taken_for_ours():
    other = said(refund(custom_id="txn_9-1", invoice_id="txn_9-1"), 201)

    outcome = await followed("refund", order(), refund=other)

    assert isinstance(outcome, Unknown)


async def test_a_capture_of_another_order_is_not_taken_for_ours():
    related = {"related_ids": {"order_id": "OTHER"}}
    other = said(capture(invoice_id="txn_2-1", supplementary_data=related), 201)

    outcome = await followed("capture", HELD, capture=other)

    assert isinstance(outcome, Unknown)


async def test_an_order_shows_each_of_its_calls_by_its_own_key():
    taken = capture(id="CAP2", invoice_id="txn_3-1", amount=amount("4.00"))
    standing = order(
        payments={
            "authorizations": [capture(id="AUTH1", status="CAPTURED")],
            "captures": [taken],
            "refunds": [refund()],
        }
    )

    charge = await found(said(standing))
    captured = await found(said(standing), "txn_3-1")
    back = await found(said(standing), "txn_2-1")
    nobodys = await found(said(standing), "txn_9-1")

    four = Approved(provider_txn_id="ORDER1", amount=Money(400, "USD"), captured=True)
    assert charge == captured == four
    assert back == Approved(provider_txn_id="REFUND1", amount=Money(250, "USD"))
    assert nobodys == Unknown(reason="not_visible")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (refused(status=404), "not_visible"),
        (refused(status=403), "garbage"),
        (answer(500, b""), "server_error"),
        (refused(status=429), "server_error"),
        (answer(200, b"["), "garbage"),
    ],
)
async def test_a_look_up_that_fails_says_nothing(raw: bytes, reason: str):
    outcome = await found(raw)

    assert isinstance(outcome, Unknown)
    assert outcome.reason == reason


async def test_a_wrong_url_or_credential_is_refused_at_once():
    for changes in (
        {"client_id": ""},
        {"client_id": "a:b"},
        {"secret": " "},
        {"webhook_id": ""},
        {"webhook_id": "a|b"},
    ):
        with pytest.raises(ValueError, match="PayPal"):
            paypal_adapter("https://api-m.paypal.com", **changes)
    for url in ("http://api-m.paypal.com", "https://u:p@api-m.paypal.com", "api-m.paypal.com"):
        with pytest.raises(ValueError, match=r"url|https"):
            paypal_adapter(url)
    assert isinstance(paypal_adapter("https://api-m.paypal.com"), PayPalProvider)
