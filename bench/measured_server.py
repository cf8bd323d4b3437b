"""A server in a process of its own, measured from outside, and both ends of how it is run.

The process prints the port that it listens on, answers one line of JSON to each line that it is
asked, and ends when its standard input is closed. Where it has a core of its own and whoever loads
it another, neither is measured with the other's cache misses.
"""

import asyncio
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from paygate_http.process import Exit, leave, settle

# A server that has not ended by now never will.
ENDS_S = 30
# The longest that is asked of a server is to wait until all that it took is over.
ANSWER_S_MAX = 120.0
# Of a clock id of Linux that names another process: "CPU time, scheduled, of all its threads".
_CPU_CLOCK = 2
_PID_SHIFT = 3

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]

Answer = Mapping[str, float]
Answering = Callable[[str], Awaitable[Answer]]


class MeasuredServer(Struct, frozen=True, kw_only=True):
    """A running server process. `port` is 0 where it listens on none."""

    mode: str
    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU seconds that the process has used, user and system, all threads, by the kernel."""
        return time.clock_gettime((~self.process.pid << _PID_SHIFT) | _CPU_CLOCK)

    def resident_bytes(self) -> int:
        """Memory that it has now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def peak_kib(self) -> int:
        """The most memory that it ever had, in KiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise AssertionError("the kernel names no high-water mark")

    def ask(self, words: str) -> Answer:
        """Ask it something over its pipe, outside of what it serves."""
        pipes = self.process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(words + "\n")
        pipes.stdin.flush()
        # It writes nothing but answers, so nothing of one can lie in our buffer already.
        if not select.select([pipes.stdout], [], [], ANSWER_S_MAX)[0]:
            raise AssertionError(f"{self.mode} did not answer {words!r} in {ANSWER_S_MAX} s")
        return msgspec.json.decode(pipes.stdout.readline(), type=dict[str, float])


@contextmanager
def on_core(core: int) -> Generator[None]:
    """Run on one core alone, and have what is started meanwhile do the same."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def serving(
    script: Path, mode: str, *words: str, core: int | None = None
) -> Generator[MeasuredServer]:
    """Start a script's server with these words behind it, on one core if one is given; end it."""
    with nullcontext() if core is None else on_core(core):
        process = subprocess.Popen(
            [sys.executable, script, mode, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield MeasuredServer(mode=mode, process=process, port=int(process.stdout.readline()))
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


async def nothing(_: str) -> Answer:
    """Answer nothing: where nothing is ever under way."""
    return {}


async def serve(runner: web.AppRunner, answer: Answering = nothing) -> None:
    """Serve on a free port, in the script, until the parent closes our standard input."""
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settle()
    await answering(runner.addresses[0][1], answer)
    await runner.cleanup()


async def answering(port: int, answer: Answering) -> None:
    """Name the port, then answer what the parent asks, one line at a time, until it hangs up."""
    say(str(port))
    while words := await asyncio.to_thread(sys.stdin.readline):
        try:
            answered = await answer(words.strip())
        except Exception:  # noqa: BLE001  # whoever asked must not wait for threads that go on
            traceback.print_exc()
            leave(Exit.FAILED)
        say(msgspec.json.encode(answered).decode())


def say(line: str) -> None:
    """Write a line to the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
