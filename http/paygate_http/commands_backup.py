"""`paygate backup`: a verified copy of a data folder, beside a running server or not."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from paygate_actors.backup import Backup, Damaged, Watch, back_up, note
from paygate_engine.clock import SystemClock
from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.commands_audit import published_ends, read_config
from paygate_http.flags import BackupFlags
from paygate_http.process import Exit, Refused

# Whoever pays goes first: on a machine whose cores are all busy the copy takes what is left.
NICENESS: Final = 10


def backup(target: Path, flags: BackupFlags) -> Exit:
    """Make the copy, verify it, give it its name, and note in the folder that it was made.

    Raises `StoreRefused` for a folder that holds no gateway's data or a target that cannot be
    made, `ConfigInvalid` for unusable keys, `Refused` where the copy does not verify.
    """
    configured = read_config(flags.config).database.url is not None
    if configured and not (flags.data / DATABASE_NAME).exists():
        raise Refused(
            f"{flags.data} holds no journal, as a database is configured: that is backed up with"
            " PostgreSQL's own tools (docs/backup.md)"
        )
    with _progress() as watch, _process_of_its_own():
        made = asyncio.run(_make(target, flags, watch))
    _tell(made)
    try:
        note(flags.data, made)
    except OSError as error:
        text = f"the backup is there, and could not be noted in {flags.data}: {error}"
        raise Refused(text) from error
    return Exit.DRAINED


async def _make(target: Path, flags: BackupFlags, watch: Watch) -> Backup:
    try:
        return await back_up(
            flags.data,
            target,
            heads_of=lambda folder: published_ends(folder, flags.config),
            watch=watch,
            now_us=SystemClock().now_us(),
            version=version("paygate"),
            keep_damaged=flags.damaged,
        )
    except Damaged as error:
        raise Refused(
            f"{flags.data} is damaged, and was not backed up: {error}",
            "keep the older backups; `paygate doctor` and `paygate prove --all` name what is hurt;"
            " --damaged takes the copy as it is",
        ) from error


def _tell(made: Backup) -> None:
    sys.stdout.write(
        f"backup: {made.path}: {made.size / 2**20:,.1f} MiB, {made.events:,} events,"
        f" {made.audit_rows:,} audit rows; head {made.audit_head}\n"
    )
    if made.fault is not None:
        sys.stdout.write(f"DAMAGED: {made.fault}\n")
    else:
        sys.stdout.write("verified: pages, events, and the audit chain up to its published ends\n")


@contextmanager
def _progress() -> Generator[Watch]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as shown:
        bar = shown.add_task("copying", total=1)

        def watch(what: str, done: int, total: int) -> None:
            shown.update(bar, description=what, completed=done, total=total)

        yield watch


@contextmanager
def _process_of_its_own() -> Generator[None]:
    """Step back behind the server, and unwind when told to end: half a copy is removed then.

    Nothing for a thread: niceness and signals belong to somebody else's process there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    os.nice(NICENESS)
    before = {each: signal.signal(each, _interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
