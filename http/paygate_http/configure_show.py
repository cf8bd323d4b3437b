"""Writes a configuration out for people: every key, its value and who set it, never a secret."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from paygate_actors.config import Config, ProviderConfig
from paygate_http.configure_sources import leaves
from paygate_http.database_url import shown_url

REDACTED = "(set)"
# Keys whose values nobody may see; a card that is blocked is still somebody's card.
SECRETS = frozenset(
    {
        "vault.keys",
        "vault.fingerprint_key",
        "api_key_pepper",
        "fraud.block_cards",
        "providers.secret",
        "providers.webhook_secret",
        # An adapter of somebody else's may keep its secrets there.
        "providers.options",
    }
)
# Keys of the sandbox alone, and what holds without it whatever was said.
LIVE_NEVER: Mapping[str, str] = {"webhooks.allow_loopback": "false"}


def describe(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """One line a key, `key = value  # origin`, in the order of declaration.

    Secrets show as `(set)` or as what they are when empty; not even their length is told. Of a
    database's URL everything shows but its password and parameters. What only a sandbox does shows
    as what a live server does of it.
    """
    for leaf in leaves():
        key = ".".join(leaf.path)
        if key in LIVE_NEVER and not config.sandbox.enabled:
            yield f"{key} = {LIVE_NEVER[key]}  # never in a live server"
            continue
        value: Any = config
        for name in leaf.path:
            value = getattr(value, name)
        yield f"{key} = {_text(key, value)}  # {origins.get(key, 'default')}"


def _text(key: str, value: Any) -> str:
    if key in SECRETS and value:
        return REDACTED
    if value is None:
        return "off"
    if key == "database.url":
        value = shown_url(value)
    if key == "providers":
        value = [_provider(each) for each in value]
    return msgspec.json.encode(value).decode()


def _provider(provider: ProviderConfig) -> dict[str, Any]:
    shown = msgspec.structs.asdict(provider)
    for name, value in shown.items():
        if f"providers.{name}" in SECRETS and value:
            shown[name] = REDACTED
    return shown
