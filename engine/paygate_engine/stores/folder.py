"""The data folder: ours alone, and served by one process at a time.

The lock is a `flock` on a file in the folder. The kernel releases it when the process ends,
however it ends, so a lock is never left behind.
"""

import contextlib
import errno
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
            raise _refusal(folder, error.errno) from error
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


def is_served(folder: Path) -> bool:
    """Whether a process holds the folder's lock; writes nothing. Raises `OSError`."""
    try:
        file = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Given back at once: a server that starts meanwhile must not find the folder taken.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is missing, for this user only; raises `StoreRefused`."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # Also where it was there: whoever made it, perhaps we in a start that was killed, may not
        # have forced its name. A parent that this user may not read is its owner's to force.
        with contextlib.suppress(PermissionError):
            sync_folder(folder.parent)
        check_folder(folder)
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise _refusal(folder, errno.EROFS)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise _refusal(folder, errno.EACCES)
    except OSError as error:
        raise _refusal(folder, error.errno) from error


def check_folder(folder: Path) -> None:
    """Raise `StoreRefused` unless it is a folder of this user."""
    try:
        status = folder.stat()
    except OSError as error:
        raise _refusal(folder, error.errno) from error
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
        raise _refusal(path, error.errno) from error


def sync_folder(folder: Path) -> None:
    """Make new names in the folder survive a power loss: a synced file is lost with its name."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _refusal(path: Path, number: int | None) -> StoreRefused:
    """Say what is wrong with the path, by the system's error number, and what to do."""
    match number:
        case errno.ENOENT:
            missing = path.parent if not path.parent.exists() else path
            return StoreRefused(f"{missing} does not exist: create it first")
        case errno.ENOTDIR:
            return StoreRefused(f"{path} lies in something that is not a folder: name another one")
        case errno.EISDIR:
            return StoreRefused(f"{path} is a folder, and should be a file: restore a backup")
        case errno.EACCES | errno.EPERM:
            return StoreRefused(
                f"{path} cannot be used by user {os.geteuid()}, as whom this process runs: start"
                " it as the owner, or give this user the right to read and write"
            )
        case errno.EROFS:
            return StoreRefused(
                f"{path} lies on a file system that is read-only: mount it for writing, or name"
                " another folder"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StoreRefused(f"{path}: the disk is full: make room, or name another folder")
        case _:
            return StoreRefused(
                f"{path} cannot be used ({os.strerror(number or errno.EIO)}): name another folder,"
                " or mend this one"
            )
