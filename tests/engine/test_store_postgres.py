"""The PostgreSQL store passes the suites of all stores and of shared ones."""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from postgres_cluster import clustered
from postgres_rig import PostgresServer, connected, execute, until, value
from refusing_proxy import refusing_proxy
from shared_commit_suite import SharedCommitSuite
from shared_store_suite import Cluster, SharedStoreSuite, joined, pair
from store_suite import KINDS, StoreSuite, booking, entry, event, item, put

from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Claim, Document, Event, Item, Post, Query, Store, Unit, Wake
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_read import page_statement
from paygate_engine.stores.postgres_words import PAYLOAD_BYTES_MAX, payloads
from paygate_engine.stores.row_check import Place

pytestmark = pytest.mark.slow

LISTENING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
)
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"


class TestOneNodeOfPostgres(StoreSuite):
    @pytest.fixture
    async def store(self, emptied: str) -> AsyncIterator[Store]:
        store = PostgresStore(emptied, KINDS)
        await store.open()
        await store.join("one")
        yield store
        await store.close()


class TestNodesOfPostgres(SharedStoreSuite):
    @pytest.fixture
    async def cluster(self, emptied: str) -> AsyncIterator[Cluster]:
        async with clustered(emptied) as cluster:
            yield cluster


class TestCommitsOfPostgres(SharedCommitSuite):
    @pytest.fixture
    async def cluster(self, emptied: str) -> AsyncIterator[Cluster]:
        async with clustered(emptied) as cluster:
            yield cluster


@pytest.fixture
async def store(emptied: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(emptied, KINDS)
    await store.open()
    await store.join("one")
    yield store
    await store.close()


# Damage


async def test_a_row_that_was_changed_is_noticed_by_every_read(
    store: PostgresStore, emptied: str
) -> None:
    await put(
        store,
        Unit(
            events=(event("a", 1), event("a", 2), event("b", 1)),
            documents=(booking(1), booking(2)),
            claims=(Claim(name="n", stream="a", body=b""),),
            items=(item(1),),
            wakes=(Wake(stream="a", at_us=1),),
            posts=(Post(feed="f", at_us=1, body=b"1"), Post(feed="f", at_us=2, body=b"2")),
        ),
    )

    await execute(emptied, "UPDATE paygate.events SET epoch = 9 WHERE stream = 'a' AND seq = 2")
    await execute(emptied, "UPDATE paygate.documents SET f2 = 'savoy' WHERE id = 'bkg_0001'")
    await execute(emptied, "UPDATE paygate.claims SET stream = 'b'")
    await execute(emptied, "UPDATE paygate.items SET key = 'l'")
    await execute(emptied, "UPDATE paygate.wakes SET at_us = 2")
    await execute(emptied, "UPDATE paygate.posts SET n = 3 WHERE n = 2")

    with pytest.raises(Corrupt, match="stream a: event 2"):
        await store.read_stream("a")
    assert await store.read_stream("b") == [event("b", 1)]
    assert [each.sound for each in await store.query(Query(kind="booking"))] == [True, False]
    claim = await store.read_claim("n")
    assert claim is not None and not claim.sound
    assert [each.sound for each in await store.waiting("mail")] == [False]
    assert [each.sound for each in await store.open_streams()] == [False]
    assert [each.sound for each in await store.read_feed("f")] == [True, False]


async def test_a_missing_event_is_corrupt(store: PostgresStore, emptied: str) -> None:
    await put(store, Unit(events=(event("a", 1), event("a", 2), event("a", 3))))

    await execute(emptied, "DELETE FROM paygate.events WHERE seq = 2")

    with pytest.raises(Corrupt, match="stream a: event 2 is missing"):
        await store.read_stream("a")


# Text


async def test_words_of_strangers_that_hold_a_nul_are_kept_as_they_are(
    store: PostgresStore,
) -> None:
    odd = "a\0b\ufdd0c\ufdd00"
    unit = Unit(
        events=(Event(stream=odd, seq=1, at_us=1, kind=odd, body=b"\0"),),
        documents=(Document(kind="guest", id=odd, scope=odd, links=((odd, odd),), body=b""),),
        claims=(Claim(name=odd, stream=odd, body=b""),),
        items=(Item(queue="mail", id=odd, key=odd, at_us=1, body=b""),),
        audit=(entry(odd, odd),),
    )

    assert await put(store, unit) == [None]

    assert await store.read_stream(odd) == list(unit.events)
    found = await store.query(Query(kind="guest", link=(odd, odd), scope=odd))
    assert [(each.id, each.sound) for each in found] == [(odd, True)]
    assert await store.read_claim(odd) == unit.claims[0]
    assert await store.waiting("mail") == list(unit.items)
    assert [row.entry.what for row in await store.audit_rows()] == [odd]
    assert await put(store, unit) != [None]


async def test_a_value_that_is_none_ends_no_node(store: PostgresStore) -> None:
    with pytest.raises(ValueError, match="invalid input"):
        await store.read_stream("\ud800")

    assert await store.read_stream("a") == []


# Claims that go from hand to hand


async def test_a_claim_goes_through_several_hands_in_one_group(store: PostgresStore) -> None:
    await put(store, Unit(claims=(Claim(name="n", stream="a", body=b"1"),)))

    answers = await put(
        store,
        Unit(claims=(Claim(name="n", stream="b", body=b"2", replaces="a"),)),
        Unit(claims=(Claim(name="n", stream="c", body=b"3", replaces="b"),)),
        Unit(claims=(Claim(name="m", stream="a", body=b"4"),)),
        Unit(claims=(Claim(name="m", stream="b", body=b"5", replaces="a"),)),
    )

    assert answers == [None] * 4
    assert await store.read_claim("n") == Claim(name="n", stream="c", body=b"3")
    assert await store.read_claim("m") == Claim(name="m", stream="b", body=b"5")


# What plain SQL cannot do either


async def test_the_database_itself_refuses_to_use_more_than_the_limit(
    store: PostgresStore, emptied: str
) -> None:
    await execute(emptied, "INSERT INTO paygate.tallies VALUES ('s', 10, 10)")

    for statement in (
        "UPDATE paygate.tallies SET used = 11",
        'UPDATE paygate.tallies SET "limit" = 9',
        "UPDATE paygate.tallies SET used = -1",
    ):
        with pytest.raises(Exception, match="tallies_check"):
            await execute(emptied, statement)

    assert await store.tally("s") == (10, 10)


# Words


async def test_words_are_heard_by_others_and_not_by_who_said_them(emptied: str) -> None:
    async with clustered(emptied) as cluster:
        ann, bob = await pair(cluster)
        hearing = asyncio.create_task(bob.hear())
        await until(lambda: value(emptied, LISTENING))

        ann.say("look", "here")
        ann.say("look", "there")

        assert set(await hearing) == {"look", "here", "there"}


async def test_who_was_refused_to_listen_listens_on_the_next_connection(
    emptied: str, postgres_server: PostgresServer
) -> None:
    async with (
        refusing_proxy(postgres_server.port, b"LISTEN") as port,
        clustered(postgres_server.dsn("used", port=port)) as cluster,
    ):
        ann, bob = await pair(cluster)
        hearing = asyncio.create_task(bob.hear())
        await until(lambda: value(emptied, LISTENING))

        ann.say("look")

        # The end of the first connection may have been all that there was to hear.
        assert (await hearing or await bob.hear()) == ("look",)


async def test_an_outage_is_told_once_and_so_is_its_end(
    database: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    name = urlsplit(database).path.removeprefix("/")
    async with clustered(database) as cluster:
        node = await joined(cluster)
        hearing = asyncio.create_task(node.hear())
        await until(lambda: value(database, LISTENING))
        async with connected(postgres_server.dsn()) as operator:
            await operator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await operator.fetch(END_ALL, name)
            await hearing

            # It listens for as long as it waits, and tries to once a second.
            nothing = await node.hear()
            await operator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        hearing = asyncio.create_task(node.hear())
        await until(lambda: "other nodes are heard again" in caplog.text)
        hearing.cancel()

    assert nothing == ()
    assert caplog.text.count("nothing is heard from other nodes") == 1
    assert caplog.text.count("other nodes are heard again") == 1


def test_words_go_together_as_far_as_they_fit_into_a_notification() -> None:
    words = ["w" * 3_000, "x" * 3_000, "y" * 3_000, "z" * PAYLOAD_BYTES_MAX, "ü"]

    found = payloads("7", words)

    assert [payload.split("\n") for payload in found] == [
        ["7", words[0], words[1]],
        ["7", words[2], "ü"],
    ]
    assert payloads("7", []) == []


# Cost


async def test_no_list_sorts_or_walks_through_what_it_does_not_show(
    store: PostgresStore, emptied: str
) -> None:
    many = 4_000
    for start in range(0, many, 500):
        documents = [
            booking(n, scope=f"s{n % 50}", links=(("guest", f"g{n % 40}"),), status=f"f{n % 50}")
            for n in range(start, start + 500)
        ]
        await put(store, *(Unit(documents=(document,)) for document in documents))
    await execute(emptied, "ANALYZE")
    queries = (
        Query(kind="booking"),
        Query(kind="booking", scope="s7"),
        Query(kind="booking", where=(("status", "f7"),)),
        Query(kind="booking", link=("guest", "g7")),
        Query(kind="booking", link=("guest", "g7"), scope="s7"),
    )

    for query in queries:
        demanded = {0: "f7"} if query.where else {}
        statement, parameters = page_statement(query, demanded)
        async with connected(emptied) as connection:
            rows = await connection.fetch(f"EXPLAIN {statement}", *parameters)
        plan = "\n".join(str(row[0]) for row in rows)

        assert "Index" in plan
        assert "Seq Scan" not in plan, plan
        assert "Hash" not in plan and "Merge Join" not in plan, plan


async def test_many_groups_of_two_nodes_leave_no_transaction_open(emptied: str) -> None:
    async with clustered(emptied) as cluster:
        ann, bob = await joined(cluster, "ann"), await joined(cluster, "bob")
        for turn in range(5):
            post = Post(feed="f", at_us=turn, body=b"")
            await asyncio.gather(put(ann, Unit(posts=(post,))), put(bob, Unit(posts=(post,))))

        states = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        assert await value(emptied, states) == 0


# Looking through it


async def test_a_walk_over_all_rows_names_those_that_were_changed(
    store: PostgresStore, emptied: str
) -> None:
    odd = "a\0b"  # kept under another name, and so in another place
    await put(
        store,
        Unit(
            events=(event("a", 1), event("aa", 1), event(odd, 1)),
            claims=(Claim(name="n", stream="a", body=b""),),
            posts=(Post(feed="f", at_us=1, body=b"1"),),
        ),
    )
    assert await damaged(store) == []

    await execute(emptied, "UPDATE paygate.events SET kind = 'paid' WHERE stream = 'aa'")
    await execute(emptied, "UPDATE paygate.posts SET n = 3")

    assert await damaged(store) == ["events aa 1", "posts f 3"]


async def damaged(store: PostgresStore) -> list[str]:
    """The names of all damaged rows, looked for two rows at a time."""
    names: list[str] = []
    place: Place | None = Place()
    while place is not None:
        looked = await store.check_rows(place, limit=2)
        names += [f"{each.table} {each.name}" for each in looked.damage]
        place = looked.following
    return names


async def test_a_chain_is_there_though_no_seat_has_its_name(
    store: PostgresStore, emptied: str
) -> None:
    """What was moved over from a folder, or whose seat somebody took away."""
    await put(store, Unit(audit=(entry("a"),)))
    copied = "INSERT INTO paygate.audit SELECT $1, n, at_us, who, what, stream, why, first_seq,"
    copied += " events, digest, hash FROM paygate.audit WHERE chain = '1'"
    for name in ("", "7"):
        await execute(emptied, copied, name)

    looking = PostgresStore(emptied, KINDS, read_only=True)
    await looking.open()

    assert await looking.chains() == ["", "1", "7"]
    assert [len(await looking.audit_rows(chain=name)) for name in ("", "1", "8")] == [1, 1, 0]
    # Who has not joined has no chain; that without a name is none's own.
    assert await looking.audit_rows() == []
    assert await looking.audit_head() == (0, bytes(32))
    await looking.close()
