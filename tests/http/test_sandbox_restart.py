"""The books outlive the process: an orderly stop, a second sandbox, kill -9."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from sandbox_rig import CONFIRM, Inbox, sandbox_rig

from paygate_engine.clock import ManualClock
from paygate_engine.errors import StoreRefused
from paygate_http.sandbox.server import start_sandbox

CHILD = Path(__file__).with_name("sandbox_child.py")
CARD = {"number": "4242424242424242", "cvv": "123"}


async def test_books_keys_and_calls_are_there_again(tmp_path: Path):
    clock = ManualClock()
    async with sandbox_rig(clock=clock, data_dir=tmp_path) as rig:
        first = await rig.charge("k")
        before = (await rig.ledger(), await rig.calls())

    async with sandbox_rig(clock=clock, data_dir=tmp_path) as rig:
        after = (await rig.ledger(), await rig.calls())
        again = await rig.charge("k")
        other, _ = await rig.charge("k", minor=1)

        assert before == after
        assert (first, other) == (again, 400)
        assert len(await rig.effects()) == 1


async def test_the_same_seed_makes_no_id_twice_over_a_restart(tmp_path: Path):
    clock = ManualClock()
    async with sandbox_rig(clock=clock, data_dir=tmp_path, seed=5) as rig:
        first = await rig.charged("k1")

    async with sandbox_rig(clock=clock, data_dir=tmp_path, seed=5) as rig:
        second = await rig.charged("k2")

        assert first != second


async def test_what_was_pending_ends_after_a_restart(tmp_path: Path):
    clock = ManualClock()
    async with Inbox() as inbox:
        async with sandbox_rig(clock=clock, data_dir=tmp_path, gateway_url=inbox.url) as rig:
            await rig.fault("pending", delayMs=60_000)
            await rig.charge("k")

        clock.advance(60)
        async with sandbox_rig(clock=clock, data_dir=tmp_path) as rig:
            await inbox.wait_for(1)

            assert inbox.types == ["payment.succeeded"]
            assert await rig.effects() == [("charge", "k", 1_000)]


async def test_an_unconfirmed_payment_still_expires_after_a_restart(tmp_path: Path):
    clock = ManualClock()
    async with sandbox_rig(clock=clock, data_dir=tmp_path) as rig:
        await rig.charge("k", number=CONFIRM)

    clock.advance(15 * 60)
    async with sandbox_rig(clock=clock, data_dir=tmp_path) as rig:
        found = await rig.until(lambda it: it["status"] != "requires_action", "/operations/k")

        assert found["status"] == "cancelled"


async def test_an_undelivered_webhook_is_sent_after_a_restart(tmp_path: Path):
    clock = ManualClock()
    async with Inbox() as inbox:
        inbox.status = 500
        async with sandbox_rig(clock=clock, data_dir=tmp_path, gateway_url=inbox.url) as rig:
            await rig.charge("k")
            await inbox.wait_for(1)

        inbox.status = 200
        async with sandbox_rig(clock=clock, data_dir=tmp_path):
            clock.advance(60)
            await inbox.wait_for(2)

        assert len(set(inbox.ids)) == 1


async def test_a_reset_leaves_nothing_for_the_next_start(tmp_path: Path):
    async with sandbox_rig(data_dir=tmp_path) as rig:
        await rig.charge("k")
        await rig.post("/reset")

    async with sandbox_rig(data_dir=tmp_path) as rig:
        assert (await rig.ledger(), await rig.calls()) == ([], [])


async def test_what_comes_after_a_reset_is_kept_even_if_it_comes_at_once(tmp_path: Path):
    async with sandbox_rig(data_dir=tmp_path) as rig:
        await asyncio.gather(*(rig.charge(f"old{n}") for n in range(20)))
        await asyncio.gather(rig.post("/reset"), *(rig.charge(f"new{n}") for n in range(20)))
        before = await rig.ledger()

    async with sandbox_rig(data_dir=tmp_path) as rig:
        assert await rig.ledger() == before


async def test_no_card_number_or_cvv_reaches_the_folder(tmp_path: Path):
    async with sandbox_rig(data_dir=tmp_path) as rig:
        await rig.charge("k", card={"number": "4012888888881881", "cvv": "9173"})
        await rig.charge("k", card={"number": "4012888888881881"})
        written = everything_in(tmp_path)

    kept = everything_in(tmp_path)
    for content in (written, kept):
        assert b"4012888888881881" not in content
        assert b"9173" not in content


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_second_sandbox_on_the_folder_is_refused(tmp_path: Path):
    async with sandbox_rig(data_dir=tmp_path) as rig:
        with pytest.raises(StoreRefused, match="another sandbox uses"):
            await start_sandbox(data_dir=tmp_path)

        assert (await rig.charge("k"))[0] == 200


async def test_a_file_that_is_no_book_is_refused(tmp_path: Path):
    (tmp_path / "sandbox.db").write_bytes(b"something else entirely" * 100)

    with pytest.raises(StoreRefused, match="cannot be read"):
        await start_sandbox(data_dir=tmp_path)


@asynccontextmanager
async def killed_at_the_end(folder: Path) -> AsyncGenerator[str]:
    """Run a sandbox in a process of its own; give its URL; end it with SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.kill()
        await process.wait()


async def charge(session: aiohttp.ClientSession, url: str, key: str) -> str | None:
    """Charge under the key; None where the answer was lost, else the provider's id."""
    body = {"amountMinor": 100, "currency": "USD", "capture": True, "card": CARD}
    try:
        async with session.post(
            f"{url}/providers/sandbox/charges", json=body, headers={"Idempotency-Key": key}
        ) as response:
            return (await response.json())["id"]
    except (aiohttp.ClientError, OSError):
        return None


async def answered_until_killed(folder: Path, keys: list[str], enough: int) -> dict[str, str]:
    """Charge all keys at once, kill the sandbox after `enough` answers; give the answers."""
    answers: dict[str, str] = {}
    came = asyncio.Event()

    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        async with killed_at_the_end(folder) as url:

            async def one(key: str) -> None:
                if (txn_id := await charge(session, url, key)) is not None:
                    answers[key] = txn_id
                if len(answers) >= enough:
                    came.set()

            calls = [asyncio.create_task(one(key)) for key in keys]
            await came.wait()
        await asyncio.gather(*calls)
    return answers


@pytest.mark.slow
async def test_no_answered_charge_is_lost_and_none_is_done_twice_through_kill_9(tmp_path: Path):
    keys = [f"k{n}" for n in range(300)]
    rounds = [await answered_until_killed(tmp_path, keys, enough) for enough in (30, 60, 90)]

    async with aiohttp.ClientSession() as session, killed_at_the_end(tmp_path) as url:
        final = {key: await charge(session, url, key) for key in keys}
        async with session.get(f"{url}/ledger") as response:
            ledger = (await response.json())["data"]

    assert all(len(answers) < len(keys) for answers in rounds), "nothing was cut off"
    for answers in rounds:
        assert answers.items() <= final.items()
    assert Counter(line["idempotencyKey"] for line in ledger) == Counter(keys)
    assert {line["idempotencyKey"]: line["providerTxnID"] for line in ledger} == final
