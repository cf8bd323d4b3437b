"""Many nodes at the same rows, and more readers than connections: nobody waits for ever."""

import asyncio
import random

import pytest
from postgres_cluster import PostgresCluster, clustered
from postgres_rig import connected, until, value
from shared_store_suite import WATCHED, joined, written
from store_suite import KINDS, booking, event, item, put

from paygate_engine.errors import Overloaded, StoreFailed, StoreFull
from paygate_engine.stores.base import Claim, Document, Done, Post, Tally, Unit, Wake
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_commit import check_in_the_way
from paygate_engine.stores.postgres_link import Answered
from paygate_engine.stores.shared import SharedStore

NODES = 4
GROUPS = 25
NAMES = 6


def test_what_is_full_rolls_back_and_what_is_broken_ends_the_node() -> None:
    with pytest.raises(StoreFull):
        check_in_the_way(Answered("53100", "could not extend file"))
    with pytest.raises(StoreFailed):
        check_in_the_way(Answered("42883", "no such function"))

    for passing in ("23505", "23514", "40P01", "40001", "PY002"):
        check_in_the_way(Answered(passing, "somebody was faster"))


@pytest.mark.slow
async def test_nodes_that_write_the_same_rows_all_come_to_an_end_and_agree(emptied: str) -> None:
    seed = 7
    async with clustered(emptied) as cluster:
        nodes = [await joined(cluster, f"node {place}") for place in range(NODES)]

        async with asyncio.timeout(60):
            won = await asyncio.gather(
                *(
                    write(node, random.Random(seed + place), cluster)
                    for place, node in enumerate(nodes)
                )
            )

        posts = sum(won)
        assert posts > NODES * GROUPS / 2, f"seed {seed}: hardly anything was committed"
        feeds = [await nodes[0].feed_ends(name) for name in await nodes[0].feeds()]
        assert sum(ends.last for ends in feeds) == posts, f"seed {seed}"
        for name in await nodes[0].feeds():
            page = await nodes[0].read_feed(name, limit=1_000)
            assert [post.n for post in page] == list(range(1, len(page) + 1)), f"seed {seed}"
        assert await nodes[0].tally("t") == (posts, posts)


async def write(node: SharedStore, dice: random.Random, cluster: PostgresCluster) -> int:
    """Write groups about the same few names in any order; how many units were committed."""
    won = 0
    for _ in range(GROUPS):
        units = [unit_of(node, dice) for _ in range(dice.randint(1, 4))]
        answers = await node.commit(units, [()] * len(units))
        if not any(answers):
            won += len(units)
    return won


def unit_of(node: SharedStore, dice: random.Random) -> Unit:
    names = dice.sample(range(NAMES), 3)
    holder = f"s{dice.randrange(NAMES)}"
    return Unit(
        events=(written(node, f"e{dice.getrandbits(64)}", 1),),
        documents=(
            *(booking(number, status=dice.choice("ab")) for number in names),
            Document(kind=WATCHED[0], id="g", body=b""),
        ),
        claims=tuple(
            Claim(name=f"n{number}", stream=f"s{dice.randrange(NAMES)}", body=b"", replaces=holder)
            for number in names[:1]
            if dice.random() < 0.2  # most of these are in somebody's way
        ),
        items=(item(dice.getrandbits(40)),),
        done=tuple(Done(queue="mail", id=f"itm_{number:04}", at_us=1) for number in names),
        wakes=tuple(
            Wake(stream=f"s{number}", at_us=dice.choice((None, number))) for number in names
        ),
        posts=(Post(feed=f"f{names[0]}", at_us=1, body=b""),),
        tallies=(Tally(stream="t", limit=1, used=1),),
    )


@pytest.mark.slow
async def test_more_readers_than_connections_are_refused_and_none_is_lost(emptied: str) -> None:
    store = PostgresStore(emptied, KINDS, readers=2, read_s=3.0)
    await store.open()
    await store.join("one")
    await put(store, Unit(events=(event("a", 1),)))
    async with connected(emptied) as other, other.transaction():
        await other.execute("LOCK TABLE paygate.events")

        reads = await asyncio.gather(
            *(store.read_stream("a") for _ in range(12)), return_exceptions=True
        )

    assert all(isinstance(read, Overloaded) for read in reads)
    assert any("in use" in str(read) for read in reads)
    assert not store.away
    found = await asyncio.gather(*(store.read_stream("a") for _ in range(12)))
    assert found == [[event("a", 1)]] * 12
    await store.close()


@pytest.mark.slow
async def test_readers_that_all_wait_for_a_lock_let_no_lease_run_out(emptied: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    readers = 2
    async with clustered(emptied, readers=readers) as cluster:
        store = await joined(cluster)
        async with connected(emptied) as other, other.transaction():
            await other.execute("LOCK TABLE paygate.events")
            reads = [asyncio.create_task(store.read_stream("a")) for _ in range(20)]
            await until(lambda: holds(waiting, emptied, readers))

            beats = [(await store.beat()).now_us for _ in range(3)]

            assert not any(read.done() for read in reads)
        await asyncio.gather(*reads, return_exceptions=True)

    assert beats == sorted(set(beats))


async def holds(statement: str, dsn: str, count: int) -> bool:
    return await value(dsn, statement) == count
