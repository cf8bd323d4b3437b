"""One bit turned in one row of a data folder: what it concerns is named, everything else is served.

Every kind of row is damaged once; what becomes of it is what the tests are called.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bank_rig import bank_rig
from damage_rig import Kept, Served, copied, damage, keep, plain, refusal_of, serve
from live_gateway import OPERATOR, OTHER_MERCHANT, Answer, payment_request
from msgspec.structs import replace

from paygate_actors.messages import ApiKey, Caller
from paygate_engine.errors import StoreRefused
from paygate_http.__main__ import main

pytestmark = pytest.mark.slow

QUARANTINED = (503, "payment_quarantined")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Made once, and never changed."""
    return asyncio.run(keep(tmp_path_factory.mktemp("kept")))


@pytest.fixture
def kept(original: Kept, tmp_path: Path) -> Kept:
    return copied(original, tmp_path)


Command = Callable[[str], tuple[int, str]]


@pytest.fixture
def command(kept: Kept, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command on the folder; its exit code, and what it printed."""

    def run(line: str) -> tuple[int, str]:
        code = main([*line.split(), "--data", str(kept.folder / "data")])
        return code, capsys.readouterr().out

    return run


async def others_are_served(served: Served, kept: Kept) -> None:
    """Reads, lists and operations of everybody else are as before."""
    live = served.live
    assert [await live.payment(each["id"]) for each in kept.others] == kept.others
    listed = (await live.get("/api/payments?limit=100", key=OPERATOR)).body["data"]
    assert [row for row in listed if row in kept.others] == kept.others[::-1]
    refunded = await live.done(kept.others[0]["id"], "refund", {"amount": 1.00})
    assert refunded["status"] == "success"
    captured = await live.operate(kept.held["id"], "capture")
    assert captured.status == 201
    assert (await live.pay())["status"] == "success"


# Events


@pytest.mark.parametrize("column", ["body", "kind", "at_us", "seq", "crc"])
async def test_a_payment_with_a_damaged_event_is_set_aside_and_named(kept: Kept, column: str):
    hit = kept.hit["id"]
    damage(kept, "events", column, "stream = ? AND seq = 3", hit)

    async with serve(kept.folder) as served:
        live = served.live
        shown = await live.payment(hit)
        refused = [await refusal_of(live, verb, hit) for verb in ("refund", "reverse", "capture")]
        events = await live.get(f"/api/payments/{hit}/events", key=OPERATOR)
        again = await live.process(payment_request(), idempotency_key="hit")

        assert refused == [QUARANTINED] * 3
        assert events.code == QUARANTINED
        assert int(events.headers["Retry-After"]) > 1
        assert plain(shown) == plain(kept.hit), "what was committed is shown, and not as changed"
        await set_aside(served, hit)
        assert (await live.payment(hit))["attention"] == "set_aside"
        assert (again.status, again.body["id"]) == (201, hit), "the same key, the same payment"
        assert await live.metric("paygate_ready") == 1
        await others_are_served(served, kept)


async def test_anothers_damaged_payment_is_no_payment_at_any_instant(kept: Kept):
    hit = kept.hit["id"]
    damage(kept, "events", "body", "stream = ? AND seq = 3", hit)
    path = f"/api/payments/{hit}?at=2100-01-01T00:00:00Z"

    async with serve(kept.folder) as served:
        own = await served.live.get(path)
        others = await served.live.get(path, key=OTHER_MERCHANT)

        assert own.code == QUARANTINED
        assert others.code == (404, "payment_not_found")


async def set_aside(served: Served, payment_id: str) -> None:
    """Wait until the payment is quarantined, alone."""
    payments = served.running.gateway.payments

    async def look() -> list[str]:
        return list(payments.parked)

    await served.live.until(look, lambda found: found == [payment_id])
    assert await served.live.metric("paygate_quarantined_payments") == 1


async def test_a_damaged_event_that_nobody_asks_for_is_found_in_the_background(kept: Kept):
    damage(kept, "events", "body", "stream = ? AND seq = 5", kept.hit["id"])

    async with serve(kept.folder) as served:
        await set_aside(served, kept.hit["id"])
        await others_are_served(served, kept)


async def test_an_open_payment_with_a_damaged_event_does_not_keep_the_gateway_from_starting(
    kept: Kept,
):
    async with serve(kept.folder) as served:
        await served.live.fault("pending", operation="charge", delayMs=600_000)
        due = (await served.live.pay(wait_s=None))["id"]
        await served.live.until_payment(due, lambda seen: seen["expectedBy"] is not None)
    damage(kept, "events", "body", "stream = ? AND seq = 2", due)

    async with serve(kept.folder) as served:
        await set_aside(served, due)

        assert await served.live.metric("paygate_ready") == 1
        assert await refusal_of(served.live, "reverse", due) == QUARANTINED
        await others_are_served(served, kept)


async def test_a_payment_that_is_damaged_while_it_sleeps_is_set_aside_when_it_is_woken(kept: Kept):
    async with serve(kept.folder) as served:
        damage(kept, "events", "body", "stream = ? AND seq = 3", kept.hit["id"])

        refused = await refusal_of(served.live, "refund", kept.hit["id"])

        assert refused == QUARANTINED
        await set_aside(served, kept.hit["id"])
        await others_are_served(served, kept)


async def test_a_webhook_for_a_payment_that_is_set_aside_is_kept(kept: Kept):
    hit = kept.hit
    damage(kept, "events", "body", "stream = ? AND seq = 3", hit["id"])
    body = msgspec.json.encode(dispute(hit))

    async with serve(kept.folder) as served:
        await set_aside(served, hit["id"])
        answer = await served.live.webhook(body, event_id="evt_dispute")
        store = served.running.gateway.store
        await served.live.until(
            lambda: letters(served), lambda text: 'message="Reported",reason="parked"' in text
        )
        waiting = await store.waiting("webhook")

    assert answer.status == 200
    assert [item.id for item in waiting] == ["sandbox/evt_dispute"]


async def letters(served: Served) -> str:
    return (await served.live.get("/metrics", key=OPERATOR)).text


def dispute(payment: dict[str, Any]) -> dict[str, Any]:
    return {
        "providerID": payment["provider"],
        "eventType": "dispute.opened",
        "transactionID": payment["providerTxnID"],
        "data": {},
        "timestamp": payment["createdAt"],
    }


@pytest.mark.parametrize("line", ["doctor", "prove --all"])
def test_doctor_and_prove_name_the_payment(kept: Kept, command: Command, line: str):
    sound = command(line)
    damage(kept, "events", "body", "stream = ? AND seq = 3", kept.hit["id"])

    code, told = command(line)

    assert sound[0] == 0, sound[1]
    assert code == 1
    named = [row for row in told.splitlines() if kept.hit["id"] in row]
    assert any(re.search(r"event 3 is (damaged|not what was written)", row) for row in named), told
    assert not [each for each in kept.others if each["id"] in told]


# What lists show


@pytest.mark.parametrize("column", ["body", "scope", "f1", "id", "crc"])
async def test_a_damaged_view_of_a_payment_is_made_anew_from_its_events(kept: Kept, column: str):
    hit = kept.hit["id"]
    damage(kept, "documents", column, "kind = 'payment' AND id = ?", hit)

    async with serve(kept.folder) as served:
        shown = await served.live.get(f"/api/payments/{hit}")
        listed = (await served.live.get("/api/payments?limit=100", key=OPERATOR)).body["data"]

        assert shown.body == kept.hit
        # Under a damaged id nothing can be made anew: the list is without it, and still true.
        assert [row for row in listed if row["id"] == hit] == [kept.hit] * (column != "id")
        assert len(listed) == 7 - (column == "id")
        assert await served.live.metric("paygate_damaged_rows") == 1
        await others_are_served(served, kept)


@pytest.mark.parametrize("kind", ["transaction", "fraud_check"])
async def test_a_damaged_transaction_or_check_is_made_anew_from_the_events(kept: Kept, kind: str):
    txn = kept.hit["transactionID"]
    paths = (f"/api/transactions/{txn}", f"/api/fraud/score/{txn}")
    copy = kept.folder / "before"
    async with serve(copied(kept, copy).folder) as served:
        before = [(await served.live.get(path)).body for path in paths]
    damage(kept, "documents", "body", "kind = ? AND id = ?", kind, txn)

    async with serve(kept.folder) as served:
        after = [(await served.live.get(path)).body for path in paths]

        # The check is as old as its payment then: its own moment is in no event.
        assert [untimed(each) for each in after] == [untimed(each) for each in before]
        await others_are_served(served, kept)


def untimed(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "createdAt"}


async def test_a_payment_whose_view_and_event_are_damaged_is_not_shown(kept: Kept):
    hit = kept.hit["id"]
    damage(kept, "documents", "body", "kind = 'payment' AND id = ?", hit)
    damage(kept, "events", "body", "stream = ? AND seq = 3", hit)

    async with serve(kept.folder) as served:
        shown = await served.live.get(f"/api/payments/{hit}")
        listed = (await served.live.get("/api/payments?limit=100", key=OPERATOR)).body["data"]

        assert shown.code == QUARANTINED
        assert hit not in {row["id"] for row in listed}
        await others_are_served(served, kept)


# Idempotency keys


@pytest.mark.parametrize("column", ["body", "crc"])
async def test_a_damaged_claim_is_read_from_the_payment_that_it_points_to(kept: Kept, column: str):
    hit = kept.hit["id"]
    damage(kept, "claims", column, "stream = ?", hit)

    async with serve(kept.folder) as served:
        again = await served.live.process(payment_request(), idempotency_key="hit")
        other = await served.live.process(payment_request(amount=11), idempotency_key="hit")

        assert (again.status, again.body["id"]) == (201, hit)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert other.code == (422, "idempotency_key_reused")


async def test_a_claim_that_points_nowhere_refuses_its_key_and_charges_nobody(kept: Kept):
    damage(kept, "claims", "stream", "stream = ?", kept.hit["id"])

    async with serve(kept.folder) as served:
        before = await served.live.ledger()
        again = await served.live.process(payment_request(), idempotency_key="hit")

        assert again.code == QUARANTINED
        assert await served.live.ledger() == before
        await others_are_served(served, kept)


@pytest.mark.parametrize(
    ("table", "column", "where"),
    [
        ("claims", "name", "stream = ?"),
        ("documents", "body", "kind = 'payment' AND id = ?"),
        ("wakes", "at_us", "stream <> ?"),
    ],
)
def test_doctor_and_prove_name_any_damaged_row(
    kept: Kept, command: Command, table: str, column: str, where: str
):
    damage(kept, table, column, where, kept.hit["id"])

    doctor, proof = command("doctor"), command("prove --all")

    assert (doctor[0], proof[0]) == (1, 1)
    assert f"A row of {table} is damaged" in doctor[1]
    assert f"VIOLATION {table} " in proof[1]


# The rest


async def test_a_damaged_card_is_refused_by_its_token_and_nothing_is_charged(kept: Kept):
    token = kept.hit["paymentMethod"]["token"]
    damage(kept, "documents", "body", "kind = 'card' AND id = ?", token)
    asked = payment_request(paymentMethod={"type": "token", "token": token})

    async with serve(kept.folder) as served:
        before = await served.live.ledger()
        answer = await served.live.process(asked)

        assert answer.code == (422, "validation_failed")
        assert [it["code"] for it in answer.body["errors"]] == ["unreadable_token"]
        assert await served.live.ledger() == before
        await others_are_served(served, kept)


async def test_a_charge_in_doubt_whose_card_is_damaged_is_not_taken_for_failed(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        await rig.until(lambda: bool(rig.bank.of("charge")))
        await rig.crash()
        cards = rig.store.tables.documents["card"]
        cards.update({token: replace(card, sound=False) for token, card in cards.items()})
        await rig.start()

        await rig.until_asked(3)

        view = await rig.view(payment_id)
        assert (view.status, view.in_doubt) == ("processing", True)
        assert len(rig.bank.of("charge")) == 1, "without its card it cannot be sent again"


@pytest.mark.parametrize("column", ["body", "key", "crc"])
async def test_a_damaged_webhook_waits_until_its_provider_sends_it_again(kept: Kept, column: str):
    paid = kept.others[1]
    event = msgspec.json.encode(dispute(paid) | {"transactionID": "ch_not_known_yet"})
    async with serve(kept.folder) as served:
        await served.live.webhook(event, event_id="evt_1")
    damage(kept, "items", column, "id = 'sandbox/evt_1'")

    async with serve(kept.folder) as served:
        unreadable = await served.live.metric("paygate_webhooks_unreadable")
        whole = msgspec.json.encode(dispute(paid))
        answers: list[Answer] = [
            await served.live.webhook(whole, event_id="evt_1") for _ in range(2)
        ]
        await served.live.until(
            lambda: served.live.transactions(paid["id"], type="chargeback"),
            lambda rows: len(rows) == 1,
        )

        assert unreadable == 1
        assert [answer.status for answer in answers] == [200, 200]
        assert await served.live.metric("paygate_webhooks_unreadable") == 0
        assert await served.running.gateway.store.waiting("webhook") == []


@pytest.mark.parametrize("column", ["stream", "at_us"])
async def test_no_payment_is_forgotten_for_a_damaged_wake(kept: Kept, column: str):
    held = kept.held["id"]
    damage(kept, "wakes", column, "stream = ?", held)

    async with serve(kept.folder) as served:
        found = await served.live.until(lambda: looks(served, held), bool, wait_s=10)

        assert found, "its hold is looked up at the provider, as at every start that finds it due"
        assert await served.live.metric("paygate_damaged_rows") == 1
        await others_are_served(served, kept)


async def looks(served: Served, payment_id: str) -> list[dict[str, Any]]:
    keys = set(await served.live.call_keys(payment_id))
    calls = await served.live.calls()
    return [it for it in calls if it["operation"] == "find" and it["idempotencyKey"] in keys]


async def test_a_damaged_audit_row_breaks_the_chain_and_keeps_nobody_waiting(kept: Kept):
    damage(kept, "audit", "who", "n = 9")

    async with serve(kept.folder) as served:
        await served.live.until(
            lambda: served.live.metric("paygate_audit_broken"), lambda broken: broken == 1
        )
        await others_are_served(served, kept)


async def test_a_damaged_api_key_lets_nobody_in(kept: Kept):
    key = ApiKey(id="key_1", role="merchant", merchant="m", digest="d" * 64, created_at_us=1)
    console = Caller(role="operator", merchant="", key_id="console")
    async with serve(kept.folder) as served:
        await served.running.gateway.front.put_key(console, key)
        known = await served.running.gateway.front.find_key(key.digest)
    damage(kept, "documents", "body", "kind = 'api_key'")

    async with serve(kept.folder) as served:
        assert known == key
        assert await served.running.gateway.front.find_key(key.digest) is None
        assert await served.running.gateway.front.keys() == ()


async def test_a_provider_whose_switches_are_damaged_is_off_until_somebody_turns_it_on(kept: Kept):
    damage(kept, "documents", "body", "kind = 'provider' AND id = 'sandbox'")

    async with serve(kept.folder) as served:
        providers = (await served.live.get("/api/providers")).body["data"]
        paid = await served.live.pay()

        assert {it["id"]: it["isActive"] for it in providers} == {
            "sandbox": False,
            "sandbox_backup": True,
        }
        assert (paid["status"], paid["provider"]) == ("success", "sandbox_backup")


async def test_a_damaged_stamp_keeps_the_folder_closed(kept: Kept):
    damage(kept, "documents", "body", "kind = 'mode'")

    with pytest.raises(StoreRefused, match=r"stamp .* is damaged"):
        async with serve(kept.folder):
            pass
