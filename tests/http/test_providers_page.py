"""The page that walks through an adapter is true: its code is installed as it stands, and holds."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paygate_http.kit.catalogue import cases
from paygate_http.process import Exit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "providers.md"
# As the issue of the page promises: an afternoon's work, and not a framework.
CODE_LINES_MAX = 150
# Two processes of Python, pip, and the cases' deadlines, on a busy machine.
RUN_S = 100.0


def block(language: str, first_line: str) -> str:
    """The page's code block that begins with this line."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (found,) = [each for each in blocks if each.startswith(first_line)]
    return found


def test_the_adapter_of_the_page_is_short():
    lines = block("python", "# acme_paygate.py").splitlines()

    code = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(code) < CODE_LINES_MAX


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's package in it, put there by pip."""
    source = tmp_path_factory.mktemp("acme")
    (source / "pyproject.toml").write_text(block("toml", "# pyproject.toml"))
    (source / "acme_paygate.py").write_text(block("python", "# acme_paygate.py"))
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
            "--no-build-isolation", "--disable-pip-version-check", "--target", target, source,
        ],
        check=True,
        timeout=RUN_S,
    )  # fmt: skip
    return target


def paygate(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paygate_http", *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_S,
    )


@pytest.mark.slow
def test_the_adapter_of_the_page_passes_every_case_that_applies(installed: Path):
    done = paygate(installed, "provider", "check", "acme", "--json")

    report = json.loads(done.stdout)
    failed = [each for each in report["cases"] if each["word"] in ("failed", "skipped")]
    assert failed == []
    assert done.returncode == 0
    assert len(report["cases"]) == len(cases())
    assert sum(each["word"] == "passed" for each in report["cases"]) >= 60


@pytest.mark.slow
def test_the_configuration_of_the_page_starts_a_gateway(installed: Path, tmp_path: Path):
    file = tmp_path / "paygate.toml"
    file.write_text(block("toml", "# paygate.toml").replace("whsec_...", "whsec_" + "QUJD" * 8))

    listed = paygate(installed, "provider", "list", "--json")
    checked = paygate(installed, "config", "check", "--sandbox", "--config", str(file))

    assert "acme" in {json.loads(line)["kind"] for line in listed.stdout.splitlines()}
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [("config", "check"), ("serve", "--port", "0")])
def test_a_package_that_is_not_installed_ends_the_start_with_a_sentence(
    tmp_path: Path, command: tuple[str, ...]
):
    file = tmp_path / "paygate.toml"
    file.write_text(block("toml", "# paygate.toml").replace("whsec_...", "whsec_" + "QUJD" * 8))

    refused = paygate(
        tmp_path, *command, "--sandbox", "--config", str(file), "--data", str(tmp_path / "data")
    )

    assert refused.returncode == Exit.MISCONFIGURED
    assert "acme has the kind acme, which nobody knows" in refused.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_factory_that_does_not_like_its_table_ends_the_start_with_its_sentence(
    installed: Path, tmp_path: Path
):
    file = tmp_path / "paygate.toml"
    file.write_text(block("toml", "# paygate.toml").replace("whsec_...", ""))

    refused = paygate(installed, "config", "check", "--sandbox", "--config", str(file))

    assert refused.returncode == Exit.MISCONFIGURED
    assert "acme: the webhook secret is empty" in refused.stderr
