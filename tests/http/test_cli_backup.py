"""`paygate backup`: what is in one, what refuses to be one, and who is told of it."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from inside_gateway import inside, sandbox_aside
from live_gateway import visiting

from paygate_actors.audit import HEADS_FILE
from paygate_actors.backup import (
    BACKUP_FILE,
    NOTE_FILE,
    SPARE_BYTES,
    SPARE_ELSEWHERE_BYTES,
    back_up,
    lacking,
    last_backup,
    restored_from,
)
from paygate_actors.vault_keys import KEYS_FILE
from paygate_engine.errors import StoreRefused
from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.__main__ import main
from paygate_http.restored import check_restored

Run = Callable[..., tuple[int, str, str]]
WHOLE = {DATABASE_NAME, HEADS_FILE, KEYS_FILE, BACKUP_FILE}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; its exit code, and what it said on both outputs."""

    def run_it(*arguments: object) -> tuple[int, str, str]:
        # On a thread: a process of its own would step back behind all others for good.
        with ThreadPoolExecutor(1) as thread:
            code = thread.submit(main, [str(argument) for argument in arguments]).result()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


async def pay(folder: Path) -> None:
    async with (
        sandbox_aside(folder) as sandbox,
        inside(folder, sandbox) as running,
        visiting(running.url) as live,
    ):
        for _ in range(3):
            await live.pay()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a gateway that took three payments; not to be changed, but for notes."""
    folder = tmp_path_factory.mktemp("original")
    asyncio.run(pay(folder))
    return folder / "data"


def spoil(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE events SET at_us = at_us + 1 WHERE seq = 1")
        connection.commit()


def test_a_copy_of_a_size_needs_room_for_itself_and_for_the_log_that_grows_beside():
    assert lacking(100, free=100 + SPARE_BYTES, same_disk=True) == 0
    assert lacking(100, free=99 + SPARE_BYTES, same_disk=True) == 1
    assert lacking(100, free=99 + SPARE_ELSEWHERE_BYTES, same_disk=False) == 1
    assert SPARE_ELSEWHERE_BYTES < SPARE_BYTES


@pytest.mark.slow
def test_a_backup_is_a_whole_folder_for_its_owner_alone(original: Path, tmp_path: Path, run: Run):
    copy = tmp_path / "copy"

    code, told, _ = run("backup", copy, "--data", original)

    assert code == 0
    assert "verified: pages, events, and the audit chain" in told
    assert {path.name for path in copy.iterdir()} == WHOLE
    assert {path.stat().st_mode & 0o777 for path in copy.iterdir()} == {0o600}
    assert copy.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.slow
def test_a_backup_proves_like_its_original(original: Path, tmp_path: Path, run: Run):
    run("backup", tmp_path / "copy", "--data", original)

    audits = [run("audit", "verify", "--data", each) for each in (original, tmp_path / "copy")]
    proofs = [run("prove", "--all", "--data", each) for each in (original, tmp_path / "copy")]

    assert {code for code, *_ in audits + proofs} == {0}
    assert audits[0] == audits[1]
    assert proofs[0] == proofs[1]
    assert "not compared" not in audits[1][1], "the published ends came with it"


@pytest.mark.slow
def test_a_backup_is_noted_and_the_doctor_tells_of_it(original: Path, tmp_path: Path, run: Run):
    (original / NOTE_FILE).unlink(missing_ok=True)
    _, before, _ = run("doctor", "--data", original)
    run("backup", tmp_path / "copy", "--data", original)

    code, after, _ = run("doctor", "--data", original)
    _, of_copy, _ = run("doctor", "--data", tmp_path / "copy")

    made = last_backup(original)
    assert made is not None
    assert made == restored_from(tmp_path / "copy")
    assert code == 0, "a sandbox needs no backup"
    assert "last backup" in before
    assert str(tmp_path / "copy") not in before
    assert f"{tmp_path / 'copy'}, 0 min 0 s ago, up to audit row {made.audit_rows}" in after
    assert "restored from" in of_copy


@pytest.mark.slow
def test_a_damaged_journal_is_no_backup_unless_asked_for(original: Path, tmp_path: Path, run: Run):
    run("backup", tmp_path / "data", "--data", original)
    spoil(tmp_path / "data" / DATABASE_NAME)

    refused, _, why = run("backup", tmp_path / "copy", "--data", tmp_path / "data")
    there = (tmp_path / "copy").exists()
    taken, told, _ = run("backup", tmp_path / "copy", "--data", tmp_path / "data", "--damaged")
    _, screen, _ = run("doctor", "--data", tmp_path / "data")

    assert refused == 1
    assert "is damaged, and was not backed up: a row of events" in why
    assert not there
    assert taken == 0
    assert "DAMAGED: a row of events" in told
    assert json.loads((tmp_path / "copy" / BACKUP_FILE).read_bytes())["fault"] in told
    assert "NEEDS A PERSON" in screen


@pytest.mark.slow
def test_a_journal_with_a_damaged_page_is_no_backup(original: Path, tmp_path: Path, run: Run):
    run("backup", tmp_path / "data", "--data", original)
    with (tmp_path / "data" / DATABASE_NAME).open("r+b") as file:
        for page in range(10, 30):
            file.seek(page * 4096)
            file.write(b"\xff" * 512)

    code, _, why = run("backup", tmp_path / "copy", "--data", tmp_path / "data")

    assert code == 1
    assert "malformed" in why
    assert "Traceback" not in why
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_a_forged_end_of_the_chain_is_damage(original: Path, tmp_path: Path, run: Run):
    run("backup", tmp_path / "data", "--data", original)
    heads = tmp_path / "data" / HEADS_FILE
    heads.write_bytes(heads.read_bytes().replace(b'"n":', b'"n":1', 1))

    code, _, why = run("backup", tmp_path / "copy", "--data", tmp_path / "data")

    assert code == 1
    assert HEADS_FILE in why
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_what_cannot_be_a_backup_is_refused_and_leaves_nothing(
    original: Path, tmp_path: Path, run: Run
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")

    told = [
        run("backup", target, "--data", source)
        for target, source in (
            (tmp_path / "full", original),
            ("/", original),
            (original / "inside", original),
            (original, original),
            (tmp_path / "nowhere" / "copy", original),
            (tmp_path / "copy", tmp_path / "nowhere"),
            (tmp_path / "copy", tmp_path / "full"),
        )
    ]

    assert [code for code, *_ in told] == [1] * 7
    for (_, _, why), text in zip(
        told,
        ("not empty", "no name", "lies in", "lies in", "does not exist", "nowhere", "journal.db"),
        strict=True,
    ):
        assert text in why
    assert {path.name for path in tmp_path.rglob("*")} == {"full", "mine"}
    assert not any(path.name.startswith(".") for path in original.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["copying", "checking pages", "walking the audit chain"])
def test_a_backup_that_is_interrupted_leaves_nothing(original: Path, tmp_path: Path, stage: str):
    def interrupt(what: str, done: int, total: int) -> None:
        if what == stage:
            give_up()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(
            back_up(
                original,
                tmp_path / "copy",
                heads_of=lambda _: None,
                watch=interrupt,
                now_us=1,
                version="0",
            )
        )

    assert list(tmp_path.iterdir()) == []


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a connection, which is all that is asked of a server here."""
    writer.close()


def give_up() -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_copy_is_not_served_beside_its_original(tmp_path: Path, run: Run):
    async def beside() -> None:
        # A server of its own, because the control socket says that a folder is served.
        async with sandbox_aside(tmp_path) as sandbox, inside(tmp_path, sandbox):
            data = tmp_path / "data"
            assert (
                await asyncio.to_thread(main, ["backup", f"{tmp_path}/copy", "--data", f"{data}"])
                == 0
            )
            check_restored(tmp_path / "copy")
            listener = await asyncio.start_unix_server(hang_up, data / "control.sock")
            with pytest.raises(StoreRefused, match="which is being served"):
                check_restored(tmp_path / "copy")
            listener.close()
            check_restored(tmp_path / "copy")

    asyncio.run(beside())
