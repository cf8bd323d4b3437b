"""What every test of the engine starts from: a system on the running loop, stopped afterwards."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
from postgres_rig import (
    Installation,
    PostgresServer,
    empty,
    execute,
    installed,
    one_server,
    server_pair,
    until,
    value,
)

from paygate_engine.clock import ManualClock
from paygate_engine.system import ActorSystem


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def system(clock: ManualClock) -> AsyncIterator[ActorSystem]:
    system = ActorSystem(loop=asyncio.get_running_loop(), clock=clock, rng=random.Random(7))
    yield system
    await system.stop_all(timeout_s=1.0)


@pytest.fixture(scope="session")
def postgres_programs() -> Iterator[Installation]:
    """PostgreSQL's programs, for all tests of a run."""
    with installed() as installation:
        yield installation


@pytest.fixture(scope="session")
def postgres_server(postgres_programs: Installation) -> Iterator[PostgresServer]:
    """One server for all tests that leave it as it is; each has a database of its own there."""
    with one_server(postgres_programs, "shared") as server:
        yield server


@pytest.fixture(scope="session")
def used_database(postgres_server: PostgresServer) -> str:
    """A database that many tests use one after the other: see `emptied`."""
    return postgres_server.create_database("used")


@pytest.fixture
async def emptied(used_database: str) -> str:
    """The address of a database as good as new: to make one takes a second, to empty it less."""
    await empty(used_database)
    return used_database


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The address of an empty database, dropped afterwards with whoever is still connected."""
    server = postgres_server.dsn()
    name = f"test_{postgres_server.next_number()}"
    await execute(server, f"CREATE DATABASE {name}")
    yield postgres_server.dsn(name)
    await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_pair(
    postgres_programs: Installation,
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its synchronous standby, for all tests that leave them as they are."""
    with server_pair(postgres_programs, "pair") as servers:
        yield servers


@pytest.fixture
async def standby(
    postgres_pair: tuple[PostgresServer, PostgresServer],
) -> AsyncIterator[PostgresServer]:
    """The standby, which commits wait for, and which runs again whatever a test did to it."""
    primary, standby = postgres_pair
    synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    await until(lambda: value(primary.dsn(), synchronous))
    yield standby
    standby.thaw()
