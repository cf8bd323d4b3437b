"""Who may do what: every route under every key, other merchants' objects, stored keys, rates."""

import asyncio
import base64
from typing import Any

import pytest

from paygate_actors.config import Config, Server
from paygate_actors.messages import ApiKey, Refusal
from paygate_engine.clock import ManualClock
from paygate_http.auth import CACHE_S, LOOKUPS_BURST, SANDBOX_KEYS, Keys, key_digest
from paygate_http.incoming import HandedRequest
from paygate_http.routes import ROUTES

PEPPER = base64.b64encode(b"p" * 32).decode()
KEYS = (None, "merchant_a", "merchant_b", "operator", "metrics")

# Route by name to what each of KEYS gets, for an object of merchant A's and a request in order.
MATRIX = {
    "processPayment": (401, 201, 201, 403, 403),
    "listPayments": (401, 200, 200, 200, 403),
    "readPayment": (401, 200, 404, 200, 403),
    "readPaymentEvents": (401, 200, 404, 200, 403),
    "capturePayment": (401, 201, 404, 201, 403),
    "refundPayment": (401, 201, 404, 201, 403),
    "reversePayment": (401, 201, 404, 201, 403),
    "reviewPayment": (401, 403, 403, 200, 403),
    "explainPayment": (401, 200, 404, 200, 403),
    "listInDoubt": (401, 403, 403, 200, 403),
    "askAgain": (401, 403, 403, 200, 403),
    "markNotCharged": (401, 403, 403, 200, 403),
    "giveBackAgain": (401, 403, 403, 200, 403),
    "markSeen": (401, 403, 403, 200, 403),
    "listTransactions": (401, 200, 200, 200, 403),
    "readTransaction": (401, 200, 404, 200, 403),
    "setTransactionStatus": (401, 403, 403, 200, 403),
    "listNodes": (401, 403, 403, 200, 403),
    "listProviders": (401, 200, 200, 200, 403),
    "switchProvider": (401, 403, 403, 200, 403),
    "updateProvider": (401, 403, 403, 200, 403),
    "returnPayer": (200, 200, 200, 200, 200),
    "receiveProviderWebhook": (200, 200, 200, 200, 200),
    "receiveWebhook": (200, 200, 200, 200, 200),
    "readEvents": (401, 200, 200, 403, 403),
    "createWebhookEndpoint": (401, 201, 201, 403, 403),
    "listWebhookEndpoints": (401, 200, 200, 403, 403),
    "readWebhookEndpoint": (401, 200, 404, 200, 403),
    "changeWebhookEndpoint": (401, 200, 404, 200, 403),
    "deleteWebhookEndpoint": (401, 200, 404, 403, 403),
    "rotateWebhookSecret": (401, 201, 404, 403, 403),
    "testWebhookEndpoint": (401, 201, 404, 403, 403),
    "listDeliveries": (401, 200, 404, 200, 403),
    "replayDelivery": (401, 201, 404, 201, 403),
    "replayWebhooks": (401, 403, 403, 200, 403),
    "checkFraud": (401, 200, 200, 200, 403),
    "readFraudScore": (401, 200, 404, 200, 403),
    "isUp": (200, 200, 200, 200, 200),
    "isReady": (200, 200, 200, 200, 200),
    "readMetrics": (401, 403, 403, 200, 200),
    "readDocument": (200, 200, 200, 200, 200),
}


def request_of(gateway: Any, name: str) -> Any:
    return {
        "processPayment": gateway.card_payment(),
        "checkFraud": gateway.card_payment(),
        "reviewPayment": {"decision": "approve", "note": "Known customer."},
        "setTransactionStatus": {"status": "failed", "reason": "Seen at the bank."},
        "switchProvider": {"isActive": False},
        "updateProvider": {"weight": 2},
        "markNotCharged": {"reason": "Not in the provider's records."},
        "giveBackAgain": {"reason": "Its account works again."},
        "markSeen": {"note": "Known to the bank."},
        "createWebhookEndpoint": {"url": "https://shop.example/hook"},
    }.get(name, {})


def test_the_matrix_covers_every_route() -> None:
    assert set(MATRIX) == {route.name for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("key", KEYS)
async def test_every_route_answers_every_key_as_the_matrix_says(
    gateway: Any, route: Any, key: str | None
) -> None:
    kept = gateway.front.keep("merchant_a")
    path = route.path.format_map(
        {
            "paymentID": kept.id,
            "transactionID": kept.transaction_id,
            "providerID": "sandbox",
            "endpointID": "we_1",
            "deliveryID": "dlv_1",
        }
    )
    body = {} if route.method == "GET" else {"json": request_of(gateway, route.name)}

    status, answer, headers = await gateway.ask(route.method, path, key=key, **body)

    assert status == MATRIX[route.name][KEYS.index(key)], answer
    assert headers["X-Request-ID"]
    assert ("WWW-Authenticate" in headers) == (status == 401)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/payments/{}"),
        ("GET", "/api/payments/{}/events"),
        ("GET", "/api/payments/{}/explain"),
        ("GET", "/api/payments/{}?at=2026-01-15T10:30:00Z"),
        ("POST", "/api/payments/{}/refund"),
        ("POST", "/api/payments/{}/capture"),
        ("POST", "/api/payments/{}/reverse"),
    ],
)
async def test_anothers_payment_is_answered_exactly_as_one_that_is_not_there(
    gateway: Any, method: str, path: str
) -> None:
    kept = gateway.front.keep("merchant_a")
    body = {"json": {"amount": 1.00}} if path.endswith(("refund", "capture")) else {}
    same = {"headers": {"X-Request-ID": "same"}, "key": "merchant_b"}

    foreign = await gateway.ask(method, path.format(kept.id), **body, **same)
    absent = await gateway.ask(method, path.format("pay_none"), **body, **same)

    assert foreign[:2] == absent[:2]
    assert foreign[0] == 404


async def test_a_list_shows_a_merchant_its_own_and_an_operator_all(gateway: Any) -> None:
    gateway.front.keep("merchant_a")
    gateway.front.keep("merchant_b")

    seen = {
        key: len((await gateway.ask("GET", "/api/payments", key=key))[1]["data"])
        for key in ("merchant_a", "merchant_b", "operator")
    }

    assert seen == {"merchant_a": 1, "merchant_b": 1, "operator": 2}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic c2tfc2FuZGJveA==",
        "sk_sandbox_merchant_a",
        "Bearer sk_sandbox_merchant_c",
        "Bearer sk_sandbox_merchant_a extra",
        "Bearer " + "x" * 5_000,
        "Bearer é" * 9,
    ],
)
async def test_a_key_that_is_none_is_401(gateway: Any, value: str) -> None:
    status, problem, _ = await gateway.ask(
        "GET", "/api/payments", key=None, headers={"Authorization": value}
    )

    assert (status, problem["code"]) == (401, "unauthenticated")


async def test_a_live_server_refuses_the_sandboxs_keys(start: Any) -> None:
    config = Config(api_key_pepper=PEPPER)
    gateway = await start(config=config, sandbox_keys=False, livemode=True)

    for key in SANDBOX_KEYS:
        status, _, _ = await gateway.ask(
            "GET", "/api/payments", key=None, headers={"Authorization": f"Bearer {key}"}
        )
        assert status == 401

    assert gateway.front.look_ups == 0


async def test_a_live_server_with_the_sandboxs_keys_cannot_be_made(start: Any) -> None:
    with pytest.raises(ValueError, match="must not take the sandbox's keys"):
        await start(sandbox_keys=True, livemode=True)


def store(gateway: Any, key: str, *, revoked_at_us: int | None = None) -> dict[str, str]:
    digest = key_digest(b"p" * 32, key)
    gateway.front.stored_keys[digest] = ApiKey(
        id="key_1",
        role="merchant",
        merchant="shop",
        digest=digest,
        created_at_us=0,
        revoked_at_us=revoked_at_us,
    )
    return {"Authorization": f"Bearer {key}"}


async def live(start: Any, **server: Any) -> Any:
    config = Config(api_key_pepper=PEPPER, server=Server(**server))
    return await start(config=config, sandbox_keys=False, livemode=True)


async def test_a_stored_key_is_found_by_its_digest_and_remembered_for_a_while(start: Any) -> None:
    gateway = await live(start)
    headers = store(gateway, "sk_live_0123456789")
    gateway.front.keep("shop")

    answers = [
        await gateway.ask("GET", "/api/payments", key=None, headers=headers) for _ in range(3)
    ]

    assert [len(answer["data"]) for _, answer, _ in answers] == [1, 1, 1]
    assert gateway.front.look_ups == 1


async def test_a_revoked_key_is_refused_as_soon_as_it_is_looked_up_again(start: Any) -> None:
    gateway = await live(start)
    headers = store(gateway, "sk_live_0123456789")
    await gateway.ask("GET", "/api/payments", key=None, headers=headers)
    store(gateway, "sk_live_0123456789", revoked_at_us=1)

    before, _, _ = await gateway.ask("GET", "/api/payments", key=None, headers=headers)
    gateway.clock.advance(5.0)
    after, _, _ = await gateway.ask("GET", "/api/payments", key=None, headers=headers)

    assert (before, after) == (200, 401)


async def test_guessing_keys_is_slowed_down_and_a_known_key_is_not(start: Any) -> None:
    gateway = await live(start)
    headers = store(gateway, "sk_live_0123456789")
    await gateway.ask("GET", "/api/payments", key=None, headers=headers)

    guesses = [
        await gateway.ask(
            "GET", "/api/payments", key=None, headers={"Authorization": f"Bearer sk_live_{n:09}"}
        )
        for n in range(int(LOOKUPS_BURST) + 1)
    ]
    known, _, _ = await gateway.ask("GET", "/api/payments", key=None, headers=headers)

    statuses = [status for status, _, _ in guesses]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    assert guesses[-1][2]["Retry-After"] == "1"
    assert gateway.front.look_ups == 1 + LOOKUPS_BURST
    assert known == 200


async def test_any_number_of_valid_keys_may_come_from_one_address(start: Any) -> None:
    """After a restart behind a proxy all of them are looked up at once."""
    gateway = await live(start)
    keys = [store(gateway, f"sk_live_{n:010}") for n in range(int(LOOKUPS_BURST) * 2)]

    answers = [
        await gateway.ask("GET", "/api/payments", key=None, headers=headers) for headers in keys
    ]

    assert {status for status, _, _ in answers} == {200}


@pytest.mark.parametrize("known", [False, True])
async def test_requests_that_bring_one_valid_key_at_once_are_let_in_by_one_look_up(
    known: bool,  # noqa: FBT001 - a column
) -> None:
    """As soon as it is looked up anew: they are no guesses, however many they are."""
    clock, answer, looked_up = ManualClock(), asyncio.Event(), 0

    async def find(digest: str) -> ApiKey | None:
        nonlocal looked_up
        looked_up += 1
        await answer.wait()
        return ApiKey(id="key_1", merchant="shop", role="merchant", digest=digest, created_at_us=1)

    keys = Keys(find, clock, pepper=PEPPER, sandbox_keys=False)
    head = {"Authorization": "Bearer sk_live_0123456789"}
    request = HandedRequest("GET", path_ids={}, query="", headers=head, body=b"")
    if known:
        answer.set()
        await keys.caller(request)
        answer.clear()
        clock.advance(CACHE_S)
        looked_up = 0
    asked = [asyncio.ensure_future(keys.caller(request)) for _ in range(int(LOOKUPS_BURST) * 2)]
    await asyncio.sleep(0)
    asked.pop(0).cancel()
    await asyncio.sleep(0)
    answer.set()

    callers = await asyncio.gather(*asked)

    assert {caller.merchant for caller in callers} == {"shop"}
    assert looked_up == 1


async def test_a_key_that_uses_up_its_rate_waits_and_the_others_do_not(start: Any) -> None:
    config = Config(server=Server(requests_per_key_per_s=2))
    gateway = await start(config=config)

    statuses = [(await gateway.ask("GET", "/api/payments"))[0] for _ in range(5)]
    _, problem, headers = await gateway.ask("GET", "/api/payments")
    other, _, _ = await gateway.ask("GET", "/api/payments", key="merchant_b")
    gateway.clock.advance(0.5)
    later, _, _ = await gateway.ask("GET", "/api/payments")

    assert statuses == [200, 200, 200, 200, 429]
    assert problem["code"] == "rate_limited"
    assert headers["Retry-After"] == "1"
    assert (other, later) == (200, 200)


async def test_without_a_configured_rate_nobody_is_slowed_down(gateway: Any) -> None:
    statuses = {(await gateway.ask("GET", "/api/payments"))[0] for _ in range(50)}

    assert statuses == {200}


MONEY_MOVES = [route for route in ROUTES if route.admission]


@pytest.mark.parametrize("route", MONEY_MOVES, ids=lambda route: route.name)
async def test_a_full_gateway_refuses_early_and_does_nothing(gateway: Any, route: Any) -> None:
    gateway.front.admission = Refusal(code="overloaded", detail="Full.", retry_after_s=3)
    kept = gateway.front.keep("merchant_a")
    key = "operator" if route.access == "operator" else "merchant_a"
    path = route.path.format_map({"paymentID": kept.id})

    # No content type: it is not even looked at.
    status, problem, headers = await gateway.ask("POST", path, key=key, data=b"x")

    assert (status, problem["code"]) == (503, "overloaded")
    assert headers["Retry-After"] == "3"
    assert gateway.front.commands == []


async def test_a_full_gateway_still_reads_and_still_takes_webhooks(gateway: Any) -> None:
    gateway.front.admission = Refusal(code="overloaded", detail="Full.")

    read, _, _ = await gateway.ask("GET", "/api/payments")
    webhook, _, _ = await gateway.ask("POST", "/api/webhooks/sandbox", key=None, data=b"{}")

    assert (read, webhook) == (200, 200)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_gateway_that_is_not_ready_answers_503_below_api(gateway: Any, route: Any) -> None:
    gateway.front.unready = "Recovering 12 payments."
    names = ("paymentID", "transactionID", "providerID", "endpointID", "deliveryID")
    path = route.path.format_map(dict.fromkeys(names, "x"))

    status, problem, headers = await gateway.ask(route.method, path, key="metrics")

    if route.path in ("/healthz", "/metrics", "/openapi.json"):
        assert status == 200
    else:
        assert (status, problem["code"]) == (503, "not_ready")
        assert problem["detail"] == "Recovering 12 payments."
        assert headers["Retry-After"] == "1"
