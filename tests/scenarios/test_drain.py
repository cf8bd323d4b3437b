"""SIGTERM: no new work, what is in hand is answered, exit 0 within the grace."""

import asyncio
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from gateway_words import payment, until
from ledger_match import disagreements
from process_rig import Answer, GatewayClient, process_rig

pytestmark = pytest.mark.slow

GONE = (aiohttp.ClientError, ConnectionError, TimeoutError)


async def log_says(gateway: GatewayClient, word: str) -> None:
    async def text() -> str:
        return await asyncio.to_thread(gateway.process.log.read_text)

    await until(text, lambda seen: word in seen)


async def test_who_waits_is_answered_at_once_and_new_callers_find_no_door(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("slow", operation="charge", delayMs=1_500)
        gateway = await rig.serve()
        waiting = asyncio.create_task(gateway.pay("k", wait_s=30))
        await rig.sandbox.until_called("charge")

        gateway.process.signal(signal.SIGTERM)
        await log_says(gateway, '"draining"')
        stranger = rig.client(gateway.process)
        with pytest.raises(aiohttp.ClientConnectorError):
            await stranger.ask("GET", "/healthz")
        answer = await waiting
        code = await gateway.process.ended()

        gateway = await rig.serve()
        after = await gateway.until_status(answer.made()["id"], "success")
        assert (answer.status, answer.body["status"]) == (201, "processing")
        assert code == 0
        assert after["amountCaptured"] == answer.body["amount"]
        assert len(await rig.sandbox.ledger()) == 1


async def test_it_ends_with_0_within_its_grace_however_long_callers_wish_to_wait(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        await rig.sandbox.fault("hang_before_effect", operation="charge", count=100)
        gateway = await rig.serve(env={"PAYGATE__SERVER__DRAIN_S": "2"})
        holding = [asyncio.create_task(gateway.pay(f"k{n}", wait_s=30)) for n in range(20)]
        await rig.sandbox.until_called("charge", 20)

        began_s = time.monotonic()  # noqa: TID251  # the promise is about real seconds
        gateway.process.signal(signal.SIGTERM)
        code = await gateway.process.ended()
        took_s = time.monotonic() - began_s  # noqa: TID251
        answers = await asyncio.gather(*holding, return_exceptions=True)

        await rig.sandbox.clear_faults()
        gateway = await rig.serve()
        seen = await gateway.settled()
        assert code == 0
        assert took_s < 2 + 2
        assert all(isinstance(answer, (Answer, *GONE)) for answer in answers)
        # Whatever each of them heard, each payment had been accepted, and is now finished.
        assert [row["status"] for row in seen.payments] == ["success"] * 20
        assert disagreements(seen, await rig.sandbox.ledger()) == []


async def test_everything_that_was_acknowledged_during_a_drain_is_there_afterwards(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        acked: set[str] = set()
        codes: set[str] = set()

        async def caller(number: int) -> None:
            count = 0
            while True:
                count += 1
                try:
                    answer = await gateway.pay(f"k{number}-{count}", body=payment(minor=100))
                except GONE:
                    return
                if answer.status == 201:
                    acked.add(answer.body["id"])
                else:
                    codes.add(answer.body["code"])

        calling = [asyncio.create_task(caller(number)) for number in range(8)]
        await rig.sandbox.until_called("charge", 50)
        gateway.process.signal(signal.SIGTERM)
        code = await gateway.process.ended()
        await asyncio.gather(*calling)

        gateway = await rig.serve()
        seen = await gateway.settled()
        assert code == 0
        assert codes <= {"not_ready", "overloaded"}
        assert acked <= {row["id"] for row in seen.payments}
        assert disagreements(seen, await rig.sandbox.ledger()) == []
