"""Folders that cannot be served: one clear line, the right exit code, and nothing changed.

What is said names the path and what to do about it. The sandbox is the server's own here: it
writes into the same folder, and must not come first.
"""

import asyncio
import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from disk_rig import make_read_only, small_disk
from process_rig import Process, process_rig

from paygate_actors.vault_keys import generate_keys_file
from paygate_engine.stores.folder import LOCK_NAME
from paygate_engine.stores.sqlite import DATABASE_NAME

pytestmark = pytest.mark.slow

SERVE: Final = ("serve", "--sandbox", "--port", "0", "--sandbox-port", "0", "--data")
LIVE: Final = {
    "PAYGATE__API_KEY_PEPPER": base64.b64encode(bytes(32)).decode(),
    "PAYGATE__VAULT__KEYS": f"k1:{base64.b64encode(b'1' * 32).decode()}",
    "PAYGATE__VAULT__FINGERPRINT_KEY": base64.b64encode(b"2" * 32).decode(),
}
# Nobody, on every system that has one.
STRANGER: Final = 65_534
AS_STRANGER: Final = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups")
# A server that refuses its folder does so in less than a second.
REFUSES_S: Final = 30.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a server has served, and left in peace."""
    folder = tmp_path_factory.mktemp("served")

    async def serve() -> None:
        process = await Process.spawn(*SERVE, str(folder / "data"), log=folder / "log")
        try:
            await process.listening()
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
        finally:
            process.signal(signal.SIGKILL)

    asyncio.run(serve())
    return folder / "data"


def missing_parent(folder: Path, served: Path) -> Path:
    return folder / "nowhere" / "data"


def a_file(folder: Path, served: Path) -> Path:
    path = folder / "data"
    path.write_text("of another kind")
    return path


def in_a_file(folder: Path, served: Path) -> Path:
    return a_file(folder, served) / "data"


def a_link_to_nothing(folder: Path, served: Path) -> Path:
    path = folder / "data"
    path.symlink_to(folder / "nowhere")
    return path


def somebody_elses(folder: Path, served: Path) -> Path:
    path = folder / "data"
    path.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.skip("only root gives a folder away")
    os.chown(path, STRANGER, STRANGER)
    return path


def no_database(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    (path / DATABASE_NAME).write_text("a letter to a friend")
    return path


def a_folder_for_a_database(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    (path / DATABASE_NAME).unlink()
    (path / DATABASE_NAME).mkdir()
    return path


def another_programs(folder: Path, served: Path) -> Path:
    path = folder / "data"
    path.mkdir(mode=0o700)
    change(path, "CREATE TABLE songs (title TEXT)")
    return path


def of_a_newer_version(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    change(path, "INSERT INTO migrations SELECT max(number) + 1, 'later', '' FROM migrations")
    return path


def of_a_version_that_never_was(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    change(path, "UPDATE migrations SET checksum = 'another' WHERE number = 1")
    return path


def of_a_live_gateway(folder: Path, served: Path) -> Path:
    path = folder / "data"
    create = ("-m", "paygate_http", "keys", "create", "--role", "operator", "--data", str(path))
    made = subprocess.run(
        [sys.executable, *create],
        capture_output=True,
        check=False,
        env=os.environ | LIVE,
    )
    assert made.returncode == 0, made.stderr
    return path


def with_keys_that_others_read(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    (path / "vault.keys").chmod(0o644)
    return path


def with_keys_that_are_none(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    (path / "vault.keys").write_text("lost")
    return path


def whose_keys_are_lost(folder: Path, served: Path) -> Path:
    path = shutil.copytree(served, folder / "data")
    (path / "vault.keys").unlink()
    return path


def with_the_keys_of_another(folder: Path, served: Path) -> Path:
    path = whose_keys_are_lost(folder, served)
    generate_keys_file(path / "vault.keys", random=os.urandom)
    return path


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database, database:
        database.execute(statement)


Arrange = Callable[[Path, Path], Path]
REFUSED: Final[tuple[tuple[Arrange, int, str, str], ...]] = (
    (missing_parent, 1, "nowhere does not exist", "create it first"),
    (a_file, 1, "data is not a folder", "name another one"),
    (in_a_file, 1, "lies in something that is not a folder", "name another one"),
    (a_link_to_nothing, 1, "data does not exist", "create it first"),
    (somebody_elses, 1, f"data belongs to user {STRANGER}", "start it as the owner"),
    (no_database, 1, "journal.db cannot be opened", "name the right folder"),
    (a_folder_for_a_database, 1, "journal.db is a folder", "restore a backup"),
    (another_programs, 1, "another program's", "use another folder"),
    (of_a_newer_version, 1, "the database is at version", "start a newer version"),
    (of_a_version_that_never_was, 1, "is not the one of this version", "restore a backup"),
    (of_a_live_gateway, 1, "data is a live folder", "give it a folder of its own"),
    (with_keys_that_others_read, 2, "vault.keys can be read by others", "chmod 600"),
    (with_keys_that_are_none, 2, "vault.keys is no keys file", "restore"),
    (whose_keys_are_lost, 2, "vault.keys is missing", "restore it from a backup"),
    (with_the_keys_of_another, 1, "was written under other vault keys", "restore its vault.keys"),
)


def name_of(part: object) -> str:
    return part.__name__ if callable(part) else ""


@pytest.mark.parametrize(("arrange", "code", "what", "remedy"), REFUSED, ids=name_of)
async def test_a_folder_that_cannot_be_served_is_refused_in_one_line_and_left_alone(
    tmp_path: Path, served: Path, arrange: Arrange, code: int, what: str, remedy: str
):
    data = arrange(tmp_path, served)
    before = everything_in(tmp_path)

    ended, lines = await refusal(data)

    assert ended == code, lines
    says(lines, data, what, remedy)
    assert everything_in(tmp_path) == before


def test_a_folder_on_a_disk_for_reading_is_refused_and_so_is_a_new_one_there(
    tmp_path: Path, served: Path
):
    disk = tmp_path / "disk"
    with small_disk(disk, 8_000):
        shutil.copytree(served, disk / "data")
        make_read_only(disk)

        refusals = [asyncio.run(refusal(disk / name)) for name in ("data", "new")]

        for (code, lines), name in zip(refusals, ("data", "new"), strict=True):
            assert code == 1
            says(lines, disk / name, "is read-only", "mount it for writing")
        assert sorted(path.name for path in disk.iterdir()) == ["data"]


@pytest.fixture
def strangers() -> Generator[Path]:
    """A folder that a process of another user can use; pytest's own are closed to it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root becomes somebody else, by setpriv")
    imports = (*AS_STRANGER, sys.executable, "-c", "import sqlite3, paygate_http.commands_serve")
    if subprocess.run(imports, capture_output=True, check=False).returncode:
        pytest.skip("the interpreter is closed to other users")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, STRANGER, STRANGER)
        yield Path(folder)


@pytest.mark.parametrize("closed", [".", DATABASE_NAME, "vault.keys"])
async def test_a_folder_that_its_user_may_not_write_is_refused_by_the_name_of_the_file(
    strangers: Path, served: Path, closed: str
):
    data = shutil.copytree(served, strangers / "data")
    for path in (data, *data.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    (data / closed).chmod(0o500 if closed == "." else 0)
    before = everything_in(data)

    code, lines = await refusal(data, prefix=AS_STRANGER)

    assert code == (2 if closed == "vault.keys" else 1), lines
    says(lines, data / closed, f"user {STRANGER}", "give this user the right")
    assert everything_in(data) == before


async def test_a_second_server_is_refused_by_the_number_of_the_first_which_goes_on(tmp_path: Path):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        made = (await gateway.pay("k", wait_s=5)).made()
        before = sorted(path.name for path in rig.data.iterdir())

        code, lines = await refusal(rig.data)

        assert code == 1
        says(lines, rig.data, f"(pid {gateway.process.child.pid})", "stop it first")
        assert sorted(path.name for path in rig.data.iterdir()) == before
        assert await gateway.payment(made["id"]) == made
        assert (await gateway.pay("k2", wait_s=5)).made()["status"] == "success"


async def refusal(data: Path, *, prefix: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Start a server on a folder that it refuses: its exit code, and what is not its log."""
    with tempfile.NamedTemporaryFile() as log:
        process = await Process.spawn(*SERVE, str(data), log=Path(log.name), prefix=prefix)
        try:
            assert not await process.came_up()
            code = await process.ended(REFUSES_S)
        finally:
            process.signal(signal.SIGKILL)
        text = process.tail()
    assert "Traceback" not in text
    return code, [line for line in text.splitlines() if not line.startswith("{")]


def says(lines: list[str], path: Path, what: str, remedy: str) -> None:
    """Assert that there is one line, for people, which names the path, the matter and a remedy."""
    (line,) = lines
    assert line.startswith("paygate: ")
    assert str(path) in line or str(path.parent) in line
    assert what in line
    assert remedy in line


def everything_in(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, owner and content of everything in a folder.

    But for the lock: to look whether a folder is free is to take it.
    """
    found: dict[str, tuple[int, int, bytes]] = {}
    for path in (folder, *folder.rglob("*")):
        if path.name != LOCK_NAME:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (status.st_mode, status.st_uid, content)
    return found
