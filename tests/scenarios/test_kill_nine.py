"""The real process, killed with SIGKILL at random moments; its provider lives on.

What a 2xx acknowledged is found again, nothing happens twice, and nothing stays open.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from gateway_words import CONFIRM, cents, payment, seed_of, until
from ledger_match import disagreements
from load_rig import GONE, Load
from process_rig import GatewayClient, ProcessRig, process_rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROUNDS: Final = 24
# The longest that a gateway lives under load, in seconds.
LIVES_S: Final = 0.8
# Everything that can go wrong between the gateway and a provider, at once.
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "reset_after_effect", "probability": 0.06},
    {"fault": "reset_before_effect", "probability": 0.04},
    {"fault": "error_500", "probability": 0.03},
    {"fault": "garbage", "probability": 0.03},
    {"fault": "too_many_requests", "probability": 0.02},
    {"fault": "hang_after_effect", "probability": 0.02, "delayMs": 4_000},
    {"fault": "hang_before_effect", "probability": 0.02, "delayMs": 4_000},
    {"fault": "pending", "probability": 0.06, "delayMs": 700},
    {"fault": "slow", "probability": 0.05, "delayMs": 300},
    {"fault": "webhook_drop", "probability": 0.1},
    {"fault": "webhook_duplicate", "probability": 0.1},
    {"fault": "webhook_delay", "probability": 0.1, "delayMs": 500},
    {"fault": "webhook_reorder", "probability": 0.1, "delayMs": 300},
    {"fault": "webhook_before_reply", "probability": 0.1},
)


async def at_some_moment(rng: random.Random, within_s: float) -> None:
    """A random moment is what is tested: nothing is waited for."""
    await asyncio.sleep(rng.uniform(0, within_s))


async def killed_under_load(rig: ProcessRig, load: Load, rng: random.Random) -> None:
    gateway = await rig.serve()
    found = {row["id"] for row in await gateway.every("payments")}
    assert load.acked <= found, f"acknowledged and lost: {load.acked - found}"
    calling = asyncio.create_task(load.run(gateway))
    await at_some_moment(rng, LIVES_S)
    gateway.process.signal(signal.SIGKILL)
    await calling
    await gateway.kill()


async def killed_while_it_recovers(rig: ProcessRig, load: Load, rng: random.Random) -> None:
    process = await rig.spawn()
    await at_some_moment(rng, LIVES_S)
    process.signal(signal.SIGKILL)
    await process.ended()


async def killed_as_it_begins(rig: ProcessRig, load: Load, rng: random.Random) -> None:
    gateway = await rig.serve()
    await gateway.kill()


async def killed_while_it_drains(rig: ProcessRig, load: Load, rng: random.Random) -> None:
    gateway = await rig.serve()
    calling = asyncio.create_task(load.run(gateway))
    await at_some_moment(rng, LIVES_S)
    gateway.process.signal(signal.SIGTERM)
    await at_some_moment(rng, 0.2)
    gateway.process.signal(signal.SIGKILL)
    await calling
    await gateway.kill()


Death = Callable[[ProcessRig, Load, random.Random], Awaitable[None]]
DEATHS: Final[tuple[Death, ...]] = (
    killed_under_load,
    killed_while_it_recovers,
    killed_under_load,
    killed_while_it_drains,
    killed_under_load,
    killed_as_it_begins,
)


async def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice_through_kill_9(
    tmp_path: Path,
):
    rng = seed_of("kill -9")
    load = Load(rng)
    async with process_rig(tmp_path, seed=rng.randrange(1 << 32)) as rig:
        for fault in FAULTS:
            await rig.sandbox.fault(**fault, count=1_000_000)

        for number in range(ROUNDS):
            await DEATHS[number % len(DEATHS)](rig, load, rng)
        await rig.sandbox.clear_faults()
        gateway = await rig.serve()
        wrong = await load.send_again(gateway)
        await gateway.settled()
        wrong += await load.send_again(gateway)
        seen = await gateway.settled()
        ledger = await rig.sandbox.ledger()
        gauges = await gateway.gauges()

    assert wrong == []
    assert {row["metadata"]["key"]: row["id"] for row in seen.payments} == {
        key: sent.acked for key, sent in load.payments.items()
    }
    assert len(seen.payments) == len(load.payments) > ROUNDS
    assert disagreements(seen, ledger) == []
    assert gauges["paygate_audit_broken"] == 0


async def test_a_call_that_never_arrived_is_made_once_after_the_kill(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_before_effect", operation="charge", count=20)
        gateway = await rig.serve()
        answers = await asyncio.gather(*(gateway.pay(f"k{n}") for n in range(20)))
        await rig.sandbox.until_called("charge", 20)
        await gateway.kill()
        assert await rig.sandbox.ledger() == []

        gateway = await rig.serve()
        seen = await gateway.settled()

        calls = await rig.sandbox.calls()
        ledger = await rig.sandbox.ledger()
    first_keys = {line["idempotencyKey"] for line in calls[:20]}
    assert {row["id"]: row["status"] for row in seen.payments} == {
        answer.made()["id"]: "success" for answer in answers
    }
    assert Counter(line["idempotencyKey"] for line in ledger) == Counter(first_keys)
    for key in first_keys:
        asked = [line["operation"] for line in calls if line["idempotencyKey"] == key]
        assert asked[:2] == ["charge", "find"], "it asks before it sends again"
        assert asked.count("charge") == 2


async def test_a_call_that_was_done_unheard_is_found_and_not_done_again(tmp_path: Path):
    # The look-up sees nothing for so long that the call is sent again, without the CVV: the
    # provider knows the key with other parameters, which proves that the first one arrived.
    async with process_rig(tmp_path, find_lag_ms=4_000) as rig:
        await rig.sandbox.fault("hang_after_effect", operation="charge", count=10)
        await rig.sandbox.fault("webhook_drop", count=10)
        gateway = await rig.serve()
        answers = await asyncio.gather(*(gateway.pay(f"k{n}") for n in range(10)))
        await until(rig.sandbox.ledger, lambda lines: len(lines) == 10)
        await gateway.kill()

        gateway = await rig.serve()
        resent = await rig.sandbox.until_called("charge", 20)
        reasons = [await doubts(gateway, answer.made()["id"]) for answer in answers]
        seen = await gateway.settled()

        ledger = await rig.sandbox.ledger()
    assert {line["answer"] for line in resent[10:]} <= {400, None}
    assert all(reason[:1] == ["restarted"] for reason in reasons)
    assert {row["status"] for row in seen.payments} == {"success"}
    assert len(ledger) == 10
    assert disagreements(seen, ledger) == []


async def doubts(gateway: GatewayClient, payment_id: str) -> list[str]:
    events = await gateway.events(payment_id)
    return [it["data"]["reason"] for it in events if it["type"] == "call_in_doubt"]


async def test_a_webhook_that_was_acknowledged_is_applied_after_the_kill(tmp_path: Path):
    # Disputes, because nothing but their webhook ever tells of them.
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        answers = await asyncio.gather(*(gateway.pay(f"k{n}", wait_s=5) for n in range(30)))
        made = [answer.made() for answer in answers]
        assert {row["status"] for row in made} == {"success"}
        acked: list[str] = []

        async def report(row: dict[str, Any]) -> None:
            with suppress(*GONE):
                answer = await gateway.webhook(f"msg_{row['id']}", dispute_of(row))
                if answer.status == 200:
                    acked.append(row["id"])
                    gateway.process.signal(signal.SIGKILL)

        await asyncio.gather(*(report(row) for row in made))
        await gateway.kill()
        gateway = await rig.serve()
        disputed = await until(
            lambda: disputes(gateway), lambda found: set(acked) <= found, patience_s=10
        )

        repeated = [await gateway.webhook(f"msg_{row['id']}", dispute_of(row)) for row in made]
        assert {answer.status for answer in repeated} == {200}
        await until(lambda: disputes(gateway), lambda found: found == {row["id"] for row in made})
        rows = await gateway.every("transactions")
    assert acked
    assert disputed
    chargebacks = Counter(row["paymentID"] for row in rows if row["type"] == "chargeback")
    assert set(chargebacks.values()) == {1}, "what was repeated had no effect"


def dispute_of(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "providerID": "sandbox",
        "eventType": "dispute.opened",
        "transactionID": row["providerTxnID"],
        "data": {"amountMinor": cents(row["amount"]), "currency": row["currency"]},
        "timestamp": row["createdAt"],
    }


async def disputes(gateway: GatewayClient) -> set[str]:
    rows = await gateway.every("transactions")
    return {row["paymentID"] for row in rows if row["type"] == "chargeback"}


async def test_a_payer_who_confirms_while_the_gateway_is_dead_has_paid(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        made = (await gateway.pay("k", body=payment(card=CONFIRM), wait_s=5)).made()
        before = await gateway.until_status(made["id"], "requires_action")
        await gateway.kill()
        (await rig.sandbox.ask("POST", f"/actions/{before['providerTxnID']}/complete")).made()

        gateway = await rig.serve()
        after = await gateway.until_status(made["id"], "success")

        assert disagreements(await gateway.settled(), await rig.sandbox.ledger()) == []
    assert after["amountCaptured"] == before["amount"]
