"""Webhook endpoints and the feed at the edge: what is asked of the gateway, what is shown."""

from typing import Any

import pytest
from msgspec import UNSET

from paygate_actors.messages import Refusal, RefusalCode
from paygate_actors.notice_messages import EndpointChange, NewEndpoint

ENDPOINTS = "/api/webhook-endpoints"
ONE = f"{ENDPOINTS}/we_1"


async def test_a_secret_is_in_the_answer_that_makes_it_and_in_no_other(gateway: Any) -> None:
    body = {"url": "https://shop.example/hook", "events": ["refund.*"], "unknown": 1}
    made = await gateway.ask("POST", ENDPOINTS, json=body)
    others = [
        await gateway.ask("GET", ENDPOINTS),
        await gateway.ask("GET", ONE),
        await gateway.ask("PATCH", ONE, json={"enabled": True}),
    ]
    rotated = await gateway.ask("POST", f"{ONE}/rotate-secret")

    assert made[0] == rotated[0] == 201
    assert made[1]["secret"].startswith("whsec_")
    assert made[2]["Location"] == ONE
    assert all("whsec_" not in str(answer) for _, answer, _ in others)
    wanted = NewEndpoint(url="https://shop.example/hook", events=("refund.*",), description="")
    assert gateway.front.notices.asked[0] == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, EndpointChange()),
        ({"enabled": False}, EndpointChange(enabled=False)),
        ({"events": []}, EndpointChange(events=())),
        ({"description": ""}, EndpointChange(description="")),
        ({"url": None, "enabled": None}, EndpointChange()),
        ({"url": "https://a.example/"}, EndpointChange(url="https://a.example/")),
    ],
)
async def test_what_a_change_leaves_out_stays(
    gateway: Any, body: dict[str, Any], wanted: EndpointChange
) -> None:
    status, _, _ = await gateway.ask("PATCH", ONE, json=body)

    assert status == 200
    assert gateway.front.notices.asked == [wanted]
    assert (wanted.url is UNSET) == (body.get("url") is None)


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("POST", ENDPOINTS, {}, "/url"),
        ("POST", ENDPOINTS, {"url": None}, "/url"),
        ("POST", ENDPOINTS, {"url": 7}, "/url"),
        ("POST", ENDPOINTS, {"url": "https://" + "a" * 3_000}, "/url"),
        ("POST", ENDPOINTS, {"url": "https://a.example", "events": "all"}, "/events"),
        ("POST", ENDPOINTS, {"url": "https://a.example", "events": ["x"] * 51}, "/events"),
        ("POST", ENDPOINTS, {"url": "https://a.example", "description": "a\x00b"}, "/description"),
        ("PATCH", ONE, {"enabled": "yes"}, "/enabled"),
        ("PATCH", ONE, {"description": "x" * 501}, "/description"),
    ],
)
async def test_a_fault_of_a_body_is_named_by_its_place(
    gateway: Any, method: str, path: str, body: dict[str, Any], pointer: str
) -> None:
    status, problem, _ = await gateway.ask(method, path, json=body)

    assert (status, problem["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert gateway.front.notices.asked == []


@pytest.mark.parametrize(("method", "path"), [("POST", ENDPOINTS), ("PATCH", ONE)])
@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/hook?card=4242424242424242",
        "https://shop.example/4242-4242-4242-4242/hook",
    ],
)
async def test_a_card_number_in_a_url_or_a_description_is_refused_and_not_repeated(
    gateway: Any, method: str, path: str, url: str
) -> None:
    body = {"url": url, "description": "of 4242 4242 4242 4242"}

    status, problem, _ = await gateway.ask(method, path, json=body)

    assert status == 422
    assert {(each["pointer"], each["code"]) for each in problem["errors"]} == {
        ("/url", "card_number_in_text"),
        ("/description", "card_number_in_text"),
    }
    assert "4242" not in str(problem)
    assert gateway.front.notices.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/events?limit=0",
        "/api/events?limit=101",
        "/api/events?limit=ten",
        "/api/events?after=",
        "/api/events?after=a&after=b",
        f"{ONE}/deliveries?status=lost",
        f"{ONE}/deliveries?cursor=%00",
    ],
)
async def test_a_bad_parameter_is_refused(gateway: Any, path: str) -> None:
    status, problem, _ = await gateway.ask("GET", path)

    assert (status, problem["code"]) == (422, "validation_failed")
    assert gateway.front.notices.asked == []


async def test_pages_are_asked_for_as_the_query_says(gateway: Any) -> None:
    first = await gateway.ask("GET", "/api/events")
    await gateway.ask("GET", "/api/events?after=abc&limit=7&unknown=1")
    listed = await gateway.ask("GET", f"{ONE}/deliveries?status=dead&cursor=abc&limit=3")

    assert gateway.front.notices.asked == [(None, 20), ("abc", 7), ("dead", "abc", 3)]
    assert (first[1]["hasMore"], first[1]["nextCursor"]) == (False, "next")
    assert (listed[1]["hasMore"], listed[1]["nextCursor"]) == (True, "next")
    assert listed[1]["data"][0]["attempts"][0]["status"] == 500


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("endpoint_limit_reached", 409),
        ("endpoint_disabled", 409),
        ("delivery_pending", 409),
        ("delivery_not_found", 404),
        ("cursor_expired", 410),
        ("overloaded", 503),
    ],
)
async def test_a_refusal_has_its_status(gateway: Any, code: RefusalCode, status: int) -> None:
    gateway.front.notices.refusal = Refusal(code=code, detail="No.")

    found = [
        await gateway.ask("POST", ENDPOINTS, json={"url": "https://shop.example/hook"}),
        await gateway.ask("GET", "/api/events"),
        await gateway.ask("POST", f"{ONE}/test"),
        await gateway.ask("POST", f"{ONE}/deliveries/dlv_1/replay"),
    ]

    assert {(each[0], each[1]["code"]) for each in found} == {(status, code)}
