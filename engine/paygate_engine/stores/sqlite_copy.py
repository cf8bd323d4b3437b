"""An online copy of a SQLite store: one moment of it, taken by a reader beside its one writer.

A read transaction is held from the first page to the last, so that the copy is the database as it
stood at one commit, whatever is committed meanwhile. The reader never checkpoints and never
writes (see `sqlite_schema.wal_reset_bug`). While it reads, the writer's log cannot begin anew: it
grows by what is committed until the copy is done.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from paygate_engine.errors import StoreRefused
from paygate_engine.stores.base import Kind
from paygate_engine.stores.folder import check_folder, create_private
from paygate_engine.stores.log_check import log_of, lost_unserved
from paygate_engine.stores.sqlite import damaged
from paygate_engine.stores.sqlite_read import audit_end, event_count
from paygate_engine.stores.sqlite_schema import check, check_magic, connect

# Pages that are copied at a time, 1 MiB: the caller hears of each step, and may end the copy.
_STEP_PAGES = 256
# Steps after which the copy is forced to the disk. A disk that has a gigabyte to write at once
# keeps the journal's next sync waiting for all of it; 8 MiB it writes in passing.
_SYNC_STEPS = 8
# The copy is written once from front to back: nothing of it needs to stay in memory.
_CACHE_KIB = 2_048

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class Snapshot:
    """One moment of the store at `path`, held while the context is open.

    `size` is in bytes, `events` how many there are, `audit_n` and `audit_hash` the chain's end.
    `lost` says which commits the copy lacks because the log is damaged; None: it lacks none.
    Raises `StoreRefused` for what is no store of this version and these kinds.
    """

    def __init__(self, path: Path, kinds: Sequence[Kind]) -> None:
        self._path = path
        check_folder(path.parent)
        try:
            check_magic(path)
            self.lost: str | None = lost_unserved(path)
            self._source = connect(path, writes=False)
        except (sqlite3.Error, OSError) as error:
            raise self._unreadable(error) from error
        try:
            # The first statement fixes the moment; all others see the same.
            self._source.execute("BEGIN")
            check(self._source, kinds)
            (pages,) = self._source.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = self._source.execute("PRAGMA page_size").fetchone()
            self.size: int = pages * page_bytes
            self.events = event_count(self._source)
            self.audit_n, self.audit_hash = audit_end(self._source)
        except sqlite3.Error as error:
            self._source.close()
            raise self._unreadable(error) from error
        except StoreRefused as error:
            self._source.close()
            if self.lost is None:
                raise
            # Everything was in the log: what is left is an empty or an older database.
            raise StoreRefused(damaged(log_of(path), self.lost)) from error
        except BaseException:
            self._source.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    def copy_to(self, target: Path, progress: Progress) -> None:
        """Write the copy to a new file, for this user only, and force it to the disk.

        Raises `StoreRefused` where the source cannot be read or the target not be written, and
        whatever `progress` raises.
        """
        create_private(target)
        # The target's locks go with this descriptor's end: nobody else knows the file yet.
        file = os.open(target, os.O_RDWR)
        try:
            with closing(sqlite3.connect(target, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = OFF")
                copy.execute("PRAGMA synchronous = OFF")
                copy.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._source.backup(
                    copy, pages=_STEP_PAGES, progress=_stepper(file, self.size, progress)
                )
            os.fsync(file)
        except sqlite3.Error as error:
            raise StoreRefused(f"{self._path} was not copied to {target}: {error}") from error
        finally:
            os.close(file)

    def _unreadable(self, error: Exception) -> StoreRefused:
        return StoreRefused(
            f"{self._path} cannot be read ({error}): name the right folder; if it is the right one,"
            " `paygate doctor` says what is damaged"
        )


def _stepper(file: int, size: int, progress: Progress) -> Callable[[int, int, int], None]:
    steps = 0

    def step(_: int, remaining: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps % _SYNC_STEPS == 0:
            os.fdatasync(file)
        progress(size * (total - remaining) // max(total, 1), size)

    return step
