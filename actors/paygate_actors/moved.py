"""The note that a data folder's payments have moved over to a database.

What is open in the folder is open in the database too. Two gateways that both went on with it
would each ask and call the providers without the other's books, so that a folder that bears the
note is not served any more.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from paygate_engine.errors import StoreRefused
from paygate_engine.stores.folder import sync_folder

MOVED_FILE: Final = "moved.json"


class Move(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where everything went (an address without secrets) and when it was begun."""

    to: str
    at_us: int
    version: str


def note_move(folder: Path, move: Move) -> None:
    """Leave the note, forced to the disk; to be done before the database has everything."""
    path = folder / MOVED_FILE
    draft = path.with_name(f"{MOVED_FILE}.draft")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, msgspec.json.format(msgspec.json.encode(move)))
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    sync_folder(folder)


def forget_move(folder: Path) -> None:
    """Take the note away: it is certain that nothing was moved."""
    (folder / MOVED_FILE).unlink(missing_ok=True)
    sync_folder(folder)


def moved_to(folder: Path) -> str | None:
    """Where the folder's payments went; None: they are here."""
    try:
        raw = (folder / MOVED_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return msgspec.json.decode(raw, type=Move).to
    except msgspec.MsgspecError:
        return "a database"  # it is there, whatever became of its text


def refuse_left(folder: Path) -> None:
    """Raise `StoreRefused` for a folder whose payments have moved over to a database."""
    to = moved_to(folder)
    if to is not None:
        raise StoreRefused(
            f"the payments of {folder} have moved to {to}: serve that, with --database. Only if no"
            f" node has ever served it may {folder / MOVED_FILE} be removed, and the folder be"
            " served again"
        )
