"""The sandbox's PayPal: request ids, tokens, what survives a restart, what goes wrong."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sandbox_rig import Inbox, Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET

HOUR_S = 3_600
ORDERS = "/v2/checkout/orders"


class Till:
    """Somebody who speaks PayPal's API by hand."""

    def __init__(self, rig: Rig, session: aiohttp.ClientSession) -> None:
        self.rig = rig
        self._session = session
        self.headers = {"Prefer": "return=representation", "Content-Type": "application/json"}

    async def sign_in(self, secret: str = CLIENT_SECRET) -> int:
        basic = aiohttp.encode_basic_auth(CLIENT_ID, secret)
        async with self._session.post(
            "/v1/oauth2/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": basic},
        ) as response:
            content = await response.json()
            self.headers["Authorization"] = f"Bearer {content.get('access_token')}"
            return response.status

    async def send(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> tuple[int, Any]:
        headers = self.headers | ({"PayPal-Request-Id": key} if key is not None else {})
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        async with self._session.request(method, path, data=data, headers=headers) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if raw else None

    async def order(self, intent: str = "CAPTURE", **unit: object) -> str:
        amount = {"currency_code": "USD", "value": "10.00"}
        body = {"intent": intent, "purchase_units": [{"amount": amount, **unit}]}
        status, order = await self.send("POST", ORDERS, body)
        assert status == 201, order
        return order["id"]

    async def pay(
        self, order: str, *, key: str | None = None, verb: str = "capture"
    ) -> tuple[int, Any]:
        card = {"number": "4242424242424242", "expiry": "2040-12"}
        body = {"payment_source": {"card": card}}
        return await self.send("POST", f"{ORDERS}/{order}/{verb}", body, key=key)

    async def held(self) -> str:
        """Hold money, and give the hold's id."""
        order = await self.order("AUTHORIZE")
        _, paid = await self.pay(order, verb="authorize")
        return paid["purchase_units"][0]["payments"]["authorizations"][0]["id"]


@asynccontextmanager
async def till_of(**options: Any) -> AsyncGenerator[Till]:
    async with sandbox_rig(**options) as rig, aiohttp.ClientSession(rig.sandbox.url) as session:
        till = Till(rig, session)
        assert await till.sign_in() == 200
        yield till


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def till(clock: ManualClock) -> AsyncIterator[Till]:
    async with till_of(clock=clock) as till:
        yield till


def issue(content: Any) -> str:
    return content["details"][0]["issue"]


async def test_a_call_needs_a_token_and_a_token_the_secret(till: Till, clock: ManualClock):
    order = await till.order()
    refused = await till.sign_in("somebody_else")
    without, _ = await till.send("GET", f"{ORDERS}/{order}")
    await till.sign_in()
    there, _ = await till.send("GET", f"{ORDERS}/{order}")
    clock.advance(10 * HOUR_S)
    over, _ = await till.send("GET", f"{ORDERS}/{order}")

    assert (refused, without, there, over) == (401, 401, 200, 401)


async def test_a_request_id_is_kept_for_six_hours_for_an_order_and_45_days_for_a_payment(
    till: Till, clock: ManualClock
):
    body = {"purchase_units": [{"amount": {"currency_code": "USD", "value": "10.00"}}]}
    first = [await till.send("POST", ORDERS, body | {"intent": "CAPTURE"}, key="k")]
    hold = await till.held()
    path = f"/v2/payments/authorizations/{hold}/capture"
    taken = await till.send("POST", path, key="c")
    first.append(await till.send("POST", ORDERS, body | {"intent": "CAPTURE"}, key="k"))

    clock.advance(7 * HOUR_S)
    again = await till.send("POST", path, key="c")
    other = await till.send("POST", ORDERS, body | {"intent": "CAPTURE"}, key="k")

    assert [status for status, _ in first] == [201, 200]
    assert first[0][1]["id"] == first[1][1]["id"] != other[1]["id"]
    assert (taken[0], again[0]) == (201, 200)
    assert taken[1]["id"] == again[1]["id"]


async def test_a_call_that_was_refused_leaves_its_request_id_free(till: Till):
    order = await till.order()
    early, content = await till.send("POST", f"{ORDERS}/{order}/capture", key="k")

    paid, _ = await till.pay(order, key="k")

    assert (early, issue(content), paid) == (422, "ORDER_NOT_APPROVED", 201)


async def test_a_request_id_of_109_characters_and_a_body_that_is_none_are_refused(till: Till):
    order = await till.order()

    long = await till.pay(order, key="k" * 109)
    garbled = await till.send("POST", ORDERS, b"{")
    shaped = await till.send("POST", ORDERS, {"intent": "CAPTURE", "purchase_units": []})

    assert [status for status, _ in (long, garbled, shaped)] == [400, 400, 400]
    assert issue(garbled[1]) == "MALFORMED_REQUEST_JSON"
    assert await till.rig.ledger() == []


async def test_no_refusal_repeats_a_card_number(till: Till):
    order = await till.order()
    card = {"number": "4242424242424241", "expiry": "2040-13", "security_code": "12345"}

    status, content = await till.send(
        "POST", f"{ORDERS}/{order}/capture", {"payment_source": {"card": card}}
    )

    assert status == 400
    assert "4242" not in json.dumps(content)


async def test_orders_holds_and_events_outlive_the_process(tmp_path: Path, clock: ManualClock):
    async with till_of(clock=clock, data_dir=tmp_path) as till:
        order = await till.order(invoice_id="txn_1-1")
        await till.pay(order, key="k")
        hold = await till.held()
        before = await till.send("GET", f"{ORDERS}/{order}")
        events = await till.send("GET", "/v1/notifications/webhooks-events")

    async with till_of(clock=clock, data_dir=tmp_path) as till:
        after = await till.send("GET", f"{ORDERS}/{order}")
        again, _ = await till.pay(order, key="k")
        twice = await till.pay(await till.order(invoice_id="txn_1-1"))
        voided, _ = await till.send("POST", f"/v2/payments/authorizations/{hold}/void")
        listed = await till.send("GET", "/v1/notifications/webhooks-events")

    def without_links(seen: tuple[int, Any]) -> Any:
        return [seen[1]["status"], seen[1]["purchase_units"][0]["payments"]["captures"][0]["id"]]

    assert without_links(before) == without_links(after)
    assert (again, voided) == (200, 200)
    assert issue(twice[1]) == "DUPLICATE_INVOICE_ID"
    assert [each["id"] for each in listed[1]["events"]][-2:] == [
        each["id"] for each in events[1]["events"]
    ]


async def test_a_pending_capture_ends_by_webhook_and_is_not_refunded_before(clock: ManualClock):
    async with Inbox() as inbox, till_of(clock=clock, gateway_url=inbox.url) as till:
        await till.rig.fault("pending", delayMs=60_000, provider="sandbox_paypal")
        order = await till.order()
        _, paid = await till.pay(order)
        (capture,) = paid["purchase_units"][0]["payments"]["captures"]
        _, early = await till.send("POST", f"/v2/payments/captures/{capture['id']}/refund")

        clock.advance(60)
        (event,) = await inbox.wait_for(1)

    assert (capture["status"], issue(early)) == ("PENDING", "PENDING_CAPTURE")
    assert (event["event_type"], event["resource"]["id"]) == (
        "PAYMENT.CAPTURE.COMPLETED",
        capture["id"],
    )


async def test_a_500_that_is_stored_stays_one_and_nothing_was_done(till: Till):
    hold = await till.held()
    path = f"/v2/payments/authorizations/{hold}/capture"
    await till.rig.fault("error_500_stored", operation="capture")

    statuses = [(await till.send("POST", path, key="k"))[0] for _ in range(2)]
    _, standing = await till.send("GET", f"/v2/payments/authorizations/{hold}")
    other, _ = await till.send("POST", path, key="k2")

    assert statuses == [500, 500]
    assert standing["status"] == "CREATED"
    assert other == 201


async def test_an_amount_that_is_not_ours_is_told_and_booked(till: Till):
    await till.rig.fault("wrong_amount", operation="charge")

    _, paid = await till.pay(await till.order())

    (capture,) = paid["purchase_units"][0]["payments"]["captures"]
    assert capture["amount"]["value"] == "9.99"
    assert [line["amountMinor"] for line in await till.rig.ledger()] == [999]


async def test_a_hold_that_expires_is_told_as_voided(clock: ManualClock):
    async with Inbox() as inbox, till_of(clock=clock, gateway_url=inbox.url) as till:
        hold = await till.held()
        await inbox.wait_for(1)

        clock.advance(8 * 24 * HOUR_S)
        told = await inbox.wait_for(2)

    assert [each["event_type"] for each in told] == [
        "PAYMENT.AUTHORIZATION.CREATED",
        "PAYMENT.AUTHORIZATION.VOIDED",
    ]
    assert told[1]["resource"]["id"] == hold


async def test_what_paypal_gives_back_by_itself_names_the_payment(clock: ManualClock):
    async with Inbox() as inbox, till_of(clock=clock, gateway_url=inbox.url) as till:
        order = await till.order(custom_id="txn_1-1")
        await till.pay(order)
        status, _ = await till.rig.post("/returns", {"providerTxnID": order, "amountMinor": 250})
        told = await inbox.wait_for(2)

    refund = told[1]["resource"]
    assert status == 200
    assert told[1]["event_type"] == "PAYMENT.CAPTURE.REFUNDED"
    assert (refund["amount"]["value"], refund["custom_id"]) == ("2.50", "txn_1-1")


async def test_a_payer_s_answer_is_taken_once_and_in_time(till: Till, clock: ManualClock):
    wallet: dict[str, object] = {"paypal": {}}
    unit = {"amount": {"currency_code": "USD", "value": "10.00"}}
    body = {"intent": "CAPTURE", "purchase_units": [unit], "payment_source": wallet}
    orders = [(await till.send("POST", ORDERS, body))[1]["id"] for _ in range(3)]

    twice = [(await till.rig.post(f"/actions/{orders[0]}/complete"))[0] for _ in range(2)]
    refused = [(await till.rig.post(f"/actions/{orders[1]}/fail"))[0] for _ in range(2)]
    changed, _ = await till.rig.post(f"/actions/{orders[1]}/complete")
    clock.advance(3 * HOUR_S)
    late, _ = await till.rig.post(f"/actions/{orders[2]}/complete")
    nobody, _ = await till.rig.post("/actions/NONE/complete")

    assert (twice, refused) == ([200, 200], [200, 200])
    assert (changed, late, nobody) == (409, 409, 404)


async def test_a_reset_forgets_the_account_too(till: Till):
    order = await till.order()
    await till.rig.post("/reset")

    status, _ = await till.send("GET", f"{ORDERS}/{order}")

    assert status == 404
