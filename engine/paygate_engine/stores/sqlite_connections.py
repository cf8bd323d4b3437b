"""How a store reaches its database: on a thread of its own, or here and now.

A trip to a thread and back costs more than the read of one row. So a read by primary key is made on
the loop's own thread: it goes down one tree of a few levels, takes one row, and writes nothing; and
so is that of the newest document behind a link, which goes down two trees. Its pages lie in the
kernel's cache as a rule, and are a read or two away where they don't; a disk that takes long for
that keeps every commit waiting as well. It waits for no lock: what is in its way is said, and a
thread can wait. Lists, streams and checks take many pages, and go to the thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from paygate_engine.stores.sqlite_schema import connect

T = TypeVar("T")

# The lower byte of an extended result code is the plain one.
_PLAIN_CODE = 0xFF
_IN_THE_WAY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))


class InTheWay(Exception):
    """Somebody else holds a lock: it could only be waited for."""


class ThreadConnection(aiosqlite.Connection):
    """A connection whose thread runs whole functions, so that a group costs one hop, not ten."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)

    @classmethod
    async def open(cls, connector: Callable[[], sqlite3.Connection]) -> "ThreadConnection":
        """Start the thread and open the connection on it; raises what `connector` raises."""
        connection = cls(connector)
        try:
            await connection
        except BaseException:
            # The thread was told to stop; its last word must not meet a loop that is closed.
            await asyncio.to_thread(connection._thread.join)
            raise
        return connection

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread and return what it returns."""
        # aiosqlite leaves its parameters untyped.
        return await self._execute(work, self._conn)  # pyright: ignore[reportUnknownMemberType]


class LoopConnection:
    """A connection that reads on the thread that made it, the loop's, and waits for nobody.

    Between two reads no statement is open: one that is would keep the database's log from ending.
    """

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, writes=False, waits=False)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work now. Raises `InTheWay`, and what `work` raises."""
        try:
            return work(self._connection)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & _PLAIN_CODE in _IN_THE_WAY:
                raise InTheWay from error
            raise

    def close(self) -> None:
        """Give it back."""
        self._connection.close()
