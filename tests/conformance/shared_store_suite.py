"""What every shared store promises, as tests: inherit from `SharedStoreSuite`, give it a cluster.

They speak of promises only, never of a peer's insides. What a store promises its only user is in
`store_suite.py`: a shared store passes that one too, by a node that has joined.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import pytest
from store_suite import booking, entry, event, item, put

from paygate_engine.chain import Head, rows_of, verify
from paygate_engine.errors import Fenced, StoreFailed
from paygate_engine.stores.base import (
    Claim,
    Document,
    Event,
    Post,
    Tally,
    Unit,
    Wake,
)
from paygate_engine.stores.shared import Seat, SharedStore

# Of the kinds of `store_suite.KINDS`, those that a cluster's stores are made to watch.
WATCHED = ("guest",)
# Whoever asks for batches until there is none more: a store that never ends is caught here.
ROUNDS_MAX = 100


class Cluster(Protocol):
    """Stores of many processes over one database, which was empty before, and its time."""

    async def node(self) -> SharedStore:
        """One more process's store, for `KINDS` and `WATCHED`: open, and not joined."""
        ...

    async def let_leases_run_out(self, *, but: Sequence[SharedStore] = ()) -> None:
        """Let time pass until all leases have run out but those of `but`.

        These beat meanwhile without a pause, for longer than a lease: afterwards they may judge.
        """
        ...

    async def leave_open(self, stream: str) -> None:
        """Let a stream be open that no node ever owned, as one that was brought here is."""
        ...


async def joined(cluster: Cluster, name: str = "node") -> SharedStore:
    node = await cluster.node()
    await node.join(name)
    return node


async def pair(cluster: Cluster) -> tuple[SharedStore, SharedStore]:
    return await joined(cluster, "ann"), await joined(cluster, "bob")


def seat_of(node: SharedStore) -> Seat:
    assert node.seat is not None
    return node.seat


def epoch_of(node: SharedStore) -> int:
    return seat_of(node).epoch


async def bury(cluster: Cluster, node: SharedStore, *, judge: SharedStore) -> None:
    await cluster.let_leases_run_out(but=(judge,))
    assert epoch_of(node) in await judge.bury()


def written(node: SharedStore, stream: str, seq: int, body: bytes = b"{}") -> Event:
    """An event as the journal of that node makes it."""
    made = event(stream, seq, body)
    return Event(
        stream=stream,
        seq=seq,
        at_us=made.at_us,
        kind=made.kind,
        body=body,
        epoch=epoch_of(node),
    )


def guest(number: int) -> Document:
    return Document(kind="guest", id=f"gst_{number:04}", body=b"{}")


def opened(stream: str, at_us: int = 1) -> Unit:
    return Unit(wakes=(Wake(stream=stream, at_us=at_us),))


def moves(*, limit: int = 0, used: int = 0, stream: str = "s") -> Unit:
    return Unit(tallies=(Tally(stream=stream, limit=limit, used=used),))


async def states(node: SharedStore) -> dict[str, str]:
    return {row.name: row.state for row in await node.nodes()}


async def adopted(node: SharedStore, *, limit: int = 100) -> list[str]:
    return [wake.stream for wake in await node.adopt(limit=limit)]


async def gets_nothing(work: Awaitable[object]) -> bool:
    """Whether a node that is buried is told so by `Fenced`, or is given nothing."""
    try:
        return not await work
    except Fenced:
        return True


class SharedStoreSuite:
    """Inherit, and override the fixture `cluster`."""

    @pytest.fixture
    def cluster(self) -> Cluster:
        raise NotImplementedError

    # Seats and epochs

    async def test_nodes_have_seats_of_their_own_and_epochs_that_only_grow(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        epochs = [epoch_of(ann), epoch_of(bob)]
        await ann.leave()

        for _ in range(3):
            cid = await joined(cluster, "cid")
            epochs.append(epoch_of(cid))
            await cid.leave()

        assert seat_of(ann).seat != seat_of(bob).seat
        assert epochs == sorted(set(epochs))
        assert epochs[0] > 0  # 0 says that there is no other node

    async def test_who_joins_at_the_same_time_gets_another_seat(self, cluster: Cluster):
        nodes = [await cluster.node() for _ in range(4)]

        seats = await asyncio.gather(*(node.join("node") for node in nodes))

        assert [node.seat for node in nodes] == list(seats)
        assert len({seat.seat for seat in seats}) == 4
        assert len({seat.epoch for seat in seats}) == 4
        assert len({seat.chain for seat in seats}) == 4

    async def test_a_seat_that_was_given_back_is_taken_again(self, cluster: Cluster):
        ann, _ = await pair(cluster)
        await put(ann, Unit(audit=(entry("a"),)))
        await ann.leave()
        await ann.leave()

        cid = await joined(cluster, "cid")

        assert (seat_of(cid).seat, seat_of(cid).chain) == (seat_of(ann).seat, seat_of(ann).chain)
        assert await states(cid) == {"cid": "live", "bob": "live"}

    async def test_the_chain_of_a_seat_that_was_lost_is_continued(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(bob, Unit(events=(written(bob, "b", 1),), audit=(entry("b", "one"),)))
        await bury(cluster, bob, judge=ann)

        cid = await joined(cluster, "cid")
        await put(cid, Unit(events=(written(cid, "b", 2),), audit=(entry("b", "two"),)))

        assert seat_of(cid).chain == seat_of(bob).chain
        assert [row.entry.what for row in await cid.audit_rows()] == ["one", "two"]
        assert isinstance(await verify(rows_of(cid), cid.read_stream), Head)

    async def test_who_has_not_joined_reads_and_does_not_write(self, cluster: Cluster):
        ann = await joined(cluster)
        await put(ann, Unit(events=(event("a", 1),)))
        stranger = await cluster.node()

        with pytest.raises(StoreFailed):
            await stranger.commit([Unit(events=(event("a", 2),))], [()])

        assert stranger.seat is None
        assert await stranger.read_stream("a") == [event("a", 1)]
        assert [row.state for row in await stranger.nodes()] == ["live"]

    async def test_all_seats_are_told_with_what_became_of_them(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await joined(cluster, "cid")
        dan = await joined(cluster, "dan")
        await dan.leave()
        await cluster.let_leases_run_out(but=(ann, bob))
        late = await states(ann)
        await bob.bury()

        assert late == {"ann": "live", "bob": "live", "cid": "late", "dan": "left"}
        assert await states(ann) == {**late, "cid": "buried"}
        rows = await ann.nodes()
        assert [row.seat for row in rows] == sorted(row.seat for row in rows)
        of_ann = next(row for row in rows if row.name == "ann")
        assert of_ann.epoch == epoch_of(ann)
        assert of_ann.joined_us < of_ann.beat_us < of_ann.lease_until_us

    # Beats

    async def test_a_beat_tells_who_lives_and_what_time_it_is(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        cid = await joined(cluster, "cid")
        before = await ann.beat()
        await cid.leave()
        await bury(cluster, bob, judge=ann)

        after = await ann.beat()

        assert before.live == {epoch_of(node) for node in (ann, bob, cid)}
        assert after.live == {epoch_of(ann)}
        assert seat_of(ann).now_us <= before.now_us < after.now_us

    async def test_who_beats_is_not_buried(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        await cluster.let_leases_run_out(but=(ann, bob))

        assert await ann.bury() == []
        assert await bob.bury() == []
        assert await states(ann) == {"ann": "live", "bob": "live"}

    async def test_who_beats_before_it_is_buried_lives_on(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await cluster.let_leases_run_out(but=(ann,))

        await bob.beat()

        assert await ann.bury() == []
        assert await put(bob, Unit(events=(written(bob, "b", 1),))) == [None]

    async def test_the_beat_of_who_is_buried_is_fenced(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await bury(cluster, bob, judge=ann)

        with pytest.raises(Fenced):
            await bob.beat()
        cid = await joined(cluster, "cid")
        with pytest.raises(Fenced):
            await bob.beat()

        assert (await ann.beat()).live == {epoch_of(ann), epoch_of(cid)}

    # Burying

    async def test_who_is_late_is_buried_once(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        cid = await joined(cluster, "cid")
        await cluster.let_leases_run_out(but=(ann,))

        first, second = await ann.bury(), await ann.bury()

        assert sorted(first) == [epoch_of(bob), epoch_of(cid)]
        assert second == []

    async def test_of_two_judges_one_buries(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        cid = await joined(cluster, "cid")
        await cluster.let_leases_run_out(but=(ann, bob))

        of_ann, of_bob = await asyncio.gather(ann.bury(), bob.bury())

        assert of_ann + of_bob == [epoch_of(cid)]

    async def test_a_newcomer_judges_nobody(self, cluster: Cluster):
        ann, _ = await pair(cluster)
        await cluster.let_leases_run_out()
        cid = await joined(cluster, "cid")
        await cid.beat()

        buried = await cid.bury()

        assert buried == []
        assert epoch_of(cid) in (await ann.beat()).live

    async def test_who_is_late_itself_judges_nobody(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await cluster.let_leases_run_out(but=(ann,))
        await cluster.let_leases_run_out()

        assert await ann.bury() == []
        assert epoch_of(ann) in (await bob.beat()).live

    async def test_after_an_outage_everybody_is_late_and_nobody_is_dead(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await cluster.let_leases_run_out(but=(ann, bob))
        await cluster.let_leases_run_out()

        await ann.beat()
        buried = await ann.bury()

        assert buried == []
        assert await states(ann) == {"ann": "live", "bob": "late"}
        assert (await bob.beat()).live == {epoch_of(ann), epoch_of(bob)}

    async def test_who_stays_away_after_an_outage_is_buried_in_the_end(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await cluster.let_leases_run_out()
        await ann.beat()

        await cluster.let_leases_run_out(but=(ann,))

        assert await ann.bury() == [epoch_of(bob)]

    # Fencing

    async def test_under_a_buried_epoch_nothing_is_written(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, Unit(posts=(Post(feed="f", at_us=1, body=b"1"),)), moves(limit=9))
        bulletin = (await ann.beat()).bulletin
        await bury(cluster, bob, judge=ann)
        unit = Unit(
            events=(written(bob, "b", 1),),
            documents=(booking(1), guest(1)),
            claims=(Claim(name="n", stream="b", body=b""),),
            items=(item(1),),
            wakes=(Wake(stream="b", at_us=1),),
            posts=(Post(feed="f", at_us=2, body=b"2"), Post(feed="g", at_us=2, body=b"2")),
            tallies=(Tally(stream="s", limit=1, used=1),),
            audit=(entry("b"),),
        )

        with pytest.raises(Fenced):
            await put(bob, unit)

        assert await ann.read_stream("b") == []
        assert await ann.event_count() == 0
        assert await ann.read_document("booking", "bkg_0001") is None
        assert await ann.read_claim("n") is None
        assert await ann.waiting("mail") == []
        assert await ann.open_streams() == []
        assert (await ann.feed_ends("f")).last == 1
        assert await ann.feeds() == ["f"]
        assert await ann.tally("s") == (9, 0)
        assert await ann.audit_head(chain=seat_of(bob).chain) == (0, bytes(32))
        assert (await ann.beat()).bulletin == bulletin

    async def test_an_epoch_is_over_although_its_seat_lives_on(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await bury(cluster, bob, judge=ann)
        cid = await joined(cluster, "cid")

        with pytest.raises(Fenced):
            await put(bob, Unit(events=(written(bob, "b", 1),), audit=(entry("b"),)))
        answers = await put(cid, Unit(events=(written(cid, "b", 1),), audit=(entry("b"),)))

        assert seat_of(cid).seat == seat_of(bob).seat
        assert answers == [None]
        assert await ann.read_stream("b") == [written(cid, "b", 1)]

    async def test_who_has_left_writes_no_more(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await bob.leave()

        with pytest.raises(StoreFailed):
            await put(bob, Unit(events=(written(bob, "b", 1),)))

        assert await ann.read_stream("b") == []

    async def test_who_is_merely_late_still_writes(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await cluster.let_leases_run_out(but=(ann,))

        answers = await put(bob, Unit(events=(written(bob, "b", 1),), audit=(entry("b"),)))

        assert answers == [None]

    async def test_who_is_buried_gets_no_work(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(bob, opened("b"))
        await bury(cluster, bob, judge=ann)

        assert await gets_nothing(bob.adopt())
        assert await gets_nothing(bob.take_duty("sweep"))
        assert await gets_nothing(bob.bury())

        assert await ann.take_duty("sweep")
        assert await adopted(ann) == ["b"]

    # Adoption

    async def test_of_who_lives_or_is_late_nothing_is_adopted(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(bob, opened("b"))
        living = await adopted(ann)
        await cluster.let_leases_run_out(but=(ann,))

        assert living == []
        assert await adopted(ann) == []
        assert await adopted(bob) == []  # nor what is one's own already

    async def test_what_a_buried_node_had_open_is_adopted_once(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(bob, opened("b", 5), opened("c", 6), opened("d", 7))
        await put(bob, Unit(wakes=(Wake(stream="c", at_us=None),)))
        await put(ann, opened("a", 4))
        await bury(cluster, bob, judge=ann)

        first, second = await ann.adopt(), await ann.adopt()

        assert sorted(wake.stream for wake in first) == ["b", "d"]
        assert sorted(wake.at_us or 0 for wake in first) == [5, 7]
        assert second == []
        assert await ann.open_streams() == await bob.open_streams()
        assert [wake.stream for wake in await ann.open_streams()] == ["a", "b", "d"]

    async def test_what_a_node_that_left_had_open_is_adopted_at_once(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(bob, opened("b"))

        await bob.leave()

        assert await adopted(ann) == ["b"]

    async def test_what_never_had_an_owner_is_adopted(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await cluster.leave_open("z")

        first, second = await adopted(ann), await adopted(bob)

        assert (first, second) == (["z"], [])

    async def test_streams_are_adopted_a_few_at_a_time(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(bob, *(opened(name) for name in "edcba"))
        await bob.leave()

        batches = [await adopted(ann, limit=2) for _ in range(4)]

        assert [len(batch) for batch in batches] == [2, 2, 1, 0]
        assert sorted(name for batch in batches for name in batch) == list("abcde")
        assert await adopted(ann, limit=0) == []

    async def test_a_stream_is_adopted_by_one_node_alone(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        cid = await joined(cluster, "cid")
        names = [f"s{number:02}" for number in range(40)]
        await put(cid, *map(opened, names))
        await cid.leave()

        found: list[str] = []
        for _ in range(ROUNDS_MAX):
            for batch in await asyncio.gather(adopted(ann, limit=3), adopted(bob, limit=3)):
                found += batch
            if len(found) >= len(names):
                break

        assert sorted(found) == names
        assert await adopted(ann) == await adopted(bob) == []

    async def test_who_commits_on_an_open_stream_owns_it(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        cid = await joined(cluster, "cid")
        await put(ann, Unit(events=(written(ann, "by event", 1),)), opened("by event"))
        await put(ann, opened("by wake"), opened("kept"))

        await put(bob, Unit(events=(written(bob, "by event", 2),)), opened("by wake", 2))
        await put(cid, opened("closed"))
        await put(ann, Unit(wakes=(Wake(stream="closed", at_us=None),)))
        owned = {row.name: row.open_streams for row in await cid.nodes()}
        await ann.leave()

        assert owned == {"ann": 1, "bob": 2, "cid": 0}
        assert await adopted(cid) == ["kept"]
        await bob.leave()
        assert sorted(await adopted(cid)) == ["by event", "by wake"]

    async def test_what_was_adopted_is_adopted_again_from_an_adopter_that_dies(
        self, cluster: Cluster
    ):
        ann, bob = await pair(cluster)
        await put(bob, opened("b"))
        await bob.leave()
        cid = await joined(cluster, "cid")
        await cid.adopt()

        nothing = await adopted(ann)
        await bury(cluster, cid, judge=ann)

        assert nothing == []
        assert await adopted(ann) == ["b"]

    async def test_a_stream_that_is_closed_and_opened_anew_has_a_new_owner(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, opened("a"))
        await put(bob, Unit(wakes=(Wake(stream="a", at_us=None),)))
        await put(bob, opened("a"))

        await ann.leave()

        assert await adopted(bob) == []

    # Duties

    async def test_a_duty_is_one_nodes(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        took = await asyncio.gather(*(node.take_duty("sweep") for node in (ann, bob)))
        again = await asyncio.gather(*(node.take_duty("sweep") for node in (ann, bob)))

        assert sorted(took) == [False, True]
        assert again == took

    async def test_duties_are_taken_one_by_one(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        assert await ann.take_duty("sweep")
        assert await bob.take_duty("cook")
        assert not await bob.take_duty("sweep")

    async def test_a_duty_is_given_back_by_its_holder_alone(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await ann.take_duty("sweep")

        await bob.drop_duty("sweep")
        kept = not await bob.take_duty("sweep")
        await ann.drop_duty("sweep")

        assert kept
        assert await bob.take_duty("sweep")
        assert not await ann.take_duty("sweep")

    async def test_a_duty_of_who_left_is_free(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await bob.take_duty("sweep")

        await bob.leave()

        assert await ann.take_duty("sweep")

    async def test_a_duty_of_who_is_buried_is_free_and_of_who_is_late_is_not(
        self, cluster: Cluster
    ):
        ann, bob = await pair(cluster)
        await bob.take_duty("sweep")
        await cluster.let_leases_run_out(but=(ann,))
        while_late = await ann.take_duty("sweep")

        await ann.bury()

        assert not while_late
        assert await ann.take_duty("sweep")

    # Hearing

    async def test_nothing_is_heard_that_nobody_said(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        bob.say("look", "here")

        assert set(await ann.hear()) <= {"look", "here"}
