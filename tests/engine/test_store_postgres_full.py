"""A server whose connections are all in use: a node goes on with those that it has.

The server is a real one, with few places. The tests take whatever is left of them.
"""

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from postgres_rig import Installation, PostgresServer, connected, one_server, until
from store_suite import KINDS, event, put

from paygate_engine.stores.base import Unit
from paygate_engine.stores.postgres import PostgresStore

pytestmark = pytest.mark.slow

PLACES = 8
FULL = "takes no more connections"
AGAIN = "takes connections again"
END_COMMITTER = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE query LIKE '%commit_group%' AND pid <> pg_backend_pid()"
)
END_BEATS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE query LIKE '%beat_us = now.us%' AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def narrow(postgres_programs: Installation) -> Iterator[PostgresServer]:
    few = (f"max_connections = {PLACES}", "superuser_reserved_connections = 0")
    with one_server(postgres_programs, "narrow", *few) as server:
        yield server


@pytest.fixture
async def store(narrow: PostgresServer) -> AsyncIterator[PostgresStore]:
    dsn = narrow.create_database(f"test_{narrow.next_number()}")
    store = PostgresStore(dsn, KINDS, commit_s=0.3)
    await store.open()
    await store.join("one")
    await put(store, Unit(events=(event("a", 1),)))
    yield store
    await store.close()


@asynccontextmanager
async def filled(server: PostgresServer) -> AsyncGenerator[list[Any]]:
    """Have every place that is left, one at the least, for as long as the block runs."""
    driver: Any = importlib.import_module("asyncpg")
    async with AsyncExitStack() as taken:
        held: list[Any] = []

        async def is_full() -> bool:
            try:
                while True:
                    held.append(await taken.enter_async_context(connected(server.dsn())))
            except driver.TooManyConnectionsError:
                return bool(held)

        await until(is_full)
        yield held


async def test_reads_wait_for_the_connections_that_there_are(
    narrow: PostgresServer, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    dsn = narrow.dsn(f"test_{narrow.next_number() - 1}")
    async with connected(dsn) as other, filled(narrow):
        locked = other.transaction()
        await locked.start()
        await other.execute("LOCK TABLE paygate.events")
        reads = [asyncio.create_task(store.read_stream("a")) for _ in range(12)]
        await until(lambda: FULL in caplog.text)
        away = store.away
        await locked.rollback()
        found = await asyncio.gather(*reads)

    assert not away
    assert found == [[event("a", 1)]] * 12
    assert caplog.text.count(FULL) == 1


async def test_groups_are_committed_while_nobody_can_be_listened_to(
    narrow: PostgresServer, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with filled(narrow) as held:
        hearing = asyncio.create_task(store.hear())
        await until(lambda: FULL in caplog.text)
        away = store.away
        await put(store, Unit(events=(event("a", 2),)))
        held.pop().terminate()
        await until(lambda: AGAIN in caplog.text)
        hearing.cancel()
        with suppress(asyncio.CancelledError):
            await hearing

    assert not away
    assert len(await store.read_stream("a")) == 2


async def test_a_beat_whose_connection_is_lost_takes_another_one(
    narrow: PostgresServer, store: PostgresStore
) -> None:
    await store.read_stream("a")
    await store.beat()
    async with filled(narrow) as held:
        assert await held[0].fetchval(END_BEATS) == 1
        async with filled(narrow):
            before = (await store.beat()).now_us

            assert (await store.beat()).now_us > before
    assert not store.away


async def test_a_group_that_gets_no_connection_for_long_lets_nobody_wait_behind_it(
    narrow: PostgresServer, store: PostgresStore
) -> None:
    async with filled(narrow) as held:
        assert await held[0].fetchval(END_COMMITTER) == 1
        async with filled(narrow):
            group = asyncio.create_task(put(store, Unit(events=(event("a", 2),))))
            await until(lambda: store.away)
            meanwhile = await store.read_stream("a")
        await group

    assert meanwhile == [event("a", 1)]
    assert not store.away
    assert len(await store.read_stream("a")) == 2
