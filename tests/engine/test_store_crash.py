"""What was acknowledged is on the disk: through kill -9, a full disk, and a disk that fails."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from needing import needs
from store_suite import KINDS

from paygate_engine.chain import Head, rows_of, verify
from paygate_engine.stores.sqlite import SqliteStore

# -D: the tracer is the grandchild, so that the process that we wait for is the one that commits.
STRACE = ["strace", "-D", "-f", "-qq"]
HERE = Path(__file__).parent
CHILD = [sys.executable, str(HERE / "journal_child.py")]
ROUNDS = 6
EXIT_FAILED = 3

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def child(folder: Path, *before: str) -> Generator[subprocess.Popen[str], None, None]:
    """A committing process under the command `before`; killed with its family at the end."""
    path = os.pathsep.join((str(HERE.parent / "conformance"), *filter(None, sys.path)))
    process = subprocess.Popen(
        [*before, *CHILD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        # A line without an end was cut by the kill, and acknowledges nothing.
        if line.endswith("\n"):
            yield line.strip()


def acknowledged(said: list[str]) -> dict[str, int]:
    """The newest acknowledged event of each stream."""
    newest: dict[str, int] = {}
    for line in said:
        if line.startswith("ack "):
            _, stream, seq = line.split()
            newest[stream] = int(seq)
    return newest


async def check(folder: Path, acks: dict[str, int]) -> None:
    """Everything acknowledged is there, no unit is there in part, and the chain is sound."""
    store = SqliteStore(folder, KINDS)
    await store.open()
    try:
        units = 0
        for number in range(8):
            events = await store.read_stream(f"s{number}")
            assert len(events) >= acks.get(f"s{number}", 0)
            assert len(events) % 2 == 0, "half a unit"
            document = await store.read_document("booking", f"bkg_{number:04}")
            assert document is None or document.facets[0] == str(len(events) - 1)
            assert (document is None) == (not events)
            units += len(events) // 2
        head = await verify(rows_of(store), store.read_stream)
        assert isinstance(head, Head) and head.n == units
    finally:
        await store.close()


async def test_kill_9_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    rng = random.Random(seed)
    acks: dict[str, int] = {}

    for _ in range(ROUNDS):
        said: list[str] = []
        count = rng.randrange(1, 400)
        with child(tmp_path / "data") as process:
            for line in lines(process):
                said.append(line)
                if len(said) == count:
                    os.killpg(process.pid, signal.SIGKILL)
        acks |= acknowledged(said)

        assert len(said) >= count
        await check(tmp_path / "data", acks)


@pytest.mark.parametrize("when", [3, 10, 25])
async def test_a_failing_sync_stops_the_journal_and_loses_nothing(
    tmp_path: Path, when: int
) -> None:
    needs("strace makes the disk fail", met=shutil.which("strace") is not None)
    folder = tmp_path / "data"
    with child(folder) as process:  # makes the schema, so that only commits are left to fail
        assert next(lines(process)) == "ready"
    log = tmp_path / "strace"
    strace = [*STRACE, "-o", str(log), "-e", "trace=fdatasync,fsync"]
    inject = ["-e", f"inject=fdatasync,fsync:error=EIO:when={when}+"]

    with child(folder, *strace, *inject) as process:
        said = list(lines(process))
        code = process.wait(timeout=30)

    assert said[-1] == "failed" and code == EXIT_FAILED
    assert "EIO" in log.read_text()
    await check(folder, acknowledged(said))


async def test_a_full_disk_refuses_and_the_journal_goes_on(tmp_path: Path) -> None:
    needs("strace fills the disk", met=shutil.which("strace") is not None)
    folder = tmp_path / "data"
    with child(folder) as process:
        assert next(lines(process)) == "ready"
    strace = [*STRACE, "-o", str(tmp_path / "strace"), "-e", "trace=pwrite64"]
    inject = ["-e", "inject=pwrite64:error=ENOSPC:when=60..64"]
    said: list[str] = []

    with child(folder, *strace, *inject) as process:
        for line in lines(process):
            said.append(line)
            if "full" in said and len(said) > said.index("full") + 200:
                break

    assert "full" in said, said[-5:]
    assert "failed" not in said
    assert any(line.startswith("ack") for line in said[: said.index("full")])
    assert any(line.startswith("ack") for line in said[said.index("full") + 8 :])
    await check(folder, acknowledged(said))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root mounts a small disk, and not on every machine")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_disk_that_is_really_full_refuses_until_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    said: list[str] = []

    with child(small_disk / "data") as process:
        for line in lines(process):
            said.append(line)
            if line == "full":
                ballast.unlink(missing_ok=True)
            elif "full" in said:
                break

    assert "full" in said and said[-1].startswith("ack")
    await check(small_disk / "data", acknowledged(said))
