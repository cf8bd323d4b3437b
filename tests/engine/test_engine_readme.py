"""The example in the engine's README runs as printed and prints what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "engine" / "README.md"
# An example with more lines of code than this is no example any more.
LINES_MAX = 24


def blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_printed() -> None:
    (example,), (expected,) = blocks("python"), blocks("text")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout == expected


def test_the_example_is_short() -> None:
    (example,) = blocks("python")

    assert len([line for line in example.splitlines() if line.strip()]) <= LINES_MAX


@pytest.mark.parametrize("name", re.findall(r"`(\w+\.py)`", README.read_text(encoding="utf-8")))
def test_the_modules_that_it_names_exist(name: str) -> None:
    folders = [README.parent / "paygate_engine", README.parents[1] / "tests" / "engine"]

    assert any((folder / name).exists() for folder in folders)
