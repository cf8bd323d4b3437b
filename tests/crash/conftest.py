"""A PostgreSQL server for the tests that need one, and an empty database for each of them."""

from collections.abc import AsyncIterator, Iterator

import pytest
from postgres_rig import PostgresServer, execute, installed, one_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of a run; each has a database of its own there."""
    with installed() as installation, one_server(installation, "crash") as server:
        yield server


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The address of an empty database, dropped afterwards with whoever is still connected."""
    name = f"test_{postgres_server.next_number()}"
    await execute(postgres_server.dsn(), f"CREATE DATABASE {name}")
    yield postgres_server.dsn(name)
    await execute(postgres_server.dsn(), f"DROP DATABASE {name} WITH (FORCE)")
