"""The SQLite store passes the suite, and keeps the promises that only a disk can break."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from store_suite import KINDS, StoreSuite, booking, entry, event, put

from paygate_engine.errors import Corrupt, StoreDamaged, StoreFailed, StoreFull, StoreRefused
from paygate_engine.stores import sqlite_schema
from paygate_engine.stores.base import Claim, Done, Kind, Query, Store, Unit, Wake
from paygate_engine.stores.folder import FolderLock
from paygate_engine.stores.migrations import Applied, Migration, pending, read_migrations
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_engine.stores.sqlite_read import page_statement
from paygate_engine.stores.sqlite_schema import MIGRATIONS, wal_reset_bug


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = SqliteStore(tmp_path / "data", KINDS)
        await store.open()
        yield store
        await store.close()


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A data folder with a stream `a` of three events, as a server that ended well leaves it."""
    folder = tmp_path / "data"
    async with opened(folder) as store:
        events = tuple(event("a", seq) for seq in (1, 2, 3))
        await put(store, Unit(events=events, audit=(entry("a"),)))
        await put(store, Unit(events=(event("b", 1),)))
    return folder


@contextlib.asynccontextmanager
async def opened(folder: Path, *, read_only: bool = False) -> AsyncGenerator[SqliteStore, None]:
    store = SqliteStore(folder, KINDS, read_only=read_only)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def edit(folder: Path, statement: str, *parameters: object) -> None:
    """Change the database behind the store's back."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME)) as connection, connection:
        connection.execute(statement, parameters)


async def refusal(folder: Path, *, read_only: bool = False) -> str:
    """Why the folder is not opened; it must leave nothing open or locked behind."""
    with pytest.raises(StoreRefused) as refused:
        async with opened(folder, read_only=read_only):
            pass
    return str(refused.value)


# Corruption


@pytest.mark.parametrize(
    ("column", "value"),
    [("body", b"{ }"), ("kind", "paid"), ("at_us", 1), ("crc", 0)],
)
async def test_an_event_that_was_changed_is_corrupt_and_its_neighbours_are_served(
    folder: Path, column: str, value: object
) -> None:
    edit(folder, f"UPDATE events SET {column} = ? WHERE stream = 'a' AND seq = 2", value)

    async with opened(folder) as store:
        with pytest.raises(Corrupt, match="stream a: event 2"):
            await store.read_stream("a")
        assert await store.read_stream("b") == [event("b", 1)]
        found = await store.read_streams(["a", "b"])
        assert isinstance(found["a"], Corrupt)
        assert found["b"] == [event("b", 1)]


async def test_who_met_a_damaged_event_sees_what_is_committed_afterwards(folder: Path) -> None:
    edit(folder, "UPDATE events SET body = x'00' WHERE stream = 'a' AND seq = 1")

    async with opened(folder) as store:
        with pytest.raises(Corrupt) as kept:
            await store.read_stream("a")
        await put(store, Unit(events=(event("b", 2),)))

        assert len(await store.read_stream("b")) == 2, f"while somebody keeps {kept.value!r}"


async def test_who_reads_a_damaged_page_ends_the_process_and_hears_which_file_it_is(
    folder: Path,
) -> None:
    path = folder / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as connection:
        statement = "SELECT rootpage FROM sqlite_schema WHERE name = 'events'"
        (page,) = connection.execute(statement).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4_096)
        file.write(b"\x7f" * 4_096)
    failures: list[StoreFailed] = []
    # Read only: whoever serves a folder looks through it first.
    store = SqliteStore(folder, (), read_only=True, on_failed=failures.append)

    await store.open()
    try:
        for _ in range(2):
            with pytest.raises(StoreFailed):
                await store.read_stream("a")
    finally:
        await store.close()

    assert [type(failure) for failure in failures] == [StoreDamaged]
    assert str(path) in str(failures[0])
    assert "restore a backup" in str(failures[0])


async def test_an_event_that_was_moved_to_another_stream_is_corrupt(folder: Path) -> None:
    edit(folder, "UPDATE events SET stream = 'c' WHERE stream = 'b'")

    async with opened(folder) as store:
        with pytest.raises(Corrupt, match="stream c: event 1"):
            await store.read_stream("c")


async def test_a_missing_event_is_corrupt(folder: Path) -> None:
    edit(folder, "DELETE FROM events WHERE stream = 'a' AND seq = 2")

    async with opened(folder) as store:
        with pytest.raises(Corrupt, match="stream a: event 2 is missing"):
            await store.read_stream("a")


# Migrations


async def test_a_database_knows_which_migrations_made_it(folder: Path) -> None:
    known = read_migrations(MIGRATIONS)

    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        rows = connection.execute("SELECT number, name, checksum FROM migrations").fetchall()

    assert rows == [(each.number, each.name, each.checksum) for each in known]


async def test_a_database_of_another_text_is_refused(folder: Path) -> None:
    edit(folder, "UPDATE migrations SET checksum = 'x' WHERE number = 1")

    assert "is not the one of this version" in await refusal(folder)


async def test_a_newer_database_is_refused_whoever_opens_it(folder: Path) -> None:
    edit(folder, "INSERT INTO migrations SELECT max(number) + 1, 'later', 'x' FROM migrations")

    assert "start a newer version" in await refusal(folder)
    assert "start a newer version" in await refusal(folder, read_only=True)


def test_what_is_pending_is_told_and_gaps_are_refused() -> None:
    known = [Migration(number=n, name=f"m{n}", text=f"-- {n}") for n in (1, 2, 3)]
    applied = [Applied(number=each.number, name="", checksum=each.checksum) for each in known]

    assert pending(known, []) == known
    assert pending(known, applied[:2]) == known[2:]
    assert pending(known, applied) == []
    with pytest.raises(StoreRefused, match="lacks migration 1"):
        pending(known, applied[1:])
    with pytest.raises(StoreRefused, match="lacks migration 2"):
        pending(known, [applied[0], applied[2]])


@pytest.mark.parametrize("names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["one.sql"]])
def test_a_folder_of_migrations_with_a_gap_is_a_bug(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")

    with pytest.raises(ValueError, match="expected migration"):
        read_migrations(tmp_path)


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "migrations"
    broken.mkdir()
    (broken / "0001_first.sql").write_text("CREATE TABLE one (a);\nCREATE TABLE one (a);\n")
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", broken)
    folder = tmp_path / "data"

    assert "already exists" in await refusal(folder)

    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    monkeypatch.undo()
    async with opened(folder) as store:
        assert await store.read_stream("a") == []


async def test_kinds_whose_facets_changed_are_refused_and_new_kinds_are_taken(
    folder: Path,
) -> None:
    changed = SqliteStore(folder, [Kind(name="booking", facets=("hotel", "status"))])
    with pytest.raises(StoreRefused, match="documents of kind booking"):
        await changed.open()

    more = SqliteStore(folder, [*KINDS, Kind(name="invoice", facets=("state",))])
    await more.open()
    await more.close()


# The folder and its lock


async def test_the_log_that_waits_is_measured_and_gone_after_a_clean_end(folder: Path) -> None:
    async with opened(folder) as store:
        before = store.log_bytes
        await put(store, Unit(events=(event("c", 1),)))
        assert store.log_bytes > before

    assert store.log_bytes == 0


async def test_the_folder_and_the_files_are_for_their_owner_alone(folder: Path) -> None:
    async with opened(folder) as store:
        await put(store, Unit(events=(event("c", 1),)))
        modes = file_modes(folder)

    assert modes.pop(".") == 0o700
    assert set(modes.values()) == {0o600}
    assert {DATABASE_NAME, f"{DATABASE_NAME}-wal", "lock"} <= set(modes)


def file_modes(folder: Path) -> dict[str, int]:
    """The permissions of the folder (`.`) and of everything in it."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    return {".": folder.stat().st_mode & 0o777, **modes}


async def test_a_second_server_on_a_folder_is_refused_until_the_first_one_ends(
    folder: Path,
) -> None:
    async with opened(folder):
        text = await refusal(folder)

    assert text.startswith(f"another paygate process (pid {os.getpid()}) serves {folder}")
    async with opened(folder) as store:
        assert await store.read_stream("b") == [event("b", 1)]


async def test_a_refused_folder_can_be_opened_when_it_is_put_right(folder: Path) -> None:
    edit(folder, "UPDATE migrations SET name = name || 'x', checksum = checksum || 'x'")
    await refusal(folder)
    edit(folder, "UPDATE migrations SET checksum = rtrim(checksum, 'x')")

    async with opened(folder) as store:
        assert len(await store.read_stream("a")) == 3


async def test_what_cannot_be_a_data_folder_is_refused_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    assert f"{tmp_path}/no does not exist" in await refusal(tmp_path / "no" / "data")
    assert "is not a folder" in await refusal(file)
    assert "cannot be used" in await refusal(Path("/sys/data"))
    assert "does not exist" in await refusal(tmp_path / "data", read_only=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
async def test_somebody_elses_folder_is_refused(folder: Path) -> None:
    os.chown(folder, 12_345, -1)

    assert "belongs to user 12345" in await refusal(folder)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"x"])
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(content)

    assert "cannot be opened" in await refusal(tmp_path)
    assert (tmp_path / DATABASE_NAME).read_bytes() == content


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    edit(tmp_path, "CREATE TABLE theirs (a)")

    assert "another program's" in await refusal(tmp_path)


# Reading beside a server


async def test_a_reader_beside_the_server_sees_what_is_committed_and_writes_nothing(
    folder: Path,
) -> None:
    async with opened(folder) as server, opened(folder, read_only=True) as reader:
        await put(server, Unit(events=(event("c", 1),)))

        assert await reader.read_stream("c") == [event("c", 1)]
        with pytest.raises(StoreRefused, match="read only"):
            await reader.commit([Unit()], [()])
        with pytest.raises(StoreRefused, match="read only"):
            await reader.forget(queue="q", done_before_us=1)


async def test_reading_a_dead_servers_folder_changes_neither_database_nor_log(
    folder: Path, tmp_path: Path
) -> None:
    dead = tmp_path / "dead"
    async with opened(folder) as server:
        await put(server, Unit(events=(event("c", 1),)))
        shutil.copytree(folder, dead)  # as if the server had been killed here
    names = [DATABASE_NAME, f"{DATABASE_NAME}-wal"]
    before = [(dead / name).read_bytes() for name in names]

    async with opened(dead, read_only=True) as reader:
        assert await reader.read_stream("c") == [event("c", 1)]

    assert [(dead / name).read_bytes() for name in names] == before


async def test_another_program_that_looks_and_goes_leaves_the_log_to_the_server(
    folder: Path,
) -> None:
    log = folder / f"{DATABASE_NAME}-wal"
    look = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "assert database.execute('SELECT count(*) FROM events').fetchone() == (5,)\n"
        "database.close()\n"
    )
    async with opened(folder) as server:
        await put(server, Unit(events=(event("c", 1),)))
        before = log.stat().st_ino

        # Another process: within this one SQLite knows of its own connections without any lock.
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", look, folder / DATABASE_NAME
        )

        assert await child.wait() == 0
        assert log.stat().st_ino == before


async def test_a_damaged_log_is_refused_to_readers_too(folder: Path, tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    async with opened(folder) as server:
        for seq in (1, 2, 3, 4):
            await put(server, Unit(events=(event("c", seq),)))
        shutil.copytree(folder, dead, ignore=shutil.ignore_patterns("*-shm"))
    log = dead / f"{DATABASE_NAME}-wal"
    with log.open("r+b") as file:
        file.seek(32 + 24 + 100)  # in the page of its first frame
        file.write(b"\xff")

    said = await refusal(dead, read_only=True)

    assert f"{log} is damaged (frame 1 is not what was written" in said
    assert f"`sqlite3 {DATABASE_NAME} .recover`" in said
    # What a server has in hand it judged itself: a log that is being written looks damaged.
    lock = FolderLock(dead)
    try:
        async with opened(dead, read_only=True) as reader:
            assert await reader.read_stream("c") == []
    finally:
        lock.release()


async def test_an_empty_database_is_not_filled_by_a_reader(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).touch()

    assert "start the server once" in await refusal(tmp_path, read_only=True)


async def test_a_reader_never_sees_half_a_group(folder: Path) -> None:
    rounds = 150
    seen: set[bytes] = set()
    async with opened(folder) as store:

        async def write() -> None:
            for number in range(rounds):
                body = b"%d" % number
                units = [Unit(documents=(booking(n, body=body),)) for n in range(20)]
                await put(store, *units)

        writer = asyncio.create_task(write())
        while not writer.done():
            bodies = {document.body for document in await store.query(Query(kind="booking"))}
            assert len(bodies) <= 1
            seen |= bodies
        await writer

    assert len(seen) > 5, "the reads fell between the groups"


# Failures


async def test_a_database_without_room_rolls_back_and_goes_on_when_there_is(
    folder: Path,
) -> None:
    big = Unit(events=tuple(event("big", seq, bytes(4_000)) for seq in range(1, 100)))
    async with opened(folder) as store:
        (pages,) = await on_writer(store, "PRAGMA page_count")
        await on_writer(store, f"PRAGMA max_page_count = {pages + 5}")

        with pytest.raises(StoreFull):
            await put(store, Unit(events=(event("c", 1),), audit=(entry("c"),)), big)

        assert await store.read_stream("big") == await store.read_stream("c") == []
        assert (await store.audit_head())[0] == 1
        assert await put(store, Unit(events=(event("c", 1),))) == [None]
        await on_writer(store, "PRAGMA max_page_count = 1000000")
        assert await put(store, big) == [None]
        assert len(await store.read_stream("big")) == 99


async def test_a_database_that_fails_is_never_asked_again(folder: Path) -> None:
    async with opened(folder) as store:
        await on_writer(store, "DROP TABLE wakes")

        with pytest.raises(StoreFailed, match="no such table"):
            await put(store, Unit(events=(event("c", 1),), wakes=(Wake(stream="c", at_us=1),)))

        with pytest.raises(StoreFailed, match="failed before"):
            await store.read_stream("a")
        with pytest.raises(StoreFailed, match="failed before"):
            await store.commit([Unit()], [()])


async def test_a_group_refused_for_another_reason_than_a_taken_name_is_a_failure(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        await on_writer(
            store,
            "CREATE TRIGGER no BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
        )

        with pytest.raises(StoreFailed):
            await put(store, Unit(events=(event("c", 1),)))


async def test_a_taken_name_that_no_unit_wants_is_a_failure(folder: Path) -> None:
    async with opened(folder) as store:
        await on_writer(store, "CREATE UNIQUE INDEX one ON events (kind) WHERE seq = 9")
        await put(store, Unit(events=(event("c", 9),)))

        with pytest.raises(StoreFailed, match="no unit conflicts"):
            await put(store, Unit(events=(event("d", 9),)))


async def on_writer(store: SqliteStore, statement: str) -> tuple[Any, ...]:
    """Run a statement on the writer's own connection."""
    writer = store._writer  # pyright: ignore[reportPrivateUsage] - what fails must fail in there
    assert writer is not None
    return await writer.run(lambda connection: connection.execute(statement).fetchone())


# How it is set up


async def test_commits_reach_the_disk_and_one_connection_checkpoints(folder: Path) -> None:
    async with opened(folder) as store:
        assert await on_writer(store, "PRAGMA journal_mode") == ("wal",)
        assert await on_writer(store, "PRAGMA synchronous") == (2,)
        (pages,) = await on_writer(store, "PRAGMA wal_autocheckpoint")
        reader = store._reader  # pyright: ignore[reportPrivateUsage] - it shows its settings to nobody
        assert reader is not None
        settings = [
            await reader.run(lambda connection, name=name: connection.execute(name).fetchone())
            for name in ("PRAGMA wal_autocheckpoint", "PRAGMA query_only")
        ]

    assert pages > 0
    assert settings == [(0,), (1,)]


@pytest.mark.parametrize(
    ("version", "concerned"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
    ],
)
def test_the_versions_that_two_checkpoints_at_once_can_break(
    version: tuple[int, int, int], *, concerned: bool
) -> None:
    assert wal_reset_bug(version) is concerned


PAID = (("status", "paid"),)
EVE = ("guest", "eve")
QUERIES = [
    (Query(kind="booking"), "PRIMARY KEY (kind=?)"),
    (Query(kind="booking", id_from="a", id_before="b"), "PRIMARY KEY (kind=? AND id>? AND id<?)"),
    (Query(kind="booking", scope="ann"), "by_scope (kind=? AND scope=?)"),
    (Query(kind="booking", scope="ann", id_before="b"), "by_scope (kind=? AND scope=? AND id<?)"),
    (Query(kind="booking", where=PAID), "by_facet (kind=? AND f1=?)"),
    (Query(kind="booking", where=PAID, id_before="b"), "by_facet (kind=? AND f1=? AND id<?)"),
    (Query(kind="booking", where=(*PAID, ("hotel", "ritz"))), "by_facet (kind=? AND f1=?)"),
    (Query(kind="booking", where=(("hotel", "ritz"),)), "PRIMARY KEY (kind=?)"),
    (Query(kind="booking", scope="ann", where=PAID), "by_scope (kind=? AND scope=?"),
    (Query(kind="booking", link=EVE), "PRIMARY KEY (kind=? AND name=? AND value=?)"),
    (
        Query(kind="booking", link=EVE, scope="ann", id_before="b"),
        "PRIMARY KEY (kind=? AND name=? AND value=? AND id<?)",
    ),
]


@pytest.mark.parametrize(("query", "index"), QUERIES)
async def test_every_page_is_read_along_an_index_in_its_order(
    folder: Path, query: Query, index: str
) -> None:
    names = {"status": 0, "hotel": 1}
    statement, parameters = page_statement(query, {names[name]: v for name, v in query.where})

    plan = explain(folder, statement, parameters)

    assert plan and all(step.startswith("SEARCH") for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
    assert index in plan[0]


async def test_every_statement_of_the_store_uses_an_index(folder: Path) -> None:
    statements: set[str] = set()
    async with opened(folder) as store:
        for connection in (store._writer, store._reader):  # pyright: ignore[reportPrivateUsage] - see on_writer
            assert connection is not None
            await connection.run(lambda inner: inner.set_trace_callback(statements.add))
        here = store._here  # pyright: ignore[reportPrivateUsage] - see on_writer
        assert here is not None
        here.run(lambda inner: inner.set_trace_callback(statements.add))
        done = (Done(queue="q", id="i", at_us=1),)
        wakes = (Wake(stream="x", at_us=1), Wake(stream="y", at_us=None))
        claims = (Claim(name="n", stream="c", body=b""),)
        unit = Unit(events=(event("c", 1),), done=done, wakes=wakes, claims=claims)
        await put(store, unit)
        await put(store, unit)
        await store.waiting("q")
        await store.open_streams()
        await store.audit_rows()
        await store.audit_head()
        await store.read_claim("n")
        await store.read_document("booking", "b")
        await store.forget(queue="q", done_before_us=5)

    verbs = ("SELECT", "UPDATE", "DELETE", "WITH")
    asked = {statement for statement in statements if statement.startswith(verbs)}
    steps = {step for statement in asked for step in explain(folder, statement, [])}
    # The end of the chain is one step of a walk in the order of its key; the others are the rows
    # that a statement brings along.
    walks = {"SCAN audit", "SCAN CONSTANT ROW", "SCAN done"}
    assert len(asked) >= 10, asked
    assert {step for step in steps if step.startswith("SCAN")} <= walks, steps
    assert "SEARCH items USING PRIMARY KEY (queue=? AND id=?)" in steps, steps
    assert any("items_waiting" in step for step in steps), steps
    assert any("items_done" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


def explain(folder: Path, statement: str, parameters: list[Any]) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return [detail for *_, detail in rows]
