"""Behind a pooler in transaction mode nothing rests on a session: the same suite, and a crowd."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from pgbouncer_rig import pgbouncer
from postgres_cluster import clustered
from postgres_rig import PostgresServer, empty, value
from shared_store_suite import pair, written
from store_suite import KINDS, StoreSuite, event, put

from paygate_engine.stores.base import Post, Query, Store, Unit
from paygate_engine.stores.postgres import PostgresStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer, used_database: str) -> Iterator[str]:
    with pgbouncer(postgres_server, "used") as dsn:
        yield dsn


@pytest.fixture
async def pooled(pooler: str, used_database: str) -> str:
    await empty(used_database)
    return pooler


class TestBehindAPooler(StoreSuite):
    @pytest.fixture
    async def store(self, pooled: str) -> AsyncIterator[Store]:
        store = PostgresStore(pooled, KINDS)
        await store.open()
        await store.join("one")
        yield store
        await store.close()


async def test_a_crowd_behind_a_pooler_reads_and_writes_what_it_should(
    pooled: str, used_database: str
) -> None:
    rounds = 20
    async with clustered(pooled) as cluster:
        nodes = await pair(cluster)
        await put(nodes[0], Unit(events=(event("a", 1),)))

        async def write(place: int) -> None:
            for seq in range(1, rounds + 1):
                unit = Unit(
                    events=(written(nodes[place], f"s{place}", seq),),
                    posts=(Post(feed="f", at_us=seq, body=b""),),
                )
                assert await nodes[place].commit([unit], [()]) == [None]

        async def read(place: int) -> None:
            for _ in range(rounds):
                assert await nodes[place].read_stream("a") == [event("a", 1)]
                assert await nodes[place].query(Query(kind="guest")) == []
                await nodes[place].beat()

        await asyncio.gather(*(write(place) for place in (0, 1)), *(read(n % 2) for n in range(8)))

        for place in (0, 1):
            assert len(await nodes[place].read_stream(f"s{place}")) == rounds
        assert (await nodes[0].feed_ends("f")).last == 2 * rounds
    used = "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE datname = 'used'"
    assert await value(used_database, used) > 1


async def test_behind_a_pooler_hearing_breaks_nothing(pooled: str) -> None:
    async with clustered(pooled) as cluster:
        ann, bob = await pair(cluster)
        hearing = asyncio.create_task(bob.hear())

        ann.say("look")
        assert await put(ann, Unit(events=(written(ann, "a", 1),))) == [None]

        assert set(await hearing) <= {"look"}
