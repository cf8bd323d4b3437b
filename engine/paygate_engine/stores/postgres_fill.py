"""Fills an empty PostgreSQL database with the rows of another store: all of them, or nothing.

One transaction, the schema included: whoever dies on the way leaves the database as it was. No
node may use it meanwhile, and none can join.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from paygate_engine.errors import StoreFailed, StoreRefused
from paygate_engine.stores.base import Kind
from paygate_engine.stores.copy_rows import TABLES, Row
from paygate_engine.stores.postgres_durability import DURABLY
from paygate_engine.stores.postgres_link import Answered, Link, Links, Lost, Unreachable
from paygate_engine.stores.postgres_schema import bring_up, check_server, keep_nodes_out

# What a store of nodes alone has, and must be empty as well.
TALLIES: Final = "tallies"
_EMPTY: Final = (*TABLES, TALLIES)
# A server that takes longer for a page of rows, or for the end of it all, will not do it at all:
# some megabytes are a second's work, and to end a transaction that only added is less.
PAGE_S: Final = 120.0
# Statistics are sampled, but counting walks through every row: half an hour is a terabyte.
WALK_S: Final = 1_800.0
_ASK_S: Final = 10.0

# A role's own bounds are for nodes; this is one long piece of work, with bounds of its own.
_BEGIN: Final = f"""
BEGIN;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SELECT {DURABLY};
"""
# What is committed behind a commit is on the standbys no sooner than that one.
_COMMIT_BEHIND: Final = f"""
SELECT {DURABLY};
UPDATE paygate.bulletin SET n = n;
COMMIT;
"""  # noqa: S608 - of ours


class Filling:
    """A database that is being filled: see `filling`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows to a table, by columns."""
        if rows:
            await self._link.copy(table, columns, rows, deadline_s=PAGE_S)

    async def count(self, table: str) -> int:
        """How many rows the table has by now, counted by the database."""
        rows = await self._link.fetch(
            f"SELECT count(*) FROM paygate.{table}",  # noqa: S608 - a name of ours
            deadline_s=WALK_S,
        )
        return rows[0][0]

    async def gauge(self) -> None:
        """Have the database look at how its rows are spread: it plans by that from the start."""
        names = ", ".join(f"paygate.{table}" for table in _EMPTY)
        await self._link.run_script(f"ANALYZE {names}", deadline_s=WALK_S)


@asynccontextmanager
async def filling(dsn: str, kinds: Sequence[Kind]) -> AsyncGenerator[Filling]:
    """A database in which there is nothing yet; what is put in is there once the block has ended.

    The schema is made or brought up. Raises `StoreRefused`: nothing was written; `StoreFailed`: the
    very end has no answer that is on the standbys too, and nobody could be asked for one.
    """
    links = Links(dsn)
    try:
        link = await links.connect()
        try:
            await check_server(link, durable=True)
            await link.run_script(_BEGIN, deadline_s=_ASK_S)
            await bring_up(link, kinds)
            await keep_nodes_out(link)
            await _must_be_empty(link)
            yield Filling(link)
            await _commit(link, links, kinds)
        finally:
            # A transaction that was not committed ends with its connection.
            link.end()
    except (Unreachable, Lost, Answered) as error:
        raise StoreRefused(f"nothing was written to the database ({error})") from error


async def _must_be_empty(link: Link) -> None:
    table = await _first_with_rows(link)
    if table is not None:
        raise StoreRefused(
            f"the database is not empty (there are {table} in it): make another one; nothing was"
            " written"
        )


async def _first_with_rows(link: Link) -> str | None:
    for table in _EMPTY:
        statement = f"SELECT EXISTS (SELECT FROM paygate.{table})"  # noqa: S608 - names of ours
        if (await link.fetch(statement, deadline_s=_ASK_S))[0][0]:
            return table
    return None


async def _commit(link: Link, links: Links, kinds: Sequence[Kind]) -> None:
    try:
        await link.run_script("COMMIT", deadline_s=PAGE_S)
        _check_waited(link)
    except Lost as error:
        if not await _was_committed(links, kinds, error):
            raise


def _check_waited(link: Link) -> None:
    """Raise `Lost` where the server may not have waited for its standbys."""
    if link.warned is not None:
        raise Lost(link.warned.text)


async def _was_committed(links: Links, kinds: Sequence[Kind], lost: Lost) -> bool:
    """Ask on a fresh connection, behind the lock that the lost one may still hold."""
    try:
        link = await links.connect()
        try:
            await link.run_script("BEGIN", deadline_s=_ASK_S)
            await bring_up(link, kinds)
            if await _first_with_rows(link) is None:
                return False
            await link.run_script(_COMMIT_BEHIND, deadline_s=PAGE_S)
            _check_waited(link)
            return True
        finally:
            link.end()
    except (Unreachable, Lost, Answered, StoreRefused) as error:
        raise StoreFailed(
            f"the last step has no answer ({lost}; {error}), and it is not known whether everything"
            " is in the database and on its standbys, or nothing: run the command again, once they"
            " are well, and it says so"
        ) from error
