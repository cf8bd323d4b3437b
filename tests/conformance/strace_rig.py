"""What a process asks of its system, made to fail or to be its last word: by strace, at the N-th.

    strike, log = killed_at("fdatasync", 7), tmp_path / "strace.log"
    gateway = await rig.serve(prefix=launched(strike, log))
    ...
    point = await where_it_struck(strike, log)      # "journal.db-wal"; None: not so many calls

strace counts the calls of every thread by themselves, and the first thread to reach N is struck.
So that N means something, count what one thread does alone: the loop's own calls (`loop_only`,
for sockets), or the calls on certain files (`files`: only the journal's thread writes those).
"""

import asyncio
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from gateway_words import until
from msgspec import Struct
from needing import needs

# A tracer writes its last line right after its process ended; this is a busy machine's.
_LOG_S: Final = 10.0
_ENDED: Final = re.compile(r"\+\+\+ (?:killed by|exited with)")
# Without -f there is one thread, and strace does not name it.
_CALL: Final = re.compile(r"(?P<thread>\d* *)\w+\((?P<arguments>.*)")
_ABOUT: Final = re.compile(r'\d*<(?P<file>[^>]*)>|"(?P<path>[^"]*)"')


class Strike(Struct, frozen=True, kw_only=True):
    """What happens at which call. `when`: a number, or a range as strace spells it (`7..9`, `7+`).

    `loop_only`: the main thread's calls alone are counted; `files`: only calls on these.
    """

    syscall: str
    effect: str
    when: str
    loop_only: bool = False
    files: tuple[Path, ...] = ()

    @property
    def first(self) -> int:
        """The first call that is struck."""
        return int(self.when.partition(".")[0].rstrip("+"))

    @property
    def options(self) -> tuple[str, ...]:
        """Say it to strace."""
        inject = f"inject={self.syscall}:{self.effect}:when={self.when}"
        paths = [part for file in self.files for part in ("-P", str(file))]
        # With --seccomp-bpf other calls cost nothing; but a signal is logged and not delivered.
        kills = self.effect.startswith("signal=")
        followed = () if self.loop_only else ("-f",) if kills else ("-f", "--seccomp-bpf")
        return (*followed, "-y", "-q", *paths, "-e", f"trace={self.syscall}", "-e", inject)


def killed_at(
    syscall: str, nth: int, *, loop_only: bool = False, files: tuple[Path, ...] = ()
) -> Strike:
    """SIGKILL as the N-th call is entered: it is not done any more."""
    return Strike(
        syscall=syscall, effect="signal=SIGKILL", when=str(nth), loop_only=loop_only, files=files
    )


def failing_at(
    syscall: str, when: int | str, *, error: str = "EIO", files: tuple[Path, ...] = ()
) -> Strike:
    """The N-th call, or those in a range, fail with this error and do nothing."""
    return Strike(syscall=syscall, effect=f"error={error}", when=str(when), files=files)


def launched(strike: Strike, log: Path) -> tuple[str, ...]:
    """What runs a command under the strike: put it before the command."""
    needs("strace is not installed", met=shutil.which("strace") is not None)
    # -D: the command itself is our child, so that its exit code is what we see.
    return ("strace", "-D", *strike.options, "-o", str(log))


@asynccontextmanager
async def attached(strike: Strike, pid: int, log: Path) -> AsyncGenerator[None]:
    """Strike a process that runs already: calls count from here on. Root's alone.

    (The gateway forbids debuggers of its own user, to keep card numbers in.)
    """
    needs("strace is not installed", met=shutil.which("strace") is not None)
    if os.geteuid() != 0:
        pytest.skip("only root may attach to a gateway that runs")
    tracer = await asyncio.create_subprocess_exec(
        *("strace", *strike.options, "-o", str(log), "-p", str(pid)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def traced() -> bool:
        # It may be struck at once, and be gone before anybody looks.
        return tracer.returncode == 0 or _is_traced(pid, every_thread=not strike.loop_only)

    try:
        await until(traced, bool, patience_s=_LOG_S)
        yield
    finally:
        with suppress(ProcessLookupError):
            tracer.terminate()
        await tracer.wait()


async def where_it_struck(strike: Strike, log: Path) -> str | None:
    """What the struck call was about (a file's name, or `socket`), once the process has ended.

    None: it ended without a strike. Where a range of calls was struck, the first of them.
    """

    async def lines() -> list[str]:
        return log.read_text().splitlines()  # noqa: ASYNC240  # a file in memory, a few lines

    told = await until(
        lines, lambda found: bool(found) and bool(_ENDED.search(found[-1])), patience_s=_LOG_S
    )
    calls: Counter[str] = Counter()
    for call in filter(None, map(_CALL.match, told)):
        calls[call["thread"]] += 1
        if calls[call["thread"]] == strike.first:
            about = _ABOUT.search(call["arguments"])
            assert about, call[0]
            name = about["file"] or about["path"]
            return "socket" if name.startswith("socket:") else Path(name).name
    return None


def _is_traced(pid: int, *, every_thread: bool) -> bool:
    tasks = Path(f"/proc/{pid}/task")
    try:
        threads = [task.name for task in tasks.iterdir()] if every_thread else [str(pid)]
        return all("TracerPid:\t0\n" not in (tasks / it / "status").read_text() for it in threads)
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread ended meanwhile, or all of it: then so does the tracer
