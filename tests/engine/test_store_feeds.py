"""Feeds: numbered without a gap in the order of commits, whatever else happens to a group."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from postgres_rig import empty
from store_suite import KINDS, booking, event, put

from paygate_engine.clock import SystemClock
from paygate_engine.journal import Journal
from paygate_engine.stores import sqlite_schema
from paygate_engine.stores.base import (
    PAGE_MAX,
    Conflict,
    FeedEnds,
    Post,
    Query,
    Store,
    Unit,
)
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.row_check import Damage, Place
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore(KINDS)
        case "sqlite":
            made = SqliteStore(tmp_path / "data", KINDS)
        case _:
            database: str = request.getfixturevalue("used_database")
            await empty(database)
            made = PostgresStore(database, KINDS)
    await made.open()
    if isinstance(made, PostgresStore):
        await made.join("one")
    yield made
    await made.close()


def post(number: int, *, feed: str = "news", at_us: int | None = None) -> Post:
    return Post(feed=feed, at_us=number if at_us is None else at_us, body=str(number).encode())


async def told(store: Store, feed: str = "news", *, after_n: int = 0) -> list[tuple[int, int]]:
    """What a reader of the feed sees: its numbers, and what was posted under them."""
    found = await store.read_feed(feed, after_n=after_n, limit=PAGE_MAX)
    assert all(each.sound and each.feed == feed for each in found)
    return [(each.n, int(each.body)) for each in found]


async def test_posts_are_numbered_from_one_in_the_order_of_their_units(store: Store) -> None:
    await put(store, Unit(posts=(post(10), post(11))), Unit(posts=(post(12),)))
    await put(store, Unit(posts=(post(13),)))

    assert await told(store) == [(1, 10), (2, 11), (3, 12), (4, 13)]


async def test_each_feed_has_its_own_numbers(store: Store) -> None:
    await put(store, Unit(posts=(post(1), post(2, feed="other"), post(3))))

    assert await told(store) == [(1, 1), (2, 3)]
    assert await told(store, "other") == [(1, 2)]
    assert await store.feeds() == ["news", "other"]
    assert await store.feeds(after="news") == ["other"]


async def test_a_feed_that_never_was_is_empty(store: Store) -> None:
    assert await told(store, "nothing") == []
    assert await store.feed_ends("nothing") == FeedEnds(first=1, last=0)


async def test_a_unit_that_is_left_out_takes_no_number(store: Store) -> None:
    await put(store, Unit(events=(event("a", 1),), posts=(post(1),)))
    refused = Unit(events=(event("a", 1),), posts=(post(2),))

    answers = await put(store, refused, Unit(posts=(post(3),)))
    await put(store, Unit(posts=(post(3),)))

    assert answers == [Conflict(what="event", name="a/1"), None]
    assert await told(store) == [(1, 1), (2, 3)]


async def test_a_page_goes_on_behind_a_number(store: Store) -> None:
    await put(store, Unit(posts=tuple(map(post, range(1, 6)))))

    page = await store.read_feed("news", after_n=2, limit=2)

    assert [each.n for each in page] == [3, 4]
    assert await store.feed_ends("news") == FeedEnds(first=1, last=5)


async def test_what_is_old_is_forgotten_and_its_numbers_are_not_given_again(store: Store) -> None:
    await put(store, Unit(posts=tuple(map(post, range(1, 6)))))

    assert await store.forget_posts(feed="news", before_us=4) == 3
    assert await store.forget_posts(feed="news", before_us=100) == 2
    assert await store.feed_ends("news") == FeedEnds(first=6, last=5)
    await put(store, Unit(posts=(post(6),)))

    assert await told(store) == [(6, 6)]
    assert await store.feed_ends("news") == FeedEnds(first=6, last=6)


async def test_forgetting_stops_at_the_first_post_that_is_not_old(store: Store) -> None:
    """A clock that was put back must not tear a hole into the feed."""
    posts = (post(1, at_us=10), post(2, at_us=99), post(3, at_us=20), post(4, at_us=100))
    await put(store, Unit(posts=posts))

    assert await store.forget_posts(feed="news", before_us=50) == 1

    assert await told(store) == [(2, 2), (3, 3), (4, 4)]


async def test_forgetting_is_bounded(store: Store) -> None:
    await put(store, Unit(posts=tuple(map(post, range(1, 6)))))

    assert await store.forget_posts(feed="news", before_us=100, limit=2) == 2

    assert await store.feed_ends("news") == FeedEnds(first=3, last=5)


async def test_documents_are_forgotten_oldest_first_and_within_a_bound(store: Store) -> None:
    await put(store, Unit(documents=tuple(map(booking, range(1, 7)))))

    gone = [
        await store.forget_documents(kind="booking", id_before="bkg_0005", limit=3),
        await store.forget_documents(kind="booking", id_before="bkg_0005", limit=3),
        await store.forget_documents(kind="booking", id_before="bkg_0005", limit=3),
    ]

    assert gone == [3, 1, 0]
    kept = await store.query(Query(kind="booking"))
    assert [document.id for document in kept] == ["bkg_0006", "bkg_0005"]


async def test_documents_of_one_facet_are_forgotten_and_others_kept(store: Store) -> None:
    """The oldest are others', so that who counts them in forgets too few."""
    numbers = range(1, 9)
    made = [booking(each, status=("old", "new")[each % 2]) for each in numbers]
    await put(store, Unit(documents=tuple(made)))

    gone = [
        await store.forget_documents(kind="booking", id_before="bkg_0008", facet="old", limit=2),
        await store.forget_documents(kind="booking", id_before="bkg_0008", facet="old", limit=2),
        await store.forget_documents(kind="booking", id_before="bkg_0008", facet="old", limit=2),
    ]

    assert gone == [2, 1, 0]
    kept = await store.query(Query(kind="booking"))
    assert [document.id[-1] for document in kept] == ["8", "7", "5", "3", "1"]


async def test_a_reader_beside_many_writers_meets_no_gap(store: Store) -> None:
    """Who goes on behind the last number that they saw has seen everything, in one order."""
    seed = 20261123
    dice = random.Random(seed)
    failures: list[BaseException] = []
    journal = Journal(
        store,
        spawn=asyncio.get_running_loop().create_task,
        clock=SystemClock(),
        backlog_max=10_000,
        on_fatal=failures.append,
    )
    await journal.start()
    sent = 400
    seen: list[int] = []

    async def read() -> None:
        while len(seen) < sent:
            page = await store.read_feed("news", after_n=len(seen), limit=dice.randint(1, 9))
            assert [each.n for each in page] == [*range(len(seen) + 1, len(seen) + 1 + len(page))]
            seen.extend(int(each.body) for each in page)
            await asyncio.sleep(0)

    async with asyncio.timeout(30):
        reading = asyncio.create_task(read())
        for start in range(0, sent, 8):
            writes = [journal.append_wait(Unit(posts=(post(start + n),))) for n in range(8)]
            await asyncio.gather(*writes)
        await reading
    await journal.drain()

    assert not failures
    assert sorted(seen) == list(range(sent)), f"seed {seed}"


async def test_a_changed_post_is_given_as_not_sound_and_found_by_a_check(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data", KINDS)
    await store.open()
    await put(store, Unit(posts=(post(1), post(2))))
    await store.close()
    database = tmp_path / "data" / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE posts SET body = x'39' WHERE n = 2")

    await store.open()
    page = await store.read_feed("news")
    damage: list[Damage] = []
    place: Place | None = Place()
    while place is not None:
        looked = await store.check_rows(place)
        damage += looked.damage
        place = looked.following
    await store.close()

    assert [each.sound for each in page] == [True, False]
    assert [(each.table, each.name) for each in damage] == [("posts", "news 2")]


async def test_a_database_from_before_there_were_feeds_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "migrations"
    older.mkdir()
    (first, *_) = sorted(sqlite_schema.MIGRATIONS.glob("0001_*.sql"))
    shutil.copy(first, older)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_schema, "MIGRATIONS", older)
        store = SqliteStore(tmp_path / "data", KINDS)
        await store.open()
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / DATABASE_NAME)) as before:
            tables = {name for (name,) in before.execute("SELECT name FROM sqlite_schema")}
        await store.close()

    store = SqliteStore(tmp_path / "data", KINDS)
    await store.open()
    await put(store, Unit(events=(event("a", 1),), posts=(post(1), post(2))))
    found = await told(store)
    await store.close()

    assert not tables & {"posts", "feeds"}
    assert found == [(1, 1), (2, 2)]
