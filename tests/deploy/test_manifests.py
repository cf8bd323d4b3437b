"""The manifests for Kubernetes: by its own schemas, and by what the product takes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deploy_rig import DEPLOY, SECRETS, command_of, config_of, documents, make_secrets

from paygate_http.configure import ConfigInvalid
from paygate_http.routes import ROUTES

FOLDER = DEPLOY / "kubernetes"
# The oldest version that has all that is used (a sleep before the end is stable from 1.34 on), and
# the newest whose schema is at hand.
VERSIONS = ("1.34", "1.37")
# After the drain: the last group, in ten seconds at the most (paygate_http.commands_serve).
LAST_WRITE_S = 10
# What a Deployment and a Service are told apart by.
GATEWAY = {"app.kubernetes.io/name": "paygate", "app.kubernetes.io/component": "gateway"}


def every() -> list[dict[str, Any]]:
    return [each for file in sorted(FOLDER.glob("*.yaml")) for each in documents(file)]


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [each for each in every() if each["kind"] == kind]
    return found


def pod(kind: str) -> dict[str, Any]:
    return of_kind(kind)["spec"]["template"]["spec"]


def container(kind: str) -> dict[str, Any]:
    (only,) = pod(kind)["containers"]
    return only


def environment(kind: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(kind)["env"]}


def validated(version: str, *files: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("kubernetes-validate")
    command = [tool, "--strict", "-k", version, *files]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_each_is_what_kubernetes_takes_and_has_no_field_that_it_would_drop(version: str) -> None:
    checked = validated(version, *FOLDER.glob("*.yaml"))

    assert checked.returncode == 0, checked.stdout + checked.stderr
    # It only warns of a kind that it does not know: each must have been looked at.
    assert checked.stdout.count("passed") == len(every())


@pytest.mark.slow
def test_a_field_that_kubernetes_does_not_have_is_noticed(tmp_path: Path) -> None:
    text = (FOLDER / "deployment.yaml").read_text()
    slip = tmp_path / "slip.yaml"
    slip.write_text(text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds"))

    checked = validated(VERSIONS[-1], slip)

    assert checked.returncode != 0
    assert "terminationGraceSeconds" in checked.stdout + checked.stderr


def test_each_thing_lives_in_the_one_namespace() -> None:
    name = of_kind("Namespace")["metadata"]["name"]

    outside = [
        each["kind"]
        for each in every()
        if each["kind"] != "Namespace" and each["metadata"]["namespace"] != name
    ]

    assert outside == []


def test_the_configuration_is_the_one_in_the_file_word_for_word() -> None:
    told = of_kind("ConfigMap")["data"]

    assert told == {"paygate.toml": (DEPLOY / "paygate.toml").read_text()}


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("Deployment", "serve"),
        ("Job", "migrate"),
    ],
)
def test_what_is_run_is_a_command_with_flags_that_the_product_has(kind: str, command: str) -> None:
    assert command_of(container(kind)["args"]) == command


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_it_starts_with_real_secrets(kind: str, tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path)

    config = config_of(environment(kind), secrets, tmp_path)

    assert not config.sandbox.enabled
    assert config.database.url is not None


def test_it_refuses_every_one_of_the_placeholders(tmp_path: Path) -> None:
    shown = of_kind("Secret")["stringData"]
    named = environment("Deployment")
    secrets = make_secrets(tmp_path)

    for path in named.values():
        file = secrets / Path(path).name
        real = file.read_text()
        file.chmod(0o644)
        file.write_text(shown[file.name])
        with pytest.raises(ConfigInvalid) as refused:
            config_of(named, secrets, tmp_path)
        assert len(refused.value.lines) == 1, refused.value
        file.write_text(real)
    assert config_of(named, secrets, tmp_path)
    assert all(text.startswith("REPLACE-ME") for text in shown.values())


def test_every_file_that_is_named_is_mounted_from_a_secret_that_has_it() -> None:
    shown = set(of_kind("Secret")["stringData"])

    for kind in ("Deployment", "Job"):
        mounts = {each["name"]: each["mountPath"] for each in container(kind)["volumeMounts"]}
        (volume,) = [each for each in pod(kind)["volumes"] if each["name"] == "secrets"]
        ours, tls = volume["projected"]["sources"]
        there = shown | {item["path"] for item in tls["secret"]["items"]}
        toml = (DEPLOY / "paygate.toml").read_text()
        named = set(environment(kind).values()) | {
            line.split('"')[1] for line in toml.splitlines() if SECRETS in line
        }

        assert mounts["secrets"] == SECRETS
        assert ours["secret"]["name"] == of_kind("Secret")["metadata"]["name"]
        assert {Path(each).name for each in named} <= there


def test_probes_ask_what_the_product_answers_where_it_listens(tmp_path: Path) -> None:
    config = config_of(environment("Deployment"), make_secrets(tmp_path), tmp_path, serves=False)
    gateway = container("Deployment")
    probes = {
        name: gateway[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")
    }
    public = {route.path for route in ROUTES if route.access == "public"}

    paths = {name: probe["path"] for name, probe in probes.items()}

    assert set(paths.values()) <= public
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}
    assert {probe["scheme"] for probe in probes.values()} == {"HTTPS"}
    assert config.server.tls_cert is not None
    (port,) = gateway["ports"]
    assert port["containerPort"] == config.server.port
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    (served,) = of_kind("Service")["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    (policy,) = [
        each for each in every() if each["kind"] == "NetworkPolicy" and each["spec"]["podSelector"]
    ]
    assert policy["spec"]["ingress"][0]["ports"] == [
        {"protocol": "TCP", "port": config.server.port}
    ]


def test_a_pod_is_given_the_time_that_it_drains_in(tmp_path: Path) -> None:
    config = config_of(environment("Deployment"), make_secrets(tmp_path), tmp_path, serves=False)
    before_s = container("Deployment")["lifecycle"]["preStop"]["sleep"]["seconds"]

    grace_s = pod("Deployment")["terminationGracePeriodSeconds"]

    assert grace_s > before_s + config.server.drain_s + LAST_WRITE_S


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_the_data_folder_is_one_that_the_process_makes_inside_its_volume(
    kind: str, tmp_path: Path
) -> None:
    """A volume's own folder is root's, and the gateway refuses one that is not its user's."""
    secrets = make_secrets(tmp_path)
    mounts = {each["name"]: each["mountPath"] for each in container(kind)["volumeMounts"]}

    config = config_of(environment(kind), secrets, tmp_path)

    assert Path(config.data_dir).parent == Path(mounts["data"])


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_it_runs_as_nobody_and_writes_nowhere_but_to_its_volumes(kind: str) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    around, inside = pod(kind)["securityContext"], container(kind)["securityContext"]

    assert around["runAsNonRoot"] is True
    assert f"USER {around['runAsUser']}:{around['runAsGroup']}\n" in dockerfile
    assert around["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(kind)["automountServiceAccountToken"] is False
    assert "memory" in container(kind)["resources"]["limits"]


def test_what_selects_gateways_selects_them_and_no_migration() -> None:
    deployment, service = of_kind("Deployment"), of_kind("Service")
    budget = of_kind("PodDisruptionBudget")
    spread = pod("Deployment")["topologySpreadConstraints"]

    selected = [
        deployment["spec"]["selector"]["matchLabels"],
        deployment["spec"]["template"]["metadata"]["labels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in spread),
    ]

    assert selected == [GATEWAY] * len(selected)
    assert of_kind("Job")["spec"]["template"]["metadata"]["labels"] != GATEWAY
