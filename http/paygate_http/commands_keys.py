"""`paygate keys`: through the server that serves the folder, or in the folder when none does.

A database takes many writers: there the command is a node of its own for as long as it takes.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from paygate_actors.messages import ApiKey
from paygate_http.configure import load
from paygate_http.control import RemoteDesk, is_served
from paygate_http.flags import FolderFlags
from paygate_http.key_desk import KeyDesk, KeyRefused, NewKey
from paygate_http.logs import configure_logs
from paygate_http.opening import open_gateway
from paygate_http.process import Exit, leave

Result = TypeVar("Result")
_MICROSECONDS = 1_000_000


def create(flags: FolderFlags, new: NewKey) -> Exit:
    """Make a key and print it; its id goes to standard error. Raises `KeyRefused`."""
    made = asyncio.run(_at_desk(flags, lambda desk: desk.create(new)))
    sys.stderr.write(f"made {made.key.id}; this is the only time that the key is shown:\n")
    sys.stdout.write(made.secret + "\n")
    return Exit.DRAINED


def show(flags: FolderFlags, *, as_json: bool) -> Exit:
    """Print all keys: a table, lines with tabs into a pipe, or JSON lines; no digests."""
    keys = asyncio.run(_at_desk(flags, lambda desk: desk.list(), must_exist=True))
    rows = [_row(key) for key in keys]
    if as_json:
        for row in rows:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return Exit.DRAINED
    if not sys.stdout.isatty():
        # For other programs: a line for each key, fields parted by tabs, nothing folded.
        for row in rows:
            sys.stdout.write("\t".join(text or "" for text in row.values()) + "\n")
        return Exit.DRAINED
    table = Table()
    for name in ("id", "role", "merchant", "label", "created", "revoked"):
        # A narrow terminal folds the text: half an id is of no use to anybody.
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(text or "" for text in row.values()))
    Console().print(table)
    return Exit.DRAINED


def revoke(flags: FolderFlags, key_id: str) -> Exit:
    """Revoke a key. Raises `KeyRefused` where there is none of that id."""
    key = asyncio.run(_at_desk(flags, lambda desk: desk.revoke(key_id), must_exist=True))
    sys.stdout.write(f"revoked {key.id}\n")
    return Exit.DRAINED


async def _at_desk(
    flags: FolderFlags,
    ask: Callable[[KeyDesk | RemoteDesk], Awaitable[Result]],
    *,
    must_exist: bool = False,
) -> Result:
    async with _desk(flags, must_exist=must_exist) as desk:
        return await ask(desk)


@asynccontextmanager
async def _desk(flags: FolderFlags, *, must_exist: bool) -> AsyncGenerator[KeyDesk | RemoteDesk]:
    settings = tuple(flags.settings())
    # A server knows its own keys: whoever asks it needs to name the folder only.
    looked = load(file=flags.config, environment=os.environ, flags=settings, serves=False)
    folder = looked.config.data_dir
    if looked.config.database.url is None:
        if is_served(folder):
            yield RemoteDesk(folder)
            return
        if must_exist and not Path(folder).is_dir():  # noqa: ASYNC240  # nothing else runs
            raise KeyRefused(f"there is no folder {folder}")
    config = load(file=flags.config, environment=os.environ, flags=settings).config
    # Standard output is for the key alone.
    configure_logs("warning")
    # Opened, but not recovered: nothing but this change happens, and no provider is called.
    gateway = await open_gateway(config, on_fatal=lambda _: leave(Exit.FAILED))
    try:
        yield KeyDesk(gateway.front, config)
    finally:
        await gateway.stop()


def _row(key: ApiKey) -> dict[str, str | None]:
    return {
        "id": key.id,
        "role": key.role,
        "merchant": key.merchant,
        "label": key.label,
        "createdAt": _time(key.created_at_us),
        "revokedAt": None if key.revoked_at_us is None else _time(key.revoked_at_us),
    }


def _time(at_us: int) -> str:
    seconds, microseconds = divmod(at_us, _MICROSECONDS)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
