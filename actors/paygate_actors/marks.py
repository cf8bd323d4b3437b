"""What a store is marked with: that it is a sandbox or live, and under which vault it was written.

A store is looked at before anything is written to it: what may not be served stays as it is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from paygate_actors.config import Config
from paygate_actors.nodes import as_shared
from paygate_actors.projection import MODE
from paygate_actors.provider_places import refuse_moved
from paygate_actors.vault import Vault
from paygate_actors.vault_keys import KEYS_FILE, vault_keys
from paygate_engine.errors import StoreRefused
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Claim, Document, Store, Unit

# What the nodes of one database hold their vaults against, and a folder's server its own.
VAULT_MARK: Final = "vault"


class Opened(NamedTuple):
    """What a store is served with. `stamp`: what a new one is to be marked as, sandbox or live.

    `same_vault`: whether the vault's mark is still to be held against the store's.
    """

    vault: Vault
    stamp: str | None
    same_vault: bool


async def open_up(
    config: Config, store: Store, *, folder: bool, random: Callable[[int], bytes]
) -> Opened:
    """Look whether the store may be served, before anything is written. Raises `StoreRefused`.

    `folder`: it is the data folder's own. Raises `KeysRefused` for a vault without keys.
    """
    livemode = not config.sandbox.enabled
    mode = "live" if livemode else "sandbox"
    unmarked = await is_unmarked(config.data_dir, store, mode=mode)
    await refuse_moved(config, store)
    place = Path(config.data_dir)
    # What many nodes share is asked for it later, when each of them can mark it; what is given
    # otherwise lives and dies with its process.
    mark = await store.read_claim(VAULT_MARK) if folder else None
    keys = vault_keys(
        config.vault, data_dir=place, livemode=livemode, random=random, fresh=mark is None
    )
    vault = Vault(keys.keys, keys.fingerprint_key, random=random)
    if mark is not None and mark.body != vault_mark(vault).body:
        raise StoreRefused(
            f"{place} was written under other vault keys, without which no stored card opens and no"
            f" repeat of a payment is known: restore its {KEYS_FILE}, or configure the keys that it"
            " had"
        )
    return Opened(
        vault=vault,
        stamp=mode if unmarked else None,
        same_vault=as_shared(store) is not None or (folder and mark is None),
    )


async def is_unmarked(folder: str, store: Store, *, mode: str) -> bool:
    """Whether nobody has marked the folder yet. Raises `StoreRefused` for another mark than ours.

    To be asked before anything is written: a folder of the other kind is left as it is.
    """
    stamped = await store.read_document(MODE, MODE)
    if stamped is None:
        return True
    if not stamped.sound:
        raise StoreRefused(
            f"{folder}: the stamp that says whether it is sandbox or live is damaged: keep a copy"
            " of the folder, then restore a backup"
        )
    if stamped.body.decode() != mode:
        raise StoreRefused(
            f"{folder} is a {stamped.body.decode()} folder, and this server is {mode}: give it a"
            " folder of its own with --data"
        )
    return False


def vault_mark(vault: Vault) -> Claim:
    """What a database or folder is marked with, so that nobody serves it with other keys."""
    mark = vault.mac("vault-mark", b"the vault of this database")
    return Claim(name=VAULT_MARK, stream=VAULT_MARK, body=mark)


async def same_vault(vault: Vault, *, store: Store, journal: Journal) -> None:
    """Refuse to serve what was written under another vault's keys; who comes first marks it.

    Under another key no card opens and no repeat of a payment is known. Raises `StoreRefused`.
    """
    mark = vault_mark(vault)
    marked = await store.read_claim(VAULT_MARK)
    if marked is None:
        # Of two that come first at the same time, one has it.
        await journal.append_wait(Unit(claims=(mark,)))
        if as_shared(store) is None:
            return  # nobody else writes to a folder
        marked = await store.read_claim(VAULT_MARK)
    if marked is None or marked.body != mark.body:
        raise StoreRefused(
            "the vault keys of this node are not those of the database's other nodes: give all"
            " nodes the same vault.keys and vault.fingerprint_key"
        )


async def stamp(mode: str, *, journal: Journal, at_us: int) -> None:
    """Mark a new folder sandbox or live."""
    entry = AuditEntry(at_us=at_us, who="system", what=f"stamp {mode}", stream=MODE)
    document = Document(kind=MODE, id=MODE, body=mode.encode())
    await journal.append_wait(Unit(documents=(document,), audit=(entry,)))
