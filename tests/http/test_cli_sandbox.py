"""`paygate sandbox` as a process: its line, its end, its folder."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LINE = re.compile(r"paygate sandbox: listening on (http://127\.0\.0\.1:\d+)\n")
# A process that has not ended by now never will.
ENDS_S = 20


@contextmanager
def sandbox(*flags: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A running sandbox and its URL."""
    command = [sys.executable, "-m", "paygate_http", "sandbox", "--port", "0", *flags]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PAYGATE__")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = LINE.fullmatch(line)
            assert match, f"not the line that was promised: {line!r}"
            yield process, match[1]
        finally:
            process.kill()


def ledger(url: str) -> list[object]:
    with urllib.request.urlopen(f"{url}/ledger", timeout=ENDS_S) as answer:
        return json.load(answer)["data"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end_and_says_nothing_more(number: signal.Signals):
    with sandbox() as (process, url):
        assert ledger(url) == []

        process.send_signal(number)

        assert process.wait(ENDS_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_a_second_sandbox_on_its_folder_is_refused(tmp_path: Path):
    with sandbox("--data", str(tmp_path / "books")):
        command = [sys.executable, "-m", "paygate_http", "sandbox", "--port", "0"]
        second = subprocess.run(
            [*command, "--data", str(tmp_path / "books")],
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
        )

    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.startswith("paygate: ")


def test_a_port_that_is_taken_ends_with_1_and_a_sentence():
    with sandbox() as (_, url):
        port = url.rpartition(":")[2]
        second = subprocess.run(
            [sys.executable, "-m", "paygate_http", "sandbox", "--port", port],
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
        )

    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_leaves_no_core_behind():
    with sandbox() as (process, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text()

    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
