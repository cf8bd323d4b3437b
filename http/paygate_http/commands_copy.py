"""`paygate copy`: a data folder moves over to an empty PostgreSQL database, all of it or nothing.

The folder stays as it is, with a note that its payments have left: what is open in it is open in
the database, and must not be gone on with twice.
"""

import asyncio
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from paygate_actors.audit import HEADS_FILE, published
from paygate_actors.config import Config
from paygate_actors.marks import vault_mark
from paygate_actors.moved import Move, forget_move, moved_to, note_move
from paygate_actors.moving import Moved, NotMoved, Watch, move
from paygate_actors.projection import KINDS
from paygate_actors.vault import Vault
from paygate_actors.vault_keys import KEYS_FILE
from paygate_engine.clock import SystemClock
from paygate_engine.errors import StoreRefused
from paygate_engine.heads import BadHead
from paygate_engine.stores.copy_rows import read_kinds
from paygate_engine.stores.postgres_fill import filling
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_http.commands_audit import read_config, vault_in
from paygate_http.commands_prove import prove_everything, prove_store, tell
from paygate_http.configure import ConfigInvalid
from paygate_http.database_url import shown_url
from paygate_http.flags import CopyFlags
from paygate_http.process import Exit, Refused
from paygate_http.stores import check_driver

_FAILED: Final = "nothing was written to the database"
_HINT: Final = "`paygate doctor` says what can be done about damage (docs/reliability.md)"


def copy(flags: CopyFlags) -> Exit:
    """Prove everything, move it, and prove what arrived; FAILED if either does not hold.

    What is not proved in the folder is not moved.

    Raises `ConfigInvalid` where no database is named or the vault's keys are not known, `Refused`
    for a folder that is damaged or has moved elsewhere, `StoreRefused` for a folder that is served
    or a database that is not empty, `StoreFailed` where nobody knows how the last step ended.
    """
    config = read_config(flags.config, flags.settings())
    url = _url_of(config)
    folder = flags.from_
    if not (folder / DATABASE_NAME).exists():
        raise Refused(f"{folder} holds no {DATABASE_NAME}: name the data folder of a gateway")
    ends, mark = _known(config, folder)
    _must_be_here(folder, shown_url(url))
    moved = asyncio.run(_copy(config, folder, url, mark=mark, proves=not flags.no_prove))
    if moved is None:
        sys.stdout.write(f"{folder} was not copied, and {_FAILED}; {_HINT}\n")
        return Exit.FAILED
    _tell(folder, url, moved, ends=ends)
    if flags.no_prove:
        sys.stdout.write(f"not proved: paygate prove --all --data {folder} --database URL\n")
        return Exit.DRAINED
    return tell(asyncio.run(prove_everything(config, folder)), None)


def _url_of(config: Config) -> str:
    if config.database.url is None:
        raise ConfigInvalid("database.url: name the database to fill with --to URL")
    check_driver()
    return config.database.url


def _known(config: Config, folder: Path) -> tuple[int, Vault]:
    """How many ends of the audit chain the folder's vault has signed, and that vault.

    An end that it did not sign says that these are not the folder's keys, or that it was forged.
    """
    vault = vault_in(config, folder)
    if vault is None:
        raise ConfigInvalid(
            "vault: the keys of this folder are not known: give the --config that it was served"
            " with; the database is marked with them, so that no node comes with others"
        )
    try:
        return len(published(folder, vault)), vault
    except BadHead as error:
        raise Refused(
            f"{folder / HEADS_FILE}: {error}: these are not the vault keys of the folder, or"
            f" somebody has changed the file; {_FAILED}"
        ) from error


def _must_be_here(folder: Path, to: str) -> None:
    before = moved_to(folder)
    if before not in (None, to):
        raise Refused(f"{folder} has moved to {before} before: what is open goes on in one place")


async def _copy(
    config: Config, folder: Path, url: str, *, mark: Vault, proves: bool
) -> Moved | None:
    """Copy what is proved, if that is wanted; None where it was not."""
    source = SqliteStore(folder, KINDS)
    noted = False
    try:
        await source.open()
        # Afterwards the folder is not served any more: what is wrong in it is found before.
        if proves and not await _is_proved(source, config, folder):
            return None
        kinds = await source.look(read_kinds)
        async with filling(url, kinds) as target:
            with _progress() as watch:
                moved = await move(source, target, mark=vault_mark(mark), watch=watch)
            await target.gauge()
            _note(folder, url)
            noted = True
    except NotMoved as error:
        raise Refused(*_lines(folder, error)) from error
    except StoreRefused:
        if noted:
            forget_move(folder)
        raise
    else:
        return moved
    finally:
        await source.close()


async def _is_proved(source: SqliteStore, config: Config, folder: Path) -> bool:
    sys.stdout.write(f"{folder}:\n")
    return tell(await prove_store(source, config, folder), None) is Exit.DRAINED


def _note(folder: Path, url: str) -> None:
    at_us = SystemClock().now_us()
    note_move(folder, Move(to=shown_url(url), at_us=at_us, version=version("paygate")))


def _lines(folder: Path, error: NotMoved) -> list[str]:
    more = [f"and {error.more:,} more"] if error.more else []
    return [
        f"{folder} was not copied, and {_FAILED}:",
        *error.found,
        *more,
        _HINT,
    ]


def _tell(folder: Path, url: str, moved: Moved, *, ends: int) -> None:
    write = sys.stdout.write
    write(f"copied: {folder} to {shown_url(url)}\n")
    rows: Mapping[str, int] = {**moved.rows, "tallies": moved.tallies}
    for table, count in rows.items():
        write(f"  {table}: {count:,} rows, all there\n")
    write(
        f"  {moved.payments:,} payments, {moved.open:,} of them open: the first node that starts"
        " takes them over\n"
    )
    write(f"the folder is not served any more; its {HEADS_FILE} has {ends:,} published ends\n")
    if (folder / KEYS_FILE).exists():
        write(f"every node needs the vault's keys: those in {folder / KEYS_FILE}\n")
    else:
        write("every node needs the vault's keys that this folder was served with\n")


@contextmanager
def _progress() -> Generator[Watch]:
    columns = (TextColumn("copying"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"))
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as shown:
        bar = shown.add_task("copying", total=None)
        yield lambda done, total: shown.update(bar, completed=done, total=total)
