"""Backups of a gateway that is paying: nobody waits, nothing is missing, nothing happens twice."""

import asyncio
import contextlib
import json
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import pytest
from gateway_words import payment, seed_of
from ledger_match import disagreements
from load_rig import GONE, Load
from process_rig import GatewayClient, ProcessRig, Settled, command, process_rig

from paygate_engine.stores.sqlite import DATABASE_NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# What leaves calls open at the moment of the copy: lost answers, lost requests, slow providers.
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "reset_after_effect", "probability": 0.08},
    {"fault": "reset_before_effect", "probability": 0.05},
    {"fault": "error_500", "probability": 0.03},
    {"fault": "hang_after_effect", "probability": 0.05, "delayMs": 4_000},
    {"fault": "hang_before_effect", "probability": 0.03, "delayMs": 4_000},
    {"fault": "pending", "probability": 0.06, "delayMs": 3_000},
    {"fault": "webhook_drop", "probability": 0.2},
)
# Turns of each caller before the backup: what it must hold.
TURNS: Final = 15
# Longer than any answer takes when the machine is busy with other things than the backup.
WAIT_S_MAX: Final = 2.0
# Rounds of measuring, half of them with a backup at the same time.
ROUNDS: Final = 6
ROUND_S: Final = 1.5
PAYERS: Final = 4


def owners(data: Path) -> dict[str, str]:
    """Every transaction that a folder knows, and whose it is."""
    with closing(sqlite3.connect(f"file:{data / DATABASE_NAME}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id, body FROM documents WHERE kind = 'transaction'")
        return {id_: json.loads(body)["payment_id"] for id_, body in rows}


def keys_of_calls(data: Path) -> set[str]:
    """The key of every call that a folder has started."""
    with closing(sqlite3.connect(f"file:{data / DATABASE_NAME}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT body FROM events WHERE kind GLOB 'call_started.*'")
        return {json.loads(body)["key"] for (body,) in rows}


def transaction_of(line: dict[str, Any]) -> str:
    """The transaction that a line of the books is about."""
    return line["idempotencyKey"].rpartition("-")[0]


async def until_gone(load: Load, gateway: GatewayClient) -> None:
    """Let the load run until somebody kills its gateway."""
    with contextlib.suppress(*GONE):
        await load.run(gateway)


async def backed_up_under_load(rig: ProcessRig, load: Load, copy: Path) -> set[str]:
    """Take a backup while the load runs, then kill the gateway; what was acknowledged before."""
    gateway = await rig.serve()
    await load.run(gateway, turns=TURNS)
    running = asyncio.create_task(until_gone(load, gateway))
    acked = set(load.acked)
    code, said = await command("backup", copy, "--data", rig.data)
    assert code == 0, said
    assert len(load.acked) > len(acked), "nothing was paid while the backup was made"
    gateway.process.signal(signal.SIGKILL)
    await running
    await gateway.kill()
    return acked


async def test_a_backup_under_load_is_whole_and_goes_on_without_doing_anything_twice(
    tmp_path: Path,
):
    rng = seed_of("backup")
    load = Load(rng)
    copy = tmp_path / "copy"
    async with process_rig(tmp_path, seed=rng.randrange(1 << 32)) as rig:
        for fault in FAULTS:
            await rig.sandbox.fault(**fault, count=1_000_000)
        acked = await backed_up_under_load(rig, load, copy)
        proofs = [
            await command("audit", "verify", "--data", copy),
            await command("prove", "--all", "--data", copy),
        ]
        since = set(owners(rig.data)) - set(owners(copy))
        before = await rig.sandbox.ledger()
        await rig.sandbox.clear_faults()

        original, rig.data = rig.data, copy
        gateway = await rig.serve()
        settled = await gateway.settled()
        ledger = await rig.sandbox.ledger()
        code, said = await proved_against(ledger, copy, tmp_path)

    assert [code for code, _ in proofs] == [0, 0], proofs
    assert acked <= {row["id"] for row in settled.payments}, "acknowledged, and not in the backup"
    assert Counter(line["idempotencyKey"] for line in ledger) >= Counter(
        line["idempotencyKey"] for line in before
    )
    # What the copy knows all about, it has brought to rest in agreement with the books.
    forgotten = {owners(original)[each] for each in since}
    known = Settled(
        payments=[row for row in settled.payments if row["id"] not in forgotten],
        # What the original gave back since, the copy may have heard of by a late webhook.
        transactions=[
            row
            for row in settled.transactions
            if row["paymentID"] not in forgotten or row["origin"] != "provider"
        ],
    )
    lines = [line for line in ledger if transaction_of(line) not in since]
    assert disagreements(known, lines) == []
    assert len(known.payments) > TURNS
    # What was done since the backup, it does not know, also where it was done for a transaction
    # that it knows (a void, say, that waited for its charge): the proof names every line of it.
    unknown = {line["idempotencyKey"] for line in ledger} - keys_of_calls(copy)
    assert {key for key in unknown if key in said} == unknown
    assert code == (1 if unknown else 0), said


async def proved_against(ledger: list[dict[str, Any]], data: Path, folder: Path) -> tuple[int, str]:
    """Prove a folder against books; the exit code, and what was said."""
    books = folder / "books.json"
    books.write_text(json.dumps({"data": ledger}, default=str))
    return await command("prove", "--all", "--books", books, "--data", data)


async def test_a_backup_keeps_no_payer_waiting(tmp_path: Path):
    rng = seed_of("latency")
    alone: list[float] = []
    beside: list[float] = []
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        for number in range(ROUNDS):
            if number % 2:
                backups = asyncio.create_task(backups_for(ROUND_S, rig.data, tmp_path, number))
                beside += await paid_for(ROUND_S, gateway, rng)
                assert await backups > 0
            else:
                alone += await paid_for(ROUND_S, gateway, rng)

    print(f"alone: {told(alone)}; beside backups: {told(beside)}")  # noqa: T201  # the figures
    assert max(beside) < WAIT_S_MAX


async def backups_for(span_s: float, data: Path, folder: Path, number: int) -> int:
    """Take one backup after another for so long; how many."""
    end_s = time.monotonic() + span_s  # noqa: TID251  # a test's own stop-watch
    count = 0
    while time.monotonic() < end_s:  # noqa: TID251
        count += 1
        code, said = await command("backup", folder / f"copy-{number}-{count}", "--data", data)
        assert code == 0, said
    return count


async def paid_for(span_s: float, gateway: GatewayClient, rng: random.Random) -> list[float]:
    """Pay from a few callers for so long; how many seconds each answer took."""
    end_s = time.monotonic() + span_s  # noqa: TID251
    took: list[float] = []

    async def payer() -> None:
        while (began_s := time.monotonic()) < end_s:  # noqa: TID251
            (await gateway.pay(f"k{rng.randrange(1 << 60)}", body=payment())).made()
            took.append(time.monotonic() - began_s)  # noqa: TID251

    await asyncio.gather(*(payer() for _ in range(PAYERS)))
    return took


def told(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return (
        f"{len(seconds)} payments, p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms,"
        f" max {max(seconds) * 1e3:.0f} ms"
    )


async def test_a_killed_gateways_folder_is_backed_up_with_what_is_only_in_its_log(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        made = [(await gateway.pay(f"k{n}", wait_s=5)).made() for n in range(10)]
        await gateway.kill()
        log = rig.data / f"{DATABASE_NAME}-wal"
        assert log.stat().st_size > 0

        code, said = await command("backup", tmp_path / "copy", "--data", rig.data)
        assert code == 0, said
        original, rig.data = rig.data, tmp_path / "copy"
        gateway = await rig.serve()
        seen = await gateway.settled()

    assert {row["id"] for row in seen.payments} == {row["id"] for row in made}
    assert (original / "last-backup.json").exists()


async def test_a_disk_that_fails_in_the_middle_leaves_no_backup(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        (await gateway.pay("k", wait_s=5)).made()
        # No file may become larger than this: the copy breaks off, and the log is far smaller.
        limit = (rig.data / DATABASE_NAME).stat().st_size // 2
        code, said = await limited(limit, "backup", tmp_path / "copy", "--data", rig.data)
        still = (await gateway.pay("k2", wait_s=5)).made()

    assert code == 1
    assert "was not copied" in said
    assert "Traceback" not in said
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / ".copy.unfinished").exists()
    assert still["status"] == "success"


async def limited(bytes_max: int, *arguments: object) -> tuple[int, str]:
    """Run `paygate` where no file can be written beyond a size."""
    code = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_max}, {bytes_max}));"
        "from paygate_http.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *(str(argument) for argument in arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode()
