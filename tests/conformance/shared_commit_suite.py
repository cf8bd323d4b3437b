"""What every shared store promises of commits that several nodes make, as tests.

`SharedStoreSuite` says who lives and who owns what; this one says who wins. See there for the
fixture `cluster`.
"""

import asyncio
import random
from collections.abc import Sequence

import pytest
from shared_store_suite import Cluster, epoch_of, guest, joined, moves, pair, seat_of, written
from store_suite import booking, entry, event, item, put

from paygate_engine.chain import Head, rows_of, verify
from paygate_engine.journal import Journal
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Conflict,
    Done,
    Event,
    Post,
    Tally,
    Unit,
    Wake,
)
from paygate_engine.stores.shared import SharedStore
from paygate_engine.system import ActorSystem


class SharedCommitSuite:
    """Inherit, and override the fixture `cluster`."""

    @pytest.fixture
    def cluster(self) -> Cluster:
        raise NotImplementedError

    # Everybody's

    async def test_what_one_node_committed_every_node_reads_at_once(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        await put(
            ann,
            Unit(
                events=(written(ann, "a", 1),),
                documents=(booking(1),),
                claims=(Claim(name="n", stream="a", body=b"1"),),
                items=(item(1), item(2)),
                done=(Done(queue="mail", id="itm_0002", at_us=1),),
                wakes=(Wake(stream="a", at_us=3),),
                posts=(Post(feed="f", at_us=1, body=b"1"),),
                tallies=(Tally(stream="a", limit=2, used=1),),
            ),
        )

        for node in (bob, await cluster.node()):
            assert await node.read_stream("a") == [written(ann, "a", 1)]
            assert await node.event_count() == 1
            assert await node.read_document("booking", "bkg_0001") == booking(1)
            assert await node.read_claim("n") == Claim(name="n", stream="a", body=b"1")
            assert await node.waiting("mail") == [item(1)]
            assert await node.open_streams() == [Wake(stream="a", at_us=3)]
            assert [post.n for post in await node.read_feed("f")] == [1]
            assert await node.tally("a") == (2, 1)

    async def test_an_event_is_read_with_the_epoch_that_it_was_written_under(
        self, cluster: Cluster
    ):
        ann, bob = await pair(cluster)
        await put(ann, Unit(events=(written(ann, "a", 1),)))
        await put(bob, Unit(events=(written(bob, "a", 2),)))
        await put(ann, Unit(events=(event("a", 3),)))

        found = await ann.read_stream("a")

        assert [each.epoch for each in found] == [epoch_of(ann), epoch_of(bob), 0]

    async def test_what_one_node_put_into_a_queue_another_one_finishes(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, Unit(items=(item(1), item(2))))

        await put(bob, Unit(done=(Done(queue="mail", id="itm_0001", at_us=5),)))
        gone = await ann.forget(queue="mail", done_before_us=6)

        assert gone == 1
        assert await ann.waiting("mail") == await bob.waiting("mail") == [item(2)]

    # Who is first

    async def test_of_two_nodes_that_write_one_number_one_wins(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        nodes = (ann, bob)

        answers = await asyncio.gather(
            *(
                put(
                    node,
                    Unit(
                        events=(written(node, "a", 1), written(node, f"of {epoch_of(node)}", 1)),
                        audit=(entry("a"),),
                    ),
                )
                for node in nodes
            )
        )

        won = answers.index([None])
        assert answers[1 - won] == [Conflict(what="event", name="a/1")]
        assert await bob.read_stream("a") == [written(nodes[won], "a", 1)]
        assert await bob.read_stream(f"of {epoch_of(nodes[1 - won])}") == []
        assert (await nodes[1 - won].audit_head())[0] == 0

    async def test_who_loses_a_number_reads_it_and_writes_the_next_one(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, Unit(events=(written(ann, "a", 1),)))
        await put(bob, Unit(events=(written(bob, "a", 1),)))

        answers = await put(
            bob, Unit(events=(written(bob, "a", len(await bob.read_stream("a")) + 1),))
        )

        assert answers == [None]
        assert [each.seq for each in await ann.read_stream("a")] == [1, 2]

    async def test_one_claim_is_won_by_one_node(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        nodes = (ann, bob)

        answers = await asyncio.gather(
            *(
                put(
                    node,
                    Unit(
                        events=(written(node, str(place), 1),),
                        claims=(Claim(name="n", stream=str(place), body=b""),),
                    ),
                )
                for place, node in enumerate(nodes)
            )
        )

        won = answers.index([None])
        assert answers[1 - won] == [Conflict(what="claim", name="n")]
        assert await ann.read_claim("n") == Claim(name="n", stream=str(won), body=b"")
        assert await ann.read_stream(str(1 - won)) == []

    async def test_one_claim_is_taken_over_by_one_node(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, Unit(claims=(Claim(name="n", stream="old", body=b""),)))

        answers = await asyncio.gather(
            *(
                put(
                    node,
                    Unit(claims=(Claim(name="n", stream=stream, body=b"", replaces="old"),)),
                )
                for node, stream in ((ann, "a"), (bob, "b"))
            )
        )

        won = answers.index([None])
        assert answers[1 - won] == [Conflict(what="claim", name="n")]
        found = await ann.read_claim("n")
        assert found is not None
        assert found.stream == "ab"[won]

    async def test_one_item_is_taken_in_by_one_node(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        answers = await asyncio.gather(*(put(node, Unit(items=(item(1),))) for node in (ann, bob)))

        assert sorted(answers, key=str) == [
            [Conflict(what="item", name="mail/itm_0001")],
            [None],
        ]
        assert await ann.waiting("mail") == [item(1)]

    async def test_who_stood_behind_somebody_that_another_node_overtook_is_committed(
        self, cluster: Cluster, system: ActorSystem, monkeypatch: pytest.MonkeyPatch
    ):
        """Of one group, the first was in the second one's way, and is not there in the end."""
        ann, bob = await pair(cluster)
        commit, overtakes = ann.commit, iter([Unit(), Unit(events=(written(bob, "first", 1),))])

        async def overtaken(
            units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
        ) -> list[Conflict | None]:
            await put(bob, next(overtakes, Unit()))
            return await commit(units, audit)

        monkeypatch.setattr(ann, "commit", overtaken)
        journal = await Journal.open(ann, system)

        answers = await asyncio.gather(
            *(
                journal.append_wait(
                    Unit(
                        events=(written(ann, stream, 1),),
                        claims=(Claim(name="n", stream=stream, body=b""),),
                        audit=(entry(stream),),
                    )
                )
                for stream in ("first", "second")
            )
        )

        assert answers == [Conflict(what="event", name="first/1"), None]
        assert await bob.read_claim("n") == Claim(name="n", stream="second", body=b"")
        assert await bob.read_stream("first") == [written(bob, "first", 1)]
        assert isinstance(await verify(rows_of(ann), ann.read_stream), Head)

    # Feeds

    async def test_a_feed_that_two_nodes_write_to_has_no_gap(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        rounds = 20

        async def write(node: SharedStore, name: str) -> None:
            for turn in range(rounds):
                body = f"{name} {turn:02}".encode()
                await put(
                    node,
                    Unit(posts=(Post(feed="f", at_us=turn, body=body),)),
                    Unit(posts=(Post(feed=name, at_us=turn, body=body),)),
                )

        await asyncio.gather(write(ann, "ann"), write(bob, "bob"))

        of_ann, of_bob = await ann.read_feed("f"), await bob.read_feed("f")
        assert of_ann == of_bob
        assert [post.n for post in of_ann] == list(range(1, 2 * rounds + 1))
        for name in (b"ann", b"bob"):
            bodies = [post.body for post in of_ann if post.body.startswith(name)]
            assert bodies == sorted(bodies)
            assert len(bodies) == rounds

    async def test_who_follows_a_feed_misses_nothing_of_two_nodes(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        reader = await cluster.node()
        seen: list[int] = []

        for turn in range(5):
            post = Post(feed="f", at_us=turn, body=b"")
            await asyncio.gather(put(ann, Unit(posts=(post, post))), put(bob, Unit(posts=(post,))))
            after_n = seen[-1] if seen else 0
            seen += [each.n for each in await reader.read_feed("f", after_n=after_n, limit=2)]

        seen += [each.n for each in await reader.read_feed("f", after_n=seen[-1])]
        assert seen == list(range(1, 16))

    async def test_a_unit_left_out_takes_no_number_of_a_feed(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        post = Post(feed="f", at_us=1, body=b"")
        await put(ann, Unit(events=(written(ann, "a", 1),), posts=(post,)))

        await put(bob, Unit(events=(written(bob, "a", 1),), posts=(post,)))
        await put(bob, Unit(posts=(post,)))

        assert [each.n for each in await ann.read_feed("f")] == [1, 2]

    # Tallies

    async def test_the_amounts_of_all_nodes_add_up(self, cluster: Cluster):
        ann, bob = await pair(cluster)

        await put(ann, moves(limit=100))
        await asyncio.gather(put(ann, moves(used=30)), put(bob, moves(used=60)))
        await put(bob, moves(limit=5, used=-10))

        assert await ann.tally("s") == await bob.tally("s") == (105, 80)
        assert await ann.tally("nobody") is None

    async def test_what_would_use_more_than_the_limit_is_left_out(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, moves(limit=100, used=60))
        loser = Unit(
            events=(written(bob, "s", 1),),
            posts=(Post(feed="f", at_us=1, body=b""),),
            tallies=(Tally(stream="t", limit=5, used=0), Tally(stream="s", limit=0, used=41)),
            audit=(entry("s"),),
        )
        bystander = Unit(events=(written(bob, "b", 1),), audit=(entry("b"),))

        answers = await put(bob, loser, bystander)
        alone = await put(bob, bystander)

        assert answers == [Conflict(what="tally", name="s"), None]
        assert alone == [None]
        assert await ann.read_stream("s") == []
        assert await ann.read_feed("f") == []
        assert (await ann.tally("s"), await ann.tally("t")) == ((100, 60), None)
        assert (await bob.audit_head())[0] == 1

    async def test_the_whole_limit_may_be_used(self, cluster: Cluster):
        ann = await joined(cluster)

        assert await put(ann, moves(limit=100, used=100)) == [None]
        assert await put(ann, moves(limit=1, used=1)) == [None]
        assert await ann.tally("s") == (101, 101)

    @pytest.mark.parametrize(
        ("limit", "used"),
        [(0, 41), (-41, 0), (0, -61), (10, 51)],
        ids=["more used", "a lower limit", "less than nothing", "both more, one too much"],
    )
    async def test_a_rule_is_broken_from_either_side(
        self, cluster: Cluster, *, limit: int, used: int
    ):
        ann = await joined(cluster)
        await put(ann, moves(limit=100, used=60))

        answers = await put(ann, moves(limit=limit, used=used))

        assert answers == [Conflict(what="tally", name="s")]
        assert await ann.tally("s") == (100, 60)

    async def test_a_stream_that_was_never_tallied_has_no_limit_to_use(self, cluster: Cluster):
        ann = await joined(cluster)

        answers = await put(ann, moves(used=1))

        assert answers == [Conflict(what="tally", name="s")]
        assert await ann.tally("s") is None

    async def test_of_two_nodes_that_use_the_last_of_a_limit_one_wins(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, moves(limit=100, used=90))

        answers = await asyncio.gather(*(put(node, moves(used=10)) for node in (ann, bob)))

        assert sorted(answers, key=str) == [[Conflict(what="tally", name="s")], [None]]
        assert await bob.tally("s") == (100, 100)

    async def test_units_of_one_group_share_a_limit(self, cluster: Cluster):
        ann = await joined(cluster)
        await put(ann, moves(limit=100))

        answers = await put(ann, *[moves(used=40)] * 3, moves(used=20))

        assert answers == [None, None, Conflict(what="tally", name="s"), None]

    async def test_the_sums_of_a_group_decide_since_it_is_seen_all_at_once(self, cluster: Cluster):
        ann = await joined(cluster)

        answers = await put(ann, moves(used=10), moves(limit=10))

        assert answers == [None, None]
        assert await ann.tally("s") == (10, 10)

    async def test_who_lost_a_number_hears_of_the_number_not_of_the_tally(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        used = (Tally(stream="s", limit=0, used=10),)
        await put(ann, Unit(events=(written(ann, "s", 1),), tallies=moves(limit=10).tallies))
        await put(ann, Unit(events=(written(ann, "s", 2),), tallies=used))

        answers = await put(bob, Unit(events=(written(bob, "s", 2),), tallies=used))

        assert answers == [Conflict(what="event", name="s/2")]

    @pytest.mark.parametrize("seed", [1, 2, 3])
    async def test_whatever_nodes_do_at_once_adds_up(self, cluster: Cluster, seed: int):
        nodes = [await joined(cluster) for _ in range(3)]
        made: list[tuple[Event, Tally]] = []
        lost: list[Conflict] = []

        async def work(node: SharedStore, rng: random.Random) -> None:
            for _ in range(15):
                stream = rng.choice("abc")
                seq = len(await node.read_stream(stream)) + 1
                await asyncio.sleep(0)  # somebody may come in between here, in every store
                step = written(node, stream, seq)
                tally = Tally(stream=stream, limit=rng.randint(0, 9), used=rng.randint(-3, 9))
                post = Post(feed="f", at_us=1, body=stream.encode())
                unit = Unit(events=(step,), tallies=(tally,), posts=(post,), audit=(entry(stream),))
                (conflict,) = await put(node, unit)
                if conflict is None:
                    made.append((step, tally))
                else:
                    lost.append(conflict)

        await asyncio.gather(
            *(work(node, random.Random(seed * 10 + at)) for at, node in enumerate(nodes))
        )

        assert {conflict.what for conflict in lost} == {"event", "tally"}
        for stream in "abc":
            steps = [step for step, _ in made if step.stream == stream]
            moved = [tally for _, tally in made if tally.stream == stream]
            limit, used = sum(each.limit for each in moved), sum(each.used for each in moved)
            assert await nodes[0].read_stream(stream) == sorted(steps, key=lambda each: each.seq)
            assert await nodes[1].tally(stream) == ((limit, used) if moved else None)
            assert 0 <= used <= limit
        posts = await nodes[2].read_feed("f")
        assert [post.n for post in posts] == list(range(1, len(made) + 1))
        heads = [await verify(rows_of(node), node.read_stream) for node in nodes]
        assert sum(head.n for head in heads if isinstance(head, Head)) == len(made)

    # Audit chains

    async def test_every_seat_has_a_chain_of_its_own(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        for seq in (1, 3):
            await put(ann, Unit(events=(written(ann, "a", seq),), audit=(entry("a", "by ann"),)))
            await put(bob, Unit(events=(written(bob, "a", seq + 1),), audit=(entry("a"),)))

        chains = await ann.chains()

        assert chains == sorted([seat_of(ann).chain, seat_of(bob).chain])
        for node in (ann, bob):
            head = await verify(rows_of(node), node.read_stream)
            assert isinstance(head, Head)
            assert (head.n, head.hash) == await node.audit_head()
            assert head.n == 2
        assert [row.entry.what for row in await ann.audit_rows()] == ["by ann"] * 2

    async def test_a_chain_is_read_by_name_from_everywhere(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, Unit(audit=(entry("a", "one"),)), Unit(audit=(entry("a", "two"),)))
        chain = seat_of(ann).chain
        reader = await cluster.node()

        rows = await ann.audit_rows()

        for node in (bob, reader):
            assert await node.audit_rows(chain=chain) == rows
            assert await node.audit_rows(chain=chain, after_n=1, limit=1) == rows[1:]
            assert await node.audit_head(chain=chain) == (2, rows[1].hash)
        assert await bob.audit_rows() == []
        assert await bob.audit_head() == (0, bytes(32))

    # The bulletin

    async def test_the_bulletin_moves_with_documents_that_are_watched(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        first = (await bob.beat()).bulletin

        await put(ann, Unit(documents=(guest(1),)))
        second = (await bob.beat()).bulletin
        await put(bob, Unit(documents=(guest(1),)))
        third = (await ann.beat()).bulletin

        assert first < second < third

    async def test_the_bulletin_rests_while_nothing_watched_is_committed(self, cluster: Cluster):
        ann, bob = await pair(cluster)
        await put(ann, Unit(events=(written(ann, "a", 1),)))
        before = (await bob.beat()).bulletin

        await put(ann, Unit(documents=(booking(1),), posts=(Post(feed="f", at_us=1, body=b""),)))
        left_out = Unit(events=(written(ann, "a", 1),), documents=(guest(1),))
        answers = await put(ann, left_out)

        assert answers == [Conflict(what="event", name="a/1")]
        assert (await bob.beat()).bulletin == before
