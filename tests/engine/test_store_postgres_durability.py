"""What is no acknowledgement whatever the settings say, and warnings that are none of its business.

The servers are real ones, and so are their warnings: of waits for the standby that somebody
cancelled, of transaction ids that run out, and of a trigger of a stranger's.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from muffling_proxy import muffling_proxy
from pgbouncer_rig import pgbouncer
from postgres_cluster import clustered
from postgres_rig import (
    Installation,
    PostgresServer,
    execute,
    one_server,
    run_as,
    until,
    value,
)
from shared_store_suite import written
from store_suite import KINDS, put

from paygate_engine.errors import StoreFailed
from paygate_engine.stores.base import Unit
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_fill import filling

pytestmark = pytest.mark.slow

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
WARN = """
CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE WARNING 'a stranger says %', NEW.epoch; RETURN NEW; END $$;
CREATE TRIGGER warns BEFORE UPDATE ON paygate.nodes FOR EACH ROW EXECUTE FUNCTION public.warn();
"""
# At the very end of the transaction, as late as anybody can look.
NOTE_SETTING = """
CREATE TABLE public.noted (setting text);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER notes AFTER UPDATE OF turn ON paygate.nodes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.note();
"""
SAID = "WARNING 01000: a stranger says"
# Long enough that no wait is given up by the store itself.
PATIENCE_S = 60.0


@pytest.fixture
async def replicated(
    postgres_pair: tuple[PostgresServer, PostgresServer], standby: PostgresServer
) -> str:
    """The address of an empty database on the primary, whose commits wait for the standby."""
    primary, _ = postgres_pair
    return primary.create_database(f"test_{primary.next_number()}")


@asynccontextmanager
async def serving(dsn: str, *, commit_s: float = PATIENCE_S) -> AsyncGenerator[PostgresStore]:
    store = PostgresStore(dsn, KINDS, commit_s=commit_s)
    await store.open()
    await store.join("one")
    try:
        yield store
    finally:
        await store.close()


async def commit(store: PostgresStore, seq: int = 1) -> None:
    async with asyncio.timeout(PATIENCE_S / 2):
        assert await put(store, Unit(events=(written(store, "a", seq),))) == [None]


async def set_later(dsn: str, *settings: str) -> None:
    """Have all connections that are made from now on begin with other settings, and no others."""
    name = dsn.rpartition("/")[2]
    for setting in settings:
        await execute(dsn, f"ALTER DATABASE {name} SET {setting}")
    await execute(dsn.replace(name, "postgres"), END_ALL, name)


async def stays_open(dsn: str, work: asyncio.Task[None], *, cancels: int = 2) -> None:
    """See that it waits for the standby, however often somebody cancels its wait."""
    for _ in range(cancels):
        await until(lambda: value(dsn, WAITING))
        await execute(dsn, CANCEL)
        done, _ = await asyncio.wait([work], timeout=0.5)
        assert not done


# Settings


@pytest.mark.parametrize(
    "setting",
    [
        "synchronous_commit = local",
        "synchronous_commit = off",
        "client_min_messages = error",
    ],
)
async def test_what_is_set_while_a_node_serves_acknowledges_nothing_that_is_not_replicated(
    setting: str, replicated: str, standby: PostgresServer
) -> None:
    async with serving(replicated) as store:
        await commit(store)
        await set_later(replicated, setting)

        standby.freeze()
        committing = asyncio.create_task(commit(store, 2))
        await stays_open(replicated, committing)
        standby.thaw()
        await committing

        assert len(await store.read_stream("a")) == 2


@pytest.mark.parametrize(
    ("later", "holds"), [("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_a_group_is_committed_under_a_setting_of_its_own(
    later: str, holds: str, database: str
) -> None:
    async with serving(database) as store:
        await execute(database, NOTE_SETTING)
        await set_later(database, f"synchronous_commit = {later}")

        await commit(store)

    assert await value(database, "SELECT array_agg(setting) FROM public.noted") == [holds]


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_stops_syncing_takes_no_commit(
    setting: str, postgres_programs: Installation
) -> None:
    with one_server(postgres_programs, f"forgets_{setting}") as server:
        joining = PostgresStore(server.dsn(), KINDS)
        await joining.open()
        async with serving(server.dsn()) as store:
            await commit(store)
            server.set(f"{setting} = off")
            server.reload()
            await until(lambda: _is(server, setting, "off"))

            with pytest.raises(StoreFailed, match="commits would be lost"):
                await commit(store, 2)
            with pytest.raises(StoreFailed, match="commits would be lost"):
                await joining.join("two")

        await joining.close()
        assert await value(server.dsn(), "SELECT count(*) FROM paygate.events") == 1
        assert await value(server.dsn(), "SELECT count(*) FROM paygate.nodes") == 1


async def _is(server: PostgresServer, setting: str, expected: str) -> bool:
    return bool(await value(server.dsn(), f"SHOW {setting}") == expected)


async def test_who_waits_for_more_than_the_standbys_disk_goes_on_doing_so(
    replicated: str, standby: PostgresServer
) -> None:
    async with serving(replicated) as store:
        await execute(standby.dsn(), "SELECT pg_wal_replay_pause()")
        try:
            await commit(store)
            await set_later(replicated, "synchronous_commit = remote_apply")

            committing = asyncio.create_task(commit(store, 2))
            await until(lambda: value(replicated, WAITING))
            done, _ = await asyncio.wait([committing], timeout=0.5)
        finally:
            await execute(standby.dsn(), "SELECT pg_wal_replay_resume()")
        await committing

    assert not done


async def test_an_epoch_is_given_to_nobody_before_the_standby_knows_of_it(
    replicated: str, standby: PostgresServer
) -> None:
    store = PostgresStore(replicated, KINDS)
    await store.open()
    await set_later(replicated, "synchronous_commit = local")

    async def join() -> None:
        await store.join("one")

    standby.freeze()
    joining = asyncio.create_task(join())
    await stays_open(replicated, joining, cancels=1)
    standby.thaw()
    await joining
    await store.close()


async def test_a_pooler_passes_on_that_a_commit_is_not_replicated(
    postgres_pair: tuple[PostgresServer, PostgresServer],
    replicated: str,
    standby: PostgresServer,
) -> None:
    primary, _ = postgres_pair
    await set_later(replicated, "synchronous_commit = on", "client_min_messages = warning")
    with pgbouncer(primary, replicated.rpartition("/")[2]) as pooled:
        async with serving(pooled) as store:
            await set_later(replicated, "client_min_messages = error")
            await commit(store)
            standby.freeze()
            committing = asyncio.create_task(commit(store, 2))
            await stays_open(replicated, committing)
            standby.thaw()
            await committing


@asynccontextmanager
async def ending_unseen(
    replicated: str, standby: PostgresServer
) -> AsyncGenerator[asyncio.Task[None]]:
    """A database is filled, and its end asked for again: the standby, frozen, has none of it."""
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(filling(replicated, KINDS))
        await target.put("feeds", ("feed", "n"), [("f", 3)])
        standby.freeze()
        ending = asyncio.create_task(stack.aclose())
        await stays_open(replicated, ending, cancels=1)
        await until(lambda: value(replicated, WAITING))
        yield ending


async def test_an_end_that_the_standby_does_not_have_is_none(
    replicated: str, standby: PostgresServer
) -> None:
    async with ending_unseen(replicated, standby) as ending:
        standby.thaw()

        await ending

    assert await value(replicated, "SELECT count(*) FROM paygate.feeds") == 1


async def test_an_end_that_nobody_can_say_is_on_the_standby_is_not_known(
    replicated: str, standby: PostgresServer
) -> None:
    async with ending_unseen(replicated, standby) as ending:
        await execute(replicated, CANCEL)

        with pytest.raises(StoreFailed, match="not known"):
            await ending


# Warnings


async def test_warnings_that_are_not_about_standbys_stop_nothing_and_are_logged_once(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(database) as store:
        await execute(database, WARN)

        for seq in range(1, 6):
            await commit(store, seq)

        assert not store.away
        assert len(await store.read_stream("a")) == 5
    assert caplog.text.count(SAID) == 1
    assert "not known" not in caplog.text


async def test_a_cancelled_wait_is_found_among_other_warnings_and_said_in_the_log(
    replicated: str, standby: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(replicated) as store:
        await execute(replicated, WARN)
        standby.freeze()
        committing = asyncio.create_task(commit(store))
        await stays_open(replicated, committing)
        standby.thaw()
        await committing

    assert "WARNING 01000: canceling wait for synchronous replication" in caplog.text


async def test_a_server_that_tells_its_clients_all_that_it_logs_is_put_up_with(
    database: str,
) -> None:
    await set_later(database, "client_min_messages = log", "log_min_duration_statement = 0")

    async with serving(database) as store:
        await commit(store)

        assert not store.away


@pytest.fixture
async def ageing(postgres_programs: Installation) -> AsyncIterator[PostgresServer]:
    """A server whose transaction ids run out, which it says at each commit and goes on."""
    with one_server(postgres_programs, "ageing", "autovacuum = off") as server:
        server.create_database("old")
        oid = await value(server.dsn(), "SELECT oid FROM pg_database WHERE datname = 'old'")
        postgres_programs.run("pg_ctl", "-D", str(server.data), "-m", "fast", "-w", "stop")
        server.stop()
        age(postgres_programs, server.data)
        # It tries to make room from the start; in this database it cannot.
        (server.data / "base" / str(oid) / "PG_VERSION").unlink()
        server.start()
        yield server


def age(programs: Installation, data: Path) -> None:
    """Move a stopped server's ids to where it warns, and stay clear of where it refuses."""
    ids_per_segment = 1 << 20
    next_id = (2**31 - 39_000_000) // ids_per_segment * ids_per_segment
    segment = data / "pg_xact" / f"{next_id // ids_per_segment:04X}"
    segment.write_bytes(bytes(ids_per_segment // 4))  # two bits for each
    shutil.copystat(data / "pg_xact" / "0000", segment)
    if owner := run_as():
        shutil.chown(segment, owner["user"], owner["group"])
    programs.run("pg_resetwal", "-f", "-x", str(next_id), "-D", str(data))


async def test_ids_that_run_out_are_warned_of_and_groups_are_committed(
    ageing: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ageing.create_database("used")) as store:
        for seq in (1, 2, 3):
            await commit(store, seq)

        assert not store.away
        assert len(await store.read_stream("a")) == 3
    assert "must be vacuumed within" in caplog.text


# Warnings that do not say where they come from


async def test_warnings_without_a_source_at_each_commit_end_the_store_after_a_while(
    database: str, postgres_server: PostgresServer
) -> None:
    failures: list[StoreFailed] = []
    async with muffling_proxy(postgres_server.port) as port:
        muffled = f"{postgres_server.dsn(database.rpartition('/')[2], port=port)}?sslmode=disable"
        async with clustered(muffled, on_failed=failures.append) as cluster:
            store = await cluster.node()
            await store.join("one")
            await execute(database, WARN)

            async with asyncio.timeout(30):
                with pytest.raises(StoreFailed, match=SAID):
                    await commit(store)

    assert len(failures) == 1
    assert await value(database, "SELECT count(*) FROM paygate.events") == 1


async def test_a_warning_without_a_source_is_told_by_committing_again(
    database: str, postgres_server: PostgresServer
) -> None:
    async with muffling_proxy(postgres_server.port) as port:
        name = database.rpartition("/")[2]
        async with serving(f"{postgres_server.dsn(name, port=port)}?sslmode=disable") as store:
            await execute(database, WARN)
            committing = asyncio.create_task(commit(store))
            await until(lambda: store.away)
            await execute(database, "DROP TRIGGER warns ON paygate.nodes")

            await committing

            assert not store.away
            assert len(await store.read_stream("a")) == 1
