"""The suites of all stores on every PostgreSQL that the machine has of its own: Debian's is older.

Where none is installed they skip; `PAYGATE_POSTGRES_PROGRAMS` runs every test against another one.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from needing import needs
from postgres_cluster import clustered
from postgres_rig import Installation, PostgresServer, empty, one_server, value
from shared_commit_suite import SharedCommitSuite
from shared_store_suite import Cluster, SharedStoreSuite
from store_suite import KINDS, StoreSuite

from paygate_engine.stores.base import Store
from paygate_engine.stores.postgres import PostgresStore

pytestmark = pytest.mark.slow

INSTALLED: Final = {
    programs.parent.name: programs for programs in Path("/usr/lib/postgresql").glob("*/bin")
}
VERSIONS: Final = sorted(INSTALLED) or ["none"]


@pytest.fixture(scope="module", params=VERSIONS)
def older_server(
    request: pytest.FixtureRequest, postgres_programs: Installation
) -> Iterator[PostgresServer]:
    version = str(request.param)
    needs("the machine has no PostgreSQL of its own (Debian's postgresql)", met=bool(INSTALLED))
    installation = Installation(postgres_programs.folder, programs=INSTALLED[version])
    with one_server(installation, f"older_{version}") as server:
        yield server


@pytest.fixture(scope="module")
def older_database(older_server: PostgresServer) -> str:
    return older_server.create_database("used")


@pytest.fixture
async def older(older_database: str) -> str:
    await empty(older_database)
    return older_database


class TestOneNodeOfAnOlderPostgres(StoreSuite):
    @pytest.fixture
    async def store(self, older: str) -> AsyncIterator[Store]:
        store = PostgresStore(older, KINDS)
        await store.open()
        await store.join("one")
        yield store
        await store.close()


class TestNodesOfAnOlderPostgres(SharedStoreSuite):
    @pytest.fixture
    async def cluster(self, older: str) -> AsyncIterator[Cluster]:
        async with clustered(older) as cluster:
            yield cluster


class TestCommitsOfAnOlderPostgres(SharedCommitSuite):
    @pytest.fixture
    async def cluster(self, older: str) -> AsyncIterator[Cluster]:
        async with clustered(older) as cluster:
            yield cluster


async def test_it_is_the_version_that_was_asked_for(
    older_server: PostgresServer,
) -> None:
    said = str(await value(older_server.dsn(), "SHOW server_version"))

    assert said.split(".", maxsplit=1)[0] == older_server.installation.programs.parent.name
