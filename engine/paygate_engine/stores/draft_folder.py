"""A folder that appears whole, or not at all.

It is filled under another name beside its place, forced to the disk, and renamed. What a killed
process leaves behind is hidden (`.NAME.unfinished`) and is swept away by whoever makes a folder of
that name next.
"""

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from paygate_engine.errors import StoreRefused


class DraftFolder:
    """A context in which `path` is filled; unless `publish` was called, nothing of it stays.

    Raises `StoreRefused` where the target is there already and not empty, has no name of its own
    (`/`), its parent is missing, or another process is filling the same one.
    """

    def __init__(self, target: Path) -> None:
        if not target.name:
            raise StoreRefused(f"{target} has no name of its own: name a folder that is new")
        # Of the name alone: a link in the place of the target is something that is there.
        self.target = target.parent.resolve() / target.name
        self.path = self.target.with_name(f".{self.target.name}.unfinished")
        self._file = -1

    def __enter__(self) -> Self:
        parent = self.target.parent
        if not parent.is_dir():
            raise StoreRefused(f"{parent} does not exist: create it first")
        if self.target.is_symlink() or self.target.exists():
            self._must_be_empty()
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._file)
            self._file = -1

    def publish(self) -> None:
        """Force everything in the folder to the disk, then give it its name."""
        for path in (*self.path.iterdir(), self.path):
            _sync(path)
        try:
            # An empty folder is replaced; one that was filled meanwhile is not.
            self.path.rename(self.target)
        except OSError as error:
            raise StoreRefused(f"{self.target} cannot be made: {error.strerror}") from error
        os.close(self._file)
        self._file = -1
        _sync(self.target.parent)

    def _must_be_empty(self) -> None:
        if self.target.is_symlink() or not self.target.is_dir():
            raise StoreRefused(f"{self.target} is no folder: name one that is new")
        if any(self.target.iterdir()):
            raise StoreRefused(f"{self.target} is not empty: nothing is ever overwritten")

    def _begin(self) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        file = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise StoreRefused(f"another process is making {self.target}") from error
        self._file = file
        for left in self.path.iterdir():
            left.unlink()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
