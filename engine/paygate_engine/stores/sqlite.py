"""The embedded store: a SQLite database in a folder of its own.

Two connections, each on a thread of its own (aiosqlite): one writes and checkpoints, one reads. A
group crosses to the writer's thread once, whatever its size. A third one reads single rows on the
loop's own thread (`sqlite_connections.py` says why that is bounded). The first error that does not
prove that nothing happened makes the store refuse everything, also reads: the process must end
and recover from the disk.
"""

import asyncio
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from paygate_engine.errors import Corrupt, StoreDamaged, StoreFailed, StoreFull, StoreRefused
from paygate_engine.stores import sqlite_check, sqlite_feeds, sqlite_read, sqlite_write
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
    Document,
    Event,
    FeedEnds,
    Item,
    Kind,
    Posted,
    Query,
    Unit,
    Wake,
)
from paygate_engine.stores.folder import FolderLock, check_folder, create_private, prepare_folder
from paygate_engine.stores.log_check import log_of, lost_frames, lost_unserved
from paygate_engine.stores.row_check import Looked, Place
from paygate_engine.stores.rules import Kinds, page_size
from paygate_engine.stores.sqlite_connections import InTheWay, LoopConnection, ThreadConnection
from paygate_engine.stores.sqlite_schema import (
    VERSION_MIN,
    check,
    check_magic,
    connect,
    upgrade,
    wal_reset_bug,
)

T = TypeVar("T")
ConnectionT = TypeVar("ConnectionT", ThreadConnection, LoopConnection)

DATABASE_NAME = "journal.db"
# A file up to this size is looked through before it is served, every index held against its table:
# that takes some 2 s a GiB. A greater one would keep everybody waiting; `paygate doctor` looks
# through it, and what is met while serving ends the process.
CHECKED_BYTES_MAX = 1024 * 1024 * 1024
# The lower byte of an extended result code is the plain one.
_PLAIN_CODE = 0xFF
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))

# The index of a log grows by this much at a time.
_INDEX_BYTES = 32_768

_log = logging.getLogger(__name__)


class SqliteStore:
    """A `Store` in the folder, which is made if it is missing (its parent must be there).

    `read_only` opens beside a running server, takes no lock and writes nothing. `on_failed` hears
    once that the store has failed, whoever met it, so that the process ends.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Sequence[Kind],
        *,
        read_only: bool = False,
        on_failed: Callable[[StoreFailed], None] | None = None,
    ) -> None:
        self.folder = folder
        self.read_only = read_only
        self._on_failed = on_failed
        self._kind_list = tuple(kinds)
        self._kinds = Kinds(kinds)
        self._lock: FolderLock | None = None
        self._writer: ThreadConnection | None = None
        self._reader: ThreadConnection | None = None
        self._here: LoopConnection | None = None
        self._failed: StoreFailed | None = None

    @property
    def sqlite_version(self) -> str:
        """The version of the SQLite library in this process."""
        return sqlite3.sqlite_version

    @property
    def wal_reset_bug(self) -> bool:
        """Whether a second program that writes to the database file could corrupt it."""
        return wal_reset_bug(sqlite3.sqlite_version_info)

    @property
    def log_bytes(self) -> int:
        """The size of the write-ahead log. SQLite tells nobody of a checkpoint that failed."""
        try:
            # Its size alone: to open and close the file here would give SQLite's locks away.
            return (self.folder / f"{DATABASE_NAME}-wal").stat().st_size
        except OSError:
            return 0

    @property
    def away(self) -> bool:
        """It is here."""
        return False

    async def open(self) -> None:
        """Open or create; bring the schema up to date; take the lock. Raises `StoreRefused`."""
        if sqlite3.sqlite_version_info < VERSION_MIN:
            raise StoreRefused(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer")
        path = self.folder / DATABASE_NAME
        try:
            if self.read_only:
                check_folder(self.folder)
                check_magic(path)
                await _refuse_lost(lost_unserved, path)
            else:
                await self._open_writer(path)
            self._reader = await ThreadConnection.open(partial(connect, path, writes=False))
            await self._reader.run(partial(check, kinds=self._kind_list))
            self._here = LoopConnection(path)
            if not self.read_only and path.stat().st_size <= CHECKED_BYTES_MAX:
                await self._refuse_bad_pages(path)
        except (sqlite3.Error, OSError) as error:
            await self.close()
            if _is_damage(error):
                raise StoreRefused(damaged(path, str(error))) from error
            raise StoreRefused(_unopened(path, error)) from error
        except BaseException:
            await self.close()
            raise
        _log.info(
            "opened %s with SQLite %s%s",
            path,
            self.sqlite_version,
            ": let no other program write to it" if self.wal_reset_bug else "",
        )

    async def close(self) -> None:
        """Give everything back. Idempotent. The writer goes last: its end is a checkpoint."""
        here, self._here = self._here, None
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        lock, self._lock = self._lock, None
        try:
            if here is not None:
                here.close()
            for connection in (reader, writer):
                if connection is not None:
                    await connection.close()
        except sqlite3.Error as error:
            # What was committed is in the log and will be found there.
            _log.warning("%s was not closed cleanly: %s", self.folder, error)
        finally:
            if lock is not None:
                lock.release()

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Commit a group in one transaction, or nothing of it where a unit conflicts."""
        for unit in units:
            for document in unit.documents:
                self._kinds.check(document)
        return await self._write(partial(sqlite_write.write_group, units=units, audit=audit))

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number, in order. Raises `Corrupt` for one that changed."""
        work = partial(sqlite_read.stream_events, stream=stream, after_seq=after_seq)
        return await self._read(work)

    async def read_streams(self, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
        """Many streams at once, each whole, or why it is not."""
        return await self._read(partial(sqlite_read.events_of_streams, streams=streams))

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The document as committed, or None."""
        return await self._read_one(partial(sqlite_read.document, kind=kind, of_id=id))

    def peek_document(self, kind: str, id: str) -> Document | None:  # noqa: A002 - as in Store
        """The same, unless it could only be waited for."""
        try:
            return self._read_now(partial(sqlite_read.document, kind=kind, of_id=id))
        except InTheWay:
            return None

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        demanded = self._kinds.positions(query)
        work = partial(sqlite_read.page_of, query=query, demanded=demanded)
        if query.limit == 1 and query.link is not None and query.scope is None and not demanded:
            # The newest one behind a link: two rows by their keys, and no others are looked at.
            return await self._read_one(work)
        return await self._read(work)

    async def read_claim(self, name: str) -> Claim | None:
        """Who holds the name."""
        return await self._read_one(partial(sqlite_read.claim, name=name))

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items of a queue that are not done, by id."""
        work = partial(sqlite_read.waiting_items, queue=queue, after_id=after_id, limit=limit)
        return await self._read(work)

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams by name, a page at a time."""
        return await self._read(partial(sqlite_read.open_wakes, after=after, limit=limit))

    async def audit_rows(self, *, after_n: int = 0, limit: int = 1_000) -> list[AuditRow]:
        """The chain in order, a page at a time."""
        return await self._read(partial(sqlite_read.audit_page, after_n=after_n, limit=limit))

    async def audit_head(self) -> tuple[int, bytes]:
        """Number and hash of the newest audit row; (0, 32 zero bytes) for an empty chain."""
        return await self._read(sqlite_read.audit_end)

    async def event_count(self) -> int:
        """How many events there are in all streams."""
        return await self._read(sqlite_read.event_count)

    async def check_rows(self, place: Place, *, limit: int = 1_000) -> Looked:
        """Hold the next rows, events first, against their checksums; start at `Place()`."""
        return await self._read(partial(sqlite_check.check_rows, place=place, limit=limit))

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Let another module read the database in its own way, on the reader's thread."""
        return await self._read(work)

    async def check_pages(self, *, thorough: bool = False) -> list[str]:
        """What SQLite finds wrong with the file; reads are kept waiting meanwhile."""
        connection = self._usable(self._reader)
        return await connection.run(partial(sqlite_check.check_pages, thorough=thorough))

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items done before a time, the oldest first; how many went."""
        return await self._write(
            partial(
                sqlite_write.forget_items,
                queue=queue,
                done_before_us=done_before_us,
                limit=page_size(limit),
            )
        )

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts behind a number, the oldest first."""
        work = partial(sqlite_feeds.feed_page, feed=feed, after_n=after_n, limit=limit)
        return await self._read(work)

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where the feed begins and ends."""
        return await self._read(partial(sqlite_feeds.feed_ends, feed=feed))

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of all feeds that ever had a post, in order."""
        return await self._read(partial(sqlite_feeds.feed_names, after=after, limit=limit))

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts, as far as all are older than a time; how many went."""
        work = partial(
            sqlite_feeds.forget_posts, feed=feed, before_us=before_us, limit=page_size(limit)
        )
        return await self._write(partial(sqlite_write.transact, work=work))

    async def forget_documents(
        self, *, kind: str, id_before: str, facet: str | None = None, limit: int = 1_000
    ) -> int:
        """Delete documents with smaller ids, the oldest first; how many went."""
        work = partial(
            sqlite_write.forget_documents,
            kind=kind,
            id_before=id_before,
            facet=facet,
            limit=page_size(limit),
        )
        return await self._write(work)

    async def _open_writer(self, path: Path) -> None:
        prepare_folder(self.folder)
        self._lock = FolderLock(self.folder)
        create_private(path)
        check_magic(path)
        await _refuse_lost(lost_frames, path)
        self._writer = await ThreadConnection.open(partial(connect, path, writes=True))
        await self._writer.run(partial(upgrade, kinds=self._kind_list))

    async def _refuse_bad_pages(self, path: Path) -> None:
        found = await self.check_pages(thorough=True)
        if found:
            raise StoreRefused(damaged(path, found[0]))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._usable(self._reader)
        try:
            return await connection.run(partial(sqlite_read.lenient, work))
        except (Corrupt, asyncio.CancelledError, GeneratorExit):
            raise  # whoever does not wait any more breaks nothing
        except BaseException as error:
            raise self._fail(error) from error

    async def _read_one(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read a row by its primary key: at once, or behind what holds a lock."""
        try:
            return self._read_now(work)
        except InTheWay:
            return await self._read(work)

    def _read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read a row by its primary key on the loop's thread. Raises `InTheWay`."""
        here = self._usable(self._here)
        try:
            return here.run(partial(sqlite_read.lenient, work))
        except InTheWay:
            raise
        except BaseException as error:
            raise self._fail(error) from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.read_only:
            raise StoreRefused(f"{self.folder} was opened to be read only")
        connection = self._usable(self._writer)
        try:
            return await connection.run(work)
        except (StoreFull, asyncio.CancelledError, GeneratorExit):
            # A cancelled caller is not told how it ended; the transaction ends by itself.
            raise
        except BaseException as error:
            raise self._fail(error) from error

    def _usable(self, connection: ConnectionT | None) -> ConnectionT:
        if self._failed is not None:
            raise StoreFailed("the store has failed before") from self._failed
        if connection is None:
            raise StoreFailed("the store is not open")
        return connection

    def _fail(self, error: BaseException) -> StoreFailed:
        if self._failed is None:
            if _is_damage(error):
                self._failed = StoreDamaged(damaged(self.folder / DATABASE_NAME, str(error)))
            else:
                self._failed = StoreFailed(f"{self.folder}: {type(error).__name__}: {error}")
            if self._on_failed is not None:
                self._on_failed(self._failed)
        return self._failed


def damaged(path: Path, what: str) -> str:
    """What to tell of a database or its log that is damaged, and what to do."""
    return (
        f"{path} is damaged ({what}): nothing more is served from it. Keep a copy of the whole"
        " folder, then restore a backup; what is still readable can be had with"
        f" `sqlite3 {DATABASE_NAME} .recover`"
    )


async def _refuse_lost(look: Callable[[Path], str | None], path: Path) -> None:
    lost = await asyncio.to_thread(look, path)
    if lost is not None:
        raise StoreRefused(damaged(log_of(path), lost))


def _unopened(path: Path, error: BaseException) -> str:
    """What to tell of a database that could not be opened, and what to do."""
    match _plain_code(error):
        case sqlite3.SQLITE_FULL:
            remedy = "make room on its disk"
        # What SQLite says where there is no room for the index of its log.
        case sqlite3.SQLITE_IOERR if shutil.disk_usage(path.parent).free < _INDEX_BYTES:
            remedy = "make room on its disk"
        case sqlite3.SQLITE_IOERR:
            remedy = "look after the disk, then start again"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            remedy = f"give user {os.geteuid()} the right to read and write it"
        case _:
            remedy = "name the right folder, or restore a backup"
    return f"{path} cannot be opened ({error}): {remedy}"


def _is_damage(error: BaseException) -> bool:
    return _plain_code(error) in _DAMAGE


def _plain_code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PLAIN_CODE
