"""A node among others, in virtual time: beats, pauses, deaths, fences, and whose clock counts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from shared_store_suite import WATCHED, guest
from store_suite import KINDS, put

from paygate_engine.clock import US_PER_S, ManualClock
from paygate_engine.cluster_clock import STAND_STILL_S, ClusterClock
from paygate_engine.errors import Fenced, Overloaded, StoreFailed
from paygate_engine.membership import AGAIN_S, MARGIN_SHARE, Membership
from paygate_engine.simulation import Process, SimulatedClock, VirtualLoop
from paygate_engine.stores.base import Event, Unit
from paygate_engine.stores.shared import BEAT_S, LEASE_S, Beat
from paygate_engine.stores.shared_memory import MemoryCluster, SharedMemoryStore
from paygate_engine.system import ActorSystem

ACTS_S = LEASE_S * (1 - MARGIN_SHARE)


class World:
    """A database in virtual time, and nodes of it whose own clocks go as they like."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.clock = SimulatedClock(loop)
        self.cluster = MemoryCluster(KINDS, watched=WATCHED, clock=self.clock)
        self.nodes: list[Node] = []

    async def node(
        self, name: str = "ann", *, offset_s: float = 0, store: SharedMemoryStore | None = None
    ) -> "Node":
        node = Node(self, store or self.cluster.node(), offset_s=offset_s)
        self.nodes.append(node)
        await node.store.open()
        await node.membership.join(name)
        return node

    async def until(self, moment: Callable[[], bool], *, within_s: float = 60.0) -> float:
        """Let time pass until it is so; the virtual seconds since the world began."""
        end_s = self.loop.time() + within_s
        while not moment():
            assert self.loop.time() < end_s, "it never came to that"
            await asyncio.sleep(0.01)
        return self.loop.time()


class Node:
    """A membership, and what it told, in order."""

    def __init__(self, world: World, store: SharedMemoryStore, *, offset_s: float) -> None:
        self.machine = SimulatedClock(world.loop)
        self.machine.offset_us = round(offset_s * US_PER_S)
        self.clock = ClusterClock(self.machine)
        self.system = ActorSystem(loop=world.loop, clock=self.clock)
        self.store = store
        self.told: list[object] = []
        self.upset = False
        self.membership = Membership(
            store,
            clock=self.clock,
            after=self.system.after,
            spawn=self.system.spawn_task,
            on_paused=lambda: self.told.append("paused"),
            on_resumed=lambda: self.told.append("resumed"),
            on_dead=lambda epochs: self.told.append(("dead", epochs)),
            on_fenced=lambda error: self.told.append(type(error)),
            on_bulletin=self._hear_of,
        )

    @property
    def epoch(self) -> int:
        return self.membership.epoch

    def _hear_of(self, number: int) -> None:
        if self.upset:
            raise RuntimeError("not now")
        self.told.append(("bulletin", number))


def run(main: Callable[[World], Awaitable[Any]]) -> Any:
    loop = VirtualLoop()

    async def play() -> Any:
        world = World(loop)
        try:
            return await main(world)
        finally:
            for node in world.nodes:
                await node.system.stop_all(timeout_s=1.0)

    try:
        return loop.run_until_complete(play())
    finally:
        loop.close()


# Joining and beating


def test_who_joins_knows_its_place_the_time_and_who_lives():
    async def main(world: World) -> None:
        ann = await world.node("ann", offset_s=-7_200)
        bob = await world.node("bob", offset_s=7_200)

        member = bob.membership
        assert member.seat == bob.store.seat
        assert member.may_act
        assert member.lives(ann.epoch)
        assert member.lives(bob.epoch)
        assert not member.lives(0)
        assert bob.clock.now_us() == ann.clock.now_us() == world.clock.now_us()

    run(main)


def test_beats_come_at_their_interval_and_keep_a_node_alive():
    async def main(world: World) -> None:
        ann = await world.node()

        await asyncio.sleep(20 * BEAT_S + 1)

        assert ann.membership.beats in (20, 21)  # the wheel's hundredths add up
        assert (ann.membership.beats_late, ann.membership.failures) == (0, 0)
        assert ann.membership.may_act
        assert ann.told == []

    run(main)


def test_a_node_that_joins_later_is_known_at_the_next_beat():
    async def main(world: World) -> None:
        ann = await world.node("ann")

        bob = await world.node("bob")
        await asyncio.sleep(BEAT_S + 0.1)

        assert ann.membership.lives(bob.epoch)
        assert ann.told == []

    run(main)


# Pausing


def test_a_node_stops_acting_before_its_lease_is_over():
    async def main(world: World) -> None:
        ann = await world.node()
        await world.until(lambda: ann.membership.beats == 3)
        sent_s = world.loop.time()

        ann.store.unplug()
        stopped_s = await world.until(lambda: not ann.membership.may_act)
        told_s = await world.until(lambda: bool(ann.told))

        assert stopped_s - sent_s == pytest.approx(ACTS_S, abs=0.05)
        assert stopped_s - sent_s < LEASE_S
        assert told_s - stopped_s < 0.05
        assert ann.told == ["paused"]
        assert ann.membership.paused

    run(main)


def test_a_node_resumes_with_the_next_good_beat():
    async def main(world: World) -> None:
        ann = await world.node()
        ann.store.unplug()
        await world.until(lambda: ann.membership.paused)
        await asyncio.sleep(7)

        ann.store.plug_in()
        back_s = world.loop.time()
        resumed_s = await world.until(lambda: ann.membership.may_act)

        assert resumed_s - back_s < AGAIN_S + 0.05
        assert ann.told == ["paused", "resumed"]
        assert not ann.membership.paused
        assert ann.membership.paused_s == pytest.approx(7, abs=AGAIN_S + 0.1)
        assert ann.membership.beats_late == 1
        await asyncio.sleep(60)
        assert ann.told == ["paused", "resumed"]

    run(main)


def test_a_node_that_is_away_asks_often_and_not_all_the_time():
    async def main(world: World) -> int:
        ann = await world.node()
        ann.store.unplug()
        await asyncio.sleep(100)
        return ann.membership.failures

    assert run(main) == pytest.approx(100 / AGAIN_S, rel=0.05)


def test_a_lease_counts_from_when_the_beat_was_sent():
    async def main(world: World) -> None:
        store = SlowStore(world.cluster)
        ann = await world.node(store=store)
        store.answer_s = 4.0
        await world.until(lambda: store.sent_s > 0)

        await world.until(lambda: ann.membership.beats == 2)
        store.answer_s = 100.0
        stopped_s = await world.until(lambda: not ann.membership.may_act)

        assert stopped_s - store.first_s == pytest.approx(ACTS_S, abs=0.05)

    run(main)


def test_a_process_that_was_frozen_may_not_act_when_it_goes_on():
    async def main(world: World) -> None:
        ann = await world.node("ann")
        process = Process(world.loop)
        bob = await process.call(lambda: world.node("bob"))
        seen: list[bool] = []

        async def act() -> None:
            while True:
                seen.append(bob.membership.may_act)
                await asyncio.sleep(0.05)

        async def start() -> None:
            bob.system.spawn_task(act())

        await process.call(start)
        await asyncio.sleep(5)
        before = len(seen)
        process.freeze(30)
        await asyncio.sleep(31)

        assert all(seen[:before])
        assert before < len(seen)
        assert not any(seen[before:])
        assert Fenced in bob.told
        assert ann.told == [("dead", (bob.epoch,))]

    run(main)


# The dead


def test_who_dies_is_buried_and_told_of_once_by_everybody():
    async def main(world: World) -> None:
        ann, bob, cid = [await world.node(name) for name in ("ann", "bob", "cid")]
        await asyncio.sleep(LEASE_S)
        await cid.system.stop_all(timeout_s=1.0)
        died_s = world.loop.time()

        buried_s = await world.until(lambda: bool(ann.told and bob.told))
        await asyncio.sleep(60)

        assert LEASE_S - BEAT_S < buried_s - died_s < LEASE_S + 2 * BEAT_S
        assert ann.told == bob.told == [("dead", (cid.epoch,))]
        assert ann.membership.buried + bob.membership.buried == 1
        assert not ann.membership.lives(cid.epoch)
        assert ann.membership.lives(bob.epoch)

    run(main)


def test_who_joined_after_the_newest_beat_is_not_taken_for_dead():
    async def main(world: World) -> None:
        ann = await world.node("ann")
        bob = await world.node("bob")

        assert bob.epoch not in ann.membership.live
        assert ann.membership.lives(bob.epoch)
        await bob.membership.leave()
        await asyncio.sleep(BEAT_S + 0.1)
        assert not ann.membership.lives(bob.epoch)

    run(main)


def test_who_leaves_is_told_of_at_the_next_beat():
    async def main(world: World) -> None:
        ann, bob = await world.node("ann"), await world.node("bob")
        await world.until(lambda: bob.epoch in ann.membership.live)

        await bob.membership.leave()
        await bob.membership.leave()
        await asyncio.sleep(BEAT_S + 0.1)

        assert ann.told == [("dead", (bob.epoch,))]
        assert ann.membership.buried == 0
        assert not bob.membership.may_act
        assert bob.told == []
        beats = bob.membership.beats
        await asyncio.sleep(60)
        assert bob.membership.beats == beats

    run(main)


def test_after_an_outage_nobody_is_buried():
    async def main(world: World) -> None:
        ann, bob = await world.node("ann"), await world.node("bob")
        await asyncio.sleep(30)
        for node in (ann, bob):
            node.store.unplug()
        await asyncio.sleep(120)

        for node in (ann, bob):
            node.store.plug_in()
        await asyncio.sleep(60)

        assert ann.told == bob.told == ["paused", "resumed"]
        assert ann.membership.buried + bob.membership.buried == 0

    run(main)


def test_a_stall_that_one_beat_outlived_buries_nobody():
    """A standby stands still: one node's beat had arrived, another's waits, none is answered."""

    async def main(world: World) -> None:
        store = SlowStore(world.cluster)
        ann, bob = await world.node("ann", store=store), await world.node("bob")
        await asyncio.sleep(30)
        beats = ann.membership.beats
        await world.until(lambda: ann.membership.beats > beats)
        store.answer_s = LEASE_S - 0.5
        bob.store.unplug()
        await world.until(lambda: ann.membership.beats > beats + 1)

        store.answer_s = 0.0
        bob.store.plug_in()
        await asyncio.sleep(60)

        assert bob.told == ["paused", "resumed"]
        assert ann.membership.buried == 0
        assert ann.membership.lives(bob.epoch)

    run(main)


# The end


def test_who_was_buried_is_fenced_once_and_beats_no_more():
    async def main(world: World) -> None:
        ann, bob = await world.node("ann"), await world.node("bob")
        await asyncio.sleep(LEASE_S)
        bob.store.unplug()
        await world.until(lambda: bool(ann.told))

        bob.store.plug_in()
        await world.until(lambda: Fenced in bob.told)
        beats = bob.membership.beats
        await asyncio.sleep(60)

        assert bob.told == ["paused", Fenced]
        assert bob.membership.beats == beats
        assert not bob.membership.may_act
        assert not bob.membership.lives(bob.epoch)

    run(main)


def test_what_a_buried_node_still_had_to_write_is_refused():
    async def main(world: World) -> None:
        ann, bob = await world.node("ann"), await world.node("bob")
        await asyncio.sleep(LEASE_S)
        bob.store.unplug()
        event = Event(stream="s", seq=1, at_us=1, kind="k", body=b"", epoch=bob.epoch)
        late = asyncio.ensure_future(bob.store.commit([Unit(events=(event,))], [()]))
        await world.until(lambda: bool(ann.told))

        bob.store.plug_in()

        with pytest.raises(Fenced):
            await late
        assert await ann.store.read_stream("s") == []

    run(main)


# News


def test_a_watched_document_is_told_of_at_the_next_beat():
    async def main(world: World) -> None:
        ann, bob = await world.node("ann"), await world.node("bob")
        await asyncio.sleep(30)
        quiet = list(ann.told)

        await put(bob.store, Unit(documents=(guest(1),)))
        await asyncio.sleep(30)

        assert quiet == []
        assert ann.told == bob.told == [("bulletin", 1)]

    run(main)


def test_what_was_committed_before_a_node_joined_is_no_news_to_it():
    async def main(world: World) -> None:
        ann = await world.node("ann")
        await put(ann.store, Unit(documents=(guest(1),)))

        bob = await world.node("bob")
        await asyncio.sleep(30)

        assert bob.told == []

    run(main)


# Whatever else goes wrong


class SlowStore(SharedMemoryStore):
    """A store whose beats arrive at once, and whose answers take their time."""

    answer_s = 0.0
    sent_s = 0.0
    first_s = 0.0  # when the second beat was sent

    async def beat(self) -> Beat:
        loop = asyncio.get_running_loop()
        self.first_s, self.sent_s = self.first_s or self.sent_s, loop.time()
        beat = await super().beat()
        if self.answer_s:
            await asyncio.sleep(self.answer_s)
        return beat


class FailingStore(SharedMemoryStore):
    """A store whose next beats, or burials, end in these errors."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster)
        self.of_beats: list[BaseException] = []
        self.of_burials: list[BaseException] = []

    async def beat(self) -> Beat:
        if self.of_beats:
            raise self.of_beats.pop(0)
        return await super().beat()

    async def bury(self) -> list[int]:
        if self.of_burials:
            raise self.of_burials.pop(0)
        return await super().bury()


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("away"),
        StoreFailed("the disk"),
        OSError("the line"),
        ZeroDivisionError(),
        asyncio.CancelledError(),
    ],
    ids=repr,
)
def test_beats_go_on_after_any_error(error: BaseException, caplog: pytest.LogCaptureFixture):
    async def main(world: World) -> None:
        store = FailingStore(world.cluster)
        ann = await world.node(store=store)
        store.of_beats = [error] * 3
        store.of_burials = [error] if isinstance(error, Exception) else []
        failures = len(store.of_beats) + len(store.of_burials)

        await asyncio.sleep(30)

        assert ann.membership.failures == failures
        assert ann.membership.beats > 10
        assert ann.membership.may_act
        assert ann.told == []

    run(main)

    assert ("a beat failed" in caplog.text) == (not isinstance(error, Overloaded))


def test_the_dead_are_told_of_although_the_burial_fails():
    async def main(world: World) -> None:
        store = FailingStore(world.cluster)
        ann, bob = await world.node("ann", store=store), await world.node("bob")
        await world.until(lambda: bob.epoch in ann.membership.live)
        store.of_burials = [Overloaded("away")]

        await bob.membership.leave()
        await asyncio.sleep(BEAT_S + 0.1)

        assert ann.told == [("dead", (bob.epoch,))]

    run(main)


def test_a_fence_that_the_burial_runs_into_is_a_fence():
    async def main(world: World) -> None:
        store = FailingStore(world.cluster)
        ann = await world.node(store=store)
        store.of_burials = [Fenced("over")]

        await asyncio.sleep(30)

        assert ann.told == [Fenced]

    run(main)


def test_a_listener_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture):
    async def main(world: World) -> None:
        ann, bob = await world.node("ann"), await world.node("bob")
        ann.upset = True
        await world.until(lambda: bob.epoch in ann.membership.live)
        await put(ann.store, Unit(documents=(guest(1),)))
        await bob.membership.leave()

        await asyncio.sleep(BEAT_S + 0.1)

        assert ann.told == [("dead", (bob.epoch,))]
        assert ann.membership.failures == 0

    run(main)

    assert "a listener of the membership raised" in caplog.text


def test_a_history_of_nodes_is_the_same_every_time():
    async def main(world: World) -> list[object]:
        history: list[object] = []
        nodes = [await world.node(str(place), offset_s=place * 3_600) for place in range(4)]
        for turn, node in enumerate(nodes * 3):
            node.store.unplug()
            await asyncio.sleep(1.7 * turn)
            node.store.plug_in()
        await asyncio.sleep(LEASE_S)
        for node in nodes:
            history += [list(node.told), node.membership.beats, node.clock.now_us()]
            history += [node.membership.failures, node.membership.paused_s]
        return history

    first, second = run(main), run(main)

    assert first == second
    assert any("paused" in str(each) for each in first)


# The clock


def test_a_cluster_clock_goes_on_between_answers_by_the_monotonic_clock():
    machine = ManualClock(now_us=9_999_999)
    clock = ClusterClock(machine)
    before_us = clock.now_us()

    clock.set(50 * US_PER_S, at_s=machine.monotonic_s())
    machine.advance(2.5)

    assert before_us == 9_999_999
    assert clock.now_us() == 52_500_000
    assert clock.monotonic_s() == 2.5


def test_a_cluster_clock_that_runs_ahead_a_little_stands_still():
    machine = ManualClock()
    clock = ClusterClock(machine)
    clock.set(50 * US_PER_S, at_s=0.0)
    assert clock.now_us() == 50 * US_PER_S

    clock.set(50 * US_PER_S - 400_000, at_s=0.0)
    stands_us = clock.now_us()
    machine.advance(0.3)
    still_us = clock.now_us()
    machine.advance(0.3)

    assert stands_us == still_us == 50 * US_PER_S
    assert clock.now_us() == 50 * US_PER_S + 200_000


def test_a_cluster_clock_follows_a_database_that_goes_back_far():
    machine = ManualClock()
    clock = ClusterClock(machine)
    clock.set(50 * US_PER_S, at_s=0.0)
    clock.now_us()
    back_us = round((50 - STAND_STILL_S) * US_PER_S) - 1

    clock.set(back_us, at_s=0.0)

    assert clock.now_us() == back_us


def test_an_answer_counts_for_the_middle_of_its_way():
    async def main(world: World) -> None:
        store = SlowStore(world.cluster)
        ann = await world.node(store=store)
        store.answer_s = 0.8

        await world.until(lambda: ann.membership.beats == 2)

        behind_us = world.clock.now_us() - ann.clock.now_us()
        assert behind_us == pytest.approx(0.4 * US_PER_S, abs=20_000)

    run(main)


def test_an_answer_that_was_long_on_its_way_does_not_set_the_clock():
    async def main(world: World) -> None:
        store = SlowStore(world.cluster)
        ann = await world.node(store=store)
        store.answer_s = 6.0

        await world.until(lambda: ann.membership.beats == 2)

        assert ann.clock.now_us() == world.clock.now_us()

    run(main)
