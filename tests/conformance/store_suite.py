"""What every store promises, as tests: inherit from `StoreSuite` and give it a store.

A peer is done when these are green. They speak of promises only, never of a peer's insides.
"""

import pytest

from paygate_engine.chain import Chain, Head
from paygate_engine.errors import StoreFailed
from paygate_engine.stores.base import (
    PAGE_MAX,
    AuditEntry,
    Claim,
    Conflict,
    Document,
    Done,
    Event,
    Item,
    Kind,
    Query,
    Store,
    Unit,
    Wake,
)

KINDS = (Kind(name="booking", facets=("status", "hotel")), Kind(name="guest"))


def event(stream: str, seq: int, body: bytes = b"{}") -> Event:
    return Event(stream=stream, seq=seq, at_us=1_000 + seq, kind="noted", body=body)


def booking(
    number: int,
    *,
    status: str = "open",
    hotel: str = "ritz",
    scope: str = "ann",
    links: tuple[tuple[str, str], ...] = (),
    body: bytes = b"{}",
) -> Document:
    return Document(
        kind="booking",
        id=f"bkg_{number:04}",
        scope=scope,
        facets=(status, hotel),
        links=links,
        body=body,
    )


def item(number: int, *, queue: str = "mail") -> Item:
    return Item(queue=queue, id=f"itm_{number:04}", key="k", at_us=number, body=b"letter")


def entry(stream: str, what: str = "noted") -> AuditEntry:
    return AuditEntry(at_us=7, who="ann", what=what, stream=stream, why="she asked")


async def put(store: Store, *units: Unit) -> list[Conflict | None]:
    """Commit a group, its audit rows linked behind the chain of the store."""
    n, digest = await store.audit_head()
    return await store.commit(units, Chain(Head(n=n, hash=digest)).link(units))


async def ids(store: Store, query: Query) -> list[int]:
    return [int(document.id.removeprefix("bkg_")) for document in await store.query(query)]


class StoreSuite:
    """Inherit, and override the fixture `store` with an open, empty store for `KINDS`."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    # Streams

    async def test_a_stream_reads_back_as_it_was_written(self, store: Store) -> None:
        events = [event("a", 1, b"\x00\xff"), event("a", 2, "grüße".encode()), event("a", 3, b"")]

        await put(store, Unit(events=tuple(events[:2])), Unit(events=(events[2], event("b", 1))))

        assert await store.read_stream("a") == events

    async def test_a_stream_is_read_from_behind_a_number(self, store: Store) -> None:
        await put(store, Unit(events=(event("a", 1), event("a", 2), event("a", 3))))

        assert [each.seq for each in await store.read_stream("a", after_seq=1)] == [2, 3]
        assert await store.read_stream("a", after_seq=3) == []

    async def test_many_streams_are_read_at_once(self, store: Store) -> None:
        await put(store, Unit(events=(event("a", 1), event("b", 1), event("a", 2), event("c", 1))))

        assert await store.read_streams({"a", "c", "nobody"}) == {
            "a": [event("a", 1), event("a", 2)],
            "c": [event("c", 1)],
            "nobody": [],
        }

    async def test_a_stream_that_never_was_is_empty(self, store: Store) -> None:
        assert await store.read_stream("nobody") == []

    async def test_a_taken_number_leaves_the_whole_group_unwritten(self, store: Store) -> None:
        await put(store, Unit(events=(event("a", 1, b"first"),)))
        loser = Unit(
            events=(event("b", 1), event("a", 1, b"second")),
            documents=(booking(1),),
            claims=(Claim(name="n", stream="b", body=b""),),
            items=(item(1),),
            wakes=(Wake(stream="b", at_us=1),),
            audit=(entry("b"),),
        )
        bystander = Unit(events=(event("c", 1),), audit=(entry("c"),))

        answers = await put(store, loser, bystander)

        assert answers == [Conflict(what="event", name="a/1"), None]
        assert [found.body for found in await store.read_stream("a")] == [b"first"]
        assert await store.read_stream("b") == []
        assert await store.read_stream("c") == []
        assert await store.read_document("booking", "bkg_0001") is None
        assert await store.read_claim("n") is None
        assert await store.waiting("mail") == []
        assert await store.open_streams() == []
        assert await store.audit_head() == (0, bytes(32))

    async def test_of_two_in_one_group_the_first_one_wins(self, store: Store) -> None:
        answers = await put(store, Unit(events=(event("a", 1),)), Unit(events=(event("a", 1),)))

        assert answers == [None, Conflict(what="event", name="a/1")]

    async def test_what_a_unit_left_out_would_have_taken_is_free_behind_it(
        self, store: Store
    ) -> None:
        await put(store, Unit(events=(event("a", 1),)))

        answers = await put(
            store,
            Unit(events=(event("b", 1), event("a", 1))),
            Unit(events=(event("b", 1),)),
        )

        assert answers == [Conflict(what="event", name="a/1"), None]

    async def test_after_a_conflict_the_rest_can_be_committed(self, store: Store) -> None:
        await put(store, Unit(events=(event("a", 1),)))
        rest = Unit(events=(event("b", 1),))
        await put(store, Unit(events=(event("a", 1),)), rest)

        answers = await put(store, rest)

        assert answers == [None]
        assert await store.read_stream("b") == [event("b", 1)]

    # Claims

    async def test_a_claim_is_held_by_one_stream_alone(self, store: Store) -> None:
        await put(store, Unit(claims=(Claim(name="n", stream="a", body=b"1"),)))

        answers = await put(store, Unit(claims=(Claim(name="n", stream="b", body=b"2"),)))

        assert answers == [Conflict(what="claim", name="n")]
        assert await store.read_claim("n") == Claim(name="n", stream="a", body=b"1")

    async def test_not_even_its_holder_claims_a_name_twice(self, store: Store) -> None:
        await put(store, Unit(claims=(Claim(name="n", stream="a", body=b""),)))

        answers = await put(store, Unit(claims=(Claim(name="n", stream="a", body=b""),)))

        assert answers == [Conflict(what="claim", name="n")]

    async def test_a_claim_is_taken_over_from_the_stream_it_names(self, store: Store) -> None:
        await put(store, Unit(claims=(Claim(name="n", stream="a", body=b"1"),)))
        takeover = Claim(name="n", stream="b", body=b"2", replaces="a")

        answers = await put(store, Unit(claims=(takeover,)))

        assert answers == [None]
        assert await store.read_claim("n") == Claim(name="n", stream="b", body=b"2")

    async def test_a_takeover_from_another_than_the_holder_conflicts(self, store: Store) -> None:
        await put(store, Unit(claims=(Claim(name="n", stream="a", body=b"1"),)))
        takeover = Claim(name="n", stream="c", body=b"3", replaces="b")

        answers = await put(store, Unit(claims=(takeover,), events=(event("c", 1),)))

        assert answers == [Conflict(what="claim", name="n")]
        assert await store.read_stream("c") == []

    async def test_a_takeover_of_a_name_that_nobody_holds_finds_it_free(self, store: Store) -> None:
        takeover = Claim(name="n", stream="b", body=b"2", replaces="a")

        answers = await put(store, Unit(claims=(takeover,)))

        assert answers == [None]
        assert await store.read_claim("n") == Claim(name="n", stream="b", body=b"2")

    async def test_two_takeovers_in_one_group_go_one_after_the_other(self, store: Store) -> None:
        await put(store, Unit(claims=(Claim(name="n", stream="a", body=b""),)))

        answers = await put(
            store,
            Unit(claims=(Claim(name="n", stream="b", body=b"", replaces="a"),)),
            Unit(claims=(Claim(name="n", stream="c", body=b"", replaces="a"),)),
        )

        assert answers == [None, Conflict(what="claim", name="n")]

    # Documents

    async def test_the_newest_version_of_a_document_is_read(self, store: Store) -> None:
        await put(
            store,
            Unit(documents=(booking(1, body=b"1"),)),
            Unit(documents=(booking(1, status="paid", body=b"2"),)),
        )

        found = await store.read_document("booking", "bkg_0001")

        assert found == booking(1, status="paid", body=b"2")
        assert await store.read_document("booking", "bkg_0002") is None

    async def test_what_is_said_at_once_is_what_a_read_says(self, store: Store) -> None:
        for status in ("open", "paid"):
            await put(store, Unit(documents=(booking(1, status=status),)))

            said = store.peek_document("booking", "bkg_0001")

            assert said in (None, await store.read_document("booking", "bkg_0001"))
        assert store.peek_document("booking", "bkg_0002") is None
        assert store.peek_document("guest", "bkg_0001") is None

    async def test_a_list_is_newest_first_and_pages_by_id(self, store: Store) -> None:
        await put(store, Unit(documents=tuple(booking(number) for number in range(1, 8))))

        assert await ids(store, Query(kind="booking", limit=3)) == [7, 6, 5]
        assert await ids(store, Query(kind="booking", limit=3, id_before="bkg_0005")) == [4, 3, 2]
        assert await ids(store, Query(kind="booking", id_from="bkg_0006")) == [7, 6]
        assert await ids(store, Query(kind="booking", limit=0)) == []

    async def test_a_list_is_filtered_by_scope_and_facets(self, store: Store) -> None:
        await put(
            store,
            Unit(
                documents=(
                    booking(1),
                    booking(2, status="paid"),
                    booking(3, status="paid", scope="bob"),
                    booking(4, status="paid", hotel="savoy"),
                )
            ),
        )

        paid = ("status", "paid")
        assert await ids(store, Query(kind="booking", scope="bob")) == [3]
        assert await ids(store, Query(kind="booking", where=(paid,))) == [4, 3, 2]
        assert await ids(store, Query(kind="booking", scope="ann", where=(paid,))) == [4, 2]
        assert await ids(store, Query(kind="booking", where=(paid, ("hotel", "savoy")))) == [4]
        assert await ids(store, Query(kind="booking", where=(("hotel", "ritz"),))) == [3, 2, 1]

    async def test_a_facet_that_changes_moves_the_document_between_lists(
        self, store: Store
    ) -> None:
        await put(store, Unit(documents=(booking(1, status="open"),)))

        await put(store, Unit(documents=(booking(1, status="paid"),)))

        assert await ids(store, Query(kind="booking", where=(("status", "open"),))) == []
        assert await ids(store, Query(kind="booking", where=(("status", "paid"),))) == [1]

    async def test_a_document_is_found_by_every_link_it_ever_had(self, store: Store) -> None:
        await put(store, Unit(documents=(booking(1, links=(("guest", "eve"),)),)))
        await put(store, Unit(documents=(booking(1, links=(("room", "7"), ("room", "8"))),)))
        await put(store, Unit(documents=(booking(2, scope="bob", links=(("guest", "eve"),)),)))

        assert await ids(store, Query(kind="booking", link=("guest", "eve"))) == [2, 1]
        assert await ids(store, Query(kind="booking", link=("guest", "eve"), scope="ann")) == [1]
        assert await ids(store, Query(kind="booking", link=("room", "8"))) == [1]
        assert await ids(store, Query(kind="booking", link=("room", "9"))) == []
        assert await ids(store, Query(kind="guest", link=("guest", "eve"))) == []

    async def test_a_link_that_is_given_again_is_one_link(self, store: Store) -> None:
        eve = ("guest", "eve")
        await put(store, Unit(documents=(booking(1, links=(eve,)),)))

        answers = await put(store, *[Unit(documents=(booking(1, links=(eve, eve)),))] * 2)

        assert answers == [None, None]
        assert await ids(store, Query(kind="booking", link=eve)) == [1]

    async def test_linked_documents_page_like_all_others(self, store: Store) -> None:
        eve = ("guest", "eve")
        await put(store, Unit(documents=tuple(booking(n, links=(eve,)) for n in range(1, 6))))

        assert await ids(store, Query(kind="booking", link=eve, limit=2)) == [5, 4]
        before = Query(kind="booking", link=eve, limit=2, id_before="bkg_0004")
        assert await ids(store, before) == [3, 2]

    async def test_a_page_is_never_longer_than_the_limit_of_all_pages(self, store: Store) -> None:
        await put(store, Unit(documents=tuple(booking(n) for n in range(PAGE_MAX + 5))))

        assert len(await store.query(Query(kind="booking", limit=10 * PAGE_MAX))) == PAGE_MAX

    async def test_what_is_no_kind_or_no_facet_is_a_bug_of_the_caller(self, store: Store) -> None:
        with pytest.raises(ValueError, match="unknown kind"):
            await store.query(Query(kind="flight"))
        with pytest.raises(ValueError, match="no facet"):
            await store.query(Query(kind="booking", where=(("colour", "red"),)))
        with pytest.raises(ValueError, match="facets do not fit"):
            await put(
                store, Unit(documents=(Document(kind="guest", id="g", facets=("x",), body=b""),))
            )

        assert await store.query(Query(kind="guest")) == []

    # Queues

    async def test_an_item_waits_until_it_is_done(self, store: Store) -> None:
        await put(store, Unit(items=(item(2), item(1), item(3, queue="fax"))))

        await put(store, Unit(done=(Done(queue="mail", id="itm_0001", at_us=9),)))

        assert await store.waiting("mail") == [item(2)]
        assert await store.waiting("fax") == [item(3, queue="fax")]

    async def test_waiting_items_page_by_id(self, store: Store) -> None:
        await put(store, Unit(items=tuple(item(number) for number in (3, 1, 4, 2))))

        assert await store.waiting("mail", limit=2) == [item(1), item(2)]
        assert await store.waiting("mail", after_id="itm_0002") == [item(3), item(4)]

    async def test_the_id_of_an_item_stays_taken_when_it_is_done(self, store: Store) -> None:
        await put(
            store,
            Unit(items=(item(1),), done=(Done(queue="mail", id="itm_0001", at_us=9),)),
        )

        answers = await put(store, Unit(items=(item(1),)))

        assert answers == [Conflict(what="item", name="mail/itm_0001")]
        assert await store.waiting("mail") == []

    async def test_finishing_what_is_not_there_changes_nothing(self, store: Store) -> None:
        answers = await put(store, Unit(done=(Done(queue="mail", id="itm_0001", at_us=9),)))

        assert answers == [None]
        assert await put(store, Unit(items=(item(1),))) == [None]
        assert await store.waiting("mail") == [item(1)]

    async def test_only_items_done_before_the_time_are_forgotten(self, store: Store) -> None:
        done = tuple(Done(queue="mail", id=f"itm_{n:04}", at_us=n) for n in (1, 2, 3))
        await put(store, Unit(items=tuple(item(n) for n in (1, 2, 3, 4)), done=done))

        gone = await store.forget(queue="mail", done_before_us=3, limit=1)
        gone_too = await store.forget(queue="mail", done_before_us=3)

        assert (gone, gone_too) == (1, 1)
        assert await store.waiting("mail") == [item(4)]
        answers = [(await put(store, Unit(items=(item(n),))))[0] for n in (1, 2, 3)]
        assert answers == [None, None, Conflict(what="item", name="mail/itm_0003")]

    async def test_the_oldest_items_are_forgotten_first(self, store: Store) -> None:
        done = tuple(Done(queue="mail", id=f"itm_{n:04}", at_us=10 - n) for n in (1, 2, 3))
        await put(store, Unit(items=tuple(item(n) for n in (1, 2, 3)), done=done))

        await store.forget(queue="mail", done_before_us=20, limit=1)

        answers = [(await put(store, Unit(items=(item(n),))))[0] for n in (1, 2, 3)]
        assert [answer is None for answer in answers] == [False, False, True]

    async def test_an_item_was_done_when_it_was_done_first(self, store: Store) -> None:
        first, again = (Done(queue="mail", id="itm_0001", at_us=at_us) for at_us in (5, 9))
        await put(store, Unit(items=(item(1),)), Unit(done=(first, again)))
        await put(store, Unit(done=(again,)))

        assert await store.forget(queue="mail", done_before_us=6) == 1

    # Open streams

    async def test_a_stream_is_open_until_it_is_closed(self, store: Store) -> None:
        await put(store, Unit(wakes=(Wake(stream="b", at_us=2), Wake(stream="a", at_us=1))))
        await put(store, Unit(wakes=(Wake(stream="c", at_us=3), Wake(stream="c", at_us=4))))

        await put(store, Unit(wakes=(Wake(stream="b", at_us=None), Wake(stream="z", at_us=None))))

        assert await store.open_streams() == [
            Wake(stream="a", at_us=1),
            Wake(stream="c", at_us=4),
        ]

    async def test_of_several_wakes_in_one_group_the_last_one_counts(self, store: Store) -> None:
        await put(
            store,
            Unit(wakes=(Wake(stream="a", at_us=None), Wake(stream="b", at_us=1))),
            Unit(wakes=(Wake(stream="a", at_us=2), Wake(stream="b", at_us=None))),
        )

        assert await store.open_streams() == [Wake(stream="a", at_us=2)]

    async def test_open_streams_page_by_name(self, store: Store) -> None:
        await put(store, Unit(wakes=tuple(Wake(stream=name, at_us=1) for name in "dbca")))

        first = await store.open_streams(limit=2)
        second = await store.open_streams(after=first[-1].stream, limit=2)

        assert [wake.stream for wake in first + second] == ["a", "b", "c", "d"]

    # The audit chain

    async def test_the_chain_reads_back_as_it_was_linked(self, store: Store) -> None:
        units = [
            Unit(events=(event("a", 1),), audit=(entry("a", "one"), entry("a", "two"))),
            Unit(),
            Unit(audit=(entry("b", "three"),)),
        ]
        linked = Chain(Head()).link(units)

        await store.commit(units, linked)

        rows = [row for of_unit in linked for row in of_unit]
        assert await store.audit_rows() == rows
        assert await store.audit_rows(after_n=1, limit=1) == rows[1:2]
        assert await store.audit_head() == (3, rows[2].hash)

    async def test_events_are_counted_over_all_streams(self, store: Store) -> None:
        assert await store.event_count() == 0
        await put(store, Unit(events=(event("a", 1), event("a", 2)), audit=(entry("a"),)))
        await put(store, Unit(events=(event("b", 1),), audit=(entry("b"),)))

        assert await store.event_count() == 3

    async def test_a_row_out_of_turn_is_a_failure(self, store: Store) -> None:
        unit = Unit(audit=(entry("a"),))
        await put(store, unit)

        with pytest.raises(StoreFailed, match="out of turn"):
            await store.commit([unit], Chain(Head()).link([unit]))

    # Opening and closing

    async def test_what_was_committed_is_there_after_closing_and_opening(
        self, store: Store
    ) -> None:
        await put(store, Unit(events=(event("a", 1),), audit=(entry("a"),)))

        await store.close()
        await store.close()
        await store.open()

        assert await store.read_stream("a") == [event("a", 1)]
        assert (await store.audit_head())[0] == 1

    async def test_a_closed_store_says_so(self, store: Store) -> None:
        await store.close()

        with pytest.raises(StoreFailed, match="not open"):
            await store.read_stream("a")
        with pytest.raises(StoreFailed, match="not open"):
            await store.commit([Unit()], [()])
