"""The stream of webhooks: complete, in order, and no burden to the sandbox that writes it."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from sandbox_rig import Inbox, Rig, sandbox_rig
from standardwebhooks import Webhook

from paygate_engine.clock import SystemClock
from paygate_http.sandbox import listeners
from paygate_http.sandbox.listeners import LISTENERS_MAX, Listeners, Sent, TooManyListeners
from paygate_http.sandbox.server import WEBHOOK_SECRET

WAIT_S = 5.0


async def lines_of(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    async with asyncio.timeout(WAIT_S):
        while len(lines) < count:
            line = await response.content.readline()
            if line.strip():
                lines.append(json.loads(line))
    return lines


async def opened(session: aiohttp.ClientSession, rig: Rig) -> aiohttp.ClientResponse:
    response = await session.get(f"{rig.sandbox.url}/webhooks/stream")
    await response.content.readline()
    return response


def sent(number: int) -> Sent:
    return Sent(
        id=f"msg_{number}", provider="sandbox", event_type="x", at="now", headers={}, body=""
    )


async def test_without_a_gateway_webhooks_are_made_for_those_who_listen():
    async with sandbox_rig(clock=SystemClock()) as rig, aiohttp.ClientSession() as session:
        await rig.charged("txn_0-1")
        response = await opened(session, rig)
        charge_id = await rig.charged("txn_1-1")

        (line,) = await lines_of(response, 1)
        response.close()

    told = Webhook(WEBHOOK_SECRET).verify(line["body"], line["headers"])
    assert told["transactionID"] == charge_id
    assert (line["provider"], line["eventType"]) == ("sandbox", "payment.succeeded")


async def test_the_gateway_gets_what_the_listener_sees_and_a_refusal_is_not_shown_again():
    async with (
        Inbox() as inbox,
        sandbox_rig(clock=SystemClock(), gateway_url=inbox.url) as rig,
        aiohttp.ClientSession() as session,
    ):
        inbox.status = 503
        response = await opened(session, rig)
        await rig.charged("txn_1-1")
        await inbox.wait_for(2)
        await rig.charged("txn_2-1")

        lines = await lines_of(response, 2)
        response.close()

    references = [json.loads(line["body"])["data"]["reference"] for line in lines]
    assert references == ["txn_1-1", "txn_2-1"]
    assert inbox.ids[0] == lines[0]["id"]


async def test_a_duplicate_is_shown_as_often_as_it_is_sent():
    async with sandbox_rig(clock=SystemClock()) as rig, aiohttp.ClientSession() as session:
        response = await opened(session, rig)
        await rig.fault("webhook_duplicate")
        await rig.charged("txn_1-1")

        first, second = await lines_of(response, 2)
        response.close()

    assert (first["id"], first["body"]) == (second["id"], second["body"])


async def test_where_too_many_listen_the_next_one_is_told():
    async with sandbox_rig() as rig, aiohttp.ClientSession() as session:
        responses = [await opened(session, rig) for _ in range(LISTENERS_MAX)]
        refused = await session.get(f"{rig.sandbox.url}/webhooks/stream")
        for each in responses:
            each.close()

    assert refused.status == 503


async def test_listeners_end_with_the_sandbox():
    async with sandbox_rig() as rig, aiohttp.ClientSession() as session:
        response = await opened(session, rig)
        await rig.sandbox.stop()

        async with asyncio.timeout(WAIT_S):
            rest = await response.content.read()

    assert rest.strip() == b""


async def test_a_listener_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listeners, "BEHIND_MAX", 3)
    all_of_them = Listeners()

    with all_of_them.join() as heard:
        for number in range(5):
            all_of_them.tell(sent(number))
        seen = [each.id async for each in heard]

    assert seen == ["msg_0", "msg_1", "msg_2"]
    assert not all_of_them


def test_a_place_is_free_again_once_somebody_left():
    all_of_them = Listeners()
    for _ in range(LISTENERS_MAX + 1):
        with all_of_them.join():
            pass
    places = [all_of_them.join() for _ in range(LISTENERS_MAX + 1)]
    for each in places[:-1]:
        each.__enter__()

    with pytest.raises(TooManyListeners):
        places[-1].__enter__()
