"""Disks that fail or fill up under the real server: in its log, in a checkpoint, as it starts.

A log that cannot be written ends the process: exit code 1, no 2xx for what is not on the disk, and
the next start serves all that was acknowledged. A log without room is refused politely, and goes
on by itself. A checkpoint that fails takes nothing away: what it copies is in the log still.
"""

from pathlib import Path
from typing import Final

import pytest
from crash_lab import FULL, CrashLab, Series, crash_lab, in_batches, name_of
from disk_rig import fill, small_disk
from process_rig import process_rig
from strace_rig import launched

from paygate_engine.stores.sqlite import DATABASE_NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800 if FULL else 120)]

LOG: Final = f"{DATABASE_NAME}-wal"
# What each caller does at most: enough to reach the last point of each series of the log, ...
TURNS: Final = 30
# ... to fill the log until it is copied into the database, ...
TURNS_CHECKPOINT: Final = 90
# ... and to leave something behind that the end of the server copies.
TURNS_END: Final = 3

BROKEN: Final = (
    Series(syscall="fdatasync", error="EIO", file=LOG, sample=(3,), every=range(1, 31)),
    Series(syscall="pwrite64", error="EIO", file=LOG, sample=(120, 330), every=range(1, 241, 8)),
)
WITHOUT_ROOM: Final = (
    Series(
        syscall="pwrite64", error="ENOSPC", calls=5, file=LOG, sample=(60,), every=range(20, 261, 8)
    ),
)
CHECKPOINT: Final = (
    Series(syscall="fdatasync", error="EIO", file=DATABASE_NAME, sample=(1,), every=(1,)),
    Series(syscall="pwrite64", error="EIO", file=DATABASE_NAME, sample=(2,), every=(1, 2, 30)),
    Series(syscall="pwrite64", error="ENOSPC", file=DATABASE_NAME, sample=(1,), every=(1, 2, 30)),
)
# The first start: what comes before the log is in use is the schema.
START: Final = (
    Series(syscall="pwrite64", error="EIO", file=LOG, sample=(20,), every=range(1, 81, 3)),
    Series(syscall="pwrite64", error="ENOSPC", file=LOG, sample=(20,), every=range(1, 81, 3)),
    Series(syscall="fdatasync", error="EIO", file=LOG, sample=(), every=(1, 2, 3)),
)
# What a start says that is to be done.
REMEDY: Final[dict[str | None, str]] = {"EIO": "look after the disk", "ENOSPC": "make room"}
# What a load hears of a gateway that is well.
AS_EVER: Final = frozenset(
    {
        "operation_in_progress",
        "payment_not_capturable",
        "payment_not_refundable",
        "payment_not_reversible",
        "refund_exceeds_remaining",
    }
)


@pytest.mark.parametrize("batch", in_batches(BROKEN), ids=name_of)
async def test_a_log_that_cannot_be_written_ends_the_process_and_loses_nothing(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "disk fails") as lab:
        await made(lab)

        for series in batch:
            for nth in series.points:
                load = lab.load()
                process = await lab.rig.spawn(prefix=lab.struck(series, nth))
                if await process.came_up():
                    await load.run(lab.rig.client(process), turns=TURNS)
                assert await process.ended() == 1
                assert await lab.note(series, nth)
                assert set(load.refused) <= {*AS_EVER, "outcome_unknown", "not_ready"}
                await lab.look(series, load)

        await lab.judge()


@pytest.mark.parametrize("batch", in_batches(WITHOUT_ROOM), ids=name_of)
async def test_a_log_without_room_is_refused_and_goes_on_in_the_same_process(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "disk full") as lab:
        await made(lab)

        for series in batch:
            for nth in series.points:
                load = lab.load()
                gateway = await lab.rig.serve(prefix=lab.struck(series, nth))
                await load.run(gateway, turns=TURNS)
                later = lab.load()
                await later.run(gateway, turns=1)
                assert await gateway.stop() == 0
                assert await lab.note(series, nth)
                assert set(load.refused) <= {*AS_EVER, "overloaded"}
                assert load.refused["overloaded"]
                assert None not in {sent.acked for sent in later.payments.values()}
                await lab.look(series, load)
                await lab.look(series, later)

        await lab.judge()


async def made(lab: CrashLab) -> None:
    """Let a server make the folder, so that only what comes later is struck."""
    gateway = await lab.rig.serve()
    await gateway.kill()


@pytest.mark.parametrize("batch", in_batches(CHECKPOINT), ids=name_of)
async def test_a_checkpoint_that_fails_takes_nothing_away(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "checkpoint") as lab:
        await made(lab)

        for series in batch:
            for nth in series.points:
                load = lab.load()
                gateway = await lab.rig.serve(prefix=lab.struck(series, nth))
                # The end of a server is a checkpoint; a long run has one of its own as well.
                await load.run(gateway, turns=TURNS_CHECKPOINT if FULL else TURNS_END)
                await load.run(gateway, turns=1)
                assert await gateway.stop() == 0
                assert await lab.note(series, nth)
                assert set(load.refused) <= AS_EVER
                await lab.look(series, load)

        await lab.judge()


@pytest.mark.parametrize("batch", in_batches(START), ids=name_of)
async def test_a_start_whose_disk_fails_says_so_and_the_next_one_serves(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with process_rig(tmp_path) as rig:
        for series in batch:
            for nth in series.points:
                rig.data = tmp_path / f"data-{series.name}-{nth}"
                rig.log = tmp_path / f"{rig.data.name}.log"
                strike = series.strike(nth, rig.data)
                process = await rig.spawn(prefix=launched(strike, tmp_path / "strace.log"))
                if await process.came_up():
                    # It serves already: it has no such call any more.
                    break

                assert await process.ended() == 1
                (line,) = [it for it in process.tail().splitlines() if not it.startswith("{")]
                assert line.startswith(f"paygate: {rig.data}")
                assert REMEDY[series.error] in line
                gateway = await rig.serve()
                assert (await gateway.pay(None, wait_s=5)).made()["status"] == "success"
                await gateway.kill()


async def test_a_start_on_a_full_disk_says_so_and_the_next_one_serves(tmp_path: Path):
    with small_disk(tmp_path / "disk", 24_000):
        async with process_rig(tmp_path) as rig:
            rig.data = tmp_path / "disk" / "data"
            gateway = await rig.serve()
            made = (await gateway.pay("k", wait_s=5)).made()
            assert await gateway.stop() == 0
            ballast = fill(tmp_path / "disk")

            rig.log = tmp_path / "full.log"
            process = await rig.spawn()
            assert not await process.came_up()
            code = await process.ended()
            (line,) = [it for it in process.tail().splitlines() if not it.startswith("{")]
            ballast.unlink()
            gateway = await rig.serve()

            assert code == 1
            assert line.startswith(f"paygate: {rig.data}")
            assert "make room" in line
            assert await gateway.payment(made["id"]) == made
