"""Payments over HTTP: making one, reading it, and what the answer looks like."""

from typing import Any

import msgspec
import pytest

from paygate_actors.messages import Failure, NextAction, PaymentView
from paygate_actors.money import Money
from paygate_actors.payment_methods import CardMethod, WalletMethod

NOW = "2026-01-15T10:30:00.000000Z"


async def test_a_payment_is_made_and_shown_as_the_contract_says(gateway: Any) -> None:
    body = gateway.card_payment(
        metadata={"orderID": "order123", "customerID": "customer456"},
        billingAddress={"country": "US", "state": "CA", "zipCode": "94105", "city": "SF"},
    )

    status, payment, headers = await gateway.pay(body)

    assert status == 201
    assert headers["Location"] == f"/api/payments/{payment['id']}"
    assert headers["X-Request-ID"] == "req_1"
    assert "Idempotent-Replayed" not in headers
    assert payment["id"] == payment["paymentID"]
    assert payment["transactionID"] == "txn_1"
    assert payment["status"] == "processing"
    assert payment["createdAt"] == NOW
    assert payment["processedAt"] is None
    assert payment["metadata"] == {"orderID": "order123", "customerID": "customer456"}
    assert payment["billingAddress"]["zipCode"] == "94105"
    assert payment["paymentMethod"]["last4"] == "4242"
    assert payment["livemode"] is False
    assert "4242424242424242" not in str(payment).replace(" ", "")


async def test_the_gateway_gets_the_command_that_was_meant(gateway: Any) -> None:
    body = gateway.card_payment(
        captureMethod="manual",
        description="Shoes",
        provider="sandbox",
        returnURL="https://shop.example/back?x=1",
        customerIP="2001:DB8::1",
        idempotencyKey="from the body",
    )

    await gateway.pay(body, headers={"Idempotency-Key": "from the header"})

    command, wait_s = gateway.front.commands[0]
    assert command.amount == Money(10_000, "USD")
    assert isinstance(command.method, CardMethod)
    assert command.method.card.reveal() == ("4242424242424242", "123")
    assert command.capture_method == "manual"
    assert command.return_url == "https://shop.example/back?x=1"
    assert command.customer_ip == "2001:db8::1"
    assert command.idempotency_key == "from the header"
    assert command.caller.merchant == "merchant_a"
    assert wait_s == 0


@pytest.mark.parametrize(
    ("text", "currency", "minor", "shown"),
    [
        (b"100.00", "USD", 10_000, b"100.00"),
        (b"100", "USD", 10_000, b"100.00"),
        (b"1e2", "USD", 10_000, b"100.00"),
        (b"0.29", "USD", 29, b"0.29"),
        (b"1.15", "USD", 115, b"1.15"),
        (b"500", "JPY", 500, b"500"),
        (b"1.234", "KWD", 1_234, b"1.234"),
        (b"99999999.99", "USD", 9_999_999_999, b"99999999.99"),
    ],
)
async def test_an_amount_goes_through_to_the_last_digit(
    gateway: Any, text: bytes, currency: str, minor: int, shown: bytes
) -> None:
    raw = b'{"amount":%s,"currency":"%s","paymentMethod":{"type":"wallet","walletID":"wallet_ok"}}'

    async with gateway.client.post(
        "/api/payments/process",
        data=raw % (text, currency.encode()),
        headers={**gateway.key("merchant_a"), "Content-Type": "application/json"},
    ) as response:
        answer = await response.read()

    assert response.status == 201, answer
    command, _ = gateway.front.commands[0]
    assert command.amount == Money(minor, currency)
    assert command.method == WalletMethod(wallet_id="wallet_ok")
    assert b'"amount":%s,' % shown in answer


async def test_a_repeated_request_says_so(gateway: Any) -> None:
    gateway.front.replayed = True

    status, _, headers = await gateway.pay()

    assert status == 201
    assert headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("prefer", "waited", "applied"),
    [
        ("wait=5", 5, "wait=5"),
        ("respond-async, wait=7", 7, "wait=7"),
        ("wait=3600", 30, "wait=30"),
        ('wait="4"', 4, "wait=4"),
        ("wait=0", 0, "wait=0"),
        ("wait=-1", 0, None),
        ("wait=soon", 0, None),
        ("wait=" + "9" * 5_000, 30, "wait=30"),
    ],
)
async def test_a_wait_is_kept_to_within_its_bounds(
    gateway: Any, prefer: str, waited: int, applied: str | None
) -> None:
    _, _, headers = await gateway.pay(headers={"Prefer": prefer})

    _, wait_s = gateway.front.commands[0]
    assert wait_s == waited
    assert headers.get("Preference-Applied") == applied


async def test_who_polls_hears_of_each_change_and_of_nothing_else(gateway: Any) -> None:
    kept: PaymentView = gateway.front.keep("merchant_a")
    path, views = f"/api/payments/{kept.id}", gateway.front.payments_by_id

    for changes in ({}, {"status": "success"}, {"amount_captured_minor": 1}, {"in_doubt": True}):
        views[kept.id] = msgspec.structs.replace(views[kept.id], **changes)
        seen = [(await gateway.ask("GET", path))[1] for _ in range(2)]
        listed = (await gateway.ask("GET", "/api/payments"))[1]["data"]

        # A list is rendered anew each time.
        assert seen == listed * 2


async def test_a_payment_is_read_with_everything_that_is_known_of_it(gateway: Any) -> None:
    kept: PaymentView = gateway.front.keep(
        "merchant_a",
        status="requires_action",
        provider="sandbox",
        provider_txn_id="ch_1",
        fraud_score_milli=200,
        risk_level="low",
        in_doubt=True,
        attention="amount_mismatch",
        next_action=NextAction(url="https://bank.example/3ds", expires_at_us=1_768_473_000_000_001),
        failure=Failure(code="card_declined", message="No.", decline_code="05", retryable=True),
        expected_by_us=0,
        processed_at_us=1_768_473_000_500_000,
    )

    status, payment, _ = await gateway.ask("GET", f"/api/payments/{kept.id}")

    assert status == 200
    assert payment["providerTxnID"] == "ch_1"
    assert payment["fraudScore"] == 0.2
    assert payment["riskLevel"] == "low"
    assert payment["inDoubt"] is True
    assert payment["attention"] == "amount_mismatch"
    assert payment["nextAction"] == {
        "type": "redirect",
        "url": "https://bank.example/3ds",
        "expiresAt": "2026-01-15T10:30:00.000001Z",
    }
    assert payment["failure"] == {
        "code": "card_declined",
        "message": "No.",
        "declineCode": "05",
        "retryable": True,
    }
    assert payment["expectedBy"] == "1970-01-01T00:00:00.000000Z"
    assert payment["processedAt"] == "2026-01-15T10:30:00.500000Z"


async def test_every_sum_is_shown_under_its_own_name(gateway: Any) -> None:
    kept = gateway.front.keep(
        "merchant_a",
        amount_minor=1_00,
        amount_authorized_minor=2_00,
        amount_captured_minor=3_00,
        amount_released_minor=4_00,
        amount_refunded_minor=5_00,
        amount_returned_minor=6_00,
        amount_disputed_minor=7_00,
    )

    _, payment, _ = await gateway.ask("GET", f"/api/payments/{kept.id}")

    names = ("", "Authorized", "Captured", "Released", "Refunded", "Returned", "Disputed")
    assert [payment[f"amount{name}"] for name in names] == [1, 2, 3, 4, 5, 6, 7]


async def test_events_speak_the_wires_language(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a", currency="KWD", amount_minor=1_234)

    async with gateway.client.get(
        f"/api/payments/{kept.id}/events", headers=gateway.key("merchant_a")
    ) as response:
        text = await response.read()

    assert b'"amount":1.234' in text
    assert b'"amount":5,' in text
    assert b'"score":0.2' in text
    assert b'"expiresAt":"2026-01-15T10:30:00.000000Z"' in text
    assert b'"providerTxnID":"ch_1"' in text
    assert b'"order_id":"kept as it is"' in text
    assert text.startswith(b'{"data":[{"seq":1,"type":"created","at":')


async def test_a_list_pages_newest_first(gateway: Any) -> None:
    for _ in range(3):
        gateway.front.keep("merchant_a")
    gateway.front.keep("merchant_b")

    status, page, _ = await gateway.ask("GET", "/api/payments?limit=2")

    assert status == 200
    assert [each["id"] for each in page["data"]] == ["pay_3", "pay_2"]
    assert page["hasMore"] is True
    assert page["nextCursor"] == "next"


async def test_head_answers_as_get_does_without_a_body(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")

    async with gateway.client.head(
        f"/api/payments/{kept.id}", headers=gateway.key("merchant_a")
    ) as response:
        body = await response.read()

    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 100
    assert body == b""
