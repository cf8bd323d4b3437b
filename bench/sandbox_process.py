"""A sandbox in a process of its own, for benches: what it costs is not in anybody's figure."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def sandbox() -> Generator[str]:
    """A sandbox with its books in memory, that answers without delay; its URL."""
    words = ("sandbox", "--port", "0", "--latency-ms", "0", "--seed", "1", "--until-eof")
    process = subprocess.Popen(
        [sys.executable, "-m", "paygate_http", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()
