"""Reads of one row on the loop's own thread: at once, of what is committed, waiting for nobody."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from store_suite import KINDS, booking, event, put

from paygate_engine.errors import StoreDamaged, StoreFailed
from paygate_engine.stores.base import Claim, Query, Unit
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_engine.stores.sqlite_connections import InTheWay, LoopConnection
from paygate_engine.stores.sqlite_schema import APPLICATION_ID

CLAIM = Claim(name="n", stream="s", body=b"{}")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store that holds a booking and a claim."""
    store = SqliteStore(tmp_path / "data", KINDS)
    await store.open()
    await put(store, Unit(documents=(booking(1),), claims=(CLAIM,)))
    yield store
    await store.close()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[LoopConnection]:
    """A connection to a database that somebody else has for himself."""
    path = tmp_path / "locked.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        other.execute("CREATE TABLE documents (kind, id, scope, f1, f2, f3, f4, body, crc)")
        connection = LoopConnection(path)
        other.execute("BEGIN EXCLUSIVE")
        yield connection
        connection.close()


def at_once(reading: Coroutine[Any, Any, Any]) -> Any:
    """What it comes to without waiting for anything; it must."""
    try:
        reading.send(None)
    except StopIteration as over:
        return over.value
    reading.close()
    raise AssertionError("it waits")


async def test_a_document_and_a_claim_are_read_without_a_turn_of_the_loop(
    store: SqliteStore,
) -> None:
    assert at_once(store.read_document("booking", "bkg_0001")) == booking(1)
    assert at_once(store.read_claim("n")) == CLAIM
    assert at_once(store.read_document("booking", "bkg_0002")) is None
    assert at_once(store.read_claim("m")) is None


async def test_the_newest_document_behind_a_link_is_read_without_a_turn_of_the_loop(
    store: SqliteStore,
) -> None:
    link = ("order", "o-7")
    await put(store, *(Unit(documents=(booking(number, links=(link,)),)) for number in (2, 3)))
    newest = Query(kind="booking", link=link, limit=1)

    assert at_once(store.query(newest)) == [booking(3)]
    assert at_once(store.query(replace(newest, link=("order", "o-8")))) == []


@pytest.mark.parametrize(
    "query",
    [
        Query(kind="booking", link=("order", "o-7"), limit=2),
        Query(kind="booking", link=("order", "o-7"), limit=1, scope="ann"),
        Query(kind="booking", link=("order", "o-7"), limit=1, where=(("status", "open"),)),
        Query(kind="booking", limit=1),
    ],
)
async def test_what_may_look_at_many_rows_is_read_on_the_thread(
    store: SqliteStore, query: Query
) -> None:
    reading = asyncio.ensure_future(store.query(query))
    await asyncio.sleep(0)  # one turn of the loop, in which the thread cannot have been heard

    assert not reading.done()
    await reading


async def test_a_document_is_said_without_being_asked_for(store: SqliteStore) -> None:
    assert store.peek_document("booking", "bkg_0001") == booking(1)


async def test_what_is_committed_is_there_for_the_next_read(store: SqliteStore) -> None:
    for number in range(50):
        status = f"status_{number}"
        await put(store, Unit(documents=(booking(1, status=status),)))

        assert at_once(store.read_document("booking", "bkg_0001")) == booking(1, status=status)


async def test_a_group_that_is_not_committed_is_not_read(store: SqliteStore) -> None:
    writer = store._writer  # pyright: ignore[reportPrivateUsage] - halfway through a group
    assert writer is not None
    await writer.run(lambda connection: connection.execute("BEGIN IMMEDIATE"))
    await writer.run(lambda connection: connection.execute("UPDATE documents SET body = x'00'"))

    assert at_once(store.read_document("booking", "bkg_0001")) == booking(1)

    await writer.run(lambda connection: connection.execute("ROLLBACK"))


async def test_a_reader_never_keeps_the_log_from_ending(store: SqliteStore) -> None:
    for number in range(20):
        await put(store, Unit(events=(event("a", number + 1, bytes(4_000)),)))
        at_once(store.read_document("booking", "bkg_0001"))
        at_once(store.read_claim("n"))
    writer = store._writer  # pyright: ignore[reportPrivateUsage] - who makes the checkpoints
    assert writer is not None

    truncate = "PRAGMA wal_checkpoint(TRUNCATE)"
    busy, *_ = await writer.run(lambda connection: connection.execute(truncate).fetchone())

    assert (busy, store.log_bytes) == (0, 0)


async def test_a_lock_is_not_waited_for(locked: LoopConnection) -> None:
    with pytest.raises(InTheWay):
        locked.run(lambda connection: connection.execute("SELECT * FROM documents").fetchall())
    assert locked.run(lambda connection: connection.execute("PRAGMA busy_timeout").fetchone()) == (
        0,
    )


async def test_what_is_in_the_way_is_waited_for_on_the_thread(
    store: SqliteStore, locked: LoopConnection
) -> None:
    here, store._here = store._here, locked  # pyright: ignore[reportPrivateUsage] - a real lock

    assert store.peek_document("booking", "bkg_0001") is None
    assert await store.read_document("booking", "bkg_0001") == booking(1)

    store._here = here  # pyright: ignore[reportPrivateUsage]


async def test_nothing_can_be_written_there(store: SqliteStore) -> None:
    here = store._here  # pyright: ignore[reportPrivateUsage]
    assert here is not None

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        here.run(lambda connection: connection.execute("DELETE FROM documents"))


@pytest.mark.parametrize(
    "damage",
    # The last is text that is no UTF-8, which the module itself cannot read.
    ["body = x'00'", "scope = 'bob'", "crc = 0", "scope = CAST(x'ff' AS TEXT)"],
)
async def test_a_damaged_row_says_so(store: SqliteStore, damage: str) -> None:
    writer = store._writer  # pyright: ignore[reportPrivateUsage] - damage from outside
    assert writer is not None
    await writer.run(lambda connection: connection.execute(f"UPDATE documents SET {damage}"))

    found = at_once(store.read_document("booking", "bkg_0001"))

    assert found is not None
    assert not found.sound
    assert store.peek_document("booking", "bkg_0001") == found


async def test_who_meets_a_damaged_page_ends_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    writing = SqliteStore(folder, KINDS)
    await writing.open()
    await put(writing, Unit(documents=(booking(1),)))
    await writing.close()
    path = folder / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as connection:
        statement = "SELECT rootpage FROM sqlite_schema WHERE name = 'documents'"
        (page,) = connection.execute(statement).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4_096)
        file.write(b"\x7f" * 4_096)
    failures: list[StoreFailed] = []
    store = SqliteStore(folder, KINDS, read_only=True, on_failed=failures.append)
    await store.open()

    for _ in range(2):
        with pytest.raises(StoreFailed):
            store.peek_document("booking", "bkg_0001")
        with pytest.raises(StoreFailed):
            await store.read_document("booking", "bkg_0001")
    await store.close()

    assert [type(failure) for failure in failures] == [StoreDamaged]


async def test_a_store_that_failed_or_was_closed_is_not_read(store: SqliteStore) -> None:
    await store.close()

    with pytest.raises(StoreFailed, match="not open"):
        await store.read_document("booking", "bkg_0001")
    with pytest.raises(StoreFailed, match="not open"):
        store.peek_document("booking", "bkg_0001")
    with pytest.raises(StoreFailed, match="not open"):
        await store.read_claim("n")


async def test_a_read_or_a_write_that_nobody_waits_for_any_more_is_no_failure(
    store: SqliteStore,
) -> None:
    reading = store.read_stream("a")
    writing = store.forget(queue="mail", done_before_us=0)

    for begun in (reading, writing):
        begun.send(None)
        begun.close()

    assert await store.read_stream("a") == []
    assert await put(store, Unit(documents=(booking(2),))) == [None]
