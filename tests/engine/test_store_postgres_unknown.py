"""Commits whose outcome is not known at first: each is found out, and none is made twice."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest
from cutting_proxy import CuttingProxy, Side, cutting_proxy
from postgres_cluster import clustered
from postgres_rig import PostgresServer, connected, execute, until, value
from shared_store_suite import epoch_of, joined, opened, pair, seat_of, written
from store_suite import KINDS, booking, entry, put

from paygate_engine.chain import Chain, Head, rows_of, verify
from paygate_engine.errors import Fenced, Overloaded, StoreFailed
from paygate_engine.stores.base import Claim, Post, Tally, Unit, Wake
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_commit import SETTLE, SETTLE_S
from paygate_engine.stores.postgres_link import Links, Lost

pytestmark = pytest.mark.slow

# Points in the midst of the request are taken by chance, beside its first and last bytes: until it
# is whole the server does nothing. The answer is cut at each of its bytes.
POINTS = 60
KILLS = 150
# Longer than a server that is busy with other things takes to parse a statement.
STILL_S = 1.0


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[CuttingProxy]:
    async with cutting_proxy(postgres_server.port) as proxy:
        yield proxy


def through(proxy: CuttingProxy, server: PostgresServer) -> str:
    return server.dsn("used", port=proxy.port)


def unit_of(store: PostgresStore, seq: int) -> Unit:
    """One of everything that could be written twice."""
    return Unit(
        events=(written(store, "a", seq),),
        documents=(booking(seq),),
        claims=(Claim(name=f"n{seq}", stream="a", body=b""),),
        wakes=(Wake(stream="a", at_us=seq),),
        posts=(Post(feed="f", at_us=seq, body=b"%d" % seq),),
        tallies=(Tally(stream="a", limit=1, used=1),),
        audit=(entry("a"),),
    )


async def check_once(store: PostgresStore, count: int) -> None:
    """Everything is there, in order, and nothing twice."""
    assert [event.seq for event in await store.read_stream("a")] == list(range(1, count + 1))
    posts = [int(post.body) for post in await store.read_feed("f", limit=1_000)]
    assert posts == list(range(1, count + 1))
    assert await store.tally("a") == (count, count)
    head = await verify(rows_of(store), store.read_stream)
    assert isinstance(head, Head)
    assert head.n == count


@pytest.mark.timeout(300)  # five hundred commits
async def test_a_wire_that_is_cut_anywhere_loses_no_commit_and_makes_none_twice(
    emptied: str, postgres_server: PostgresServer, proxy: CuttingProxy
) -> None:
    seed = 20261130
    dice = random.Random(seed)
    async with clustered(through(proxy, postgres_server)) as cluster:
        store = await joined(cluster)
        assert isinstance(store, PostgresStore)
        await put(store, unit_of(store, 1))
        chain = Chain(Head(n=1, hash=(await store.audit_head())[1]))
        proxy.count()
        unit = unit_of(store, 2)
        await store.commit([unit], chain.link([unit]))
        lengths = dict(proxy.passed)
        seq = 2

        points: list[tuple[Side, int]] = []
        for side, last in lengths.items():
            middle = range(2, last - 1)
            some = middle if side == "answer" else dice.sample(middle, POINTS)
            points.extend((side, byte) for byte in sorted({0, 1, *some, last - 1}))
        for side, byte in points:
            seq += 1
            proxy.cut_at(side, byte)
            unit = unit_of(store, seq)
            answers = await store.commit([unit], chain.link([unit]))
            assert answers == [None], f"seed {seed}: {side} cut at {byte} of {lengths}"

        assert proxy.cuts == len(points)
        await check_once(store, seq)


async def test_adopting_over_a_wire_that_is_cut_forgets_no_stream(
    emptied: str, postgres_server: PostgresServer, proxy: CuttingProxy
) -> None:
    async with clustered(emptied) as there, clustered(through(proxy, postgres_server)) as here:
        bob = await joined(there, "bob")
        for number in range(8):
            await put(bob, opened(f"s{number}"))
        await bob.leave()
        ann = await joined(here, "ann")
        await put(ann, opened("own"))
        proxy.count()
        assert len(await ann.adopt(limit=1)) == 1
        last = proxy.passed["answer"]

        found: list[str] = []
        for byte in (0, last // 2, last - 1):
            proxy.cut_at("answer", byte)
            found += [wake.stream for wake in await ann.adopt(limit=2)]

        assert proxy.cuts == 3
        assert len(found) == len(set(found)) == 6
        assert [wake.stream for wake in await ann.adopt()] == sorted(
            {f"s{number}" for number in range(1, 8)} - set(found)
        )


async def test_what_is_swallowed_by_the_network_is_asked_for_at_the_deadline(
    emptied: str, postgres_server: PostgresServer, proxy: CuttingProxy
) -> None:
    async with clustered(
        through(proxy, postgres_server), connect_s=0.5, commit_s=0.3, read_s=0.3
    ) as cluster:
        store = await joined(cluster)
        assert isinstance(store, PostgresStore)
        await put(store, unit_of(store, 1))
        head = Head(n=1, hash=(await store.audit_head())[1])

        proxy.mute = True
        unit = unit_of(store, 2)
        committing = asyncio.create_task(store.commit([unit], Chain(head).link([unit])))
        await until(lambda: store.away)
        with pytest.raises(Overloaded):
            await store.read_stream("a")
        with pytest.raises(Overloaded):
            await store.beat()
        assert not committing.done()
        proxy.mute = False

        assert await committing == [None]
        await check_once(store, 2)
        assert not store.away


async def test_who_is_cancelled_while_it_commits_leaves_no_half_of_it(
    emptied: str, postgres_server: PostgresServer
) -> None:
    async with clustered(emptied) as cluster:
        store = await joined(cluster)
        assert isinstance(store, PostgresStore)
        unit = unit_of(store, 1)
        async with connected(emptied) as other, other.transaction():
            await other.execute("SELECT FROM paygate.nodes FOR UPDATE")
            committing = asyncio.create_task(store.commit([unit], Chain(Head()).link([unit])))
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            await until(lambda: value(emptied, waiting))
            committing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await committing

        await until(lambda: store.read_stream("a"))
        await check_once(store, 1)


async def test_a_store_that_is_closed_while_it_commits_says_that_nothing_is_known(
    emptied: str, postgres_server: PostgresServer, proxy: CuttingProxy
) -> None:
    store = PostgresStore(through(proxy, postgres_server), KINDS)
    await store.open()
    await store.join("one")
    unit = Unit(events=(written(store, "a", 1),))
    proxy.mute = True
    committing = asyncio.create_task(store.commit([unit], [()]))
    await asyncio.sleep(0)

    await store.close()

    with pytest.raises(StoreFailed):
        await committing


@pytest.mark.timeout(300)
async def test_back_ends_that_are_ended_all_the_time_lose_nothing_and_make_nothing_twice(
    emptied: str,
) -> None:
    async with clustered(emptied) as cluster:
        nodes = await pair(cluster)
        acknowledged: list[list[int]] = [[], []]
        ended = asyncio.Event()

        async def write(place: int) -> None:
            node = nodes[place]
            chain, seq = Chain(Head()), 0
            while not ended.is_set():
                seq += 1
                unit = Unit(
                    events=(written(node, f"s{place}", seq),),
                    posts=(Post(feed="f", at_us=seq, body=b"%d/%d" % (place, seq)),),
                    tallies=(Tally(stream="t", limit=1, used=1),),
                    audit=(entry(f"s{place}"),),
                )
                assert await node.commit([unit], chain.link([unit])) == [None]
                acknowledged[place].append(seq)

        async def end() -> None:
            kills = 0
            async with connected(emptied) as killer:
                while kills < KILLS:
                    kills += await killer.fetchval(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND state = 'active'"
                        " AND query LIKE '%paygate.commit_group%' AND pid <> pg_backend_pid()"
                    )
            ended.set()

        # Each back end that is ended costs a connection anew: half a second on a busy machine.
        async with asyncio.timeout(240):
            await asyncio.gather(write(0), write(1), end())

        for place, node in enumerate(nodes):
            found = [event.seq for event in await node.read_stream(f"s{place}")]
            assert found == acknowledged[place]
            assert isinstance(await verify(rows_of(node), node.read_stream), Head)
        count = sum(map(len, acknowledged))
        posts = await value(emptied, "SELECT array_agg(n ORDER BY n) FROM paygate.posts")
        assert posts == list(range(1, count + 1))
        assert await nodes[0].tally("t") == (count, count)


# Fencing


async def test_who_is_buried_while_its_group_is_on_its_way_writes_nothing(emptied: str) -> None:
    async with clustered(emptied) as cluster:
        ann, bob = await pair(cluster)
        assert isinstance(bob, PostgresStore)
        async with connected(emptied) as judge, judge.transaction():
            await judge.execute(
                "UPDATE paygate.nodes SET over = 'buried' WHERE epoch = $1", epoch_of(bob)
            )
            committing = asyncio.create_task(put(bob, unit_of(bob, 1)))
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            await until(lambda: value(emptied, waiting))

        with pytest.raises(Fenced):
            await committing
        assert await ann.event_count() == 0
        assert await ann.feeds() == []
        assert await ann.tally("a") is None


async def test_who_is_buried_while_its_outcome_is_asked_for_is_fenced(
    emptied: str, postgres_server: PostgresServer, proxy: CuttingProxy
) -> None:
    failures: list[StoreFailed] = []
    async with clustered(
        through(proxy, postgres_server), connect_s=0.5, commit_s=0.3, on_failed=failures.append
    ) as cluster:
        store = await joined(cluster)
        proxy.mute = True
        unit = Unit(events=(written(store, "a", 1),))
        committing = asyncio.create_task(store.commit([unit], [()]))
        await until(lambda: cluster.stores[0].away)
        await execute(emptied, "UPDATE paygate.nodes SET over = 'buried'")
        proxy.mute = False

        with pytest.raises(Fenced):
            await committing
        assert [type(failure) for failure in failures] == [Fenced]


async def test_asking_for_an_outcome_ends_by_itself_in_the_server(emptied: str) -> None:
    """So that questions, each of which is dropped and asked again, do not fill it up."""
    async with (
        clustered(emptied) as cluster,
        connected(emptied) as stuck,
        connected(emptied) as asking,
    ):
        seat = seat_of(await joined(cluster))
        async with stuck.transaction():
            await stuck.execute("SELECT FROM paygate.nodes FOR UPDATE")

            async with asyncio.timeout(SETTLE_S):
                with pytest.raises(Exception, match="lock timeout"):
                    await asking.fetch(SETTLE, seat.seat, seat.epoch, 1)


async def test_a_group_that_comes_late_after_its_turn_was_barred_writes_nothing(
    emptied: str,
) -> None:
    async with clustered(emptied) as cluster:
        store = await joined(cluster)
        await execute(emptied, "UPDATE paygate.nodes SET barred = 3")

        with pytest.raises(StoreFailed, match="PY004"):
            await put(store, Unit(events=(written(store, "a", 1),)))

    assert await value(emptied, "SELECT count(*) FROM paygate.events") == 0


async def test_a_process_that_stood_still_past_a_deadline_has_lost_an_answer_and_no_more(
    emptied: str,
) -> None:
    """The answer to the first half of a statement lies there when it wakes, and so does the end."""
    link = await Links(emptied).connect()
    asking = asyncio.ensure_future(link.fetch("SELECT 1", deadline_s=STILL_S / 2))
    await asyncio.sleep(0)  # it is sent

    time.sleep(STILL_S)  # noqa: ASYNC251  # nothing else may run meanwhile

    with pytest.raises(Lost):
        await asking
    assert not link.usable


@pytest.mark.parametrize("fault", [AttributeError("a slip"), TypeError("a slip")])
async def test_a_slip_of_a_programmer_is_no_lost_answer_and_ends_the_connection(
    emptied: str, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await Links(emptied).connect()

    async def slips(*_: object) -> None:
        raise fault

    monkeypatch.setattr("asyncpg.Connection.fetch", slips)
    with pytest.raises(type(fault)):
        await link.fetch("SELECT 1", deadline_s=STILL_S)

    assert not link.usable
