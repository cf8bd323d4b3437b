"""Idempotency keys over real HTTP: the same request is done once, however it is repeated."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from live_gateway import (
    DECLINED,
    EXPIRY_YEAR,
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

TWINS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("keys"), "--sandbox-latency-ms", "20") as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


def card(**changes: object) -> dict[str, Any]:
    """Make a payment method that differs in this."""
    return payment_request()["paymentMethod"] | changes


def differing(answer: Answer) -> set[str]:
    """Name the fields that the refusal of a reused key names."""
    assert answer.code == (422, "idempotency_key_reused"), answer.text
    return {fault["pointer"] for fault in answer.body["errors"]}


async def test_the_same_key_and_request_give_the_same_payment(live: Live):
    first = await live.process(payment_request(), idempotency_key="same")

    again = await live.process(payment_request(), idempotency_key="same")

    assert (first.status, again.status) == (201, 201)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.body == first.body
    assert await live.effects(first.body["id"]) == [("charge", 1000)]


async def test_a_replay_shows_the_payment_as_it_stands_now(live: Live):
    first = await live.process(payment_request(), idempotency_key="now")
    await live.done(first.body["id"], "refund", {"amount": 3})

    again = await live.process(payment_request(), idempotency_key="now")

    assert (first.body["amountRefunded"], again.body["amountRefunded"]) == (0, 3)


async def test_fifty_twins_at_once_are_one_payment_and_one_charge(live: Live):
    charged = len(await live.ledger())

    answers = await asyncio.gather(
        *(live.process(payment_request(), idempotency_key="twins") for _ in range(TWINS))
    )

    replayed = [answer for answer in answers if "Idempotent-Replayed" in answer.headers]
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert {answer.body["status"] for answer in answers} == {"success"}
    assert len(replayed) == TWINS - 1
    assert len(await live.ledger()) == charged + 1


async def test_fifty_twins_at_once_without_a_key_but_of_one_order_are_one_payment(live: Live):
    body = payment_request(metadata={"orderID": "twin-order"})

    answers = await asyncio.gather(*(live.process(body) for _ in range(TWINS)))

    (payment_id,) = {answer.body["id"] for answer in answers}
    assert await live.effects(payment_id) == [("charge", 1000)]


async def test_a_replay_joins_a_payment_that_is_still_in_flight(live: Live):
    await live.fault("slow", delayMs=800)
    first = await live.process(payment_request(), idempotency_key="in flight", wait_s=None)

    again = await live.process(payment_request(), idempotency_key="in flight", wait_s=10)

    assert first.body["status"] == "processing"
    assert (again.body["id"], again.body["status"]) == (first.body["id"], "success")
    assert await live.effects(first.body["id"]) == [("charge", 1000)]


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"amount": 10.01}, {"/amount"}),
        ({"currency": "EUR"}, {"/currency"}),
        ({"amount": 11, "description": "x"}, {"/amount", "/description"}),
        ({"captureMethod": "manual"}, {"/captureMethod"}),
        ({"metadata": {"a": "b"}}, {"/metadata"}),
        ({"billingAddress": {"country": "DE"}}, {"/billingAddress"}),
        ({"provider": "sandbox_backup"}, {"/provider"}),
        ({"returnURL": "https://shop.example/back"}, {"/returnURL"}),
        ({"customerIP": "192.0.2.1"}, {"/customerIP"}),
        ({"paymentMethod": card(cardNumber=DECLINED)}, {"/paymentMethod/cardNumber"}),
        ({"paymentMethod": card(expiryMonth=11)}, {"/paymentMethod/expiryMonth"}),
        ({"paymentMethod": card(expiryYear=EXPIRY_YEAR + 1)}, {"/paymentMethod/expiryYear"}),
        ({"paymentMethod": card(holderName="Jo Do")}, {"/paymentMethod/holderName"}),
        ({"paymentMethod": card(type="credit_card")}, {"/paymentMethod/type"}),
    ],
)
async def test_a_key_with_another_request_is_refused_and_told_what_differs(
    live: Live, changes: dict[str, Any], pointers: set[str]
):
    key = f"reused {sorted(pointers)}"
    first = await live.process(payment_request(), idempotency_key=key)
    calls = len(await live.calls())

    answer = await live.process(payment_request(**changes), idempotency_key=key)

    assert differing(answer) == pointers
    assert DECLINED not in answer.text
    assert len(await live.calls()) == calls
    assert await live.payment(first.body["id"]) == first.body


async def test_another_kind_of_payment_method_differs_in_its_type(live: Live):
    await live.process(payment_request(), idempotency_key="kinds")

    wallet = payment_request(paymentMethod={"type": "wallet", "walletID": "wallet_ok"})
    answer = await live.process(wallet, idempotency_key="kinds")

    assert "/paymentMethod/type" in differing(answer)


@pytest.mark.parametrize(
    "method",
    [
        card(cvv="999"),
        {name: value for name, value in card().items() if name != "cvv"},
        card(cardNumber="4242 4242 4242 4242"),
        card(cardNumber="4242-4242-4242-4242"),
    ],
)
async def test_the_cvv_and_the_spaces_of_a_number_make_no_difference(
    live: Live, method: dict[str, Any]
):
    key = "spaces and cvv"
    first = await live.process(payment_request(), idempotency_key=key)

    again = await live.process(payment_request(paymentMethod=method), idempotency_key=key)

    assert (again.status, again.body["id"]) == (201, first.body["id"])


async def test_a_key_is_the_merchants_own(live: Live):
    mine = await live.process(payment_request(), idempotency_key="ours")

    theirs = await live.process(payment_request(), idempotency_key="ours", key=OTHER_MERCHANT)

    assert theirs.status == 201
    assert theirs.body["id"] != mine.body["id"]


async def test_the_header_wins_over_the_body(live: Live):
    body = payment_request(idempotencyKey="of the body")

    first = await live.process(body, idempotency_key="of the header")
    by_header = await live.process(payment_request(), idempotency_key="of the header")
    by_body = await live.process(body)

    assert by_header.body["id"] == first.body["id"]
    assert by_body.body["id"] != first.body["id"]
    assert (await live.process(body)).body["id"] == by_body.body["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel"])
async def test_what_is_no_key_is_422(live: Live, key: str):
    answer = await live.process(payment_request(idempotencyKey=key))

    assert answer.code == (422, "validation_failed")
    assert [fault["pointer"] for fault in answer.body["errors"]] == ["/idempotencyKey"]


async def test_the_longest_key_is_taken(live: Live):
    first = await live.process(payment_request(), idempotency_key="k" * 255)

    again = await live.process(payment_request(), idempotency_key="k" * 255)

    assert (first.status, again.body["id"]) == (201, first.body["id"])


async def test_a_refused_request_claims_no_key(live: Live):
    bad = await live.process(payment_request(amount=0), idempotency_key="refused first")

    good = await live.process(payment_request(), idempotency_key="refused first")

    assert (bad.status, good.status) == (422, 201)
    assert "Idempotent-Replayed" not in good.headers


async def test_a_key_of_a_failed_payment_still_binds_and_a_derived_one_lets_go(live: Live):
    order = payment_request(DECLINED, metadata={"orderID": "try again"})
    with_key = payment_request(DECLINED)
    first = await live.process(order)
    bound = await live.process(with_key, idempotency_key="failed")

    retried = await live.process(order)
    replayed = await live.process(with_key, idempotency_key="failed")

    assert (first.body["status"], bound.body["status"]) == ("failed", "failed")
    assert retried.body["id"] != first.body["id"]
    assert replayed.body["id"] == bound.body["id"]


async def test_a_derived_key_lets_go_after_a_reverse_and_not_before(live: Live):
    order = payment_request(metadata={"orderID": "reversed"})
    first = await live.process(order)
    same = await live.process(order)
    await live.done(first.body["id"], "reverse")

    after = await live.process(order)

    assert same.body["id"] == first.body["id"]
    assert after.body["id"] != first.body["id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 10.01},
        {"currency": "EUR"},
        {"paymentMethod": card(cardNumber="5555555555554444")},
        {"metadata": {"orderID": "another order"}},
    ],
)
async def test_an_order_with_another_amount_currency_or_card_is_another_payment(
    live: Live, changes: dict[str, Any]
):
    first = await live.process(payment_request(metadata={"orderID": "an order"}))

    other = await live.process(payment_request(metadata={"orderID": "an order"}) | changes)

    assert (first.status, other.status) == (201, 201)
    assert other.body["id"] != first.body["id"]


async def test_without_key_or_order_every_request_is_a_payment(live: Live):
    first, second = await live.pay(), await live.pay()

    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    ("operation", "how", "body", "other", "pointers"),
    [
        ("capture", "manual", {"amount": 4}, {"amount": 5}, {"/amount"}),
        (
            "refund",
            "automatic",
            {"amount": 4, "reason": "a"},
            {"amount": 5, "reason": "b"},
            {"/amount", "/reason"},
        ),
        ("reverse", "automatic", {}, {"orRefund": True}, {"/orRefund"}),
    ],
)
async def test_operations_take_keys_in_the_same_way(
    live: Live, operation: str, how: str, body: object, other: object, pointers: set[str]
):
    paid = (await live.pay(captureMethod=how))["id"]

    answers = await asyncio.gather(
        *(live.operate(paid, operation, body, idempotency_key="op") for _ in range(10))
    )
    done = await live.settled(answers[0].body["id"])
    again = await live.operate(paid, operation, body, idempotency_key="op")
    reused = await live.operate(paid, operation, other, idempotency_key="op")

    assert {answer.status for answer in answers} == {201}
    assert {answer.body["id"] for answer in answers} == {done["id"]}
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 9
    assert (again.status, again.body) == (201, done)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert differing(reused) == pointers
    assert len(await live.effects(paid)) == 2


async def test_a_key_of_one_path_means_nothing_on_another(live: Live):
    first = await live.process(payment_request(), idempotency_key="paths")
    second = await live.pay()

    refund = await live.operate(first.body["id"], "refund", {"amount": 1}, idempotency_key="paths")
    other = await live.operate(second["id"], "refund", {"amount": 2}, idempotency_key="paths")
    by_operator = await live.operate(
        second["id"], "refund", {"amount": 3}, idempotency_key="paths", key=OPERATOR
    )

    made = [answer.body["id"] for answer in (refund, other, by_operator)]
    assert len(set(made)) == 3
    assert "Idempotent-Replayed" not in refund.headers
