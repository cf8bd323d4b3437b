"""Files that no parser gets through: each is a sentence that names the key, and no traceback."""

from pathlib import Path
from typing import Final

import pytest
from process_rig import Process

from paygate_http.configure import ConfigInvalid, load
from paygate_http.process import Exit

SANDBOX: Final = {"PAYGATE__SANDBOX__ENABLED": "true"}
KINDS: Final = ("sandbox", "stripe", "paypal", "adyen")
UNREADABLE: Final = ("http://[::1", "https://bank.test:99999", "https://bank.test:x", "http://[zz]")


def faults(folder: Path, text: str, environment: dict[str, str]) -> tuple[str, ...]:
    file = folder / "paygate.toml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as refused:
        load(file=file, environment=environment)
    return refused.value.lines


@pytest.mark.parametrize("environment", [SANDBOX, {}], ids=["sandbox", "live"])
@pytest.mark.parametrize("url", UNREADABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_s_url_that_cannot_be_read_is_named(
    tmp_path: Path, kind: str, url: str, environment: dict[str, str]
):
    text = f'[[providers]]\nid = "x"\nkind = "{kind}"\nurl = "{url}"\nsecret = "s"\n'

    found = faults(tmp_path, text, environment)

    (line,) = (each for each in found if each.startswith("providers[0].url"))
    assert line == "providers[0].url: must be an http or https URL, with a port up to 65535"


@pytest.mark.parametrize("url", UNREADABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_return_url_that_cannot_be_read_is_named(tmp_path: Path, kind: str, url: str):
    text = f'[[providers]]\nid = "x"\nkind = "{kind}"\nreturn_url = "{url}"\n'

    found = faults(tmp_path, text, SANDBOX)

    assert [each.partition(": ")[0] for each in found].count("providers[0].return_url") == 1


@pytest.mark.parametrize("url", [*UNREADABLE, "http://127.0.0.1:99999"])
def test_the_sandbox_s_url_that_cannot_be_read_is_named(tmp_path: Path, url: str):
    (line,) = faults(tmp_path, f'[sandbox]\nurl = "{url}"\n', SANDBOX)

    assert line.startswith("sandbox.url: must be an http URL with a loopback host")


def test_a_file_that_is_nested_without_end_is_a_fault_of_the_file(tmp_path: Path):
    (line,) = faults(tmp_path, "a = " + "[" * 100_000, SANDBOX)

    assert line == f"{tmp_path / 'paygate.toml'}: is nested too deeply"


@pytest.mark.slow
@pytest.mark.parametrize("command", [("config", "check"), ("serve",)], ids=["check", "serve"])
async def test_the_command_says_so_in_a_line_and_ends_as_misconfigured(
    tmp_path: Path, command: tuple[str, ...]
):
    file = tmp_path / "paygate.toml"
    file.write_text('[[providers]]\nid = "x"\nkind = "sandbox"\nurl = "http://[::1"\n')
    log = tmp_path / "command.log"

    process = await Process.spawn(*command, "--sandbox", "--config", str(file), log=log)
    code = await process.ended()

    said = log.read_text()
    assert code == Exit.MISCONFIGURED
    assert "providers[0].url: must be an http or https URL" in said
    assert "Traceback" not in said
