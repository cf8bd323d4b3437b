"""The systemd unit: by systemd itself, and by what the product takes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_rig import DEPLOY, command_of, config_of, make_secrets
from needing import needs

UNIT = DEPLOY / "paygate.service"
PROGRAM = "/opt/paygate/bin/paygate"
# What systemd puts in the place of %d: the folder of the credentials.
CREDENTIALS = "%d"
# 0 is the tightest, 10 the loosest; what is left is that it reaches the network, as it must.
EXPOSURE_MAX = 20
# What the parent gives a worker after its drain (paygate_http.commands_workers).
LAST_WRITE_S = 15


def values(name: str) -> list[str]:
    """The values of a setting, in order."""
    lines = UNIT.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def environment(folder: Path) -> dict[str, str]:
    """What the process is told, with a folder in the place of the credentials."""
    told = [each.partition("=") for each in values("Environment")]
    return {name: text.replace(CREDENTIALS, str(folder)) for name, _, text in told}


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Have systemd read the unit, with a program that is there."""
    tool = shutil.which("systemd-analyze")
    needs("systemd-analyze is missing: install the package systemd", met=tool is not None)
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    command = [str(tool), *words, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    checked = analyze(tmp_path, "verify")

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_finds_it_closed(tmp_path: Path) -> None:
    checked = analyze(tmp_path, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}")

    assert checked.returncode == 0, checked.stdout[-1_000:]


@pytest.mark.parametrize(
    ("setting", "command"),
    [
        ("ExecStart", "serve"),
        ("ExecStartPre", "migrate"),
    ],
)
def test_what_is_started_is_a_command_with_flags_that_the_product_has(
    setting: str, command: str
) -> None:
    (line,) = values(setting)

    program, *words = line.split()

    assert program == PROGRAM
    assert command_of(words) == command


def test_it_starts_workers_that_prometheus_can_tell_apart() -> None:
    (line,) = values("ExecStart")

    assert "--workers" in line
    assert "--worker-port-base" in line


def test_it_starts_live_with_its_credentials(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path)

    config = config_of(environment(secrets), tmp_path / "none", tmp_path)

    assert config.database.url is not None
    assert config.server.tls_key == str(secrets / "gateway_key")
    assert Path(config.data_dir).parent == Path("/var/lib", *values("StateDirectory"))


def test_what_the_environment_names_are_the_credentials_that_are_loaded() -> None:
    loaded = {each.partition(":")[0] for each in values("LoadCredential")}

    named = {Path(text).name for text in environment(Path("/")).values()}

    assert named == loaded


def test_it_is_given_the_time_that_it_drains_in(tmp_path: Path) -> None:
    config = config_of(environment(make_secrets(tmp_path)), tmp_path, tmp_path, serves=False)

    (stops,) = values("TimeoutStopSec")

    assert float(stops.removesuffix("s")) > config.server.drain_s + LAST_WRITE_S
