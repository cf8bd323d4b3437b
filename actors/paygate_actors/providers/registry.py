"""Which kinds of providers there are: the entry points `paygate.providers`, ours and others'.

A package brings a kind by an entry point whose name is the kind and whose value is a factory:

    [project.entry-points."paygate.providers"]
    acme = "acme_paygate:provider"

    def provider(config: ProviderConfig) -> Provider: ...

The factory is given the provider's table of the configuration and opens no connection. It raises
`ValueError` with a sentence (and no secret) for a table that it cannot use. Our own kinds come the
same way. Nothing of a package is imported before a provider of its kind is configured.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.base import Capabilities, Provider

GROUP: Final = "paygate.providers"
"""The group of entry points that factories of adapters stand in."""

Factory = Callable[[ProviderConfig], Provider]

# Every method that the gateway calls on any provider, whatever it can do.
_VERBS: Final = (
    "charge", "capture", "void", "refund", "find", "verify", "parse", "redacted_config", "close",
)  # fmt: skip
_NO_OPTIONS: Final[Mapping[str, str]] = {}


class ProviderRefused(Exception):
    """A provider cannot be built; the text names it, says why, and holds no secret."""


class Kind(Struct, frozen=True, kw_only=True):
    """One installed kind. `target` is `module:name`; `package` is empty where nobody says."""

    name: str
    target: str
    package: str
    version: str


def kinds(points: Iterable[EntryPoint] | None = None) -> list[Kind]:
    """List what is installed, by name; a name that two packages bring appears twice."""
    found = entry_points(group=GROUP) if points is None else points
    return sorted((_kind(each) for each in found), key=lambda kind: (kind.name, kind.target))


def build(
    config: ProviderConfig,
    *,
    options: Mapping[str, str] = _NO_OPTIONS,
    points: Iterable[EntryPoint] | None = None,
) -> Provider:
    """Build the adapter that a table of the configuration asks for.

    `options` stand below those of the table: what the gateway knows and the table need not say.
    Raises `ProviderRefused`: nobody or more than one package brings the kind, the package is
    broken, the factory did not like the table, or what it made is no adapter.
    """
    factory = _load(config, entry_points(group=GROUP) if points is None else points)
    if options:
        config = msgspec.structs.replace(config, options={**options, **config.options})
    try:
        made = factory(config)
    except ValueError as error:
        raise ProviderRefused(f"{config.id}: {error}") from error
    except Exception as error:
        # Somebody else's code. Its message may quote what it was given, secrets too.
        raise ProviderRefused(
            f"{config.id}: the adapter of kind {config.kind} failed with {type(error).__name__}"
        ) from error
    if fault := _fault_of(made, config):
        raise ProviderRefused(f"{config.id}: the adapter of kind {config.kind} {fault}")
    return made


def _load(config: ProviderConfig, points: Iterable[EntryPoint]) -> Factory:
    named = [each for each in points if each.name == config.kind]
    # One package found twice on the path is one package.
    if len({each.value for each in named}) > 1:
        targets = ", ".join(sorted(each.value for each in named))
        raise ProviderRefused(
            f"{config.id}: more than one package brings the kind {config.kind} ({targets}):"
            " uninstall all but one"
        )
    if not named:
        known = ", ".join(sorted({each.name for each in points})) or "none"
        raise ProviderRefused(
            f"{config.id} has the kind {config.kind}, which nobody knows (installed: {known})"
        )
    try:
        loaded: Any = named[0].load()
    except Exception as error:
        raise ProviderRefused(
            f"{config.id}: the package of the kind {config.kind} cannot be loaded from"
            f" {named[0].value} ({type(error).__name__}: {error})"
        ) from error
    if not callable(loaded):
        raise ProviderRefused(f"{config.id}: {named[0].value} is no factory: it cannot be called")
    # What it returns is looked at when it has returned it.
    return cast("Factory", loaded)


def _fault_of(made: Any, config: ProviderConfig) -> str | None:
    missing = [verb for verb in _VERBS if not callable(getattr(made, verb, None))]
    if missing:
        return f"has no {', '.join(missing)}"
    if not isinstance(getattr(made, "capabilities", None), Capabilities):
        return "has no capabilities"
    if getattr(made, "id", None) != config.id:
        return "does not go by the id that it was given"
    for name, there, needed in (
        ("prepare", made.capabilities.steps > 1, "steps"),
        ("events", made.capabilities.feeds, "feeds"),
        ("fetch_keys", made.capabilities.fetches_keys, "fetches_keys"),
        ("returned", made.capabilities.returns, "returns"),
    ):
        if there and not callable(getattr(made, name, None)):
            return f"says {needed} and has no {name}"
    return None


def _kind(point: EntryPoint) -> Kind:
    package = point.dist
    return Kind(
        name=point.name,
        target=point.value,
        package=package.name if package is not None else "",
        version=package.version if package is not None else "",
    )
