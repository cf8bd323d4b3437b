"""An empty database is filled in one transaction, or is left as it was."""

import asyncio

import pytest
from postgres_rig import value
from store_suite import KINDS, event, put

from paygate_engine.errors import Overloaded, StoreRefused
from paygate_engine.stores.base import Unit
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.postgres_fill import Filling, filling
from paygate_engine.stores.postgres_link import Link, Lost
from paygate_engine.stores.postgres_schema import migrate

pytestmark = pytest.mark.slow

FEEDS = ("feed", "n")
OURS = "SELECT to_regnamespace('paygate') IS NOT NULL"
KILL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Stopped(Exception):
    """Whatever may go wrong while a database is filled."""


async def feeds(dsn: str) -> int:
    return await value(dsn, "SELECT count(*) FROM paygate.feeds")


async def fill(dsn: str, *, name: str = "f") -> None:
    async with filling(dsn, KINDS) as target:
        await target.put("feeds", FEEDS, [(name, 3)])


async def refusal(dsn: str) -> str:
    with pytest.raises(StoreRefused) as refused:
        await fill(dsn)
    return str(refused.value)


async def test_what_was_put_in_is_there_once_the_block_has_ended(database: str):
    odd = "a\0b"

    async with filling(database, KINDS) as target:
        await target.put("feeds", FEEDS, [(odd, 3), ("g", 4)])
        counted = await target.count("feeds")
        await target.gauge()
        assert not await value(database, OURS), "nobody else sees anything before"

    store = PostgresStore(database, KINDS, read_only=True)
    await store.open()
    assert counted == 2
    assert sorted(await store.feeds()) == [odd, "g"]
    assert (await store.feed_ends(odd)).last == 3
    await store.close()


async def test_a_block_that_raises_leaves_not_even_the_schema(database: str):
    async def stop() -> None:
        async with filling(database, KINDS) as target:
            await target.put("feeds", FEEDS, [("f", 3)])
            raise Stopped

    with pytest.raises(Stopped):
        await stop()

    assert not await value(database, OURS)
    await fill(database)
    assert await feeds(database) == 1


async def test_a_connection_that_is_lost_on_the_way_leaves_nothing(database: str):
    async def cut_off(target: Filling) -> None:
        await target.put("feeds", FEEDS, [("f", 3)])
        assert await value(database, KILL) == 1
        await target.put("feeds", FEEDS, [("g", 3)])

    with pytest.raises(StoreRefused, match="nothing was written"):
        async with filling(database, KINDS) as target:
            await cut_off(target)

    assert not await value(database, OURS)


async def test_a_database_that_is_not_empty_is_refused_and_left_alone(database: str):
    await fill(database)

    assert "there are feeds in it" in await refusal(database)
    assert await feeds(database) == 1


async def test_a_database_whose_nodes_have_left_may_be_filled(database: str):
    store = PostgresStore(database, KINDS)
    await store.open()
    await store.join("one")
    assert "in use by nodes: stop them all first: seat 1 (one)" in await refusal(database)

    await store.leave()
    await store.close()

    await fill(database)
    assert await feeds(database) == 1


async def test_no_node_joins_while_it_is_filled(database: str):
    await migrate(database, KINDS)
    store = PostgresStore(database, KINDS, read_s=0.5)
    await store.open()

    async with filling(database, KINDS) as target:
        await target.put("feeds", FEEDS, [("f", 3)])
        with pytest.raises(Overloaded):
            await store.join("one")

    await store.join("one")
    assert await put(store, Unit(events=(event("a", 1),))) == [None]
    await store.close()


async def test_an_end_whose_answer_is_lost_is_asked_for(
    database: str, monkeypatch: pytest.MonkeyPatch
):
    """The transaction was committed, and the connection breaks before anybody hears of it."""
    committed = asyncio.Event()
    commit = Link.run_script

    async def unheard(link: Link, text: str, *, deadline_s: float) -> None:
        await commit(link, text, deadline_s=deadline_s)
        if text == "COMMIT":
            committed.set()
            link.end()
            raise Lost("cut off")

    monkeypatch.setattr(Link, "run_script", unheard)

    await fill(database)

    assert committed.is_set()
    assert await feeds(database) == 1


async def test_other_rows_of_the_same_name_are_none(database: str):
    """A row that the database refuses ends it all."""
    with pytest.raises(StoreRefused, match="nothing was written"):
        async with filling(database, KINDS) as target:
            await target.put("feeds", FEEDS, [("f", 3), ("f", 4)])

    assert not await value(database, OURS)
