"""Small disks: a file system of a few megabytes, to be filled up or made read-only. For root.

    with small_disk(tmp_path / "data", 24_000):
        ballast = fill(tmp_path / "data")
        ...
        ballast.unlink()

Where nothing may be mounted, the test is skipped.
"""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

# What is left over after a block of this size was refused is of no use to a database.
_BLOCK_BYTES = 4_096


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Generator[None]:
    """A file system of that size at the folder, which is made, while this lasts."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    folder.mkdir(mode=0o700)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k,mode=700", "none", str(folder))
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)


def make_read_only(folder: Path) -> None:
    """Let nobody, root neither, write to the small disk at the folder any more."""
    _mount("-o", "remount,ro", str(folder))


def fill(folder: Path) -> Path:
    """Take what room is left, to the last block; returns the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(_BLOCK_BYTES))
        except OSError:
            return ballast


def _mount(*arguments: str) -> None:
    done = subprocess.run(("mount", *arguments), capture_output=True, check=False, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
