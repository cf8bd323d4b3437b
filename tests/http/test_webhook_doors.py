"""The doors of webhooks: the answer that a provider wants, an early no, and reading them again."""

from pathlib import Path
from typing import Any

import pytest

from paygate_actors.config import Config
from paygate_actors.messages import Caller, Refusal
from paygate_actors.replay_messages import ReadingChange, ReplayPage, ReplayWebhooks
from paygate_http.control import Control, RemoteReplays
from paygate_http.key_desk import KeyDesk
from paygate_http.process import Refused

DOORS = ("/api/webhooks/sandbox", "/api/providers/sandbox/webhook")
REPLAYS = "/api/webhook-replays"
OPERATOR = "operator"


@pytest.mark.parametrize("door", DOORS)
async def test_a_provider_that_wants_a_reply_of_its_own_gets_it(gateway: Any, door: str) -> None:
    gateway.front.wanted_reply = "[accepted]"

    async with gateway.client.post(door, data=b"{}") as answer:
        text = await answer.text()

    assert (answer.status, text, answer.content_type) == (200, "[accepted]", "text/plain")


@pytest.mark.parametrize("door", DOORS)
async def test_while_too_many_are_on_their_way_the_body_is_not_even_read(
    gateway: Any, door: str
) -> None:
    gateway.front.full = Refusal(code="overloaded", detail="Too many.", retry_after_s=1)

    async with gateway.client.post(door, data=b"x" * 100_000) as answer:
        problem = await answer.json()

    # What is too large would have been 413, had anybody looked.
    assert (answer.status, problem["code"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    assert gateway.front.commands == []


@pytest.mark.parametrize(
    ("code", "status"),
    [("another_account", 403), ("provider_silent", 503), ("malformed_body", 400)],
)
async def test_each_refusal_has_its_status(gateway: Any, code: Any, status: int) -> None:
    gateway.front.refusal = Refusal(code=code, detail="No.")

    found, problem, _ = await gateway.ask("POST", DOORS[0], key=None, data=b"{}")

    assert (found, problem["code"]) == (status, code)


async def test_an_operator_has_webhooks_read_again(gateway: Any) -> None:
    gateway.front.replay_page = ReplayPage(
        webhooks=7,
        failed=1,
        changes=(
            ReadingChange(
                provider="sandbox",
                event_id="evt_1",
                received_us=1_767_225_600_000_001,
                was=None,
                now="payment.succeeded",
                payment_id="pay_1",
                applied=True,
            ),
        ),
        next_cursor="0001",
    )
    asked = {
        "provider": "sandbox",
        "eventID": "evt_1",
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-02T00:00:00Z",
        "dryRun": True,
        "cursor": "0000",
    }

    status, answer, _ = await gateway.ask("POST", REPLAYS, key=OPERATOR, json=asked)

    (command,) = gateway.front.commands
    assert command == ReplayWebhooks(
        caller=command.caller,
        provider="sandbox",
        event_id="evt_1",
        from_us=1_767_225_600_000_000,
        to_us=1_767_312_000_000_000,
        dry_run=True,
        cursor="0000",
    )
    assert status == 200
    assert answer == {
        "webhooks": 7,
        "failed": 1,
        "data": [
            {
                "provider": "sandbox",
                "eventID": "evt_1",
                "receivedAt": "2026-01-01T00:00:00.000001Z",
                "was": None,
                "now": "payment.succeeded",
                "paymentID": "pay_1",
                "applied": True,
            }
        ],
        "hasMore": True,
        "nextCursor": "0001",
    }


async def test_nothing_said_reads_all_that_is_kept(gateway: Any) -> None:
    status, answer, _ = await gateway.ask("POST", REPLAYS, key=OPERATOR)

    (command,) = gateway.front.commands
    assert (status, answer["hasMore"]) == (200, False)
    assert command == ReplayWebhooks(caller=command.caller)


async def test_every_fault_of_a_replay_is_named_at_once(gateway: Any) -> None:
    asked = {"from": "yesterday", "to": 5, "provider": ""}

    status, problem, _ = await gateway.ask("POST", REPLAYS, key=OPERATOR, json=asked)

    assert status == 422
    assert {fault["pointer"] for fault in problem["errors"]} == {"/from", "/to", "/provider"}
    assert gateway.front.commands == []


async def test_the_folder_s_socket_carries_a_replay_and_a_refusal(
    gateway: Any, tmp_path: Path
) -> None:
    page = ReplayPage(webhooks=1, failed=0, changes=(), next_cursor=None)
    asked = ReplayWebhooks(
        caller=Caller(role="operator", merchant="", key_id="console"), provider="sandbox"
    )
    heard: list[ReplayWebhooks] = []

    async def replay(command: ReplayWebhooks) -> ReplayPage | Refusal:
        heard.append(command)
        full = Refusal(code="overloaded", detail="Too much is waiting; nothing was done.")
        return page if len(heard) == 1 else full

    async with Control(str(tmp_path), KeyDesk(gateway.front, Config()), replay=replay):
        remote = RemoteReplays(str(tmp_path), timeout_s=5)
        answered = await remote.page(asked)
        with pytest.raises(Refused, match="Too much is waiting"):
            await remote.page(asked)

    assert answered == page
    assert heard == [asked, asked]


async def test_merchants_read_nothing_again(gateway: Any) -> None:
    status, problem, _ = await gateway.ask("POST", REPLAYS, json={})

    assert (status, problem["code"]) == (403, "forbidden")
    assert gateway.front.commands == []
