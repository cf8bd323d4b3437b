"""The Dockerfile, as far as it can be tried without a container engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from certificate_rig import certificate
from deploy_rig import DEPLOY, ROOT, command_of
from live_gateway import serving

from paygate_actors.config import Server

DOCKERFILE = DEPLOY / "Dockerfile"
# A wheel of pure Python; on a busy machine.
BUILDS_S = 60.0
ANSWERS_S = 15.0


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with its text on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip()]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined)]


def last(name: str) -> str:
    """The text of an instruction that stands last."""
    return [rest for each, rest in instructions() if each == name][-1]


def copied() -> list[tuple[list[str], str]]:
    """What is copied out of the repository, as (sources, target)."""
    from_here = [
        text.split() for name, text in instructions() if name == "COPY" and "--from=" not in text
    ]
    return [(words[:-1], words[-1]) for words in from_here]


def test_hadolint_finds_nothing_to_complain_about() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    checked = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_what_is_copied_is_there_and_nothing_else_is_sent_to_the_builder() -> None:
    sources = [source for several, _ in copied() for source in several]

    rules = (ROOT / ".dockerignore").read_text().splitlines()

    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(sources)


def test_the_process_is_the_product_runs_as_nobody_and_is_no_shell() -> None:
    user, group = last("USER").split(":")
    start = json.loads(last("ENTRYPOINT"))

    assert user.isdigit()
    assert group.isdigit()
    assert int(user) >= 10_000
    assert f"useradd --uid {user} " in DOCKERFILE.read_text()
    assert start == ["paygate"]
    assert command_of(json.loads(last("CMD"))) == "serve"
    assert json.loads(last("VOLUME")) == [last("WORKDIR")]


def test_the_port_is_the_products_and_the_one_whose_health_is_asked() -> None:
    port = str(Server().port)

    asked = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])

    assert last("EXPOSE") == port
    assert asked == ["python", "/opt/paygate/healthcheck.py", port]


def test_python_and_the_extra_are_those_that_the_project_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = re.search(r"python:3\.(\d+)-slim", DOCKERFILE.read_text())
    extras = re.findall(r"\.whl\)\[(\w+)\]", DOCKERFILE.read_text())

    low, high = re.findall(r"3\.(\d+)", project["requires-python"])

    assert base is not None
    assert int(low) <= int(base[1]) < int(high)
    assert len(extras) == 1
    assert set(extras) <= set(project.get("optional-dependencies", ()))


def test_nothing_secret_is_set_in_the_image() -> None:
    told = [text for name, text in instructions() if name in {"ARG", "ENV"}]

    assert [
        text for text in told if re.search(r"(?i)secret|passw|pepper|vault|key|url", text)
    ] == []


@pytest.mark.slow
def test_what_is_copied_is_enough_to_build_a_whole_wheel(tmp_path: Path) -> None:
    tree, wheels = tmp_path / "src", tmp_path / "wheels"
    for sources, target in copied():
        if target.startswith("/"):
            continue
        for source in sources:
            path = tree / target / Path(source).name if target.endswith("/") else tree / target
            path.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, path)
    flags = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]

    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", wheels, tree],
        check=True,
        capture_output=True,
        timeout=BUILDS_S,
    )

    (wheel,) = wheels.iterdir()
    names = set(ZipFile(wheel).namelist())
    folders = [ROOT / each / f"paygate_{each}" for each in ("engine", "actors", "http")]
    wanted = {
        str(file.relative_to(folder.parent))
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert wanted <= names
    assert any(name.endswith(".sql") for name in wanted)


@pytest.mark.slow
@pytest.mark.parametrize("over", ["https", "http"])
def test_the_health_check_sees_a_server_that_is_up_and_one_that_is_not(
    tmp_path: Path, over: str
) -> None:
    flags: list[str] = []
    if over == "https":
        cert, key = certificate(tmp_path, "paygate")
        flags = ["--tls-cert", str(cert), "--tls-key", str(key)]

    def asked(port: str) -> int:
        command = [sys.executable, DEPLOY / "healthcheck.py", port]
        return subprocess.run(command, check=False, timeout=ANSWERS_S).returncode

    with serving(tmp_path, *flags) as server:
        assert server.url.startswith(f"{over}:")
        port = server.url.rpartition(":")[2]
        up = asked(port)
        server.process.kill()
        server.process.wait(ANSWERS_S)
        down = asked(port)

    assert (up, down) == (0, 1)
