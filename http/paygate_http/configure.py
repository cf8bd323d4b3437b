"""Reads the configuration: defaults < preset < TOML file < environment < flags.

Owns where values come from and that every one of them is known, well typed and named when it is
wrong; what the values mean together is `configure_checks`. Reading collects every fault before it
complains, so that an operator corrects a file once and not ten times.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from paygate_actors.config import Config, ProviderConfig
from paygate_actors.section import Section
from paygate_http.configure_checks import faults_of
from paygate_http.configure_sources import (
    Setting,
    Source,
    from_environment,
    from_file,
    is_section,
)
from paygate_http.process import Exit, Refused
from paygate_http.sandbox.server import WEBHOOK_SECRET

# Below everything that an operator writes: in the sandbox everybody shares the test cards and
# keys, so nothing may count how often they are used; one card is there to be blocked.
_SANDBOX_PRESET = (
    Setting(path=("fraud", "velocity"), value=False, origin="sandbox"),
    Setting(path=("fraud", "block_cards"), value=("4100000000000019",), origin="sandbox"),
)
# A million payments a day are 12 a second: a key that sends eight times as many is a loop gone
# wild, and must not starve the others.
_LIVE_PRESET = (Setting(path=("server", "requests_per_key_per_s"), value=100, origin="live"),)


class ConfigInvalid(Refused):
    """The configuration cannot be used; each line names a key and says what is wrong."""

    exit_code = Exit.MISCONFIGURED


class Loaded(Struct, frozen=True, kw_only=True):
    """A checked configuration; `origins` says by dotted key where each set value came from."""

    config: Config
    origins: dict[str, str]


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str],
    flags: Iterable[Setting] = (),
    serves: bool = True,
) -> Loaded:
    """Read, merge and check. Raises `ConfigInvalid` with every fault at once.

    `serves=False` is for commands that only look at a data folder: what a live server must be
    given (keys, a pepper) is not asked of them.
    """
    read = Source() if file is None else from_file(file)
    variables = from_environment(environment)
    if faults := read.faults + variables.faults:
        raise ConfigInvalid(*faults)
    given = tuple(flags)
    written = [*read.settings, *variables.settings, *given]
    sandbox = _build(written).sandbox.enabled
    if not sandbox and (idle := [each.origin for each in given if each.path[0] == "sandbox"]):
        raise ConfigInvalid(*(f"{flag}: does nothing without --sandbox" for flag in idle))
    preset = _SANDBOX_PRESET if sandbox else _LIVE_PRESET
    settings = [*preset, *written]
    config = _build(settings)
    if faults := faults_of(config, serves=serves):
        raise ConfigInvalid(*faults)
    return Loaded(config=config, origins={".".join(each.path): each.origin for each in settings})


def sandbox_providers(url: str) -> tuple[ProviderConfig, ...]:
    """List the accounts that the sandbox at `url` keeps, in the order in which they are tried."""
    return tuple(
        ProviderConfig(
            id=id_,
            kind="sandbox",
            url=url,
            webhook_secret=WEBHOOK_SECRET,
            name=name,
            priority=priority,
        )
        for priority, (id_, name) in enumerate(
            (("sandbox", "Sandbox"), ("sandbox_backup", "Sandbox backup")), start=1
        )
    )


def _build(settings: Iterable[Setting]) -> Config:
    """Make the Config that settings describe; of two for one leaf the later wins."""
    values = {each.path: each.value for each in settings}

    def section(kind: type[Section], path: tuple[str, ...]) -> Any:
        given: dict[str, Any] = {}
        for field in fields(kind):
            here = (*path, field.name)
            if is_section(field.type):
                given[field.name] = section(field.type, here)
            elif here in values:
                given[field.name] = values[here]
        return kind(**given)

    return section(Config, ())
