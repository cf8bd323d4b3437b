"""The files in deploy/, read as the product reads them: its configuration, its command line."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import Any, Final

import yaml
from needing import needs

from paygate_actors.config import Config
from paygate_http.__main__ import app
from paygate_http.configure import load

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
# Where containers find their secrets; a test has its own folder instead.
SECRETS: Final = "/run/secrets"
# Four key pairs and as many random numbers.
MAKES_S: Final = 30.0


def documents(file: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return [each for each in yaml.safe_load_all(file.read_text()) if each is not None]


def make_secrets(folder: Path) -> Path:
    """Run deploy/make-secrets; returns the folder that it made."""
    needs("openssl is not installed", met=which("openssl") is not None)
    made = folder / "secrets"
    subprocess.run(
        [DEPLOY / "make-secrets", made], check=True, capture_output=True, timeout=MAKES_S
    )
    return made


def command_of(words: Sequence[str]) -> str:
    """Name the function that the product's command line runs for these words; raises if none."""
    command, _, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    return command.__name__


def config_of(
    environment: Mapping[str, str], secrets: Path, folder: Path, *, serves: bool = True
) -> Config:
    """Load deploy/paygate.toml under an environment, with a folder in the place of `SECRETS`.

    Raises `ConfigInvalid` where a server would refuse it.
    """
    file = folder / "paygate.toml"
    file.write_text(moved((DEPLOY / "paygate.toml").read_text(), secrets))
    variables = {name: moved(text, secrets) for name, text in environment.items()}
    return load(file=file, environment=variables, serves=serves).config


def moved(text: str, secrets: Path) -> str:
    """Say another folder where a text says `SECRETS`."""
    return text.replace(SECRETS, str(secrets))
