"""The sandbox's answers and events are what PayPal's own specifications describe."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

import aiohttp
import pytest
from jsonschema import Draft202012Validator
from paypal_rig import RETURN_URL, official_schemas
from sandbox_rig import Inbox, Rig, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_http.sandbox.paypal_tokens import CLIENT_ID, CLIENT_SECRET

ORDERS = "paypal_checkout_orders_v2.json"
PAYMENTS = "paypal_payments_payment_v2.json"
DISPUTES = "paypal_customer_disputes_v1.json"
WEBHOOKS = "paypal_notifications_webhooks_v1.json"


class Caller:
    """Calls the sandbox as plain HTTP, and keeps the newest token."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._headers = {"Prefer": "return=representation"}

    async def sign_in(self) -> None:
        async with self._session.post(
            "/v1/oauth2/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, CLIENT_SECRET)},
        ) as response:
            token = (await response.json())["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    async def call(
        self, method: str, path: str, body: object = None, *, status: int = 201
    ) -> dict[str, Any]:
        async with self._session.request(
            method, path, json=body if body is not None else {}, headers=self._headers
        ) as response:
            content = await response.json()
            assert response.status == status, content
            return content

    async def order(self, intent: str = "CAPTURE", **more: object) -> dict[str, Any]:
        unit = {
            "amount": {"currency_code": "USD", "value": "10.00"},
            "custom_id": "txn_1-1",
            "description": "A book",
        }
        body = {"intent": intent, "purchase_units": [unit], **more}
        return await self.call("POST", "/v2/checkout/orders", body)

    async def paid(self, intent: str = "CAPTURE", **changes: object) -> dict[str, Any]:
        order = await self.order(intent)
        verb = "capture" if intent == "CAPTURE" else "authorize"
        return await self.call("POST", f"/v2/checkout/orders/{order['id']}/{verb}", card(**changes))


def card(**changes: object) -> dict[str, Any]:
    details = {
        "number": "4242424242424242",
        "expiry": "2040-12",
        "name": "Ada Example",
        "experience_context": {"return_url": RETURN_URL},
    }
    return {"payment_source": {"card": details | changes}}


def payments(order: dict[str, Any], kind: str) -> dict[str, Any]:
    """The only payment of this kind that an order has."""
    (payment,) = order["purchase_units"][0]["payments"][kind]
    return payment


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    async with sandbox_rig(clock=ManualClock()) as rig:
        yield rig


@pytest.fixture
async def caller(rig: Rig) -> AsyncGenerator[Caller]:
    async with aiohttp.ClientSession(rig.sandbox.url) as session:
        caller = Caller(session)
        await caller.sign_in()
        yield caller


def differences(said: Any, document: dict[str, Any], schema: str) -> list[str]:
    """What of it is not as the specification has it, and what the specification does not have."""
    rule = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    validator: Any = Draft202012Validator(rule)
    found = [
        f"{'/'.join(map(str, each.path))}: {each.message}" for each in validator.iter_errors(said)
    ]
    return found + list(_unknown(said, {"$ref": rule["$ref"]}, document, schema))


def _unknown(said: Any, rule: dict[str, Any], document: dict[str, Any], at: str) -> Iterator[str]:
    known = _resolved(rule, document)
    if isinstance(said, list):
        for each in cast("list[Any]", said):
            yield from _unknown(each, known.get("items", {}), document, f"{at}[]")
    elif isinstance(said, dict) and known["properties"]:
        for name, value in cast("dict[str, Any]", said).items():
            if name not in known["properties"]:
                yield f"{at}.{name} is not in the specification"
            else:
                yield from _unknown(value, known["properties"][name], document, f"{at}.{name}")


def _resolved(rule: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """A schema with the properties of all that it refers to and is made of."""
    properties: dict[str, Any] = {}
    items: dict[str, Any] = rule.get("items", {})
    parts = list(rule.get("allOf", []))
    if "$ref" in rule:
        parts.append(document["components"]["schemas"][rule["$ref"].rpartition("/")[2]])
    for part in parts:
        whole = _resolved(part, document)
        properties |= whole["properties"]
        items = items or whole["items"]
    return {"properties": properties | rule.get("properties", {}), "items": items}


async def test_an_order_in_each_state_is_as_paypal_s(rig: Rig, caller: Caller):
    official = official_schemas(ORDERS)
    stored = {"payment_initiator": "CUSTOMER", "payment_type": "ONE_TIME", "usage": "FIRST"}
    made = await caller.order()
    asked = await caller.order(payment_source={"paypal": {"experience_context": {}}})
    paid = await caller.paid(stored_credential=stored)
    held = await caller.paid("AUTHORIZE")
    declined = await caller.paid(number="4000000000000002")
    proven = await caller.paid(
        number="5555555555554444", attributes={"verification": {"method": "SCA_ALWAYS"}}
    )
    capture = payments(paid, "captures")
    await caller.call("POST", f"/v2/payments/captures/{capture['id']}/refund")
    refunded = await caller.call("GET", f"/v2/checkout/orders/{paid['id']}", status=200)

    assert payments(paid, "captures")["network_transaction_reference"]["id"]
    assert proven["payment_source"]["card"]["authentication_result"]
    assert payments(refunded, "refunds")["status"] == "COMPLETED"
    for order in (made, asked, paid, held, declined, proven, refunded):
        assert differences(order, official, "order") == []


async def test_what_stands_outside_of_an_order_is_as_paypal_s(caller: Caller):
    official = official_schemas(PAYMENTS)
    holds = [payments(await caller.paid("AUTHORIZE"), "authorizations") for _ in range(2)]
    paths = [f"/v2/payments/authorizations/{each['id']}" for each in holds]

    hold = await caller.call("GET", paths[0], status=200)
    capture = await caller.call("POST", f"{paths[0]}/capture", {"final_capture": True})
    voided = await caller.call("POST", f"{paths[1]}/void", status=200)
    body = {"amount": {"currency_code": "USD", "value": "2.50"}, "custom_id": "txn_2-1"}
    refund = await caller.call("POST", f"/v2/payments/captures/{capture['id']}/refund", body)
    after = await caller.call("GET", f"/v2/payments/captures/{capture['id']}", status=200)

    assert (voided["status"], after["status"]) == ("VOIDED", "PARTIALLY_REFUNDED")
    assert differences(hold, official, "authorization-2") == []
    assert differences(voided, official, "authorization-2") == []
    assert differences(capture, official, "capture-2") == []
    assert differences(after, official, "capture-2") == []
    assert differences(refund, official, "refund") == []


async def test_a_refusal_is_as_paypal_s(caller: Caller):
    official = official_schemas(ORDERS)
    order = await caller.order()
    path = f"/v2/checkout/orders/{order['id']}/capture"

    missing = await caller.call("GET", "/v2/checkout/orders/NONE", status=404)
    malformed = await caller.call("POST", "/v2/checkout/orders", {"intent": "GIVE"}, status=400)
    early = await caller.call("POST", path, status=422)
    asked = await caller.call("POST", path, card(number="4000002760003184"), status=422)

    assert [each["issue"] for each in asked["details"]] == ["PAYER_ACTION_REQUIRED"]
    assert "payer-action" in [each["rel"] for each in asked["links"]]
    for status, trouble in ((404, missing), (400, malformed), (422, early)):
        assert differences(trouble, official, f"error_{status}") == []


async def test_an_issue_that_the_sandbox_has_is_one_of_the_specification_s(caller: Caller):
    """Every issue that a capture, hold, void or refund can be refused with."""
    known = set(_issues(official_schemas(ORDERS))) | set(_issues(official_schemas(PAYMENTS)))
    paid = await caller.paid()
    held = await caller.paid("AUTHORIZE")
    capture, hold = payments(paid, "captures"), payments(held, "authorizations")
    refunds, holds = (
        f"/v2/payments/captures/{capture['id']}",
        f"/v2/payments/authorizations/{hold['id']}",
    )
    too_much = {"amount": {"currency_code": "USD", "value": "99.00"}}
    euros = {"amount": {"currency_code": "EUR", "value": "1.00"}}

    refused = [
        await caller.call("POST", path, body, status=422)
        for path, body in (
            (f"/v2/checkout/orders/{paid['id']}/capture", card()),
            (f"/v2/checkout/orders/{held['id']}/authorize", card()),
            (f"{refunds}/refund", too_much),
            (f"{refunds}/refund", euros),
            (f"{holds}/capture", too_much),
            (f"{holds}/capture", euros),
        )
    ]

    said = {each["details"][0]["issue"] for each in refused}
    assert len(said) == 6
    assert said <= known


def _issues(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        fields = cast("dict[str, Any]", content)
        if isinstance(fields.get("issue"), dict):
            yield from fields["issue"].get("enum", ())
        for value in fields.values():
            yield from _issues(value)
    elif isinstance(content, list):
        for value in cast("list[Any]", content):
            yield from _issues(value)


async def test_events_and_their_resources_are_as_paypal_s():
    clock = ManualClock()
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=clock, gateway_url=inbox.url) as rig,
        aiohttp.ClientSession(rig.sandbox.url) as session,
    ):
        caller = Caller(session)
        await caller.sign_in()
        paid = await caller.paid(number="4000000000000259")
        clock.advance(1)
        told = await inbox.wait_for(2)
        listed = await caller.call("GET", "/v1/notifications/webhooks-events", status=200)

    resources = {each["event_type"]: each["resource"] for each in told}
    assert set(resources) == {"PAYMENT.CAPTURE.COMPLETED", "CUSTOMER.DISPUTE.CREATED"}
    capture = resources["PAYMENT.CAPTURE.COMPLETED"]
    dispute = resources["CUSTOMER.DISPUTE.CREATED"]
    assert capture["supplementary_data"]["related_ids"]["order_id"] == paid["id"]
    assert differences(capture, official_schemas(PAYMENTS), "capture-2") == []
    assert differences(dispute, official_schemas(DISPUTES), "dispute") == []
    for event in told:
        assert differences(event, official_schemas(WEBHOOKS), "event") == []
    assert listed["events"] == list(reversed(told))


def test_a_missing_field_another_type_and_a_field_of_nobody_s_are_seen():
    document = {
        "components": {
            "schemas": {
                "money": {
                    "properties": {"value": {"type": "string"}},
                    "required": ["value", "currency"],
                }
            }
        }
    }

    found = differences({"value": 1, "cents": 2}, document, "money")

    assert len(found) == 3
    assert found[-1] == "money.cents is not in the specification"
