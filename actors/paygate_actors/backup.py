"""What a backup of a data folder is made of, how it is verified, and where it is noted.

    journal.db    everything that was committed up to one moment
    audit.heads   the ends of the audit chain that were published before that moment
    vault.keys    only where the folder has it: a sandbox's own keys, which open its cards
    backup.json   says that this folder is a copy: of what, when taken, up to which audit row

That is a data folder: a server starts on it. Left out are the lock, the socket, and the books of
the built-in sandbox, which are a provider's and not ours. A live gateway's keys come from its
configuration and are in no backup: whoever has both can read the cards.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from paygate_actors.audit import HEADS_FILE
from paygate_actors.projection import KINDS
from paygate_actors.proving import walk_chain
from paygate_actors.scrubber import damaged_rows
from paygate_actors.vault_keys import KEYS_FILE
from paygate_engine import chain
from paygate_engine.errors import StoreFailed, StoreRefused
from paygate_engine.heads import BadHead
from paygate_engine.stores.draft_folder import DraftFolder
from paygate_engine.stores.log_check import log_of
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_engine.stores.sqlite_copy import Snapshot

# In the backup itself. A folder that holds it was restored from one.
BACKUP_FILE: Final = "backup.json"
# In the folder that was backed up: the newest backup of it.
NOTE_FILE: Final = "last-backup.json"
# Where the copy goes to the journal's own disk: the log grows while the copy is made, and must
# find room after it. Ten times what it keeps at most.
SPARE_BYTES: Final = 640 * 1024 * 1024
# Elsewhere: for what is copied beside the journal.
SPARE_ELSEWHERE_BYTES: Final = 16 * 1024 * 1024

Heads = Mapping[int, bytes] | None
Watch = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""


class Backup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup that was made. `at_us`: when it was begun: what was acknowledged before is in it.

    `audit_head` is the hash, in hexadecimal, of row `audit_rows`. `fault`: what is damaged in it.
    """

    at_us: int
    version: str
    source: str
    path: str
    size: int
    events: int
    audit_rows: int
    audit_head: str
    fault: str | None = None


class Damaged(Exception):
    """The copy does not verify, and was not asked for in spite of that."""


async def back_up(
    source: Path,
    target: Path,
    *,
    heads_of: Callable[[Path], Heads],
    watch: Watch,
    now_us: int,
    version: str,
    keep_damaged: bool = False,
) -> Backup:
    """Make `target` a verified copy of the data folder `source`, beside a running server too.

    `heads_of` reads the published ends of a folder (None: its keys are not known). Blocks while
    it copies. Raises `StoreRefused` for a source that is none or a target that cannot be made,
    `Damaged`; either way nothing of the target is left.
    """
    place = _must_lie_apart(source, target)
    with DraftFolder(target) as draft:
        # Before the journal: an end that is published is committed, so the copy has its row.
        _copy_lines(source / HEADS_FILE, draft.path / HEADS_FILE)
        _copy_private(source / KEYS_FILE, draft.path / KEYS_FILE)
        with Snapshot(source / DATABASE_NAME, KINDS) as moment:
            _must_fit(moment.size, source=source, parent=draft.target.parent)
            copy = draft.path / DATABASE_NAME
            moment.copy_to(copy, lambda done, total: watch("copying", done, total))
        fault = await _fault(draft.path, moment, heads_of=heads_of, watch=watch)
        if fault is not None and not keep_damaged:
            raise Damaged(fault)
        made = Backup(
            at_us=now_us,
            version=version,
            source=place,
            path=str(draft.target),
            size=moment.size,
            events=moment.events,
            audit_rows=moment.audit_n,
            audit_head=moment.audit_hash.hex(),
            fault=fault,
        )
        _write_private(draft.path / BACKUP_FILE, msgspec.json.format(msgspec.json.encode(made)))
        draft.publish()
    return made


def note(source: Path, made: Backup) -> None:
    """Leave in the source that it was backed up: the whole file at once, or the old one stays."""
    path = source / NOTE_FILE
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    _write_private(draft, msgspec.json.format(msgspec.json.encode(made)))
    draft.replace(path)


def last_backup(folder: Path) -> Backup | None:
    """The newest backup that was made of the folder; None: none is known."""
    return _read(folder / NOTE_FILE)


def restored_from(folder: Path) -> Backup | None:
    """The backup that this folder is, or was before a server went on with it; None: it is none."""
    return _read(folder / BACKUP_FILE)


def lacking(size: int, *, free: int, same_disk: bool) -> int:
    """How many bytes there are too few for a copy of `size`; 0: there is room."""
    spare = SPARE_BYTES if same_disk else SPARE_ELSEWHERE_BYTES
    return max(0, size + spare - free)


def _must_lie_apart(source: Path, target: Path) -> str:
    """Where the source lies, by its full name."""
    place, there = source.resolve(), target.resolve()
    if place in (there, *there.parents):
        raise StoreRefused(f"{target} lies in {source}: what takes one must not take both")
    return str(place)


def _must_fit(size: int, *, source: Path, parent: Path) -> None:
    free = shutil.disk_usage(parent).free
    same_disk = source.stat().st_dev == parent.stat().st_dev
    if missing := lacking(size, free=free, same_disk=same_disk):
        raise StoreRefused(
            f"{parent} has {_mib(free)} free, and a copy of {_mib(size)} with what must stay free"
            f" beside it needs {_mib(missing)} more: make room, or name a folder on another disk"
        )


async def _fault(
    folder: Path, moment: Snapshot, *, heads_of: Callable[[Path], Heads], watch: Watch
) -> str | None:
    """Say what the copy lacks, or what is wrong with its pages, its rows, or its chain."""
    if moment.lost is not None:
        return f"{log_of(folder / DATABASE_NAME).name}: {moment.lost}"
    store = SqliteStore(folder, KINDS, read_only=True)
    try:
        heads = heads_of(folder)
        await store.open()
        watch("checking pages", 0, 1)
        for found in await store.check_pages(thorough=True):
            return found
        async for row in damaged_rows(store):
            return f"a row of {row.table}: {row.name!r}"
        walked = await walk_chain(
            store,
            heads or {},
            on_row=lambda n: watch("walking the audit chain", n, moment.audit_n),
        )
    except BadHead as error:
        return f"{HEADS_FILE}: {error}"
    except (StoreRefused, StoreFailed) as error:
        return str(error)
    finally:
        await store.close()
        _drop_log(folder / DATABASE_NAME)
    if isinstance(walked, chain.Fault):
        return f"row {walked.n} of the audit chain: {walked.text}"
    if (walked.n, walked.hash) != (moment.audit_n, moment.audit_hash):
        return f"the copy ends with audit row {walked.n}, the journal with {moment.audit_n}"
    return None


def _drop_log(database: Path) -> None:
    """Remove the empty log and its index, which a reader leaves behind: no part of the copy."""
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _copy_lines(source: Path, target: Path) -> None:
    """Copy a file of lines, without a last one that is being written."""
    if source.exists():
        text = source.read_bytes()
        _write_private(target, text[: text.rfind(b"\n") + 1])


def _copy_private(source: Path, target: Path) -> None:
    if source.exists():
        _write_private(target, source.read_bytes())


def _write_private(path: Path, text: bytes) -> None:
    """Write a new file that this user alone may read, and force it to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a path would be opened with no mode
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> Backup | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Backup)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
