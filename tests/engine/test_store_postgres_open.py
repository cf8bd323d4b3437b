"""What a PostgreSQL database must be to be opened, how it is brought up, and beside whom."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from postgres_rig import PostgresServer, execute, free_port, value
from store_suite import KINDS, event, put

from paygate_engine.errors import Fenced, StoreFailed, StoreRefused
from paygate_engine.stores import postgres_schema
from paygate_engine.stores.base import Kind, Unit
from paygate_engine.stores.migrations import Applied, Migration, pending, read_migrations
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_link import Link, each_host
from paygate_engine.stores.postgres_schema import MIGRATIONS, migrate

MIGRATE = (
    "import asyncio, sys; from paygate_engine.stores.postgres_schema import migrate;"
    "asyncio.run(migrate(sys.argv[1]))"
)


async def refusal(dsn: str, **options: Any) -> str:
    """Why a database is not opened."""
    store = PostgresStore(dsn, KINDS, **options)
    with pytest.raises(StoreRefused) as refused:
        await store.open()
    await store.close()
    return str(refused.value)


async def opens(dsn: str, **options: Any) -> bool:
    store = PostgresStore(dsn, KINDS, **options)
    await store.open()
    await store.close()
    return True


# Without a server


async def test_without_its_driver_the_store_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    assert "pip install paygate[postgres]" in await refusal("postgresql://127.0.0.1/x")


async def test_a_database_that_is_not_there_is_refused_with_what_to_do() -> None:
    said = await refusal(f"postgresql://127.0.0.1:{free_port()}/paygate")

    assert "cannot be reached" in said
    assert "start it" in said


def test_each_host_of_an_address_is_tried_by_itself() -> None:
    assert each_host("postgresql://u:p@one:1,two:2/db?sslmode=require") == [
        "postgresql://u:p@one:1/db?sslmode=require",
        "postgresql://u:p@two:2/db?sslmode=require",
    ]
    with pytest.raises(StoreRefused, match="must begin with"):
        each_host("mysql://one/db")


def test_what_only_adds_is_no_reason_to_refuse_and_what_takes_away_is() -> None:
    known = [Migration(number=1, name="one", text="-- expand: all")]
    first = Applied(number=1, name="one", checksum=known[0].checksum, expands=True)
    more = Applied(number=2, name="two", checksum="x", expands=True)
    less = Applied(number=3, name="three", checksum="x", expands=False)

    assert known[0].expands
    assert not Migration(number=2, name="two", text="-- contract: a column").expands
    assert pending(known, [first, more]) == []
    with pytest.raises(StoreRefused, match="start a newer version"):
        pending(known, [first, more, less])


# What is opened


@pytest.mark.slow
async def test_an_empty_database_is_filled_and_knows_what_made_it(database: str) -> None:
    applied = await migrate(database)

    known = read_migrations(MIGRATIONS)
    assert [(each.number, each.checksum) for each in applied] == [
        (each.number, each.checksum) for each in known
    ]
    assert await opens(database)


@pytest.mark.slow
async def test_two_processes_that_migrate_at_once_do_it_once(database: str) -> None:
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, database, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]

    ended = await asyncio.gather(*(process.communicate() for process in started))

    assert [process.returncode for process in started] == [0, 0], ended
    assert await value(database, "SELECT count(*) FROM paygate.migrations") == 1
    assert await opens(database)


@pytest.mark.slow
async def test_a_reader_fills_no_database_and_writes_to_none(database: str) -> None:
    assert "start a node once" in await refusal(database, read_only=True)
    await opens(database)
    name = database.rpartition("/")[2]
    await execute(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    reader = PostgresStore(database, KINDS, read_only=True)
    await reader.open()
    assert await reader.read_stream("a") == []
    for work in (
        reader.commit([Unit()], [()]),
        reader.forget(queue="q", done_before_us=1),
        reader.join("x"),
    ):
        with pytest.raises(StoreRefused, match="read only"):
            await work
    await reader.close()


@pytest.mark.slow
async def test_another_programs_database_is_refused_and_left_alone(database: str) -> None:
    await execute(database, "CREATE TABLE theirs (a int)")

    assert "another program's (public.theirs)" in await refusal(database)
    assert not await value(database, "SELECT to_regnamespace('paygate') IS NOT NULL")


@pytest.mark.slow
async def test_what_another_node_brings_up_meanwhile_is_not_another_programs(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = Link.fetch
    looks = iter(range(100))

    async def overtaken(link: Link, statement: str, *arguments: Any, deadline_s: float) -> Any:
        rows = await fetch(link, statement, *arguments, deadline_s=deadline_s)
        looked = "pg_class" in statement or "paygate.migrations')" in statement
        if looked and next(looks) == 0:
            await migrate(database, KINDS)
        return rows

    monkeypatch.setattr(Link, "fetch", overtaken)

    assert await opens(database)
    assert next(looks) > 1


@pytest.mark.slow
async def test_a_database_of_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    server = postgres_server.dsn()
    await execute(server, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    assert "ENCODING 'UTF8'" in await refusal(postgres_server.dsn("latin"))


@pytest.mark.slow
@pytest.mark.parametrize("waits_for", ["off", "local", "remote_write"])
async def test_a_server_that_forgets_commits_is_refused(database: str, waits_for: str) -> None:
    name = database.rpartition("/")[2]
    await execute(database, f"ALTER DATABASE {name} SET synchronous_commit = {waits_for}")

    said = await refusal(database)
    assert f"synchronous_commit={waits_for}" in said
    assert "set synchronous_commit to on, or to remote_apply" in said
    assert await opens(database, durable=False)


@pytest.mark.slow
async def test_a_server_that_may_not_warn_is_refused(database: str) -> None:
    name = database.rpartition("/")[2]
    await execute(database, f"ALTER DATABASE {name} SET client_min_messages = error")

    said = await refusal(database)
    assert "client_min_messages is error" in said
    assert "set it to warning, or to notice" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", ["synchronous_commit = remote_apply", "client_min_messages = debug5"]
)
async def test_a_server_that_waits_for_more_or_says_more_is_taken(
    database: str, setting: str
) -> None:
    name = database.rpartition("/")[2]
    await execute(database, f"ALTER DATABASE {name} SET {setting}")

    assert await opens(database)


@pytest.mark.slow
async def test_a_database_where_groups_would_not_see_each_other_is_refused(database: str) -> None:
    name = database.rpartition("/")[2]
    await execute(
        database, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    )

    assert "make it 'read committed'" in await refusal(database)


@pytest.mark.slow
async def test_a_missing_database_is_refused_and_not_waited_for(
    postgres_server: PostgresServer,
) -> None:
    assert "refuses the login" in await refusal(postgres_server.dsn("nowhere"))


# Versions


@pytest.mark.slow
async def test_a_program_goes_on_beside_a_newer_one_that_only_added(database: str) -> None:
    store = PostgresStore(database, KINDS)
    await store.open()
    await store.join("old")

    await execute(database, "INSERT INTO paygate.migrations VALUES (2, 'later', 'x', true)")
    await execute(database, "ALTER TABLE paygate.events ADD COLUMN later text")

    assert await opens(database)
    assert await put(store, Unit(events=(event("a", 1),))) == [None]
    assert await store.read_stream("a") == [event("a", 1)]
    await store.close()


@pytest.mark.slow
async def test_a_database_that_a_newer_program_took_from_is_refused(database: str) -> None:
    await migrate(database)

    await execute(database, "INSERT INTO paygate.migrations VALUES (2, 'later', 'x', false)")

    assert "start a newer version" in await refusal(database)
    assert "start a newer version" in await refusal(database, read_only=True)


@pytest.mark.slow
async def test_a_database_of_another_text_is_refused(database: str) -> None:
    await migrate(database)

    await execute(database, "UPDATE paygate.migrations SET checksum = 'x'")

    assert "is not the one of this version" in await refusal(database)


@pytest.mark.slow
async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(next(MIGRATIONS.glob("0001_*.sql")), tmp_path)
    (tmp_path / "0002_broken.sql").write_text("-- expand\nCREATE TABLE paygate.events (a int);\n")
    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "MIGRATIONS", tmp_path)

        assert "already exists" in await refusal(database)

    assert not await value(database, "SELECT to_regnamespace('paygate') IS NOT NULL")
    assert await opens(database)


@pytest.mark.slow
async def test_kinds_whose_facets_changed_are_refused_and_new_kinds_are_taken(
    database: str,
) -> None:
    await opens(database)
    changed = PostgresStore(database, [Kind(name="booking", facets=("hotel", "status"))])
    with pytest.raises(StoreRefused, match="documents of kind booking"):
        await changed.open()

    more = PostgresStore(database, [*KINDS, Kind(name="invoice", facets=("state",))])
    await more.open()
    await more.close()

    with pytest.raises(StoreFailed, match="not open"):
        await more.read_stream("a")


# What takes away


def next_version(folder: Path, text: str) -> Path:
    """The migrations of a version after this one."""
    for path in MIGRATIONS.glob("*.sql"):
        shutil.copy(path, folder)
    (folder / f"{len(read_migrations(MIGRATIONS)) + 1:04}_later.sql").write_text(text)
    return folder


@pytest.mark.slow
async def test_what_takes_away_is_refused_while_a_node_lives(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = PostgresStore(database, KINDS)
    await older.open()
    await older.join("older")
    later = next_version(tmp_path, "-- contract\nALTER TABLE paygate.links DROP COLUMN id;\n")

    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "MIGRATIONS", later)
        said = await refusal(database)

    assert "stop them all first: seat 1 (older)" in said
    assert await put(older, Unit(events=(event("a", 1),))) == [None]
    await older.close()


@pytest.mark.slow
async def test_what_takes_away_ends_the_epoch_of_who_is_frozen(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = PostgresStore(database, KINDS)
    await frozen.open()
    await frozen.join("frozen")
    await execute(database, "UPDATE paygate.nodes SET lease_until_us = 0")
    later = next_version(tmp_path, "-- contract\nALTER TABLE paygate.nodes DROP COLUMN name;\n")

    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "MIGRATIONS", later)
        assert await opens(database)

    with pytest.raises(Fenced):
        await put(frozen, Unit(events=(event("a", 1),)))
    await frozen.close()


@pytest.mark.slow
async def test_what_only_adds_is_added_beside_a_node_that_lives(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = PostgresStore(database, KINDS)
    await older.open()
    await older.join("older")
    later = next_version(tmp_path, "-- expand\nALTER TABLE paygate.links ADD COLUMN later text;\n")

    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "MIGRATIONS", later)
        assert await opens(database)

    assert await put(older, Unit(events=(event("a", 1),))) == [None]
    await older.close()
