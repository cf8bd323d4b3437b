"""`paygate doctor`: one screen about a data folder or a database, and about a running server."""

import asyncio
import platform
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from paygate_actors.audit import HEADS_FILE
from paygate_actors.backup import Backup, last_backup, restored_from
from paygate_actors.chains import ONLY
from paygate_actors.checkup import FREE_BYTES_MIN, Bounds, Checkup, check_up, troubles
from paygate_actors.config import Config
from paygate_actors.moved import moved_to
from paygate_actors.scrubber import as_checked, damaged_rows
from paygate_engine.clock import SystemClock
from paygate_engine.heads import BadHead
from paygate_engine.stores.base import Store
from paygate_engine.stores.folder import LOCK_NAME
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_http.commands_audit import ends_of, read_config
from paygate_http.control import is_served
from paygate_http.doctor_database import look_at_database
from paygate_http.doctor_desk import desk_rows
from paygate_http.doctor_metrics import read_metrics
from paygate_http.flags import DoctorFlags
from paygate_http.process import Exit, read_key
from paygate_http.stores import opened_to_read

# Public: every sandbox has it.
SANDBOX_KEY: Final = "sk_sandbox_operator"
# A server that takes longer to say how it does is not well.
ASK_S: Final = 10.0
# Into a pipe: wide enough that no sentence is folded.
PIPE_WIDTH: Final = 240
# The end of the key's window is shown for this many calls in doubt, the most urgent first.
DOUBTS_SHOWN_MAX: Final = 10
# Endpoints with the most webhooks given up, and as many that are gone.
ENDPOINTS_SHOWN_MAX: Final = 10
# Of a disk that spoils more than these, a list is of no help.
DAMAGE_SHOWN_MAX: Final = 100
Rows = list[tuple[str, str]]


def doctor(flags: DoctorFlags) -> Exit:
    """Print the screen; FAILED where something needs a person, each named in a sentence.

    Raises `StoreRefused` where the folder holds no gateway's data, `ConfigInvalid`, `Refused` for a
    bad key file.
    """
    config = read_config(flags.config, flags.settings())
    rows: Rows = [("paygate", version("paygate")), ("Python", platform.python_version())]
    found: list[str] = []
    checkup = asyncio.run(_look(flags, config, rows, found))
    rows += _state(checkup)
    found += troubles(checkup)
    if flags.url is not None:
        asyncio.run(_ask(flags.url, _key(flags, checkup.mode), rows, found))
    _print(rows, found)
    return Exit.FAILED if found else Exit.DRAINED


async def _look(flags: DoctorFlags, config: Config, rows: Rows, found: list[str]) -> Checkup:
    async with opened_to_read(config, flags.data) as store:
        if isinstance(store, SqliteStore):
            return await _look_at_folder(store, flags.data, config, rows, found)
        ends = _ends(flags.data, config, found) or {}
        await look_at_database(store, config, ends, rows=rows, found=found)
        found += [sentence async for sentence in _damaged(store)]
        return await check_up(
            store,
            now_us=SystemClock().now_us(),
            # How a database is backed up, and how much room it has, is its own keeper's business.
            bounds=replace(Bounds.of(config), backup_us=None),
            published_n=None,
            free_bytes=FREE_BYTES_MIN,
            last_backup=None,
        )


async def _look_at_folder(
    store: SqliteStore, folder: Path, config: Config, rows: Rows, found: list[str]
) -> Checkup:
    bug = "WAL-reset bug: let no other program write to it" if store.wal_reset_bug else "sound"
    rows.append(("SQLite", f"{store.sqlite_version} ({bug})"))
    free = shutil.disk_usage(folder).free
    rows.append(("folder", f"{folder} ({_mib(_size(folder))}; {_mib(free)} free)"))
    rows.append(("server", _server(folder)))
    newest = _published(folder, config, rows, found)
    found += [
        f"{DATABASE_NAME} is damaged ({text}): keep a copy of the folder, restore a backup."
        for text in await store.check_pages(thorough=True)
    ]
    found += [sentence async for sentence in _damaged(store)]
    restored = restored_from(folder)
    now_us = SystemClock().now_us()
    if restored is not None:
        rows.append(("restored from", _backup(restored, now_us)))
    moved = moved_to(folder)
    if moved is not None:
        rows.append(("moved to", f"{moved}: what is below is as it was then"))
    return await check_up(
        store,
        now_us=now_us,
        bounds=Bounds.of(config),
        published_n=newest,
        free_bytes=free,
        last_backup=last_backup(folder),
    )


async def _damaged(store: Store) -> AsyncIterator[str]:
    """The rows that are damaged, `DAMAGE_SHOWN_MAX` of them."""
    checked = as_checked(store)
    if checked is None:
        return
    shown = 0
    async for damage in damaged_rows(checked):
        shown += 1
        if shown > DAMAGE_SHOWN_MAX:
            yield f"More than {DAMAGE_SHOWN_MAX} rows are damaged: restore a backup."
            return
        if damage.table == "events":
            yield (
                f"{damage.stream} is quarantined: its event {damage.name.rpartition(' ')[2]} is"
                " damaged. Nothing is done to it until it is restored from a backup."
            )
        else:
            yield f"A row of {damage.table} is damaged ({damage.name!r}): see docs/reliability.md."


def _published(folder: Path, config: Config, rows: Rows, found: list[str]) -> int | None:
    ends = _ends(folder, config, found)
    newest = max(ends.get(ONLY, {}), default=None) if ends else None
    text = "keys not known: give --config" if ends is None else f"{newest or 'none'}"
    rows.append(("newest published end", text))
    return newest


def _ends(folder: Path, config: Config, found: list[str]) -> dict[str, dict[int, bytes]] | None:
    try:
        return ends_of(config, folder)
    except BadHead as error:
        found.append(f"{HEADS_FILE} was changed by somebody: {error}.")
        return {}


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _server(folder: Path) -> str:
    if not is_served(str(folder)):
        return "none runs"
    holder = (folder / LOCK_NAME).read_text(errors="replace").strip()
    return f"runs (pid {holder})"


def _state(found: Checkup) -> Iterator[tuple[str, str]]:
    statuses = ", ".join(f"{count:,} {name}" for name, count in sorted(found.by_status.items()))
    yield "mode", found.mode or "no stamp"
    yield "payments", statuses or "none"
    yield "open payments", f"{found.open_payments:,}"
    sums = ", ".join(str(money) for money in found.in_doubt().values())
    yield "in doubt", f"{len(found.doubts):,} calls, {sums}" if found.doubts else "none"
    urgent = sorted(found.doubts, key=lambda doubt: doubt.since_us)[:DOUBTS_SHOWN_MAX]
    for doubt in urgent:
        age = _span(found.now_us - doubt.since_us)
        left_us = doubt.left_us(found.now_us)
        ends = f"ends in {_span(left_us)}" if left_us > 0 else "has ended"
        yield f"  {doubt.payment_id}", f"{doubt.amount} for {age}; key window {ends}"
    codes = ", ".join(f"{count} {code}" for code, count in sorted(found.attention.items()))
    yield "attention", codes or "none"
    parked = f"{found.parked}"
    if found.parked_oldest_us is not None:
        parked += f", the oldest for {_span(found.now_us - found.parked_oldest_us)}"
    yield "webhooks waiting", parked
    yield from _untold(found)
    yield "audit rows", f"{found.audit_rows:,}"
    made = found.last_backup
    yield "last backup", "none" if made is None else _backup(made, found.now_us)


def _untold(found: Checkup) -> Iterator[tuple[str, str]]:
    """What merchants were not told: theirs to see to, and so a row, and no trouble of ours."""
    yield "webhooks given up", f"{sum(found.given_up.values()):,}"
    most = sorted(found.given_up.items(), key=lambda each: (-each[1], each[0]))
    for endpoint_id, count in most[:ENDPOINTS_SHOWN_MAX]:
        yield f"  {endpoint_id}", f"{count:,}; they can be replayed, and are in the feed"
    yield "receivers gone (410)", f"{len(found.gone):,}"
    for endpoint_id in sorted(found.gone)[:ENDPOINTS_SHOWN_MAX]:
        yield f"  {endpoint_id}", "is sent nothing until its merchant switches it on"


def _backup(made: Backup, now_us: int) -> str:
    age = _span(now_us - made.at_us)
    return f"{made.path}, {age} ago, up to audit row {made.audit_rows:,} ({_mib(made.size)})"


def _key(flags: DoctorFlags, mode: str | None) -> str | None:
    if flags.key_file is None:
        return SANDBOX_KEY if mode == "sandbox" else None
    return read_key(flags.key_file)


async def _ask(url: str, key: str | None, rows: Rows, found: list[str]) -> None:
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"{url}/readyz") as answer:
                ready = answer.status == 200  # noqa: PLR2004  # OK
            rows.append((url, "ready" if ready else "not ready"))
            if not ready:
                found.append(f"{url} is not ready: it starts, drains, or is not well; see its log.")
            if key is None:
                rows.append(("  metrics", "not asked for: give --key-file"))
                return
            headers = {"Authorization": f"Bearer {key}"}
            async with session.get(f"{url}/metrics", headers=headers) as answer:
                page = await answer.text()
                if answer.status != 200:  # noqa: PLR2004  # OK
                    found.append(f"{url} gives no metrics ({answer.status}): give --key-file.")
                    return
            rows += await desk_rows(session, url, headers, now_us=SystemClock().now_us())
    except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
        found.append(f"{url} does not answer ({error or 'time-out'}): is a server running there?")
        return
    told, alarms = read_metrics(page)
    rows += told
    found += alarms


def _print(rows: Rows, found: list[str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(show_header=False, box=None)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    console.print(table, markup=False)
    if not found:
        sys.stdout.write("healthy: nothing needs a person\n")
        return
    for sentence in found:
        sys.stdout.write(f"NEEDS A PERSON: {sentence}\n")


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _span(us: int) -> str:
    seconds = us // 1_000_000
    hours, minutes = seconds // 3_600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s"
