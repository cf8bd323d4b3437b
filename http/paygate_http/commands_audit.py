"""`paygate audit verify`: the chain walked from its first row, beside a running server or not."""

import asyncio
import os
import sys
from pathlib import Path

from paygate_actors.audit import HEADS_FILE, published
from paygate_actors.projection import KINDS
from paygate_actors.proving import walk_chain
from paygate_actors.vault import Vault
from paygate_actors.vault_keys import KeysRefused, known_keys
from paygate_engine import chain
from paygate_engine.heads import BadHead
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.configure import ConfigInvalid, load
from paygate_http.process import Exit


def verify(folder: Path, config: Path | None = None) -> Exit:
    """Print the head of a sound chain, or its first bad row (then FAILED).

    The chain is also held against the ends that the server published, if the vault's keys are
    known: those of `config` and the environment, or the sandbox's own in the folder. Raises
    `StoreRefused` where the folder holds no gateway's data, `ConfigInvalid` for unusable keys.
    """
    try:
        heads = published_ends(folder, config)
    except BadHead as error:
        sys.stdout.write(f"audit: {folder / HEADS_FILE}: {error}\n")
        return Exit.FAILED
    found = asyncio.run(_verify(folder, heads or {}))
    match found:
        case chain.Head():
            ends = "not compared" if heads is None else f"{len(heads)} published ends agree"
            sys.stdout.write(f"audit: {found.n} rows, all sound; {ends}; head {found.hash.hex()}\n")
            return Exit.DRAINED
        case chain.Fault():
            sys.stdout.write(f"audit: row {found.n} is bad: {found.text}\n")
            return Exit.FAILED


def published_ends(folder: Path, config: Path | None) -> dict[int, bytes] | None:
    """The ends that the server published for the folder; None where nobody knows its keys.

    Raises `BadHead` for a forged one, `ConfigInvalid` for unusable keys.
    """
    settings = load(file=config, environment=os.environ, serves=False).config
    try:
        keys = known_keys(settings.vault, data_dir=folder)
    except KeysRefused as error:
        raise ConfigInvalid(f"vault: {error}") from error
    if keys is None:
        return None
    return published(folder, Vault(keys.keys, keys.fingerprint_key, random=os.urandom))


async def _verify(folder: Path, heads: dict[int, bytes]) -> chain.Head | chain.Fault:
    store = SqliteStore(folder, KINDS, read_only=True)
    await store.open()
    try:
        return await walk_chain(store, heads)
    finally:
        await store.close()
