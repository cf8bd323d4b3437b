"""Every endpoint of the contract over real HTTP, against one real process."""

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from decimal import Decimal
from typing import Any

import pytest
from live_gateway import (
    APPROVED,
    BLOCKED,
    DECLINED,
    FAILS_OVER,
    METRICS,
    OPERATOR,
    Answer,
    Live,
    Server,
    event,
    payment_request,
    serving,
    signed,
    visiting,
)
from receiver_rig import receiver

pytestmark = pytest.mark.slow

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
REVIEW_OVER = 50_000
WEBHOOK_ROUTES = ("/api/providers/{providerID}/webhook", "/api/webhooks/{providerID}")
PAYMENT_FIELDS = {
    *("id", "paymentID", "transactionID", "status", "amount", "currency", "amountCaptured"),
    *("amountRefunded", "amountAuthorized", "amountReleased", "captureMethod", "paymentMethod"),
    *("billingAddress", "provider", "providerTxnID", "fraudScore", "riskLevel", "metadata"),
    *("failure", "inDoubt", "attention", "nextAction", "expectedBy", "livemode"),
    *("createdAt", "updatedAt", "processedAt"),
}
TRANSACTION_FIELDS = {
    *("id", "paymentID", "type", "origin", "status", "amount", "currency", "provider"),
    *("providerTxnID", "reason", "createdAt", "updatedAt"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    review = {"PAYGATE__FRAUD__REVIEW_AMOUNT_USD_MINOR": str(REVIEW_OVER * 100)}
    folder = tmp_path_factory.mktemp("every")
    with serving(folder, "--sandbox-latency-ms", "5", **review) as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def test_every_route_of_the_document_answers_as_promised(live: Live):
    document = (await live.get("/openapi.json", key=None)).body
    promised = {
        (method.upper(), path): next(status for status in each["responses"] if status[0] == "2")
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    }

    answers = await drive_every_route(live)

    assert {route: str(answer.status) for route, answer in answers.items()} == promised
    assert all(answer.headers["X-Request-ID"] for answer in answers.values())


async def drive_every_route(live: Live) -> dict[tuple[str, str], Answer]:
    """Use each route once in a way that succeeds."""
    answers: dict[tuple[str, str], Answer] = {}

    async def do(method: str, route: str, body: object = None, **how: Any) -> Answer:
        path = re.sub(r"{.*}", how.pop("id", ""), route)
        answers[method, route] = await live.call(method, path, body, **how)
        return answers[method, route]

    payment, transaction = "/api/payments/{paymentID}", "/api/transactions/{transactionID}"
    wait = {"Prefer": "wait=10"}
    made = await do("POST", "/api/payments/process", payment_request(), headers=wait)
    paid, first = made.body["id"], made.body["transactionID"]
    held = (await live.pay(captureMethod="manual"))["id"]
    suspect = (await live.pay(amount=REVIEW_OVER + 1))["id"]
    await live.fault("pending", delayMs=60_000)
    slow = await live.pay(wait_s=None)
    await do("GET", "/api/payments")
    await do("GET", payment, id=paid)
    await do("GET", f"{payment}/events", id=paid)
    await do("POST", f"{payment}/capture", id=held)
    await do("POST", f"{payment}/refund", {"amount": 2.5}, id=paid)
    await do("POST", f"{payment}/reverse", id=slow["id"])
    decision = {"decision": "approve", "note": "Known."}
    await do("POST", f"{payment}/review", decision, id=suspect, key=OPERATOR)
    await do("GET", "/api/transactions")
    await do("GET", transaction, id=first)
    asserted = {"status": "failed", "reason": "Seen at the bank.", "force": True}
    await do("POST", f"{transaction}/status", asserted, id=slow["transactionID"], key=OPERATOR)
    desk = "/api/in-doubt"
    await do("GET", f"{payment}/explain", id=slow["id"])
    await do("GET", desk, key=OPERATOR)
    await do("POST", f"{desk}/{{paymentID}}/ask", id=slow["id"], key=OPERATOR)
    reason, note = {"reason": "Not in the bank's records."}, {"note": "Looked at."}
    await do("POST", f"{desk}/{{paymentID}}/not-charged", reason, id=slow["id"], key=OPERATOR)
    again, kept = {"reason": "The bank works again."}, await live.kept_too_much()
    await do("POST", f"{desk}/{{paymentID}}/give-back", again, id=kept, key=OPERATOR)
    await do("POST", f"{desk}/{{paymentID}}/seen", note, id=slow["id"], key=OPERATOR)
    await do("GET", "/api/providers")
    await do("GET", "/api/providers/{providerID}/return", id="sandbox", key=None)
    await do("POST", "/api/providers/{providerID}", {}, id="sandbox", key=OPERATOR)
    await do("PATCH", "/api/providers/{providerID}", {"weight": 2}, id="sandbox", key=OPERATOR)
    await do("POST", "/api/webhook-replays", {"dryRun": True}, key=OPERATOR)
    for number, route in enumerate(WEBHOOK_ROUTES):
        body = event("payment.settled", "ch_nobody")
        headers = signed(body, event_id=f"msg_route_{number}")
        await do("POST", route, body, id="sandbox", key=None, headers=headers)
    await do("POST", "/api/fraud/check", payment_request())
    await do("GET", "/api/fraud/score/{transactionID}", id=first)
    await do("GET", "/api/nodes", key=OPERATOR)
    for path in ("/healthz", "/readyz", "/openapi.json"):
        await do("GET", path, key=None)
    await do("GET", "/metrics", key=METRICS)
    await drive_notices(live, do)
    return answers


async def drive_notices(live: Live, do: Callable[..., Awaitable[Answer]]) -> None:
    """Use each route about webhooks to merchants, with a receiver that takes them."""
    endpoints = "/api/webhook-endpoints"
    one = f"{endpoints}/{{endpointID}}"
    await do("GET", "/api/events")
    async with receiver() as shop:
        made = await do("POST", endpoints, {"url": shop.url})
        endpoint = made.body["endpoint"]["id"]
        await do("GET", endpoints)
        await do("GET", one, id=endpoint)
        await do("PATCH", one, {"description": "The shop."}, id=endpoint)
        await do("POST", f"{one}/rotate-secret", id=endpoint)
        sent = await do("POST", f"{one}/test", id=endpoint)
        await live.until(
            lambda: do("GET", f"{one}/deliveries", id=endpoint),
            lambda seen: [each["status"] for each in seen.body["data"]] == ["delivered"],
        )
        again = f"{endpoint}/deliveries/{sent.body['id']}"
        await do("POST", f"{one}/deliveries/{{deliveryID}}/replay", id=again)
        await do("DELETE", one, id=endpoint)


async def test_a_payment_has_every_field_that_the_contract_names_and_no_card_data(live: Live):
    address = {"country": "US", "state": "CA", "zipCode": "94105", "city": "San Francisco"}
    method = payment_request()["paymentMethod"] | {"holderName": "Jane Doe"}

    made = await live.pay(
        "", paymentMethod=method, billingAddress=address, metadata={"orderID": "every-field"}
    )

    read = await live.payment(made["id"])
    assert made.keys() >= PAYMENT_FIELDS
    assert read == made
    assert made["id"] == made["paymentID"]
    assert (made["status"], made["provider"], made["livemode"]) == ("success", "sandbox", False)
    assert made["paymentMethod"]["last4"] == "4242"
    assert made["billingAddress"] | address == made["billingAddress"]
    assert made["metadata"] == {"orderID": "every-field"}
    assert (made["failure"], made["attention"], made["nextAction"]) == (None, None, None)
    assert all(TIME.fullmatch(made[name]) for name in ("createdAt", "updatedAt", "processedAt"))
    assert APPROVED not in str(made)
    assert "cvv" not in str(made).lower()


@pytest.mark.parametrize(
    ("currency", "sent", "shown"),
    [("USD", b"100.00", "100.00"), ("JPY", b"100", "100"), ("KWD", b"1.234", "1.234")],
)
async def test_money_is_taken_and_shown_with_exactly_the_currencys_decimals(
    live: Live, currency: str, sent: bytes, shown: str
):
    text = json.dumps(payment_request(amount=0, currency=currency)).encode()

    made = await live.process(text.replace(b'"amount": 0', b'"amount": ' + sent))

    assert made.status == 201
    assert f'"amount":{shown},' in made.text
    assert f'"amountCaptured":{shown},' in made.text


async def test_the_answer_comes_before_the_provider_unless_it_is_waited_for(live: Live):
    await live.fault("slow", delayMs=400, count=2)

    at_once = await live.process(payment_request(), wait_s=None)
    awaited = await live.process(payment_request(), wait_s=10)

    assert (at_once.status, at_once.body["status"]) == (201, "processing")
    assert "Preference-Applied" not in at_once.headers
    assert (awaited.status, awaited.body["status"]) == (201, "success")
    assert awaited.headers["Preference-Applied"] == "wait=10"
    assert awaited.headers["Location"] == f"/api/payments/{awaited.body['id']}"
    ended = await live.until_status(at_once.body["id"], "success")
    assert ended["processedAt"] is not None


async def test_a_wait_that_ends_before_the_payment_answers_with_what_is_known(live: Live):
    await live.fault("pending", delayMs=3_000)

    made = await live.process(payment_request(), wait_s=1)

    assert (made.status, made.body["status"]) == (201, "processing")
    assert made.body["expectedBy"] is not None
    assert (await live.agreed(made.body["id"]))["status"] == "success"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (DECLINED, "card_declined"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000009987", "lost_card"),
        ("4000000000009979", "stolen_card"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
    ],
)
async def test_a_declined_card_fails_with_its_reason_and_is_tried_once(
    live: Live, number: str, code: str
):
    made = await live.pay(number)

    assert (made["status"], made["failure"]["declineCode"]) == ("failed", code)
    assert len(await live.call_keys(made["id"])) == 1
    assert await live.effects(made["id"]) == []
    first = await live.transaction(made["transactionID"])
    assert (first["type"], first["status"]) == ("payment", "failed")


async def test_a_fault_between_provider_and_issuer_fails_over_to_the_backup(live: Live):
    made = await live.pay(FAILS_OVER)

    assert (made["status"], made["provider"]) == ("success", "sandbox_backup")
    assert await live.effects(made["id"]) == [("charge", 1000)]


async def test_a_pinned_provider_is_the_only_one_that_is_tried(live: Live):
    pinned = await live.pay(provider="sandbox_backup")
    stuck = await live.pay(FAILS_OVER, provider="sandbox")

    assert (pinned["status"], pinned["provider"]) == ("success", "sandbox_backup")
    assert (stuck["status"], stuck["failure"]["declineCode"]) == ("failed", "processing_error")


@pytest.mark.parametrize(
    ("wallet", "status"), [("wallet_ok", "success"), ("wallet_declined", "failed")]
)
async def test_a_wallet_pays_or_does_not(live: Live, wallet: str, status: str):
    made = await live.pay(paymentMethod={"type": "wallet", "walletID": wallet})

    assert made["status"] == status
    assert made["paymentMethod"]["type"] == "wallet"


async def test_a_token_of_an_earlier_payment_pays_again(live: Live):
    token = (await live.pay())["paymentMethod"]["token"]

    again = await live.pay(paymentMethod={"type": "token", "token": token})

    assert again["status"] == "success"
    assert again["paymentMethod"]["last4"] == "4242"
    assert again["paymentMethod"]["token"] == token


async def test_a_block_calls_no_provider(live: Live):
    made = await live.pay(BLOCKED)

    assert (made["status"], made["failure"]["code"]) == ("failed", "fraud_blocked")
    assert made["riskLevel"] == "high"
    assert await live.call_keys(made["id"]) == []


async def test_held_funds_are_captured_in_part_and_the_rest_is_released(live: Live):
    held = await live.pay(captureMethod="manual")

    taken = await live.done(held["id"], "capture", {"amount": 4.2})

    ended = await live.agreed(held["id"])
    sums = [ended[f"amount{name}"] for name in ("Authorized", "Captured", "Released")]
    assert held["status"] == "authorized"
    assert taken.keys() >= TRANSACTION_FIELDS
    assert (taken["type"], taken["status"], taken["origin"]) == ("capture", "success", "merchant")
    assert (ended["status"], sums) == ("success", [Decimal(10), Decimal("4.2"), Decimal("5.8")])
    assert await live.effects(held["id"]) == [("authorize", 1000), ("capture", 420)]


async def test_a_payment_is_refunded_in_parts_until_nothing_is_left(live: Live):
    paid = (await live.pay())["id"]

    part = await live.done(paid, "refund", {"amount": 4, "reason": "Broken."})
    rest = await live.done(paid, "refund")

    none = await live.operate(paid, "refund")
    ended = await live.agreed(paid)
    assert (part["amount"], part["reason"], rest["amount"]) == (4, "Broken.", 6)
    assert none.code == (422, "refund_exceeds_remaining")
    assert (ended["status"], ended["amountRefunded"]) == ("success", 10)


@pytest.mark.parametrize("how", ["automatic", "manual"])
async def test_a_payment_is_reversed_as_a_whole(live: Live, how: str):
    paid = (await live.pay(captureMethod=how))["id"]

    undone = await live.done(paid, "reverse", {"reason": "Changed my mind."})

    ended = await live.agreed(paid)
    assert (undone["type"], undone["status"], undone["amount"]) == ("reverse", "success", 10)
    assert (ended["status"], ended["amountCaptured"]) == ("cancelled", 0)
    assert (await live.effects(paid))[-1] == ("void", 1000)


async def test_the_history_tells_everything_in_order(live: Live):
    paid = (await live.pay())["id"]
    await live.done(paid, "refund")

    events = await live.events(paid)

    types = [each["type"] for each in events]
    assert [each["seq"] for each in events] == list(range(1, len(events) + 1))
    assert [each["at"] for each in events] == sorted(each["at"] for each in events)
    assert (types[0], types[-1]) == ("payment_created", "transaction_settled")
    assert all(TIME.fullmatch(each["at"]) for each in events)
    assert APPROVED not in str(events)


async def test_a_fraud_check_charges_nothing_and_a_payments_score_is_kept(live: Live):
    body = payment_request(amount=20_000)
    before = len(await live.calls())

    checked = await live.call("POST", "/api/fraud/check", body)

    made = await live.pay(amount=20_000)
    kept = await live.get(f"/api/fraud/score/{made['transactionID']}")
    assert checked.status == 200
    assert (checked.body["transactionID"], checked.body["factors"]) == (None, ["high_amount"])
    assert (checked.body["score"], checked.body["riskLevel"]) == (Decimal("0.3"), "medium")
    assert kept.body["transactionID"] == made["transactionID"]
    assert (kept.body["score"], made["fraudScore"]) == (Decimal("0.3"), Decimal("0.3"))
    assert len(await live.calls()) == before + 1  # the payment's own


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"cardNumber": "4242424242424241"}, "invalid_card_number"),
        ({"expiryYear": 2020}, "expired_card"),
    ],
)
async def test_a_fraud_check_scores_what_a_payment_would_be_refused_for(
    live: Live, changes: dict[str, object], factor: str
):
    method = payment_request()["paymentMethod"] | changes
    body = payment_request(paymentMethod=method)

    checked = await live.call("POST", "/api/fraud/check", body)
    refused = await live.process(body)

    assert factor in checked.body["factors"]
    assert refused.code == (422, "validation_failed")


async def test_providers_show_their_health_and_no_secret(live: Live):
    await live.pay()

    first, second = (await live.get("/api/providers")).body["data"]

    assert (first["id"], second["id"]) == ("sandbox", "sandbox_backup")
    assert (first["priority"], second["priority"]) == (1, 2)
    assert (first["isActive"], first["circuit"], first["type"]) == (True, "closed", "sandbox")
    assert first["successRate"] is not None
    assert "whsec" not in str(first)


async def test_a_request_id_comes_back_and_a_bad_one_is_replaced(live: Live):
    sane = await live.call("GET", "/healthz", headers={"X-Request-ID": "shop-42"}, key=None)
    long = await live.call("GET", "/healthz", headers={"X-Request-ID": "x" * 200}, key=None)

    assert sane.headers["X-Request-ID"] == "shop-42"
    assert long.headers["X-Request-ID"].startswith("req_")
