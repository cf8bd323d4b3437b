"""What bad input gets: a clear problem that names every fault, and nothing done."""

import json
from typing import Any

import pytest
from yarl import URL

PATH = "/api/payments/process"
PAN = "4000000000000002"


async def send(gateway: Any, body: bytes, **headers: str) -> tuple[int, Any, Any]:
    given = {"Content-Type": "application/json", **headers}
    return await gateway.ask("POST", PATH, data=body, headers=given)


def faults_of(problem: Any) -> dict[str, str]:
    return {fault["pointer"]: fault["code"] for fault in problem["errors"]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"amount": 1.00, "currency": "USD"',
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": -Infinity}',
        b'{"unknown": NaN}',
        b'{"amount": 01}',
        b'{"amount": 1.}',
        b'{"amount": +1}',
        b"{'amount': 1}",
        b'{"currency": "\\ud800"}',
        b'{"unknown": "\\udc00"}',
        b'{"unknown": "\xff"}',
        b'{"currency": "\xc0\xaf"}',
        b'{"currency": "US\x00D"}',
        b"{} trailing",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        b'{"unknown": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 60_000,
        b"[1",
        b'{"amount": 1, "currency": 7, "x": tru}',
    ],
)
async def test_what_is_no_json_is_400(gateway: Any, body: bytes) -> None:
    status, problem, headers = await send(gateway, body)

    assert (status, problem["code"]) == (400, "malformed_json")
    assert headers["Content-Type"] == "application/problem+json"
    assert gateway.front.commands == []


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"true"])
async def test_a_body_that_is_no_object_is_422_at_its_root(gateway: Any, body: bytes) -> None:
    status, problem, _ = await send(gateway, body)

    assert status == 422
    assert faults_of(problem)[""] == "invalid_type"


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"amount": "100.00"}, {"/amount": "amount_not_a_number"}),
        ({"amount": None}, {"/amount": "amount_not_a_number"}),
        ({"amount": True}, {"/amount": "amount_not_a_number"}),
        ({"amount": [1]}, {"/amount": "amount_not_a_number"}),
        ({"amount": 0}, {"/amount": "amount_not_positive"}),
        ({"amount": -1}, {"/amount": "amount_not_positive"}),
        ({"amount": 0.001}, {"/amount": "amount_too_precise"}),
        ({"amount": 1.5, "currency": "JPY"}, {"/amount": "amount_too_precise"}),
        ({"amount": 1e300}, {"/amount": "amount_too_large"}),
        ({"amount": 100_000_000}, {"/amount": "amount_too_large"}),
        ({"currency": "usd"}, {"/currency": "unknown_currency"}),
        ({"currency": "ZZZ"}, {"/currency": "unknown_currency"}),
        ({"currency": 840}, {"/currency": "invalid_type"}),
        (
            {"currency": "ZZZ", "amount": 0},
            {"/currency": "unknown_currency", "/amount": "amount_not_positive"},
        ),
        ({"paymentMethod": "card"}, {"/paymentMethod": "invalid_type"}),
        ({"paymentMethod": None}, {"/paymentMethod": "required"}),
        ({"paymentMethod": {}}, {"/paymentMethod/type": "required"}),
        ({"paymentMethod": {"type": "cash"}}, {"/paymentMethod/type": "invalid_value"}),
        ({"paymentMethod": {"type": "wallet"}}, {"/paymentMethod/walletID": "required"}),
        ({"paymentMethod": {"type": "token"}}, {"/paymentMethod/token": "required"}),
        (
            {"paymentMethod": {"type": "card"}},
            {
                "/paymentMethod/cardNumber": "required",
                "/paymentMethod/expiryMonth": "required",
                "/paymentMethod/expiryYear": "required",
            },
        ),
        ({"billingAddress": {}}, {"/billingAddress/country": "required"}),
        ({"billingAddress": {"country": "USA"}}, {"/billingAddress/country": "invalid_value"}),
        ({"billingAddress": {"country": "XX"}}, {"/billingAddress/country": "invalid_country"}),
        ({"metadata": []}, {"/metadata": "invalid_type"}),
        (
            {"metadata": {"a": 1, "b": "fine", "c/~": None}},
            {"/metadata/a": "invalid_type", "/metadata/c~1~0": "invalid_type"},
        ),
        ({"metadata": {f"key{i}": "v" for i in range(51)}}, {"/metadata": "metadata_too_many"}),
        ({"metadata": {"k": "v" * 501}}, {"/metadata/k": "metadata_too_long"}),
        ({"metadata": {"k" * 41: "v"}}, {"/metadata": "metadata_key_length"}),
        ({"metadata": {"orderID": PAN}}, {"/metadata/orderID": "card_number_in_text"}),
        ({"metadata": {PAN: "x"}}, {"/metadata": "card_number_in_text"}),
        ({"description": f"card {PAN}"}, {"/description": "card_number_in_text"}),
        ({"description": "a\x00b"}, {"/description": "control_character"}),
        ({"captureMethod": "later"}, {"/captureMethod": "invalid_value"}),
        ({"idempotencyKey": ""}, {"/idempotencyKey": "invalid_idempotency_key"}),
        ({"idempotencyKey": "k" * 256}, {"/idempotencyKey": "invalid_idempotency_key"}),
        ({"idempotencyKey": "café"}, {"/idempotencyKey": "invalid_idempotency_key"}),
        ({"idempotencyKey": 7}, {"/idempotencyKey": "invalid_type"}),
        ({"returnURL": "javascript:alert(1)"}, {"/returnURL": "invalid_url"}),
        ({"returnURL": "/back"}, {"/returnURL": "invalid_url"}),
        ({"returnURL": "https://user@shop.example/"}, {"/returnURL": "invalid_url"}),
        ({"returnURL": "http://[::1"}, {"/returnURL": "invalid_url"}),
        ({"customerIP": "300.1.1.1"}, {"/customerIP": "invalid_ip"}),
    ],
)
async def test_a_fault_is_422_with_a_pointer_to_it(
    gateway: Any, changes: dict[str, Any], faults: dict[str, str]
) -> None:
    status, problem, _ = await gateway.pay(gateway.card_payment(**changes))

    assert (status, problem["code"]) == (422, "validation_failed")
    assert faults_of(problem) == faults
    assert gateway.front.commands == []


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"cardNumber": "4242424242424241"}, {"cardNumber": "invalid_card_number"}),
        ({"cardNumber": "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"}, {"cardNumber": "invalid_card_number"}),
        ({"cardNumber": 4242424242424242}, {"cardNumber": "invalid_type"}),
        ({"cardNumber": "4" * 10_000}, {"cardNumber": "invalid_value"}),
        ({"expiryMonth": 13}, {"expiryMonth": "invalid_expiry_month"}),
        ({"expiryMonth": "12"}, {"expiryMonth": "invalid_type"}),
        ({"expiryMonth": 1.5}, {"expiryMonth": "invalid_type"}),
        ({"expiryYear": 99}, {"expiryYear": "invalid_expiry_year"}),
        ({"expiryYear": 10**30}, {"expiryYear": "invalid_expiry_year"}),
        (
            {"expiryMonth": 12, "expiryYear": 2025, "cvv": "12"},
            {"expiryYear": "expired_card", "cvv": "invalid_cvv"},
        ),
        ({"cvv": "12"}, {"cvv": "invalid_cvv"}),
        ({"cvv": 123}, {"cvv": "invalid_type"}),
        ({"cvv": "1234"}, {"cvv": "invalid_cvv"}),
        ({"cardNumber": "378282246310005", "cvv": "123"}, {"cvv": "invalid_cvv"}),
        ({"holderName": PAN}, {"holderName": "card_number_in_text"}),
    ],
)
async def test_a_fault_of_a_card_is_named_and_not_repeated(
    gateway: Any, changes: dict[str, Any], faults: dict[str, str]
) -> None:
    body = gateway.card_payment()
    body["paymentMethod"] |= changes

    status, problem, _ = await gateway.pay(body)

    assert status == 422
    assert faults_of(problem) == {f"/paymentMethod/{name}": code for name, code in faults.items()}
    answer = json.dumps(problem)
    assert not [value for value in changes.values() if str(value) in answer and len(str(value)) > 4]


async def test_a_card_that_is_only_expired_is_judged_behind_its_key(gateway: Any) -> None:
    body = gateway.card_payment()
    body["paymentMethod"] |= {"expiryMonth": 12, "expiryYear": 2025}

    await gateway.pay(body, headers={"Idempotency-Key": "made-in-its-time"})

    ((command, _),) = gateway.front.commands
    assert command.idempotency_key == "made-in-its-time"


async def test_faults_of_type_and_of_meaning_are_named_in_one_answer(gateway: Any) -> None:
    body = {
        "amount": -1,
        "currency": 840,
        "paymentMethod": {
            "type": "card",
            "cardNumber": "4242424242424241",
            "expiryMonth": "x",
            "expiryYear": 99,
            "cvv": "12x",
        },
        "billingAddress": {"country": "US", "state": "ZZ"},
        "metadata": {"a": 1},
        "captureMethod": "later",
    }

    status, problem, _ = await gateway.pay(body, headers={"Idempotency-Key": "k" * 256})

    assert status == 422
    assert faults_of(problem) == {
        "/amount": "amount_not_positive",
        "/currency": "invalid_type",
        "/paymentMethod/cardNumber": "invalid_card_number",
        "/paymentMethod/expiryMonth": "invalid_type",
        "/paymentMethod/expiryYear": "invalid_expiry_year",
        "/paymentMethod/cvv": "invalid_cvv",
        "/billingAddress/state": faults_of(problem)["/billingAddress/state"],
        "/metadata/a": "invalid_type",
        "/captureMethod": "invalid_value",
        "/idempotencyKey": "invalid_idempotency_key",
    }


async def test_a_problem_has_what_rfc_9457_and_the_contract_ask_for(gateway: Any) -> None:
    status, problem, headers = await gateway.pay({}, headers={"X-Request-ID": "shop-1.2_3"})

    assert status == 422
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-ID"] == "shop-1.2_3"
    assert headers["Server"] == "paygate"
    assert headers["Cache-Control"] == "no-store"
    assert problem["type"] == "urn:paygate:problem:validation_failed"
    assert problem["title"] == "The request has faults"
    assert problem["status"] == 422
    assert problem["detail"] == "3 faults were found."
    assert problem["requestID"] == "shop-1.2_3"
    assert problem["errors"][0] == {
        "pointer": "/currency",
        "code": "required",
        "detail": "is required",
    }


async def test_unknown_fields_and_nulls_are_ignored(gateway: Any) -> None:
    body = gateway.card_payment(unknown={"deep": [1]}, description=None, metadata=None)
    body["paymentMethod"]["alsoUnknown"] = 1

    status, _, _ = await gateway.pay(body)

    assert status == 201


async def test_uuids_as_order_numbers_are_no_card_numbers(gateway: Any) -> None:
    # Its first three groups are the number of a card.
    body = gateway.card_payment(metadata={"orderID": "40000000-0000-0002-8aaa-aaaaaaaaaaaa"})

    status, _, _ = await gateway.pay(body)

    assert status == 201


async def test_two_idempotency_keys_are_refused(gateway: Any) -> None:
    headers = [
        *gateway.key("merchant_a").items(),
        ("Idempotency-Key", "one"),
        ("Idempotency-Key", "two"),
    ]

    async with gateway.client.post(PATH, json=gateway.card_payment(), headers=headers) as response:
        problem = await response.json(content_type=None)

    assert response.status == 422
    assert problem["errors"] == [
        {
            "pointer": "/idempotencyKey",
            "code": "duplicate_header",
            "detail": "must be given once",
            "header": "Idempotency-Key",
        }
    ]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""],
)
async def test_another_content_type_is_415(gateway: Any, content_type: str) -> None:
    status, problem, _ = await send(gateway, b"{}", **{"Content-Type": content_type})

    assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_415_and_is_not_unpacked(gateway: Any) -> None:
    status, problem, _ = await send(gateway, b"\x1f\x8b", **{"Content-Encoding": "gzip"})

    assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_json_type_with_a_charset_is_taken(gateway: Any) -> None:
    body = json.dumps(gateway.card_payment()).encode()

    status, _, _ = await send(gateway, body, **{"Content-Type": "Application/JSON; charset=UTF-8"})

    assert status == 201


@pytest.mark.parametrize(("size", "expected"), [(65_536, 201), (65_537, 413)])
async def test_a_body_may_have_64_kib_and_not_a_byte_more(
    gateway: Any, size: int, expected: int
) -> None:
    body = json.dumps(gateway.card_payment()).encode().ljust(size)

    status, problem, _ = await send(gateway, body)

    assert status == expected
    assert expected == 201 or problem["code"] == "body_too_large"


async def test_a_chunked_body_is_cut_off_at_64_kib(gateway: Any) -> None:
    async def chunks() -> Any:
        for _ in range(9):
            yield b" " * 8_192

    async with gateway.client.post(
        PATH,
        data=chunks(),
        headers={**gateway.key("merchant_a"), "Content-Type": "application/json"},
    ) as response:
        problem = await response.json(content_type=None)

    assert (response.status, problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "route_not_found"),
        ("GET", "/api", 404, "route_not_found"),
        ("GET", "/api/payments/", 404, "route_not_found"),
        ("POST", "/api/payments/process/", 404, "route_not_found"),
        ("GET", "/api/payments/pay_1/", 404, "route_not_found"),
        ("GET", "/api/payments/" + "x" * 6_000, 404, "payment_not_found"),
        ("GET", "/api/payments/%00", 404, "payment_not_found"),
        ("GET", "/api/payments/..%2f..%2fetc", 404, "payment_not_found"),
        ("GET", "/api/payments/pay_%F0%9F%92%B8", 404, "payment_not_found"),
        ("GET", "/api/transactions/nothing", 404, "transaction_not_found"),
        ("POST", "/api/payments/nothing/refund", 404, "payment_not_found"),
        ("POST", "/api/payments/nothing/capture", 404, "payment_not_found"),
        ("POST", "/api/payments/nothing/reverse", 404, "payment_not_found"),
        ("GET", "/api/fraud/score/nothing", 404, "transaction_not_found"),
    ],
)
async def test_what_is_not_there_is_404(
    gateway: Any, method: str, path: str, status: int, code: str
) -> None:
    answer, problem, headers = await gateway.ask(method, URL(path, encoded=True))

    assert (answer, problem["code"]) == (status, code)
    assert headers["X-Request-ID"] == problem["requestID"]


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_a_method_that_a_route_does_not_take_is_405_with_allow(
    gateway: Any, method: str
) -> None:
    status, problem, headers = await gateway.ask(method, "/api/payments")

    assert (status, problem["code"]) == (405, "method_not_allowed")
    assert headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "<script>"])
async def test_an_insane_request_id_is_replaced(gateway: Any, given: str) -> None:
    _, _, headers = await gateway.ask("GET", "/healthz", headers={"X-Request-ID": given})

    assert headers["X-Request-ID"] == "req_1"


async def test_a_refund_is_read_in_the_payments_currency(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a", currency="JPY", amount_minor=500)

    status, problem, _ = await gateway.ask(
        "POST", f"/api/payments/{kept.id}/refund", json={"amount": 1.5, "reason": 7}
    )

    assert status == 422
    assert faults_of(problem) == {"/amount": "amount_too_precise", "/reason": "invalid_type"}
    assert gateway.front.commands == []
