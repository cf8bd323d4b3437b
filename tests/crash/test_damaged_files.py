"""Whole pages of the database or of its log are garbage: nothing is served, and it is said why.

The real process on a real folder. What it says must name the file, what was found and what to do;
what it serves must be what was acknowledged, or nothing.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from gateway_words import until
from process_rig import GatewayClient, ProcessRig, process_rig

from paygate_engine.stores.log_check import lost_frames
from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.__main__ import main

pytestmark = pytest.mark.slow

PAGE: Final = 4_096
LOG_HEADER: Final = 32
FRAME: Final = 24 + PAGE
PAYMENTS: Final = 40
GARBAGE: Final = bytes(range(256)) * (PAGE // 256)
GONE: Final = (aiohttp.ClientError, ConnectionError, TimeoutError)


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Write garbage into a file without changing its size."""
    with path.open("r+b") as file:
        assert 0 <= at <= path.stat().st_size - len(data)
        file.seek(at)
        file.write(data)


def pages_of(path: Path) -> int:
    return path.stat().st_size // PAGE


def a_page_in_the_middle(path: Path) -> None:
    overwrite(path, pages_of(path) // 2 * PAGE, GARBAGE)


def the_header(path: Path) -> None:
    overwrite(path, 0, bytes(100))


def the_end(path: Path) -> None:
    os.truncate(path, pages_of(path) // 2 * PAGE)


def the_end_of_the_last_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1_000)


def a_page_of_an_index(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        found = "SELECT rootpage FROM sqlite_schema WHERE name = 'documents_by_scope'"
        (root,) = database.execute(found).fetchone()
    overwrite(path, (root - 1) * PAGE, GARBAGE)


Damage = Callable[[Path], None]
OF_DATABASE: Final[tuple[Damage, ...]] = (
    a_page_in_the_middle,
    the_header,
    the_end,
    the_end_of_the_last_page,
    a_page_of_an_index,
)


def the_first_frame(log: Path) -> None:
    overwrite(log, LOG_HEADER + 24 + 100, b"\xff")


def a_frame_in_the_middle(log: Path) -> None:
    frames = (log.stat().st_size - LOG_HEADER) // FRAME
    overwrite(log, LOG_HEADER + frames // 2 * FRAME + 24, GARBAGE)


def the_header_of_a_frame(log: Path) -> None:
    frames = (log.stat().st_size - LOG_HEADER) // FRAME
    overwrite(log, LOG_HEADER + frames // 3 * FRAME + 16, b"\xff\xff\xff\xff")


def the_header_of_the_log(log: Path) -> None:
    overwrite(log, 0, bytes(LOG_HEADER))


OF_LOG: Final[tuple[Damage, ...]] = (
    the_first_frame,
    a_frame_in_the_middle,
    the_header_of_a_frame,
    the_header_of_the_log,
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose server ended in order: everything is in the database. Never changed."""
    return asyncio.run(written(tmp_path_factory.mktemp("stopped"), end=GatewayClient.stop))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose server was killed: nearly everything is in the log. Never changed."""
    return asyncio.run(written(tmp_path_factory.mktemp("killed"), end=GatewayClient.kill))


async def written(folder: Path, *, end: Callable[[GatewayClient], object]) -> Path:
    async with process_rig(folder) as rig:
        gateway = await rig.serve()
        for number in range(PAYMENTS):
            (await gateway.pay(f"k{number}")).made()
        await gateway.settled()
        ending = end(gateway)
        assert asyncio.iscoroutine(ending)
        await ending
    return folder / "data"


def copied(data: Path, folder: Path) -> Path:
    shutil.copytree(data, folder / "data", ignore=shutil.ignore_patterns("*.sock", "*-shm"))
    return folder / "data"


async def refusal(rig: ProcessRig) -> str:
    """Start a gateway that must refuse; what it says."""
    process = await rig.spawn()
    code = await process.ended()
    said = process.log.read_text(errors="replace")
    assert code == 1, said
    assert "Traceback" not in said
    return said


def is_clear(said: str, file: Path) -> bool:
    """Whether it says in one line which file, what was found and what to do."""
    lines = [line for line in said.splitlines() if f"{file} is damaged (" in line]
    return len(lines) == 1 and "restore a backup" in lines[0]


@pytest.mark.parametrize("hits", OF_DATABASE, ids=lambda each: each.__name__)
async def test_a_damaged_database_is_refused_with_what_to_do(
    stopped: Path, tmp_path: Path, hits: Damage
):
    data = copied(stopped, tmp_path)
    hits(data / DATABASE_NAME)
    before = (data / DATABASE_NAME).read_bytes()

    async with process_rig(tmp_path) as rig:
        said = await refusal(rig)

    if hits is the_header:
        assert f"{data / DATABASE_NAME} cannot be opened (no database)" in said
    else:
        assert is_clear(said, data / DATABASE_NAME), said
    assert (data / DATABASE_NAME).read_bytes() == before, "nothing is changed that could be saved"


@pytest.mark.parametrize("hits", OF_LOG, ids=lambda each: each.__name__)
async def test_a_damaged_log_is_refused_and_kept_for_who_can_save_it(
    killed: Path, tmp_path: Path, hits: Damage
):
    data = copied(killed, tmp_path)
    log = data / f"{DATABASE_NAME}-wal"
    hits(log)
    before = log.read_bytes()

    async with process_rig(tmp_path) as rig:
        said = await refusal(rig)

    assert is_clear(said, log), said
    assert f"sqlite3 {DATABASE_NAME} .recover" in said
    assert log.read_bytes() == before


async def test_a_log_whose_last_commit_is_torn_is_no_damage(killed: Path, tmp_path: Path):
    data = copied(killed, tmp_path)
    log = data / f"{DATABASE_NAME}-wal"
    overwrite(log, log.stat().st_size - 100, bytes(100))

    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        rows = await gateway.every("payments")

    # The last commit was the end of a payment; it is asked about again, not lost.
    assert len(rows) == PAYMENTS


async def test_a_torn_header_of_a_log_that_was_taken_over_is_no_damage(
    killed: Path, tmp_path: Path
):
    data = copied(killed, tmp_path)
    log = data / f"{DATABASE_NAME}-wal"
    kept = log.read_bytes()
    with closing(sqlite3.connect(data / DATABASE_NAME)) as database:
        database.execute("PRAGMA wal_checkpoint(FULL)")
    log.write_bytes(kept)
    overwrite(log, 12, b"\xff\xff\xff\xff")

    assert lost_frames(data / DATABASE_NAME) is None
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        assert len(await gateway.every("payments")) == PAYMENTS


async def test_a_page_that_is_damaged_under_a_running_server_ends_it(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        paid = [(await gateway.pay(f"k{number}", wait_s=5)).made() for number in range(PAYMENTS)]
        await gateway.stop()
        gateway = await rig.serve(env={"PAYGATE__LIMITS__LIVE_PAYMENTS_MAX": "10"})
        path = rig.data / DATABASE_NAME
        for page in range(2, pages_of(path)):
            overwrite(path, page * PAGE, GARBAGE)

        seen = await read_until_gone(gateway, [row["id"] for row in paid])
        code = await gateway.process.ended()
        said = rig.log.read_text(errors="replace")

    assert code == 1
    # Closed with the damage at hand, or answered as it was; nothing else.
    assert all(body == paid[at] for at, body in seen.items())
    assert "the data folder is damaged" in said
    assert f"{path} is damaged (database disk image is malformed)" in said


async def read_until_gone(gateway: GatewayClient, ids: list[str]) -> dict[int, object]:
    """Read every payment, and pay, until the server has ended; what was answered with 200.

    What it read before it holds in memory, so it may be the payment that meets the damage.
    """
    seen: dict[int, object] = {}

    async def look() -> bool:
        try:
            for at, payment_id in enumerate(ids):
                answer = await gateway.api("GET", f"/api/payments/{payment_id}")
                if answer.status == 200:
                    seen[at] = answer.body
            await gateway.pay(None)
        except GONE:
            return True
        return False

    await until(look, bool)
    return seen


def test_doctor_names_bad_pages(stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = copied(stopped, tmp_path)
    a_page_of_an_index(data / DATABASE_NAME)

    code = main(["doctor", "--data", str(data)])

    assert code == 1
    assert f"{DATABASE_NAME} is damaged (" in capsys.readouterr().out


@pytest.mark.parametrize("hits", OF_LOG, ids=lambda each: each.__name__)
async def test_a_damaged_log_is_never_healthy_proved_verified_or_backed_up(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], hits: Damage
):
    data = copied(killed, tmp_path)
    log = data / f"{DATABASE_NAME}-wal"
    hits(log)
    before = log.read_bytes()

    for command in (["doctor"], ["prove", "--all"], ["audit", "verify"]):
        code = await asyncio.to_thread(main, [*command, "--data", str(data)])
        said = capsys.readouterr()
        assert code == 1, command
        assert is_clear(said.err, log), (command, said)
        assert f"sqlite3 {DATABASE_NAME} .recover" in said.err

    backup = ["backup", str(tmp_path / "copy"), "--data", str(data)]
    assert await asyncio.to_thread(main, backup) == 1
    refused = capsys.readouterr().err
    assert not (tmp_path / "copy").exists()
    code = await asyncio.to_thread(main, [*backup, "--damaged"])
    said = capsys.readouterr()
    if hits in (the_first_frame, the_header_of_the_log):
        # Nothing was in the database yet: without its log there is nothing to take.
        assert (code, said.err) == (1, refused)
        assert is_clear(refused, log)
    else:
        assert f"was not backed up: {log.name}: " in refused
        assert code == 0
        assert f"DAMAGED: {log.name}: " in said.out
    assert log.read_bytes() == before
