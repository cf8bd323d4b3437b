"""A standby that stands still, and one that takes over: nothing that was acknowledged is lost."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from postgres_cluster import PostgresCluster, clustered
from postgres_rig import (
    USER,
    Installation,
    PostgresServer,
    execute,
    server_pair,
    until,
    value,
)
from shared_store_suite import joined, pair, seat_of, written
from store_suite import KINDS, entry, put

from paygate_engine.chain import Chain, Head, rows_of, verify
from paygate_engine.clock import SystemClock
from paygate_engine.errors import Overloaded, StoreRefused
from paygate_engine.stores.base import Conflict, Post, Tally, Unit
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.shared import SharedStore

pytestmark = pytest.mark.slow

# A failover that takes longer than this is felt by merchants who wait for an answer.
GOES_ON_S = 30.0
CANCEL_WAITS = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
WAITS_FOR_STANDBY = "SELECT array_agg(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
async def cluster(
    postgres_pair: tuple[PostgresServer, PostgresServer], standby: PostgresServer
) -> AsyncIterator[PostgresCluster]:
    primary, _ = postgres_pair
    name = f"test_{primary.next_number()}"
    await execute(primary.dsn(), f"CREATE DATABASE {name}")
    async with clustered(both(postgres_pair, name), commit_s=1.0) as cluster:
        yield cluster


def both(servers: tuple[PostgresServer, PostgresServer], name: str) -> str:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{USER}@{hosts}/{name}"


async def test_a_standby_alone_is_refused(
    postgres_pair: tuple[PostgresServer, PostgresServer], standby: PostgresServer
) -> None:
    store = PostgresStore(standby.dsn(), KINDS)

    with pytest.raises(StoreRefused, match="cannot be reached"):
        await store.open()


async def test_a_commit_waits_for_a_standby_that_stands_still_and_asks_meanwhile(
    cluster: PostgresCluster,
    standby: PostgresServer,
    postgres_pair: tuple[PostgresServer, PostgresServer],
) -> None:
    primary, _ = postgres_pair
    store = await joined(cluster)
    standby.freeze()

    committing = asyncio.create_task(put(store, Unit(events=(written(store, "a", 1),))))
    await until(lambda: store.away)
    # Several questions long: they must not fill the server up.
    done, _ = await asyncio.wait([committing], timeout=4.0)
    waiting = await value(primary.dsn(), WAITS_FOR_STANDBY)
    standby.thaw()

    assert not done
    assert len(waiting) <= 2
    assert await committing == [None]
    assert not store.away
    assert await store.read_stream("a") == [written(store, "a", 1)]


async def test_a_wait_for_the_standby_that_somebody_cancels_is_no_acknowledgement(
    cluster: PostgresCluster,
    standby: PostgresServer,
    postgres_pair: tuple[PostgresServer, PostgresServer],
) -> None:
    primary, _ = postgres_pair
    patient = PostgresStore(cluster.dsn, KINDS, commit_s=60.0)
    await patient.open()
    await patient.join("patient")
    standby.freeze()
    committing = asyncio.create_task(put(patient, Unit(events=(written(patient, "b", 1),))))

    for _ in range(3):
        # The first is the group; what asks for its outcome waits for the standby as well.
        await until(lambda: value(primary.dsn(), WAITS_FOR_STANDBY))
        await execute(primary.dsn(), CANCEL_WAITS)
        done, _ = await asyncio.wait([committing], timeout=0.5)
        assert not done
    standby.thaw()

    assert await committing == [None]
    assert await patient.read_stream("b") == [written(patient, "b", 1)]
    await patient.close()


async def test_who_comes_second_hears_so_only_once_the_standby_has_the_first(
    cluster: PostgresCluster,
    standby: PostgresServer,
    postgres_pair: tuple[PostgresServer, PostgresServer],
) -> None:
    """What is in the way is answered with, as if it were one's own."""
    primary, _ = postgres_pair
    first, second = await pair(cluster)
    standby.freeze()
    committing = asyncio.create_task(put(first, Unit(events=(written(first, "c", 1),))))
    await until(lambda: value(primary.dsn(), WAITS_FOR_STANDBY))
    # Now everybody reads it, and a failover would forget it.
    await execute(primary.dsn(), CANCEL_WAITS)
    await until(lambda: second.read_stream("c"))

    coming = asyncio.create_task(put(second, Unit(events=(written(second, "c", 1),))))
    done, _ = await asyncio.wait([coming], timeout=2.0)
    standby.thaw()

    assert not done
    assert await committing == [None]
    assert await coming == [Conflict(what="event", name="c/1")]


async def test_a_primary_that_is_killed_takes_nothing_with_it(
    postgres_programs: Installation,
) -> None:
    clock = SystemClock()
    with server_pair(postgres_programs, "failover") as servers:
        primary, standby = servers
        synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        await until(lambda: value(primary.dsn(), synchronous))
        await execute(primary.dsn(), "CREATE DATABASE paygate")
        async with clustered(both(servers, "paygate"), commit_s=2.0) as cluster:
            nodes = await pair(cluster)
            acknowledged: list[list[int]] = [[], []]
            ended = asyncio.Event()
            writers = [
                asyncio.create_task(write(node, f"s{place}", acknowledged[place], ended))
                for place, node in enumerate(nodes)
            ]
            await until(lambda: min(map(len, acknowledged)) >= 20)

            primary.kill()
            before = [len(each) for each in acknowledged]
            with pytest.raises(Overloaded):
                await nodes[0].read_stream("s0")
            standby.promote()
            since_s = clock.monotonic_s()
            await until(
                lambda: all(
                    len(each) > count + 5 for each, count in zip(acknowledged, before, strict=True)
                ),
                wait_s=GOES_ON_S,
            )
            gone_s = clock.monotonic_s() - since_s
            ended.set()
            await asyncio.gather(*writers)

            assert gone_s < GOES_ON_S
            await check_all(nodes, acknowledged)
            assert (await nodes[0].beat()).live == {seat_of(node).epoch for node in nodes}


def test_a_server_ends_with_the_tests_that_are_killed() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from postgres_rig import Installation, PostgresServer\n"
        "folder = Path(sys.argv[1]); server = PostgresServer(Installation(folder), 'orphan')\n"
        "server.create(); server.start(); print(server.pid, flush=True); sys.stdin.read()"
    )
    folder = Path(tempfile.mkdtemp(prefix="paygate-postgres-"))
    child = subprocess.Popen(
        [sys.executable, "-c", code, folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    server = int(child.stdout.readline())

    child.kill()
    child.communicate()

    asyncio.run(until(lambda: not Path(f"/proc/{server}").exists() and not folder.exists()))


async def write(
    node: SharedStore, stream: str, acknowledged: list[int], ended: asyncio.Event
) -> None:
    """Commit one event after the other, and say which were acknowledged."""
    chain, seq = Chain(Head()), 0
    while not ended.is_set():
        seq += 1
        unit = Unit(
            events=(written(node, stream, seq),),
            posts=(Post(feed="f", at_us=seq, body=stream.encode()),),
            tallies=(Tally(stream="t", limit=1, used=1),),
            audit=(entry(stream),),
        )
        assert await node.commit([unit], chain.link([unit])) == [None]
        acknowledged.append(seq)


async def check_all(nodes: tuple[SharedStore, ...], acknowledged: list[list[int]]) -> None:
    """What was acknowledged is there, and nothing twice."""
    for place, node in enumerate(nodes):
        assert [event.seq for event in await node.read_stream(f"s{place}")] == acknowledged[place]
        assert isinstance(await verify(rows_of(node), node.read_stream), Head)
    count = sum(map(len, acknowledged))
    ends = await nodes[0].feed_ends("f")
    assert (ends.first, ends.last) == (1, count)
    assert await nodes[0].tally("t") == (count, count)
