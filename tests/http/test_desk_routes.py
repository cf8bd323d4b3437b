"""The desk's routes: what they take, what they refuse, and how an entry is written."""

from typing import Any

import pytest

from paygate_actors.desk_messages import AskAgain, GiveBack, MarkNotCharged, MarkSeen, OpenCall
from paygate_actors.messages import Refusal

AT_US = 1_768_473_000_000_000
CALL = OpenCall(
    transaction_id="txn_1",
    operation="charge",
    provider="sandbox",
    key="txn_1-1",
    amount_minor=1_234,
    standing="in_doubt",
    started_at_us=AT_US,
    asks=3,
    last_answer="not_visible",
    next_check_us=AT_US + 5_000_000,
    key_window_ends_us=None,
)


async def act(gateway: Any, action: str, body: Any = None) -> tuple[int, Any]:
    kept = gateway.front.keep("merchant_a", in_doubt=True)
    how = {} if body is None else {"json": body}
    path = f"/api/in-doubt/{kept.id}/{action}"
    status, answer, _ = await gateway.ask("POST", path, key="operator", **how)
    return status, answer


async def test_an_entry_is_written_in_the_wires_words(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a", currency="JPY", amount_minor=500, in_doubt=True)
    gateway.front.open_calls = (CALL,)

    status, page, _ = await gateway.ask("GET", "/api/in-doubt", key="operator")

    assert status == 200
    assert (page["hasMore"], page["nextCursor"]) == (False, None)
    (entry,) = page["data"]
    assert entry["paymentID"] == kept.id
    assert (entry["merchant"], entry["amount"], entry["currency"]) == ("merchant_a", 500, "JPY")
    assert entry["concerns"] == [
        {"seq": 4, "code": "disputed", "detail": "evt_1", "at": "2026-01-15T10:30:00.000000Z"}
    ]
    assert entry["actions"] == ["seen"]
    (call,) = entry["calls"]
    assert call["amount"] == 1_234
    assert (call["state"], call["asks"], call["lastAnswer"]) == ("in_doubt", 3, "not_visible")
    assert call["startedAt"] == "2026-01-15T10:30:00.000000Z"
    assert call["nextCheckAt"] == "2026-01-15T10:30:05.000000Z"
    assert call["keyWindowEndsAt"] is None


async def test_an_explanation_has_why_next_and_calls(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")
    gateway.front.open_calls = (CALL,)

    _, told, _ = await gateway.ask("GET", f"/api/payments/{kept.id}/explain")

    assert told["why"] == [
        {"seq": 1, "at": "2026-01-15T10:30:00.000000Z", "text": "A payment was accepted."}
    ]
    assert told["next"] == [
        {
            "action": "look_up",
            "by": "paygate",
            "at": "2026-01-15T10:30:00.000000Z",
            "text": "It is asked.",
        }
    ]
    assert told["calls"][0]["amount"] == 12.34


@pytest.mark.parametrize(
    ("action", "body", "kind", "fields"),
    [
        ("ask", None, AskAgain, {}),
        ("not-charged", {"reason": "Gone."}, MarkNotCharged, {"reason": "Gone."}),
        ("give-back", {"reason": "Again."}, GiveBack, {"reason": "Again."}),
        ("seen", {"note": "Known."}, MarkSeen, {"note": "Known.", "up_to_seq": None}),
        ("seen", {"note": "Known.", "upToSeq": 7}, MarkSeen, {"up_to_seq": 7}),
    ],
)
async def test_an_action_becomes_its_command_under_the_key_of_who_asks(
    gateway: Any, action: str, body: Any, kind: type, fields: dict[str, Any]
) -> None:
    status, answer = await act(gateway, action, body)

    (command,) = gateway.front.commands
    assert status == 200
    assert answer["paymentID"] == command.payment_id
    assert type(command) is kind
    assert command.caller.role == "operator"
    assert {name: getattr(command, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("action", "body", "faults"),
    [
        ("not-charged", {}, {"/reason": "required"}),
        ("not-charged", {"reason": ""}, {"/reason": "required"}),
        ("not-charged", {"reason": 7}, {"/reason": "invalid_type"}),
        ("not-charged", {"reason": "4242 4242 4242 4242"}, {"/reason": "card_number_in_text"}),
        ("not-charged", {"reason": "x" * 501}, {"/reason": "invalid_value"}),
        ("give-back", {}, {"/reason": "required"}),
        ("give-back", {"reason": "4242 4242 4242 4242"}, {"/reason": "card_number_in_text"}),
        ("seen", {}, {"/note": "required"}),
        ("seen", {"note": " \t\n"}, {"/note": "required"}),
        ("seen", {"note": "a\u0000b"}, {"/note": "control_character"}),
        ("seen", {"upToSeq": 0}, {"/note": "required", "/upToSeq": "invalid_value"}),
        ("seen", {"note": "Known.", "upToSeq": "7"}, {"/upToSeq": "invalid_type"}),
    ],
)
async def test_a_bad_body_is_refused_with_every_fault(
    gateway: Any, action: str, body: Any, faults: dict[str, str]
) -> None:
    status, problem = await act(gateway, action, body)

    assert (status, problem["code"]) == (422, "validation_failed")
    assert {each["pointer"]: each["code"] for each in problem["errors"]} == faults
    assert gateway.front.commands == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("not_in_doubt", 409),
        ("still_in_doubt", 409),
        ("still_may_succeed", 409),
        ("provider_disagrees", 409),
        ("provider_silent", 503),
    ],
)
async def test_a_refusal_has_its_status(gateway: Any, code: Any, status: int) -> None:
    gateway.front.refusal = Refusal(code=code, detail="It is so.")

    assert (await act(gateway, "not-charged", {"reason": "Gone."}))[0] == status


@pytest.mark.parametrize("limit", ["0", "101", "x"])
async def test_the_desk_has_the_limits_of_every_list(gateway: Any, limit: str) -> None:
    status, problem, _ = await gateway.ask("GET", f"/api/in-doubt?limit={limit}", key="operator")

    assert (status, problem["errors"][0]["pointer"]) == (422, "/limit")


async def test_an_instant_is_read_in_any_zone(gateway: Any) -> None:
    kept = gateway.front.keep("merchant_a")
    path = f"/api/payments/{kept.id}?at="

    for text in ("2026-01-15T10:30:00Z", "2026-01-15T12:30:00%2B02:00"):
        status, _, _ = await gateway.ask("GET", path + text)
        assert status == 200

    assert gateway.front.commands == [("at", kept.id, AT_US)] * 2


@pytest.mark.parametrize("text", ["", "now", "2026-02-30T00:00:00Z", "2026-01-15", "1768473000"])
async def test_a_bad_instant_is_refused_with_its_pointer(gateway: Any, text: str) -> None:
    kept = gateway.front.keep("merchant_a")

    status, problem, _ = await gateway.ask("GET", f"/api/payments/{kept.id}?at={text}")

    assert (status, problem["code"]) == (422, "validation_failed")
    assert [each["pointer"] for each in problem["errors"]] == ["/at"]
    assert gateway.front.commands == []
