"""Where the books lie: an SQLite file that survives kill -9, or nowhere.

Records are bytes under a kind and an id. `put` and `drop` collect; `flush` waits until all that
was collected before it is committed. While one batch is being written the next one collects, so
a busy sandbox writes hundreds of records a transaction. `synchronous=NORMAL`: the process may be
killed at any time; a power cut may cost a sandbox its last moments, which is no loss.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

import msgspec

from paygate_engine.errors import StoreFailed, StoreRefused

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID
"""

_Batch = dict[tuple[str, str], object]
_encode = msgspec.msgpack.Encoder().encode


class Storage(Protocol):
    """What the books need of the place where they lie."""

    def load(self, kind: str) -> Iterator[bytes]:
        """Give every record of a kind, by id."""
        ...

    def put(self, kind: str, id_: str, record: object) -> None:
        """Write the record, as it will be when the batch begins to be written."""
        ...

    def drop(self, kind: str, id_: str) -> None:
        """Forget the record."""
        ...

    async def flush(self) -> None:
        """Wait until everything said so far is written. Raises `StoreFailed`."""
        ...

    def clear(self) -> None:
        """Forget every record that was put before."""
        ...

    async def close(self) -> None:
        """Write what is left and let go of the place."""
        ...


class Nowhere:
    """Books that die with the process: nothing to write, nothing to wait for."""

    def load(self, kind: str) -> Iterator[bytes]:
        """Nothing was kept."""
        return iter(())

    def put(self, kind: str, id_: str, record: object) -> None:
        """Keep nothing: the books hold the record itself."""

    def drop(self, kind: str, id_: str) -> None:
        """Forget nothing."""

    async def flush(self) -> None:
        """Wait for nothing."""

    def clear(self) -> None:
        """Forget nothing."""

    async def close(self) -> None:
        """Let go of nothing."""


class Folder:
    """An SQLite file in a folder that this process alone may use.

    Raises `StoreRefused` where another sandbox has the folder, or a newer version wrote it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(folder / "sandbox.lock")
        try:
            self._db = _open(folder / "sandbox.db")
        except BaseException:
            self._lock.close()
            raise
        # One thread: SQLite's connection is used by one at a time, and batches stay in order.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-books")
        self._collected: _Batch = {}
        self._is_cleared = False
        self._writing: asyncio.Task[None] | None = None
        self._failed: Exception | None = None

    def load(self, kind: str) -> Iterator[bytes]:
        """Give every record of a kind, by id."""
        rows = self._db.execute("SELECT body FROM record WHERE kind = ? ORDER BY id", (kind,))
        return (body for (body,) in rows)

    def put(self, kind: str, id_: str, record: object) -> None:
        """Collect the record; several changes of one batch are written once."""
        self._collected[kind, id_] = record

    def drop(self, kind: str, id_: str) -> None:
        """Collect the end of a record."""
        self._collected[kind, id_] = None

    async def flush(self) -> None:
        """Wait until everything said so far is committed.

        A batch that is being written may not hold it all: the one after it does.
        """
        if self._writing is not None:
            await asyncio.shield(self._writing)
        if (self._collected or self._is_cleared) and self._writing is None:
            self._writing = asyncio.ensure_future(self._write())
        if self._writing is not None:
            await asyncio.shield(self._writing)
        if self._failed is not None:
            raise StoreFailed("the sandbox's books could not be written") from self._failed

    def clear(self) -> None:
        """Collect the end of every record; what is put afterwards is kept, in one transaction."""
        self._collected = {}
        self._is_cleared = True

    async def close(self) -> None:
        """Write what is left, close the file, let go of the lock."""
        try:
            await self.flush()
        finally:
            await self._run(self._db.close)
            self._writer.shutdown()
            self._lock.close()

    async def _write(self) -> None:
        try:
            batch, self._collected = self._collected, {}
            cleared, self._is_cleared = self._is_cleared, False
            # Encoded here: the records go on changing while the other thread writes.
            rows = [
                (kind, id_, None if record is None else _encode(record))
                for (kind, id_), record in batch.items()
            ]
            await self._run(lambda: self._change(rows, cleared=cleared))
        finally:
            self._writing = None

    async def _run(self, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writer, work)
        except sqlite3.Error as error:
            self._failed = error

    def _change(self, rows: list[tuple[str, str, bytes | None]], *, cleared: bool) -> None:
        with self._db:
            if cleared:
                self._db.execute("DELETE FROM record")
            self._db.executemany(
                "INSERT INTO record (kind, id, body) VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                [row for row in rows if row[2] is not None],
            )
            self._db.executemany(
                "DELETE FROM record WHERE kind = ? AND id = ?",
                [(kind, id_) for kind, id_, body in rows if body is None],
            )


def _lock(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreRefused(
            f"another sandbox uses {path.parent}: stop it, or give this one a folder of its own"
        ) from error
    return file


def _open(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    # The writer thread uses it after the books were read here; never both at once.
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version in (0, _VERSION):
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version={_VERSION}")
            return db
    except sqlite3.DatabaseError as error:
        db.close()
        raise StoreRefused(f"{path} cannot be read as a sandbox's books: {error}") from error
    db.close()
    raise StoreRefused(f"{path} was written by another version: use an empty folder")
