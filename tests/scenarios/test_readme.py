"""The README's calls, run exactly as they are printed, against a server started as it says."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PORTS = (8080, 8090)
ENDS_S = 20.0


def section(title: str) -> str:
    """Cut one section out of the README."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the README has no section {title}"
    return found[1]


def shell_of(text: str) -> str:
    """Join every fenced block of shell, as printed."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def missing() -> str | None:
    """Say what a developer's machine lacks for these tests; None: nothing."""
    for port in PORTS:
        with socket.socket() as probe, suppress(ConnectionRefusedError):
            probe.connect(("127.0.0.1", port))
            return f"port {port}, which the README names, is taken"
    return None if shutil.which("curl") else "curl is missing"


@pytest.fixture
def server(tmp_path: Path) -> Generator[Path]:
    """Run what `make serve` runs, with its folder elsewhere; gives that folder."""
    reason = missing()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [sys.executable, "-m", "paygate_http", "serve", "--sandbox"]
    bare = {name: text for name, text in os.environ.items() if not name.startswith("PAYGATE__")}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True, env=bare
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "paygate: listening on http://127.0.0.1:8080\n", line
            yield tmp_path
        finally:
            process.kill()
            process.wait(ENDS_S)


def objects(text: str) -> list[dict[str, Any]]:
    """Read the JSON objects that calls printed one behind the other."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    rest = text.lstrip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def test_the_calls_of_the_readme_do_what_it_says(server: Path):
    script = shell_of(section("Pay"))
    assert script.count("curl ") >= 6

    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    held, capture, refund, history, ended = objects(ran.stdout)
    assert held["status"] == "authorized"
    assert (capture["type"], capture["status"]) == ("capture", "success")
    assert (refund["type"], refund["status"]) == ("refund", "success")
    assert history["data"][0]["type"] == "payment_created"
    sums = [ended[f"amount{name}"] for name in ("Captured", "Released", "Refunded")]
    assert (ended["status"], sums) == ("success", [60, 40, 25])
    assert (server / "data" / "journal.db").is_file()
    assert "4242 4242" not in ran.stdout


def test_the_readme_starts_the_server_as_the_makefile_does():
    first = shell_of((ROOT / "README.md").read_text()).splitlines()[0]
    makefile = (ROOT / "Makefile").read_text()

    assert first.split("#")[0].split() == ["make", "serve"]
    assert re.search(r"^serve:.*\n\t\$\(BIN\)/paygate serve --sandbox\b", makefile, re.MULTILINE)
