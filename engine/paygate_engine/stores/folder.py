"""The data folder: ours alone, and served by one process at a time.

The lock is a `flock` on a file in the folder. The kernel releases it when the process ends,
however it ends, so a lock is never left behind.
"""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from paygate_engine.errors import StoreRefused

LOCK_NAME = "lock"


class FolderLock:
    """The right to write into a folder, held until `release`."""

    __slots__ = ("_file",)

    def __init__(self, folder: Path) -> None:
        """Take the lock; raises `StoreRefused` with the holder's process id."""
        try:
            self._file = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _refusal(folder, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreRefused(
                f"another paygate process (pid {holder}) serves {folder}: stop it first, "
                "or use another folder"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would let two in."""
        os.close(self._file)


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is missing, for this user only; raises `StoreRefused`."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            _sync_folder(folder.parent)
        check_folder(folder)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StoreRefused(f"{folder} cannot be written to: give this user the right to")
    except OSError as error:
        raise _refusal(folder, error) from error


def check_folder(folder: Path) -> None:
    """Raise `StoreRefused` unless it is a folder of this user."""
    try:
        status = folder.stat()
    except OSError as error:
        raise _refusal(folder, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise StoreRefused(f"{folder} is not a folder: name another one")
    if status.st_uid != os.geteuid():
        # Files that we made in somebody else's folder could not be read by the rightful server.
        raise StoreRefused(
            f"{folder} belongs to user {status.st_uid}, this process runs as {os.geteuid()}: "
            "start it as the owner, or change the owner of the folder"
        )


def create_private(path: Path) -> None:
    """Create the file, readable by this user only, unless it is there; raises `StoreRefused`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise _refusal(path, error) from error


def _sync_folder(folder: Path) -> None:
    """Make a new entry of the folder survive a power loss."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _refusal(path: Path, error: OSError) -> StoreRefused:
    if isinstance(error, FileNotFoundError):
        missing = path.parent if not path.parent.exists() else path
        return StoreRefused(f"{missing} does not exist: create it first")
    return StoreRefused(f"{path} cannot be used: {error.strerror or error}")
