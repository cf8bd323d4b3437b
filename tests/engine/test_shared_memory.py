"""The memory cluster passes the suites of shared stores, and each of its stores that of stores."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from shared_commit_suite import SharedCommitSuite
from shared_store_suite import WATCHED, Cluster, SharedStoreSuite
from store_suite import KINDS, StoreSuite, entry, event

from paygate_engine.chain import Head, rows_of, verify
from paygate_engine.clock import ManualClock
from paygate_engine.errors import Fenced, Overloaded, StoreFailed
from paygate_engine.journal import Journal
from paygate_engine.simulation import VirtualLoop
from paygate_engine.stores.base import Store, Unit
from paygate_engine.stores.shared import BEAT_S, LEASE_S, SharedStore
from paygate_engine.stores.shared_memory import HEAR_S, HEARD_MAX, MemoryCluster, SharedMemoryStore
from paygate_engine.system import ActorSystem


class MemoryRig:
    """A `Cluster` whose time is a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.database = MemoryCluster(KINDS, watched=WATCHED, clock=self.clock)

    async def node(self) -> SharedMemoryStore:
        store = self.database.node()
        await store.open()
        return store

    async def let_leases_run_out(self, *, but: Sequence[SharedStore] = ()) -> None:
        passed_s = 0.0
        while passed_s <= LEASE_S:
            self.clock.advance(BEAT_S)
            passed_s += BEAT_S
            for store in but:
                await store.beat()

    async def leave_open(self, stream: str) -> None:
        self.database.tables.wakes[stream] = 1


@pytest.fixture
def rig() -> MemoryRig:
    return MemoryRig()


class TestNodesOfMemory(SharedStoreSuite):
    @pytest.fixture
    def cluster(self, rig: MemoryRig) -> Cluster:
        return rig


class TestCommitsOfMemory(SharedCommitSuite):
    @pytest.fixture
    def cluster(self, rig: MemoryRig) -> Cluster:
        return rig


class TestOneNodeOfMemory(StoreSuite):
    @pytest.fixture
    async def store(self, rig: MemoryRig) -> AsyncIterator[Store]:
        store = await rig.node()
        await store.join("alone")
        yield store
        await store.close()


# What memory alone promises: words arrive, and the way to the database can be cut.


async def test_what_one_says_all_others_hear_once(rig: MemoryRig):
    ann, bob, cid = [await rig.node() for _ in range(3)]
    await cid.close()

    ann.say("one", "two")
    ann.say("two")
    bob.say("three")

    assert await bob.hear() == ("one", "two")
    assert await ann.hear() == ("three",)


async def test_who_listens_is_woken(rig: MemoryRig):
    ann, bob = await rig.node(), await rig.node()
    listening = asyncio.ensure_future(bob.hear())
    await asyncio.sleep(0)

    ann.say("now")

    assert not listening.done()
    assert await listening == ("now",)


def test_who_hears_nothing_waits_for_a_bounded_time():
    loop = VirtualLoop()

    async def main() -> float:
        ann = await MemoryRig().node()
        assert await ann.hear() == ()
        return loop.time()

    waited_s = loop.run_until_complete(main())
    loop.close()

    assert waited_s == pytest.approx(HEAR_S)


async def test_words_that_nobody_listens_to_are_bounded(rig: MemoryRig):
    ann, bob = await rig.node(), await rig.node()

    ann.say(*map(str, range(HEARD_MAX + 5)))

    assert len(await bob.hear()) == HEARD_MAX


async def test_who_is_unplugged_reads_nothing_and_hears_nothing(rig: MemoryRig):
    ann, bob = await rig.node(), await rig.node()
    await ann.join("ann")
    bob.say("before")
    ann.unplug()

    bob.say("lost")
    ann.say("lost")

    assert ann.away
    for call in (ann.beat(), ann.bury(), ann.adopt(), ann.nodes(), ann.read_stream("a")):
        with pytest.raises(Overloaded):
            await call
    await ann.leave()
    assert [row.state for row in await bob.nodes()] == ["live"]
    ann.plug_in()
    assert not ann.away
    assert await ann.hear() == ("before",)
    bob.say("found")
    assert await ann.hear() == ("found",)


async def test_a_commit_of_who_is_unplugged_is_made_when_it_is_plugged_in(rig: MemoryRig):
    ann = await rig.node()
    await ann.join("ann")
    ann.unplug()
    hung_up, waiting = (
        asyncio.ensure_future(ann.commit([Unit(events=(event(stream, 1),))], [()]))
        for stream in "ab"
    )
    await asyncio.sleep(0)
    hung_up.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()

    ann.plug_in()

    assert await waiting == [None]
    assert hung_up.cancelled()
    assert await ann.event_count() == 1


async def test_a_commit_of_who_was_buried_meanwhile_is_fenced(rig: MemoryRig):
    ann, bob = await rig.node(), await rig.node()
    await ann.join("ann")
    await bob.join("bob")
    ann.unplug()
    waiting = asyncio.ensure_future(ann.commit([Unit(events=(event("a", 1),))], [()]))
    await rig.let_leases_run_out(but=(bob,))
    await bob.bury()

    ann.plug_in()

    with pytest.raises(Fenced):
        await waiting
    assert await bob.event_count() == 0


# Journals of several nodes


async def test_journals_of_two_nodes_race_and_each_links_its_own_chain(
    rig: MemoryRig, system: ActorSystem
):
    stores = [await rig.node() for _ in range(2)]
    for store in stores:
        await store.join("node")
    journals = [await Journal.open(store, system) for store in stores]

    answers = await asyncio.gather(
        *(
            journal.append_wait(Unit(events=(event(stream, 1),), audit=(entry(stream),)))
            for stream in "abc"
            for journal in journals
        )
    )

    lost = [answer.name for answer in answers if answer is not None]
    assert sorted(lost) == ["a/1", "b/1", "c/1"]
    assert [row.entry.stream for row in await stores[0].audit_rows()] == list("abc")
    for store in stores:
        assert isinstance(await verify(rows_of(store), store.read_stream), Head)


async def test_the_journal_of_a_node_that_was_buried_ends_its_system(rig: MemoryRig):
    ann, bob = await rig.node(), await rig.node()
    await ann.join("ann")
    await bob.join("bob")
    failures: list[BaseException] = []
    system = ActorSystem(clock=rig.clock, rng=random.Random(7), on_fatal=failures.append)
    journal = await Journal.open(ann, system)
    await rig.let_leases_run_out(but=(bob,))
    await bob.bury()

    with pytest.raises(StoreFailed):
        await journal.append_wait(Unit(events=(event("a", 1),)))

    assert [type(error) for error in failures] == [Fenced]
    await system.stop_all(timeout_s=1.0)
