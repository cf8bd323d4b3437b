"""`paygate audit verify`: the chains walked from their first row, beside running nodes or not."""

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from paygate_actors.audit import published, published_by_chain
from paygate_actors.chains import Walked, walk_chains
from paygate_actors.config import Config
from paygate_actors.vault import Vault
from paygate_actors.vault_keys import KeysRefused, known_keys
from paygate_engine.heads import BadHead
from paygate_http.configure import ConfigInvalid, load
from paygate_http.configure_sources import Setting
from paygate_http.flags import AuditFlags
from paygate_http.process import Exit
from paygate_http.stores import opened_to_read


def verify(flags: AuditFlags) -> Exit:
    """Print the heads of sound chains, or the first bad row (then FAILED).

    Each chain is also held against its ends that were published to the folder, if the vault's keys
    are known: those of the configuration, or the sandbox's own in the folder. Raises `StoreRefused`
    where there is no gateway's data, `ConfigInvalid` for unusable keys.
    """
    config = read_config(flags.config, flags.settings())
    try:
        ends = ends_of(config, flags.data)
    except BadHead as error:
        sys.stdout.write(f"audit: {flags.data}: {error}\n")
        return Exit.FAILED
    walked = asyncio.run(_walk(config, flags.data, ends or {}))
    if walked.fault is not None:
        sys.stdout.write(f"audit: {of_chain(walked.chain)}row {walked.fault.n} is bad:")
        sys.stdout.write(f" {walked.fault.text}\n")
        return Exit.FAILED
    for name, head in walked.heads.items():
        known = (
            "not compared" if ends is None else f"{len(ends.get(name, {}))} published ends agree"
        )
        sys.stdout.write(
            f"audit: {of_chain(name)}{head.n} rows, all sound; {known}; head {head.hash.hex()}\n"
        )
    return Exit.DRAINED


def read_config(file: Path | None, flags: Iterable[Setting] = ()) -> Config:
    """The configuration of a command that only looks at what is stored."""
    return load(file=file, environment=os.environ, flags=flags, serves=False).config


def ends_of(config: Config, folder: Path) -> dict[str, dict[int, bytes]] | None:
    """The ends that were published to the folder, by chain; None where nobody knows its keys.

    Raises `BadHead` for a forged one, `ConfigInvalid` for unusable keys.
    """
    vault = vault_in(config, folder)
    return None if vault is None else published_by_chain(folder, vault)


def published_ends(folder: Path, config: Path | None) -> dict[int, bytes] | None:
    """The ends that the server published for the folder; None where nobody knows its keys.

    Raises `BadHead` for a forged one, `ConfigInvalid` for unusable keys.
    """
    vault = vault_in(read_config(config), folder)
    return None if vault is None else published(folder, vault)


def vault_in(config: Config, folder: Path) -> Vault | None:
    """The vault under the keys that a server of the folder would use; None: nobody knows them.

    Raises `ConfigInvalid` for unusable keys.
    """
    try:
        keys = known_keys(config.vault, data_dir=folder)
    except KeysRefused as error:
        raise ConfigInvalid(f"vault: {error}") from error
    return None if keys is None else Vault(keys.keys, keys.fingerprint_key, random=os.urandom)


def of_chain(chain_name: str) -> str:
    """How a sentence about a chain begins; nothing for the one without a name."""
    return f"chain {chain_name}: " if chain_name else ""


async def _walk(config: Config, folder: Path, ends: Mapping[str, Mapping[int, bytes]]) -> Walked:
    async with opened_to_read(config, folder) as store:
        return await walk_chains(store, ends)
