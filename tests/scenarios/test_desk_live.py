"""The desk over HTTP, with a sandbox that loses answers: what is shown, and what can be done."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from live_gateway import (
    MERCHANT,
    OPERATOR,
    OTHER_MERCHANT,
    Answer,
    Live,
    Server,
    serving,
    visiting,
)

pytestmark = pytest.mark.slow

# More than any test here makes calls.
ALWAYS = 10_000
REASON = {"reason": "Not in the provider's dashboard."}
AGAIN = {"reason": "Its account works again."}
NOTE = {"note": "Called the bank."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with serving(tmp_path_factory.mktemp("desk"), "--sandbox-latency-ms", "5") as running:
        yield running


@pytest.fixture
async def live(server: Server) -> AsyncGenerator[Live]:
    async with visiting(server) as client:
        yield client


async def act(live: Live, payment_id: str, action: str, body: object = None) -> Answer:
    return await live.call("POST", f"/api/in-doubt/{payment_id}/{action}", body, key=OPERATOR)


async def on_desk(live: Live, payment_id: str) -> dict[str, Any] | None:
    page = await live.get("/api/in-doubt?limit=100", key=OPERATOR)
    assert page.status == 200, page.text
    return next((each for each in page.body["data"] if each["paymentID"] == payment_id), None)


async def lost_answer(live: Live) -> str:
    """A charge that was made, its answer and its webhook lost, and no look-up gets through."""
    await live.fault("webhook_drop")
    await live.fault("error_500", operation="find", count=ALWAYS)
    await live.fault("reset_after_effect", operation="charge")
    made = await live.pay(wait_s=None)
    await live.until_payment(made["id"], lambda seen: seen["inDoubt"])
    return made["id"]


async def test_a_lost_answer_is_shown_explained_and_found_by_asking(live: Live):
    payment_id = await lost_answer(live)

    entry = await on_desk(live, payment_id)
    silent = await act(live, payment_id, "not-charged", REASON)
    told = (await live.get(f"/api/payments/{payment_id}/explain")).body
    await live.clear_faults()
    await live.until(
        lambda: act(live, payment_id, "ask"), lambda seen: seen.body.get("status") != "processing"
    )

    assert entry is not None
    assert (entry["status"], entry["merchant"]) == ("processing", "merchant_a")
    assert entry["actions"] == ["ask_again", "mark_not_charged"]
    (call,) = entry["calls"]
    assert (call["operation"], call["provider"], call["state"]) == ("charge", "sandbox", "in_doubt")
    assert call["keyWindowEndsAt"] > call["startedAt"]
    assert silent.code == (503, "provider_silent")
    assert silent.headers["Retry-After"]
    assert "look_up" in [step["action"] for step in told["next"]]
    assert told["calls"][0]["key"] is None
    paid = await live.agreed(payment_id)
    assert paid["status"] == "success"
    assert await on_desk(live, payment_id) is None


async def test_a_charge_that_may_still_be_made_is_not_marked_as_not_made(live: Live):
    await live.fault("reset_before_effect", operation="charge", count=ALWAYS)
    made = await live.pay(wait_s=None)
    await live.until_payment(made["id"], lambda seen: seen["inDoubt"])

    refused = await act(live, made["id"], "not-charged", REASON)
    await live.clear_faults()

    assert refused.code == (409, "still_may_succeed")
    assert "may still succeed until" in refused.body["detail"]
    assert (await live.agreed(made["id"]))["status"] == "success"
    assert await live.effects(made["id"]) == [("charge", 1_000)]


async def test_what_was_charged_is_not_marked_as_not_charged(live: Live):
    payment_id = await lost_answer(live)
    await live.clear_faults()
    # As soon as the sandbox lets it be seen, the one or the other look-up finds it.
    answer = await live.until(
        lambda: act(live, payment_id, "not-charged", REASON),
        lambda seen: seen.body.get("code") != "still_may_succeed",
    )

    assert answer.code in ((409, "provider_disagrees"), (409, "not_in_doubt"))
    assert (await live.agreed(payment_id))["status"] == "success"


async def test_what_calls_a_person_is_listed_until_somebody_has_looked(live: Live):
    await live.fault("wrong_amount", operation="charge")
    made = await live.pay(wait_s=None)
    await live.until_status(made["id"], "cancelled")
    entry = await on_desk(live, made["id"])
    before = await live.metric('paygate_desk_actions_total{action="seen"}')

    seen = await act(live, made["id"], "seen", NOTE)
    again = await act(live, made["id"], "seen", NOTE)

    assert entry is not None
    assert (entry["attention"], entry["actions"]) == ("amount_mismatch", ["seen"])
    assert seen.status == again.status == 200
    assert (seen.body["attention"], seen.body["concerns"]) == (None, [])
    assert await on_desk(live, made["id"]) is None
    assert (await live.payment(made["id"]))["attention"] is None
    cleared = [e for e in await live.events(made["id"]) if e["type"] == "attention_cleared"]
    assert [each["data"]["note"] for each in cleared] == [NOTE["note"]]
    assert await live.metric('paygate_desk_actions_total{action="seen"}') == before + 2


async def test_what_could_not_be_given_back_is_given_back_again_and_once(live: Live):
    payment_id = await live.kept_too_much()
    entry = await on_desk(live, payment_id)
    before = await live.effects(payment_id)

    answers = await asyncio.gather(*(act(live, payment_id, "give-back", AGAIN) for _ in range(5)))
    ended = await live.until_status(payment_id, "cancelled")
    later = await act(live, payment_id, "give-back", AGAIN)

    assert entry is not None
    assert entry["actions"] == ["give_back", "seen"]
    assert before == [("charge", 999)]
    assert {answer.status for answer in (*answers, later)} == {200}
    assert "give_back" not in later.body["actions"]
    assert ended["amountCaptured"] == 0
    assert await live.effects(payment_id) == [("charge", 999), ("void", 999)]
    kinds = [(each["type"], each["status"]) for each in await live.transactions(payment_id)]
    assert sorted(kinds) == [
        ("payment", "cancelled"),
        ("reverse", "failed"),
        ("reverse", "success"),
    ]
    told = (await live.get(f"/api/payments/{payment_id}/events")).text
    assert AGAIN["reason"] not in told


async def test_what_nothing_is_kept_of_is_not_given_back(live: Live):
    made = await live.pay()

    refused = await act(live, made["id"], "give-back", AGAIN)

    assert refused.code == (409, "payment_not_reversible")
    assert await live.effects(made["id"]) == [("charge", 1_000)]


async def test_many_who_ask_at_once_make_one_look_up(live: Live):
    payment_id = await lost_answer(live)
    before = len([call for call in await live.calls() if call["operation"] == "find"])

    answers = await asyncio.gather(*(act(live, payment_id, "ask") for _ in range(20)))

    after = len([call for call in await live.calls() if call["operation"] == "find"])
    assert {answer.status for answer in answers} == {200}
    # The gateway's own look-up may come in between; twenty would show.
    assert after - before <= 3
    await live.clear_faults()
    assert (await live.agreed(payment_id))["status"] == "success"


async def test_what_an_operator_notes_is_not_for_the_merchant(live: Live):
    await live.fault("wrong_amount", operation="charge")
    made = await live.pay(wait_s=None)
    await live.until_status(made["id"], "cancelled")
    await act(live, made["id"], "seen", NOTE)

    told = (await live.get(f"/api/payments/{made['id']}/events")).text

    assert "attention_cleared" in told
    assert NOTE["note"] not in told


async def test_the_desk_is_for_operators_and_an_explanation_for_its_merchant(live: Live):
    made = await live.pay()
    explain = f"/api/payments/{made['id']}/explain"

    statuses = [
        (await live.get("/api/in-doubt")).status,
        (await live.call("POST", f"/api/in-doubt/{made['id']}/ask")).status,
        (await live.get(explain, key=MERCHANT)).status,
        (await live.get(explain, key=OTHER_MERCHANT)).status,
        (await act(live, made["id"], "ask")).status,
    ]

    assert statuses == [403, 403, 200, 404, 409]


async def test_a_payment_is_shown_as_it_was(live: Live):
    made = await live.pay()
    await live.done(made["id"], "refund", {"amount": 2.5})
    events = await live.events(made["id"])
    refunded_at = next(e["at"] for e in events if e["type"] == "transaction_opened")
    path = f"/api/payments/{made['id']}?at="

    first = await live.get(path + events[0]["at"])
    then = await live.get(path + refunded_at)
    now = await live.get(path + "2199-01-01T00:00:00Z")
    before = await live.get(path + "2020-01-01T00:00:00Z")
    bad = await live.get(path + "yesterday")

    assert (first.body["status"], first.body["processedAt"]) == ("processing", None)
    assert (then.body["status"], then.body["amountRefunded"]) == ("success", 0)
    assert now.body == await live.payment(made["id"])
    assert before.code == (404, "payment_not_found")
    assert bad.code == (422, "validation_failed")
    assert [fault["pointer"] for fault in bad.body["errors"]] == ["/at"]
    assert (await live.get(path + refunded_at, key=OTHER_MERCHANT)).status == 404
