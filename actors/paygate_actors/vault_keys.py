"""Where the vault's keys come from: the configuration, or a file that the first start makes.

The file is for sandboxes and first steps. A live gateway is configured with keys that somebody
keeps: whoever loses the file loses the cards, and whoever copies the data folder copies the key.
"""

import base64
import binascii
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from paygate_actors.config import Vault as VaultConfig
from paygate_actors.vault import KEY_BYTES
from paygate_engine.stores.folder import sync_folder

KEYS_FILE = "vault.keys"

_MODE = 0o600
_GENERATED_ID = "generated"

# A key takes some 90 bytes: a file beyond this was not made by us.
_FILE_BYTES_MAX = 65_536


class KeysRefused(Exception):
    """The keys are missing, malformed or readable by others; the text says what to do."""


class VaultKeys(NamedTuple):
    """What `Vault` takes. Nothing of it is shown by `repr`."""

    keys: tuple[tuple[str, bytes], ...]
    fingerprint_key: bytes

    def __repr__(self) -> str:
        return f"<{len(self.keys)} vault keys>"


class _KeysFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keys: tuple[str, ...]
    fingerprint_key: str

    def __repr__(self) -> str:
        return "<vault keys file>"


def vault_keys(
    config: VaultConfig,
    *,
    data_dir: Path,
    livemode: bool,
    random: Callable[[int], bytes],
    fresh: bool = True,
) -> VaultKeys:
    """Take the configured keys; in a sandbox without any, those of `data_dir`.

    Where they are missing they are made, if the folder is `fresh`: nothing was written under any.
    Raises `KeysRefused`: for a live gateway without keys, half a configuration, bad base64, or
    a keys file that others can read.
    """
    if config.keys and config.fingerprint_key is not None:
        return _decode(config.keys, config.fingerprint_key, where="vault")
    if config.keys or config.fingerprint_key is not None:
        raise KeysRefused("set both vault.keys and vault.fingerprint_key, or neither")
    if livemode:
        raise KeysRefused(
            "a live gateway needs vault.keys (id:base64 of 32 bytes) and vault.fingerprint_key"
            " (base64 of 32 other bytes); make each with: openssl rand -base64 32"
        )
    path = data_dir / KEYS_FILE
    if not path.exists():
        if not fresh:
            raise KeysRefused(
                f"{path} is missing: restore it from a backup; everything here was written under"
                " its keys"
            )
        # Of several nodes that start in one folder, one makes them.
        with suppress(FileExistsError):
            generate_keys_file(path, random=random)
    return load_keys_file(path)


def known_keys(config: VaultConfig, *, data_dir: Path) -> VaultKeys | None:
    """The keys that a server of this folder would use, made by nobody now; None: there are none.

    For commands that only read. Raises `KeysRefused` as `vault_keys` does.
    """
    if config.keys and config.fingerprint_key is not None:
        return _decode(config.keys, config.fingerprint_key, where="vault")
    path = data_dir / KEYS_FILE
    return load_keys_file(path) if path.exists() else None


def generate_keys_file(path: Path, *, random: Callable[[int], bytes]) -> None:
    """Write fresh keys to a new file that its owner alone may read, and sync it to disk.

    Raises `FileExistsError`: keys are never overwritten.
    """
    made = _KeysFile(
        keys=(f"{_GENERATED_ID}:{_encode(random(KEY_BYTES))}",),
        fingerprint_key=_encode(random(KEY_BYTES)),
    )
    # Written beside and linked into place: a crash leaves no half file, a second starter no
    # second set of keys under which the first one's cards would never open again.
    draft = path.with_name(f"{path.name}.{random(8).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a path would be opened with no mode
            file.write(msgspec.json.encode(made) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    # Cards sealed under keys that a power loss takes away are lost.
    sync_folder(path.parent)


def load_keys_file(path: Path) -> VaultKeys:
    """Read what `generate_keys_file` wrote. Raises `KeysRefused`."""
    try:
        with path.open("rb") as file:
            others = os.fstat(file.fileno()).st_mode & 0o077
            text = file.read(_FILE_BYTES_MAX)
    except PermissionError as error:
        raise KeysRefused(
            f"{path} cannot be read by user {os.geteuid()}, as whom this process runs: start it as"
            " the owner, or give this user the right to read"
        ) from error
    if others:
        raise KeysRefused(f"{path} can be read by others: chmod 600 it, and rotate its keys")
    try:
        read = msgspec.json.decode(text, type=_KeysFile)
    except msgspec.MsgspecError as error:
        raise KeysRefused(
            f"{path} is no keys file ({error}): restore it from a backup; without it no stored card"
            " can be read"
        ) from error
    return _decode(read.keys, read.fingerprint_key, where=str(path))


def _decode(keys: tuple[str, ...], fingerprint_key: str, *, where: str) -> VaultKeys:
    pairs: list[tuple[str, bytes]] = []
    for place, entry in enumerate(keys):
        key_id, colon, encoded = entry.partition(":")
        if not colon:
            raise KeysRefused(f"{where}: key {place} is not of the form id:base64")
        pairs.append((key_id, _key_bytes(encoded, name=f"{where}: key {key_id!r}")))
    return VaultKeys(tuple(pairs), _key_bytes(fingerprint_key, name=f"{where}: fingerprint_key"))


def _key_bytes(encoded: str, *, name: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        # Not chained: the cause would carry the key's text into a traceback.
        raise KeysRefused(f"{name} is not base64") from None
    if len(key) != KEY_BYTES:
        raise KeysRefused(f"{name} must have {KEY_BYTES} bytes")
    return key


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")
