"""The process as a whole: exit codes, secrets kept out of core dumps, files, garbage, signals."""

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

_PR_SET_DUMPABLE = 4
# A connection is a file. What most systems allow at most, and far more than the edge admits.
_FILES_MAX = 65_536
# The boot's objects never die, so they are taken out of the collector's sight; payments leave no
# cycles behind, so it may look rarely: with Python's own thresholds it took 6 to 10 % of the time
# at 40,000 payments in flight, in pauses of more than 100 ms.
_GC_THRESHOLDS = (100_000, 50, 1_000)
_SWITCH_INTERVAL_S = 0.000_2


class Exit(IntEnum):
    """What the process ends with."""

    DRAINED = 0
    FAILED = 1
    MISCONFIGURED = 2


class Refused(Exception):
    """A command cannot be done; `lines` are sentences for whoever typed it."""

    exit_code = Exit.FAILED

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


# A key file holds one key.
_KEY_BYTES_MAX = 1_024


def read_key(file: Path) -> str:
    """The API key in a file: others can read a command line. Raises `Refused`, `OSError`."""
    with file.open("rb") as opened:
        raw = opened.read(_KEY_BYTES_MAX).strip()
    if not raw.isascii() or not raw or len(raw.split()) > 1:
        raise Refused(f"{file} holds no key")
    return raw.decode()


def forbid_core_dumps() -> None:
    """Keep card numbers in memory from being written out by a crash or read by a debugger."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_many_files() -> int:
    """Raise the soft limit of open files as far as may be; returns the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return soft


def settle() -> None:
    """Make the process a server's: freeze what the boot made, collect rarely, share the lock.

    The journal's thread waits for the interpreter's lock after each sync. At Python's default of
    5 ms a busy loop can starve it, and every commit waits with it; a short interval costs a little
    switching and bounds that wait.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def announce(line: str) -> None:
    """Print the one line that whoever started the process waits for."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Ending:
    """Why and when the process should end: a signal, or an error that it cannot outlive.

    `hurry` is what is done first where a second signal says that nobody waits for a drain.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, hurry: Callable[[], None] = lambda: None
    ) -> None:
        self._loop = loop
        self._wanted = asyncio.Event()
        self._hurry = hurry
        self.error: BaseException | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    @property
    def wanted(self) -> bool:
        """Whether the end has been asked for."""
        return self._wanted.is_set()

    def fail(self, error: BaseException) -> None:
        """End with an error; the first one counts. Called on the loop's thread."""
        if self.error is None:
            self.error = error
        self._wanted.set()

    async def wait(self) -> None:
        """Return once the end is wanted."""
        await self._wanted.wait()

    def follow(self, pipe: int) -> None:
        """End also when the pipe does: whoever holds its other side let go of it, or is dead.

        Raises OSError where the descriptor is none that can be waited for.
        """

        def read() -> None:
            if not os.read(pipe, 1_024):
                self._loop.remove_reader(pipe)
                self._wanted.set()

        self._loop.add_reader(pipe, read)

    def _signalled(self) -> None:
        if self._wanted.is_set():
            # Whoever asks twice does not want to wait for a drain. Everything that was answered
            # is on disk, so nothing is lost.
            self._hurry()
            leave(Exit.FAILED)
        self._wanted.set()


def leave(code: Exit) -> NoReturn:
    """End at once, without waiting for threads, tasks or handlers."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
