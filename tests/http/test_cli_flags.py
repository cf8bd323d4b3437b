"""The command line as it is typed: flags, help, and what a mistake costs."""

import os
import re

import pytest

from paygate_http.__main__ import main

SERVE = (
    "--sandbox",
    "--config",
    "--host",
    "--port",
    "--data",
    "--database",
    "--workers",
    "--worker-port-base",
    "--tls-cert",
    "--tls-key",
    "--log-level",
    "--sandbox-port",
    "--sandbox-url",
    "--sandbox-seed",
    "--sandbox-latency-ms",
    "--sandbox-find-lag-ms",
    "--sandbox-void-window-s",
)
SANDBOX = (
    "--host",
    "--port",
    "--data",
    "--seed",
    "--gateway",
    "--latency-ms",
    "--find-lag-ms",
    "--void-window-s",
    "--until-eof",
    "--faults",
)
DATABASE = "--database postgresql://127.0.0.1/books"
FOLDER = ("--sandbox", "--config", "--data", "--database")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own configuration, and a terminal of a known width."""
    for name in [each for each in os.environ if each.startswith("PAYGATE__")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("serve", SERVE),
        ("config check", SERVE),
        ("config show", SERVE),
        ("sandbox", SANDBOX),
        ("keys create", (*FOLDER, "--role", "--merchant", "--label")),
        ("keys list", (*FOLDER, "--json")),
        ("keys revoke", FOLDER),
        ("audit verify", ("--data", "--config")),
        ("provider list", ("--json",)),
        ("provider check", ("--base-url", "--config", "--cases", "--seed", "--json")),
        ("listen", ("--url", "--forward-to", "--events", "--provider", "--json")),
        ("trigger", ("--list", "--url", "--provider", "--gateway", "--amount", "--currency")),
    ],
)
def test_help_names_every_flag_and_no_other(
    command: str, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    code = main([*command.split(), "--help"])

    assert code == 0
    assert set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) == set(flags)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in ("serve", "sandbox", "keys", "audit", "config"))


def test_the_version_is_a_number_alone(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0

    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("serve --prot 1", "--prot"),
        ("serve --port x", "--port"),
        ("serve --log-level loud", "--log-level"),
        ("serve --sandbox extra", "extra"),
        ("nonsense", "nonsense"),
        ("keys create", "--role"),
        ("keys create --role admin", "--role"),
        ("keys revoke", "KEY_ID"),
        ("serve --no-sandbox", "--no-sandbox"),
        ("serve --sandbox --host 0.0.0.0", "server.host"),
        ("serve --sandbox --port 65536", "server.port"),
        ("serve --sandbox --sandbox-url http://example.com", "sandbox.url"),
        ("serve --sandbox --workers 2", "--database URL"),
        (f"serve --sandbox --workers 33 {DATABASE}", "server.workers: must be from 0"),
        (
            f"serve --sandbox --worker-port-base 9100 {DATABASE}",
            "without server.workers",
        ),
        (
            f"serve --sandbox --workers 2 --port 9101 --worker-port-base 9100 {DATABASE}",
            "9101, the shared port",
        ),
        ("serve --sandbox --database mysql://db/books", "database.url"),
        ("serve --sandbox --config /nowhere/paygate.toml", "/nowhere/paygate.toml"),
        ("serve --sandbox --tls-cert /nowhere/cert.pem", "server.tls_key"),
        ("serve --sandbox-port 1", "--sandbox-port"),
        ("serve", "vault.keys"),
        ("sandbox --host 0.0.0.0", "--host"),
        ("sandbox --port -1", "--port"),
        ("config check", "api_key_pepper"),
    ],
)
def test_a_mistake_ends_with_2_and_is_named_on_standard_error(
    line: str, named: str, capsys: pytest.CaptureFixture[str]
):
    code = main(line.split())

    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert named in said.err
    assert all(each.startswith("paygate: ") for each in said.err.splitlines())


def test_a_good_configuration_is_called_good(capsys: pytest.CaptureFixture[str]):
    assert main(["config", "check", "--sandbox", "--port", "0"]) == 0

    assert capsys.readouterr().out == "the configuration is good\n"


def test_flags_win_over_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PAYGATE__SERVER__PORT", "1")

    assert main(["config", "show", "--port", "2"]) == 0

    assert "server.port = 2  # --port\n" in capsys.readouterr().out


def test_files_that_are_no_certificate_are_bad_configuration(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
):
    file = f"{tmp_path}/cert.pem"
    with open(file, "w", encoding="ascii") as stream:  # noqa: PTH123  # a fixture's path as text
        stream.write("no certificate")

    code = main(["config", "check", "--sandbox", "--tls-cert", file, "--tls-key", file])

    assert code == 2
    assert "are no usable pair" in capsys.readouterr().err


def test_an_audit_of_no_folder_fails_with_a_sentence(capsys: pytest.CaptureFixture[str]):
    code = main(["audit", "verify", "--data", "/nowhere/data"])

    assert code == 1
    assert capsys.readouterr().err.startswith("paygate: /nowhere")
