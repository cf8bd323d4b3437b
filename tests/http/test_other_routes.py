"""Operations, transactions, providers, fraud checks, webhooks and the filters of lists."""

from typing import Any

import pytest

from paygate_actors.messages import (
    CapturePayment,
    Filters,
    RefundPayment,
    Refusal,
    ReversePayment,
    ReviewPayment,
    SetTransactionStatus,
)


@pytest.mark.parametrize("operation", ["capture", "refund", "reverse"])
async def test_an_empty_body_needs_no_type(gateway: Any, operation: str) -> None:
    kept = gateway.front.keep("merchant_a")

    status, made, headers = await gateway.ask("POST", f"/api/payments/{kept.id}/{operation}")

    assert status == 201
    assert made["type"] == operation
    assert made["status"] == "pending"
    assert made["paymentID"] == kept.id
    assert headers["Location"] == f"/api/transactions/{made['id']}"


async def test_operations_say_what_was_meant(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a", currency="KWD", amount_minor=5_000)
    path = f"/api/payments/{kept.id}"
    key = {"Idempotency-Key": "k"}

    await gateway.ask("POST", f"{path}/capture", json={"amount": 1.234}, headers=key)
    await gateway.ask("POST", f"{path}/refund", json={"amount": 1, "reason": "Broken."})
    await gateway.ask("POST", f"{path}/reverse", json={"orRefund": True, "idempotencyKey": "r"})
    await gateway.ask(
        "POST",
        f"{path}/review",
        key="operator",
        json={"decision": "decline", "note": "Stolen."},
    )

    capture, refund, reverse, review = gateway.front.commands
    caller = capture.caller
    assert caller.merchant == "merchant_a"
    assert capture == CapturePayment(
        caller=caller, payment_id=kept.id, amount_minor=1_234, idempotency_key="k"
    )
    assert refund == RefundPayment(
        caller=caller, payment_id=kept.id, amount_minor=1_000, reason="Broken."
    )
    assert reverse == ReversePayment(
        caller=caller, payment_id=kept.id, or_refund=True, idempotency_key="r"
    )
    assert review == ReviewPayment(
        caller=review.caller, payment_id=kept.id, decision="decline", note="Stolen."
    )
    assert review.caller.role == "operator"


@pytest.mark.parametrize("operation", ["capture", "refund", "reverse"])
async def test_an_operation_may_be_waited_for(gateway: Any, operation: str) -> None:
    kept = gateway.front.keep("merchant_a")
    path = f"/api/payments/{kept.id}/{operation}"

    _, _, waited = await gateway.ask("POST", path, headers={"Prefer": "wait=99"})
    _, _, at_once = await gateway.ask("POST", path)

    assert gateway.front.waits == [30, 0]
    assert waited["Preference-Applied"] == "wait=30"
    assert "Preference-Applied" not in at_once


async def test_a_null_amount_is_none(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")

    status, _, _ = await gateway.ask(
        "POST", f"/api/payments/{kept.id}/refund", json={"amount": None}
    )

    assert status == 201
    assert gateway.front.commands[0].amount_minor is None


async def test_a_body_without_a_type_is_415_where_an_empty_one_is_not(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")

    status, problem, _ = await gateway.ask(
        "POST", f"/api/payments/{kept.id}/refund", data=b"{}", headers={"Content-Type": "text/x"}
    )

    assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_transactions_status_is_set_by_the_operator_who_asked(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")

    status, shown, _ = await gateway.ask(
        "POST",
        f"/api/transactions/{kept.transaction_id}/status",
        key="operator",
        json={"status": "failed", "reason": "Seen at the bank.", "force": True},
    )

    (command,) = gateway.front.commands
    assert (status, shown["id"]) == (200, kept.transaction_id)
    assert command == SetTransactionStatus(
        caller=command.caller,
        transaction_id=kept.transaction_id,
        status="failed",
        reason="Seen at the bank.",
        force=True,
    )
    assert command.caller.key_id == "key_sandbox_operator"


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/api/transactions/{}/status", {}, ["/status", "/reason"]),
        ("/api/transactions/{}/status", {"status": "pending", "reason": 1}, ["/status", "/reason"]),
        ("/api/payments/{}/review", {"note": "n"}, ["/decision"]),
        (
            "/api/payments/{}/review",
            {"decision": "maybe", "note": "x" * 501},
            ["/decision", "/note"],
        ),
        ("/api/providers/{}", {"isActive": "no"}, ["/isActive"]),
    ],
)
async def test_operators_requests_are_checked_too(
    gateway: Any, path: str, body: Any, pointers: list[str]
) -> None:
    kept = gateway.front.keep("merchant_a")
    names = {"review": kept.id, "status": kept.transaction_id}
    path = path.format(names.get(path.rpartition("/")[2], "sandbox"))

    status, problem, _ = await gateway.ask("POST", path, key="operator", json=body)

    assert status == 422
    assert sorted(fault["pointer"] for fault in problem["errors"]) == sorted(pointers)
    assert gateway.front.commands == []


async def test_providers_are_shown_with_their_health(gateway: Any) -> None:
    status, shown, _ = await gateway.ask("GET", "/api/providers")

    assert status == 200
    assert shown["data"] == [
        {
            "id": "sandbox",
            "name": "Sandbox",
            "type": "sandbox",
            "isActive": True,
            "acceptsCharges": True,
            "priority": 1,
            "config": {"url": "http://127.0.0.1"},
            "circuit": "closed",
            "successRate": None,
            "p99LatencyMs": None,
            "weight": 1,
            "concurrency": 1,
            "callsRunning": 0,
            "callsWaiting": 0,
            "quietMs": 0,
            "repeatsLeft": 0,
            "circuits": [],
            "createdAt": "2026-01-15T10:30:00.000000Z",
        }
    ]


async def test_a_switch_that_is_left_out_stays_as_it_is(gateway: Any) -> None:
    path = "/api/providers/sandbox"

    _, shown, _ = await gateway.ask("POST", path, key="operator", json={"acceptsCharges": False})

    assert gateway.front.commands == [("sandbox", None, False)]
    assert (shown["isActive"], shown["acceptsCharges"]) == (True, False)


async def test_an_unknown_provider_cannot_be_switched(gateway: Any) -> None:
    status, problem, _ = await gateway.ask(
        "POST", "/api/providers/nobody", key="operator", json={"isActive": False}
    )

    assert (status, problem["code"]) == (404, "provider_not_found")
    assert gateway.front.commands == []


async def test_a_fraud_check_scores_what_would_be_refused(gateway: Any) -> None:
    body = gateway.card_payment(
        amount=100_000_000, metadata={"customerID": "c"}, customerIP="10.0.0.1"
    )
    body["paymentMethod"] |= {
        "cardNumber": "4242424242424241",
        "expiryMonth": 12,
        "expiryYear": 2025,
        "cvv": "x",
        "holderName": "?",
    }

    status, check, _ = await gateway.ask("POST", "/api/fraud/check", json=body)

    (request,) = gateway.front.commands
    assert status == 200
    assert check == {
        "transactionID": None,
        "score": 0.3,
        "riskLevel": "medium",
        "factors": ["high_amount"],
        "blocked": False,
        "staticOnly": False,
        "createdAt": "2026-01-15T10:30:00.000000Z",
    }
    assert (request.has_card, request.number_valid, request.expired) == (True, False, True)
    assert (request.fingerprint, request.merchant) == (None, "merchant_a")
    assert (request.customer_id, request.customer_ip) == ("c", "10.0.0.1")


async def test_card_rules_do_not_touch_a_wallet(gateway: Any) -> None:
    body = gateway.card_payment(paymentMethod={"type": "wallet", "walletID": "w"})

    await gateway.ask("POST", "/api/fraud/check", json=body)

    (request,) = gateway.front.commands
    assert (request.has_card, request.expired, request.fingerprint) == (False, False, None)


async def test_a_provider_s_token_is_scored_by_its_fingerprint(gateway: Any) -> None:
    method = {"type": "provider_token", "provider": "stripe", "token": "pm_1"}

    await gateway.ask("POST", "/api/fraud/check", json=gateway.card_payment(paymentMethod=method))

    (request,) = gateway.front.commands
    assert (request.has_card, request.expired) == (False, False)
    assert request.fingerprint == "fingerprint at stripe"


async def test_a_good_card_is_scored_by_its_fingerprint(gateway: Any) -> None:
    await gateway.ask("POST", "/api/fraud/check", json=gateway.card_payment())

    (request,) = gateway.front.commands
    assert (request.number_valid, request.expired) == (True, False)
    assert request.fingerprint == "fingerprint of 4242"


@pytest.mark.parametrize("field", ["amount", "currency", "paymentMethod"])
async def test_a_fraud_check_still_needs_a_payment(gateway: Any, field: str) -> None:
    body = gateway.card_payment()
    del body[field]

    status, problem, _ = await gateway.ask("POST", "/api/fraud/check", json=body)

    assert status == 422
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/{field}"]


@pytest.mark.parametrize("path", ["/api/webhooks/sandbox", "/api/providers/sandbox/webhook"])
async def test_a_webhook_goes_on_byte_by_byte(gateway: Any, path: str) -> None:
    body = b' {"a": 1.0 }\n\xff'
    headers = {"Webhook-ID": "evt_1", "Content-Type": "text/plain"}

    status, answer, _ = await gateway.ask("POST", path, key=None, data=body, headers=headers)

    ((provider_id, seen, raw),) = gateway.front.commands
    assert (status, answer) == (200, {"received": True})
    assert (provider_id, raw) == ("sandbox", body)
    assert seen["webhook-id"] == "evt_1"


async def test_of_a_webhooks_repeated_header_the_first_counts(gateway: Any) -> None:
    headers = [("Webhook-Signature", "first"), ("Webhook-Signature", "second")]

    async with gateway.client.post("/api/webhooks/sandbox", data=b"{}", headers=headers) as answer:
        await answer.read()

    ((_, seen, _),) = gateway.front.commands
    assert seen["webhook-signature"] == "first"


async def test_a_refused_webhook_gets_its_problem(gateway: Any) -> None:
    gateway.front.refusal = Refusal(code="signature_invalid", detail="Not signed by them.")

    status, problem, headers = await gateway.ask(
        "POST", "/api/webhooks/sandbox", key=None, data=b"{}"
    )

    assert (status, problem["code"]) == (401, "signature_invalid")
    assert headers["WWW-Authenticate"].startswith("Signature")


async def test_a_webhook_above_64_kib_is_413(gateway: Any) -> None:
    status, problem, _ = await gateway.ask(
        "POST", "/api/webhooks/sandbox", key=None, data=b"x" * 65_537
    )

    assert (status, problem["code"]) == (413, "body_too_large")
    assert gateway.front.commands == []


async def test_filters_are_read_to_the_microsecond(gateway: Any) -> None:
    query = {
        "status": "success",
        "provider": "sandbox",
        "customerID": "c",
        "orderID": "o",
        "from": "2026-01-15T10:30:00.000001Z",
        "to": "2026-01-15T12:30:00+02:00",
        "limit": "100",
        "cursor": "abc",
        "unknown": "ignored",
    }

    await gateway.ask("GET", "/api/payments", params=query)

    assert gateway.front.commands == [
        Filters(
            status="success",
            provider="sandbox",
            customer_id="c",
            order_id="o",
            from_us=1_768_473_000_000_001,
            to_us=1_768_473_000_000_000,
            limit=100,
            cursor="abc",
        )
    ]


async def test_transactions_have_filters_of_their_own(gateway: Any) -> None:
    query = {"paymentID": "pay_1", "type": "refund", "status": "pending", "currency": "KWD"}

    await gateway.ask("GET", "/api/transactions", params=query)

    assert gateway.front.commands == [
        Filters(payment_id="pay_1", type="refund", status="pending", currency="KWD")
    ]


@pytest.mark.parametrize(
    ("path", "query", "names"),
    [
        ("payments", "limit=0", ["limit"]),
        ("payments", "limit=101", ["limit"]),
        ("payments", "limit=-1", ["limit"]),
        ("payments", "limit=1.5", ["limit"]),
        ("payments", "limit=%D9%A3", ["limit"]),
        ("payments", "limit=", ["limit"]),
        ("payments", "limit=1&limit=2", ["limit"]),
        ("payments", "status=paid", ["status"]),
        ("payments", "status=", ["status"]),
        ("payments", "from=yesterday", ["from"]),
        ("payments", "from=2026-01-15", ["from"]),
        ("payments", "from=2026-01-15T10:30:00", ["from"]),
        ("payments", "to=2026-13-15T10:30:00Z", ["to"]),
        ("payments", "to=2026-01-15T10:30:00.0000001Z", ["to"]),
        ("payments", "cursor=", ["cursor"]),
        ("payments", "cursor=" + "x" * 1_025, ["cursor"]),
        ("payments", "orderID=" + "x" * 501, ["orderID"]),
        ("payments", "customerID=%00", ["customerID"]),
        ("payments", "limit=x&status=y&from=z", ["status", "from", "limit"]),
        ("transactions", "type=sale", ["type"]),
        ("transactions", "status=processing", ["status"]),
        ("transactions", "currency=usd", ["currency"]),
    ],
)
async def test_a_bad_filter_is_422_and_named(
    gateway: Any, path: str, query: str, names: list[str]
) -> None:
    status, problem, _ = await gateway.ask("GET", f"/api/{path}?{query}")

    assert (status, problem["code"]) == (422, "validation_failed")
    assert [fault["parameter"] for fault in problem["errors"]] == names
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/{name}" for name in names]
    assert gateway.front.commands == []


async def test_a_cursor_that_the_gateway_refuses_is_422(gateway: Any) -> None:
    gateway.front.refusal = Refusal(code="validation_failed", detail="No cursor of ours.")

    status, problem, _ = await gateway.ask("GET", "/api/payments?cursor=abc")

    assert (status, problem["detail"]) == (422, "No cursor of ours.")
