"""A provider of two steps and the real process, killed with SIGKILL between and inside of them.

The gateway speaks to the sandbox's Stripe. What moves money is the second step, and the object
that it confirms is on disk before it leaves.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from gateway_words import CONFIRM, payment, seed_of, until
from ledger_match import disagreements
from load_rig import Load
from process_rig import Answer, GatewayClient, ProcessRig, Settled, process_rig

from paygate_http.sandbox.stripe_calls import SECRET_KEY
from paygate_http.sandbox.stripe_tongue import WEBHOOK_SECRET

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STRIPE: Final = "sandbox_stripe"
MANY: Final = 8
ROUNDS: Final = 8
# The longest that a gateway lives under load, in seconds.
LIVES_S: Final = 0.9
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "reset_after_effect", "probability": 0.06},
    {"fault": "reset_before_effect", "probability": 0.05},
    {"fault": "error_500", "probability": 0.03},
    {"fault": "garbage", "probability": 0.03},
    {"fault": "too_many_requests", "probability": 0.02},
    {"fault": "hang_after_effect", "probability": 0.02, "delayMs": 3_000},
    {"fault": "hang_before_effect", "probability": 0.02, "delayMs": 3_000},
    {"fault": "slow", "probability": 0.05, "delayMs": 300},
    {"fault": "webhook_drop", "probability": 0.1},
    {"fault": "webhook_duplicate", "probability": 0.1},
    {"fault": "webhook_before_reply", "probability": 0.1},
)


async def serve(rig: ProcessRig) -> GatewayClient:
    """Start a gateway whose first provider is the sandbox's Stripe."""
    config = rig.folder / "paygate.toml"
    config.write_text(
        f"""
        [[providers]]
        id = "{STRIPE}"
        kind = "stripe"
        url = "{rig.sandbox.url}"
        secret = "{SECRET_KEY}"
        webhook_secret = "{WEBHOOK_SECRET}"
        return_url = "https://shop.example/back"
        priority = 0
        """
    )
    return await rig.serve("--config", str(config))


async def paid(gateway: GatewayClient, count: int, **more: Any) -> list[dict[str, Any]]:
    """Send that many payments, and wait for nothing."""
    answers: Sequence[Answer] = await asyncio.gather(
        *(gateway.pay(f"k{number}", body=payment(**more)) for number in range(count))
    )
    return [answer.made() for answer in answers]


async def kinds(gateway: GatewayClient, payment_id: str) -> list[str]:
    return [event["type"] for event in await gateway.events(payment_id)]


async def keys_called(rig: ProcessRig, ending: str) -> Counter[str]:
    calls = await rig.sandbox.calls()
    return Counter(
        line["idempotencyKey"] for line in calls if (line["idempotencyKey"] or "").endswith(ending)
    )


async def charged_once(rig: ProcessRig, gateway: GatewayClient, made: list[Any]) -> Settled:
    """Wait for the end, and hold it against the books: each payment has one charge, at Stripe."""
    seen = await gateway.settled()
    ledger = await rig.sandbox.ledger()
    assert {row["id"]: row["status"] for row in seen.payments} == {
        row["id"]: "success" for row in made
    }
    assert disagreements(seen, ledger) == []
    assert [line["provider"] for line in ledger] == [STRIPE] * len(made)
    return seen


async def test_a_confirmation_that_never_arrived_is_made_once_after_the_kill(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_before_effect", operation="charge", count=MANY)
        gateway = await serve(rig)
        made = await paid(gateway, MANY)
        await rig.sandbox.until_called("charge", MANY)
        before = [await kinds(gateway, row["id"]) for row in made]
        await gateway.kill()
        assert await rig.sandbox.ledger() == []

        gateway = await serve(rig)
        await charged_once(rig, gateway, made)

        prepared = await keys_called(rig, "-prepare")
    assert all(history[-1] == "call_prepared" for history in before)
    assert set(prepared.values()) == {1}, "what is written down is not made again"


async def test_a_confirmation_that_was_done_unheard_is_found_by_its_id(tmp_path: Path):
    # Far longer than the test: by our key nothing would be seen.
    async with process_rig(tmp_path, find_lag_ms=600_000) as rig:
        await rig.sandbox.fault("hang_after_effect", operation="charge", count=MANY)
        await rig.sandbox.fault("webhook_drop", count=MANY)
        gateway = await serve(rig)
        made = await paid(gateway, MANY)
        await until(rig.sandbox.ledger, lambda lines: len(lines) == MANY)
        await gateway.kill()

        gateway = await serve(rig)
        await charged_once(rig, gateway, made)

        assert len(await rig.sandbox.calls("charge")) == MANY, "nothing was confirmed again"


async def test_an_object_that_was_made_unheard_is_made_again_under_its_key(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_after_effect", operation="prepare", count=MANY)
        gateway = await serve(rig)
        made = await paid(gateway, MANY)
        await until(lambda: keys_called(rig, "-prepare"), lambda seen: len(seen) == MANY)
        before = [await kinds(gateway, row["id"]) for row in made]
        await gateway.kill()
        assert await rig.sandbox.calls("charge") == [], "nothing is confirmed that is not on disk"

        gateway = await serve(rig)
        await charged_once(rig, gateway, made)

    assert not any("call_prepared" in history for history in before)


async def test_a_hold_that_was_confirmed_while_the_gateway_died_is_captured_and_reversed(
    tmp_path: Path,
):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_after_effect", operation="authorize", count=2)
        gateway = await serve(rig)
        kept, given_back = await paid(gateway, 2, manual=True)
        await until(rig.sandbox.ledger, lambda lines: len(lines) == 2)
        await gateway.kill()

        gateway = await serve(rig)
        for row in (kept, given_back):
            await gateway.until_status(row["id"], "authorized")
        (await gateway.operate(kept["id"], "capture", key="c")).made()
        (await gateway.operate(given_back["id"], "reverse", key="r")).made()
        await gateway.until_status(kept["id"], "success")
        await gateway.until_status(given_back["id"], "cancelled")

        assert disagreements(await gateway.settled(), await rig.sandbox.ledger()) == []


async def test_a_reverse_during_the_confirmation_cancels_what_is_prepared(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_before_effect", operation="charge", count=MANY)
        gateway = await serve(rig)
        made = await paid(gateway, MANY)
        await rig.sandbox.until_called("charge", MANY)
        for row in made:
            (await gateway.operate(row["id"], "reverse", key=f"r{row['id']}")).made()
        await gateway.kill()

        gateway = await serve(rig)
        seen = await gateway.settled()

        assert disagreements(seen, await rig.sandbox.ledger()) == []
        assert {row["status"] for row in seen.payments} == {"cancelled"}
        assert [line for line in await rig.sandbox.ledger() if line["operation"] == "charge"] == []


async def test_a_payer_who_confirms_while_the_gateway_is_dead_has_paid(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await serve(rig)
        made = (await gateway.pay("k", body=payment(card=CONFIRM), wait_s=5)).made()
        before = await gateway.until_status(made["id"], "requires_action")
        await gateway.kill()
        (await rig.sandbox.ask("POST", f"/actions/{before['providerTxnID']}/complete")).made()

        gateway = await serve(rig)
        await gateway.until_status(made["id"], "success")
        await charged_once(rig, gateway, [made])


async def test_nothing_is_charged_twice_or_lost_through_kill_9_under_load(tmp_path: Path):
    rng = seed_of("kill -9 in two steps")
    load = Load(rng)
    async with process_rig(tmp_path, seed=rng.randrange(1 << 32)) as rig:
        for fault in FAULTS:
            await rig.sandbox.fault(**fault, count=1_000_000)

        for _ in range(ROUNDS):
            gateway = await serve(rig)
            calling = asyncio.create_task(load.run(gateway))
            # A random moment is what is tested: nothing is waited for.
            await asyncio.sleep(rng.uniform(0, LIVES_S))
            gateway.process.signal(signal.SIGKILL)
            await calling
            await gateway.kill()
        await rig.sandbox.clear_faults()
        gateway = await serve(rig)
        wrong = await load.send_again(gateway)
        seen = await gateway.settled()
        ledger = await rig.sandbox.ledger()
        histories = [await kinds(gateway, row["id"]) for row in seen.payments]

    assert wrong == []
    assert len(seen.payments) == len(load.payments) > ROUNDS
    assert disagreements(seen, ledger) == []
    assert any("call_prepared" in history for history in histories)
