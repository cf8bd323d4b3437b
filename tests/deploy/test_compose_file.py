"""The compose file, by the specification's own schema and by what the product takes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from deploy_rig import DEPLOY, SECRETS, command_of, config_of, documents, make_secrets

COMPOSE = DEPLOY / "compose.yaml"
NODES = ("gateway-1", "gateway-2")


@pytest.fixture
def compose() -> dict[str, Any]:
    (read,) = documents(COMPOSE)
    return read


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


def test_it_is_what_the_specification_allows() -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")

    checked = subprocess.run(
        [tool, "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("gateway-1", "serve"),
        ("gateway-2", "serve"),
        ("migrate", "migrate"),
    ],
)
def test_what_is_run_is_a_command_that_the_product_has(
    compose: dict[str, Any], service: str, command: str
) -> None:
    assert command_of(compose["services"][service]["command"]) == command


def test_the_commands_above_are_all_that_there_are(compose: dict[str, Any]) -> None:
    ours = {name for name, each in compose["services"].items() if each["image"] == "paygate"}

    assert ours == {*NODES, "migrate"}


def test_a_node_starts_live_with_what_it_is_given(compose: dict[str, Any], tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path)
    environment = compose["services"][NODES[0]]["environment"]

    config = config_of(environment, secrets, tmp_path)

    assert not config.sandbox.enabled
    assert config.database.url is not None
    assert config.database.url.endswith("@postgres:5432/paygate")
    assert len(config.vault.keys) == 1
    assert config.vault.fingerprint_key is not None
    assert config.api_key_pepper is not None
    assert config.server.tls_cert == str(secrets / "gateway_cert")


def test_every_secret_is_made_and_every_file_is_there(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    secrets = make_secrets(tmp_path)

    files = {name: each["file"] for name, each in compose["secrets"].items()}

    assert [file for file in files.values() if not (tmp_path / file).is_file()] == []
    mounted = {name for each in compose["services"].values() for name in each.get("secrets", ())}
    assert mounted == set(files)
    # It signs; nobody who serves has a use for it.
    assert (secrets / "authority.key").is_file()
    assert "authority.key" not in str(files)
    assert [
        each for each in compose["configs"].values() if not (DEPLOY / each["file"]).is_file()
    ] == []


def test_a_container_names_no_secret_that_it_is_not_given(compose: dict[str, Any]) -> None:
    texts = {
        "haproxy": (DEPLOY / "haproxy.cfg").read_text(),
        "prometheus": (DEPLOY / "prometheus.yml").read_text(),
    }
    toml = (DEPLOY / "paygate.toml").read_text()

    for name, service in compose["services"].items():
        text = str(service.get("environment", "")) + texts.get(name, "")
        text += toml if service["image"] == "paygate" else ""
        named = set(re.findall(rf"{SECRETS}/([\w.]+)", text))
        assert named == set(service.get("secrets", ())), name


def test_nobody_may_write_to_a_root_file_system_or_gain_a_right(compose: dict[str, Any]) -> None:
    open_ = [
        name
        for name, each in compose["services"].items()
        if not each["read_only"]
        or each["cap_drop"] != ["ALL"]
        or each["security_opt"] != ["no-new-privileges:true"]
    ]

    assert open_ == []


def test_a_node_is_given_the_time_that_it_drains_in(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    secrets = make_secrets(tmp_path)

    config = config_of(compose["services"][NODES[0]]["environment"], secrets, tmp_path)

    # The last group is written after the drain, in ten seconds at the most.
    for name in NODES:
        grace_s = seconds(compose["services"][name]["stop_grace_period"])
        assert grace_s > config.server.drain_s + 10, name


def test_nodes_share_nothing_but_the_database(compose: dict[str, Any]) -> None:
    folders = [compose["services"][name]["volumes"] for name in NODES]

    assert folders[0] != folders[1]
    toml = tomllib.loads((DEPLOY / "paygate.toml").read_text())
    for name in NODES:
        (volume,) = compose["services"][name]["volumes"]
        assert volume == f"{name}:{Path(toml['data_dir']).parent}"
        assert "ports" not in compose["services"][name]
        assert "container_name" not in compose["services"][name]


def test_the_proxy_and_prometheus_know_each_node_by_its_name_and_port(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    port = config_of(environment, make_secrets(tmp_path), tmp_path, serves=False).server.port
    wanted = [f"{name}:{port}" for name in NODES]

    proxied = re.findall(r"(?m)^ +server \S+ (\S+)", (DEPLOY / "haproxy.cfg").read_text())
    (prometheus,) = documents(DEPLOY / "prometheus.yml")

    assert proxied == wanted
    asked = {each["job_name"]: each["static_configs"] for each in prometheus["scrape_configs"]}
    assert asked["paygate"] == [{"targets": wanted}]


def test_the_command_that_makes_prometheus_its_key_is_one_that_the_product_has() -> None:
    page = (DEPLOY / "README.md").read_text().replace("\\\n", " ")
    (line,) = [each for each in page.splitlines() if "keys create" in each]

    words = line.partition(" gateway-1 ")[2].partition(" > ")[0].split()

    assert command_of(words) == "keys_create"


def test_secrets_are_never_written_over(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    keys = (made / "vault_keys").read_text()

    with pytest.raises(subprocess.CalledProcessError):
        make_secrets(tmp_path)

    assert (made / "vault_keys").read_text() == keys
