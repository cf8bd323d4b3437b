"""Every way to be refused, over real HTTP: the status, the code, and that nothing was done."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from live_gateway import (
    DISPUTED,
    MERCHANT,
    METRICS,
    OPERATOR,
    OTHER_MERCHANT,
    Answer,
    Live,
    Server,
    payment_request,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow

REVIEW = {"decision": "approve", "note": "Known."}
SAME_ID = {"X-Request-ID": "the-same"}
STATUS = {"status": "success", "reason": "Seen at the bank."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("refusals"), "--sandbox-latency-ms", "5") as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


def assert_problem(answer: Answer, status: int, code: str) -> None:
    """It is a problem as RFC 9457 and the contract want it, and this one."""
    assert answer.code == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body.keys() >= {"type", "title", "status", "detail", "code", "requestID"}
    assert answer.body["status"] == status
    assert answer.body["requestID"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("number", ["4000000000000002", "4100000000000019"])
@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("capture", "payment_not_capturable"),
        ("refund", "payment_not_refundable"),
        ("reverse", "payment_not_reversible"),
    ],
)
async def test_nothing_can_be_done_to_a_failed_payment(
    live: Live, number: str, operation: str, code: str
):
    failed = await live.pay(number)
    before = await live.events(failed["id"])

    answer = await live.operate(failed["id"], operation)

    assert_problem(answer, 409, code)
    assert await live.events(failed["id"]) == before


async def test_only_what_is_held_can_be_captured_and_only_once(live: Live):
    paid = (await live.pay())["id"]
    held = (await live.pay(captureMethod="manual"))["id"]

    late = await live.operate(paid, "capture")
    too_much = await live.operate(held, "capture", {"amount": 10.01})
    await live.done(held, "capture")
    again = await live.operate(held, "capture")

    assert_problem(late, 409, "payment_not_capturable")
    assert_problem(too_much, 422, "capture_exceeds_authorized")
    assert too_much.body["errors"][0]["pointer"] == "/amount"
    assert_problem(again, 409, "payment_not_capturable")
    assert await live.effects(held) == [("authorize", 1000), ("capture", 1000)]


async def test_held_funds_cannot_be_refunded_and_a_refund_never_exceeds_what_is_left(live: Live):
    held = (await live.pay(captureMethod="manual"))["id"]
    paid = (await live.pay())["id"]
    await live.done(paid, "refund", {"amount": 6})

    early = await live.operate(held, "refund")
    too_much = await live.operate(paid, "refund", {"amount": 4.01})

    assert_problem(early, 409, "payment_not_refundable")
    assert_problem(too_much, 422, "refund_exceeds_remaining")
    assert (await live.payment(paid))["amountRefunded"] == 6


async def test_a_payment_that_was_refunded_in_part_cannot_be_reversed(live: Live):
    paid = (await live.pay())["id"]
    await live.done(paid, "refund", {"amount": 1})

    answer = await live.operate(paid, "reverse")

    assert_problem(answer, 409, "payment_not_reversible")
    assert await live.effects(paid) == [("charge", 1000), ("refund", 100)]


async def test_a_disputed_payment_cannot_be_refunded(live: Live):
    paid = (await live.pay(DISPUTED))["id"]
    await live.until_payment(paid, lambda seen: seen["amountDisputed"] > 0)

    answer = await live.operate(paid, "refund", {"amount": 1})

    assert_problem(answer, 409, "payment_not_refundable")


async def test_while_an_operation_is_open_another_is_refused(live: Live):
    held = (await live.pay(captureMethod="manual"))["id"]
    paid = (await live.pay())["id"]
    await live.fault("slow", operation="capture", delayMs=1_000)
    await live.fault("slow", operation="void", delayMs=1_000)
    capture = await live.operate(held, "capture")
    reverse = await live.operate(paid, "reverse")

    answers = [
        await live.operate(held, "capture"),
        await live.operate(held, "reverse"),
        await live.operate(paid, "reverse"),
        await live.operate(paid, "refund"),
    ]

    for answer in answers:
        assert_problem(answer, 409, "operation_in_progress")
    assert (await live.settled(capture.body["id"]))["status"] == "success"
    assert (await live.settled(reverse.body["id"]))["status"] == "success"
    assert await live.effects(held) == [("authorize", 1000), ("capture", 1000)]
    assert await live.effects(paid) == [("charge", 1000), ("void", 1000)]


async def test_a_payment_that_nobody_doubts_cannot_be_reviewed_or_corrected(live: Live):
    paid = await live.pay()
    path = f"/api/transactions/{paid['transactionID']}/status"

    review = await live.operate(paid["id"], "review", REVIEW, key=OPERATOR)
    status = await live.call("POST", path, {**STATUS, "status": "failed"}, key=OPERATOR)

    assert_problem(review, 409, "payment_not_reviewable")
    assert_problem(status, 409, "illegal_transition")
    assert (await live.payment(paid["id"]))["status"] == "success"


async def test_a_provider_that_is_none_takes_no_payment(live: Live):
    answer = await live.process(payment_request(provider="acme"))

    assert_problem(answer, 422, "no_provider")


async def test_what_does_not_exist_is_404(live: Live):
    lost = "0" * 26
    asked: list[tuple[str, str, object, str, str]] = [
        ("GET", f"/api/payments/pay_{lost}", None, "", "payment_not_found"),
        ("GET", f"/api/payments/pay_{lost}/events", None, "", "payment_not_found"),
        ("POST", f"/api/payments/pay_{lost}/capture", {"amount": 1}, "", "payment_not_found"),
        ("POST", f"/api/payments/pay_{lost}/refund", None, "", "payment_not_found"),
        ("POST", f"/api/payments/pay_{lost}/reverse", None, "", "payment_not_found"),
        ("POST", f"/api/payments/pay_{lost}/review", REVIEW, OPERATOR, "payment_not_found"),
        ("GET", f"/api/transactions/txn_{lost}", None, "", "transaction_not_found"),
        ("GET", f"/api/fraud/score/txn_{lost}", None, "", "transaction_not_found"),
        ("POST", f"/api/transactions/txn_{lost}/status", STATUS, OPERATOR, "transaction_not_found"),
        ("POST", "/api/providers/acme", {}, OPERATOR, "provider_not_found"),
        ("POST", "/api/webhooks/acme", {}, "", "provider_not_found"),
        ("GET", "/api/nothing", None, "", "route_not_found"),
        ("GET", "/api/payments/", None, "", "route_not_found"),
    ]

    for method, path, body, key, code in asked:
        answer = await live.call(method, path, body, key=key or MERCHANT)

        assert_problem(answer, 404, code)


async def test_a_wrong_method_is_405_and_names_the_right_ones(live: Live):
    answer = await live.call("DELETE", "/api/payments")

    assert_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


async def test_another_merchants_things_are_answered_as_those_that_do_not_exist(live: Live):
    mine = await live.pay()
    token = mine["paymentMethod"]["token"]
    lost = "0" * 26
    paths = [
        ("GET", "/api/payments/{}", mine["id"], "pay_"),
        ("GET", "/api/payments/{}/events", mine["id"], "pay_"),
        ("POST", "/api/payments/{}/capture", mine["id"], "pay_"),
        ("POST", "/api/payments/{}/refund", mine["id"], "pay_"),
        ("POST", "/api/payments/{}/reverse", mine["id"], "pay_"),
        ("GET", "/api/transactions/{}", mine["transactionID"], "txn_"),
        ("GET", "/api/fraud/score/{}", mine["transactionID"], "txn_"),
    ]
    before = await live.events(mine["id"])

    for method, path, mine_id, prefix in paths:
        theirs, none = [
            await live.call(method, path.format(id_), key=OTHER_MERCHANT, headers=SAME_ID)
            for id_ in (mine_id, prefix + lost)
        ]

        assert theirs.status == 404
        assert theirs.text == none.text
        assert comparable(theirs) == comparable(none)
    stolen = payment_request(paymentMethod={"type": "token", "token": token})
    by_token = await live.process(stolen, key=OTHER_MERCHANT)
    listed = await live.get(f"/api/payments?from={mine['createdAt']}", key=OTHER_MERCHANT)
    assert by_token.code == (422, "validation_failed")
    assert by_token.body["errors"][0]["pointer"] == "/paymentMethod/token"
    assert mine["id"] not in listed.text
    assert await live.events(mine["id"]) == before


def comparable(answer: Answer) -> dict[str, str]:
    """Give the headers but the one that tells the time."""
    return {name: text for name, text in answer.headers.items() if name != "Date"}


@pytest.mark.parametrize(
    ("method", "path", "body", "allowed"),
    [
        ("POST", "/api/payments/process", payment_request(), "merchant"),
        ("GET", "/api/payments", None, "merchant operator"),
        ("GET", "/api/transactions", None, "merchant operator"),
        ("GET", "/api/providers", None, "merchant operator"),
        ("POST", "/api/payments/{payment}/review", REVIEW, "operator"),
        ("POST", "/api/transactions/{transaction}/status", STATUS, "operator"),
        ("POST", "/api/providers/sandbox", {}, "operator"),
        ("GET", "/metrics", None, "metrics operator"),
    ],
)
async def test_a_key_opens_what_its_role_is_for_and_nothing_else(
    live: Live, method: str, path: str, body: Any, allowed: str
):
    paid = await live.pay()
    path = path.format(payment=paid["id"], transaction=paid["transactionID"])
    keys = {"merchant": "sk_sandbox_merchant_a", "operator": OPERATOR, "metrics": METRICS}

    answers = {role: await live.call(method, path, body, key=key) for role, key in keys.items()}
    nobody = await live.call(method, path, body, key=None)
    unknown = await live.call(method, path, body, key="sk_sandbox_merchant_z")

    opened = {role for role, answer in answers.items() if answer.status not in (401, 403)}
    assert opened == set(allowed.split())
    for role in keys.keys() - opened:
        assert_problem(answers[role], 403, "forbidden")
    assert_problem(nobody, 401, "unauthenticated")
    assert_problem(unknown, 401, "unauthenticated")
    assert "Bearer" in nobody.headers["WWW-Authenticate"]


async def test_a_request_is_told_every_fault_at_once_and_no_card_data(live: Live):
    number, cvv = "4242424242424241", "99x"
    method = payment_request(number)["paymentMethod"] | {"cvv": cvv, "expiryMonth": 13}
    address = {"country": "US", "state": "ZZ"}
    body = payment_request(amount="10.00", currency="EURO", paymentMethod=method)

    answer = await live.process(body | {"billingAddress": address, "captureMethod": "later"})

    assert_problem(answer, 422, "validation_failed")
    assert {fault["pointer"] for fault in answer.body["errors"]} == {
        *("/amount", "/currency", "/captureMethod", "/billingAddress/state"),
        *("/paymentMethod/cardNumber", "/paymentMethod/cvv", "/paymentMethod/expiryMonth"),
    }
    assert number not in answer.text
    assert cvv not in answer.text
