"""An orderly restart: SIGTERM, exit 0, and everything is there again. And who may have a folder."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gateway_words import payment
from ledger_match import disagreements
from process_rig import MERCHANT, GatewayClient, Process, process_rig

pytestmark = pytest.mark.slow

DECLINED = "4000000000000002"
# 32 bytes each, in base64, for a server that is no sandbox.
LIVE = {
    "PAYGATE__VAULT__KEYS": "k1:MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=",
    "PAYGATE__VAULT__FINGERPRINT_KEY": "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI=",
    "PAYGATE__API_KEY_PEPPER": "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM=",
}


async def everything(gateway: GatewayClient) -> dict[str, Any]:
    """All that a merchant can read of its payments."""
    seen = await gateway.settled()
    return {
        "payments": seen.payments,
        "transactions": seen.transactions,
        "events": [await gateway.events(row["id"]) for row in seen.payments],
        "scores": [
            (await gateway.api("GET", f"/api/fraud/score/{row['transactionID']}")).made()
            for row in seen.payments
        ],
    }


async def a_bit_of_everything(gateway: GatewayClient) -> list[str]:
    """Payments in all states that last; their ids."""
    rows = [
        (await gateway.pay(f"k{number}", body=body, wait_s=5)).made()
        for number, body in enumerate(
            (
                payment(),
                payment(),
                payment(),
                payment(manual=True),
                payment(manual=True),
                payment(card=DECLINED),
            )
        )
    ]
    _, refunded, reversed_, captured, *_ = (row["id"] for row in rows)
    (await gateway.operate(refunded, "refund", {"amount": 30}, key="r1")).made()
    (await gateway.operate(refunded, "refund", {"amount": 20}, key="r2")).made()
    (await gateway.operate(reversed_, "reverse", key="v1")).made()
    (await gateway.operate(captured, "capture", {"amount": 40}, key="c1")).made()
    return [row["id"] for row in rows]


async def test_everything_reads_the_same_after_an_orderly_restart(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        made = await a_bit_of_everything(gateway)
        before = await everything(gateway)

        code = await gateway.stop()
        gateway = await rig.serve()

        after = await everything(gateway)
        assert code == 0
        assert {row["id"] for row in before["payments"]} == set(made)
        assert after == before
        assert disagreements(await gateway.settled(), await rig.sandbox.ledger()) == []


async def test_keys_answer_with_the_same_payment_and_operation_after_a_restart(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        paid = (await gateway.pay("k", wait_s=5)).made()
        refunded = (await gateway.operate(paid["id"], "refund", {"amount": 5}, key="r")).made()
        await gateway.settled()
        await gateway.stop()

        gateway = await rig.serve()
        paid_again = await gateway.pay("k")
        refunded_again = await gateway.operate(paid["id"], "refund", {"amount": 5}, key="r")
        other = await gateway.pay("k", body=payment(minor=1))

        assert (paid_again.made()["id"], paid_again.replayed) == (paid["id"], True)
        assert (refunded_again.made()["id"], refunded_again.replayed) == (refunded["id"], True)
        assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
        assert len(await rig.sandbox.ledger()) == 2


async def test_what_was_open_at_the_end_is_finished_after_the_start(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("pending", operation="charge", delayMs=1_500, count=10)
        gateway = await rig.serve()
        answers = await asyncio.gather(*(gateway.pay(f"k{n}") for n in range(10)))
        await rig.sandbox.until_called("charge", 10)

        code = await gateway.stop()
        gateway = await rig.serve()
        seen = await gateway.settled()

        assert code == 0
        assert {row["id"]: row["status"] for row in seen.payments} == {
            answer.made()["id"]: "success" for answer in answers
        }
        assert disagreements(seen, await rig.sandbox.ledger()) == []


async def test_nobody_is_served_before_what_is_open_is_loaded(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_before_effect", operation="charge", count=1_000)
        gateway = await rig.serve()
        made = await asyncio.gather(*(gateway.pay(f"k{n}") for n in range(300)))
        path = f"/api/payments/{made[0].made()['id']}"
        await gateway.kill()

        port = a_free_port()
        process = await rig.spawn(port=port)
        ready = asyncio.create_task(process.listening())
        seen = await statuses_until(ready, f"http://127.0.0.1:{port}", path)
        gateway = rig.client(await ready)

        assert 503 in seen, "the doors were never seen open before recovery ended"
        # Once it serves it does not fall back.
        assert seen == sorted(seen, reverse=True)
        assert set(seen) <= {200, 503}
        assert (await gateway.ask("GET", "/readyz")).status == 200
        assert len(await gateway.every("payments")) == 300


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def statuses_until(ready: asyncio.Future[Any], url: str, path: str) -> list[int]:
    """What a read answers, again and again, from the first that connects until it is ready."""
    statuses: list[int] = []
    headers = {"Authorization": f"Bearer {MERCHANT}"}
    async with aiohttp.ClientSession(url) as session:
        while not ready.done():
            try:
                async with session.get(path, headers=headers) as response:
                    statuses.append(response.status)
            except aiohttp.ClientConnectorError:
                # Not listening yet: its start is what is waited for.
                await asyncio.sleep(0.002)
    return statuses


async def test_a_second_server_on_the_folder_is_refused_with_a_sentence(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        paid = (await gateway.pay("k", wait_s=5)).made()

        second = await rig.spawn()
        code = await second.ended()

        sentence = rig.log.read_text().splitlines()[-1]
        assert code == 1
        assert sentence.startswith("paygate: ")
        assert str(rig.data) in sentence
        assert "Traceback" not in rig.log.read_text()
        assert await gateway.payment(paid["id"]) == paid


async def test_the_lock_of_a_killed_server_is_nobodys(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        for _ in range(3):
            gateway = await rig.serve()
            await gateway.kill()

        gateway = await rig.serve()

        assert (await gateway.pay("k")).status == 201


async def test_a_live_server_refuses_the_folder_of_a_sandbox(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        await gateway.stop()

        log = tmp_path / "live.log"
        flags = ("serve", "--port", "0", "--data", str(rig.data))
        live = await Process.spawn(*flags, log=log, env=LIVE)
        code = await live.ended()

        sentence = log.read_text().splitlines()[-1]
        assert code == 1
        assert "is a sandbox folder" in sentence
        # The sandbox itself still takes it.
        await rig.serve()
