"""A server in a process of its own, measured from outside, and both ends of how it is run.

The process prints the port that it listens on, and serves until its standard input is closed.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from paygate_http.process import settle

TICKS = os.sysconf("SC_CLK_TCK")
# A server that has not ended by now never will.
ENDS_S = 30


class MeasuredServer(Struct, frozen=True, kw_only=True):
    """A running server process."""

    mode: str
    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU seconds that the process has used, user and system, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_kib(self) -> int:
        """The most memory that it ever had, in KiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise AssertionError("the kernel names no high-water mark")


@contextmanager
def serving(script: Path, mode: str, *words: str) -> Generator[MeasuredServer]:
    """Start a script's server with these words behind it, and end it."""
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


async def serve(runner: web.AppRunner) -> None:
    """Serve on a free port, in the script, until the parent closes our standard input."""
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settle()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
