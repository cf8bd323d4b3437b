"""Every row of a SQLite store, as PostgreSQL's tables take it: all of them, once, and sound."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from store_suite import KINDS, booking, entry, event, item, put

from paygate_engine.stores.base import Claim, Done, Post, Unit, Wake
from paygate_engine.stores.copy_rows import TABLES, Page, read_counts, read_kinds, read_page
from paygate_engine.stores.row_check import Place
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store with rows in every table."""
    store = SqliteStore(tmp_path / "data", KINDS)
    await store.open()
    await put(
        store,
        Unit(
            events=(event("a", 1), event("a", 2), event("b", 1)),
            documents=(booking(1, links=(("guest", "ann"), ("guest", "bob"))), booking(2)),
            claims=(Claim(name="n", stream="a", body=b"c"),),
            items=(item(1), item(2)),
            wakes=(Wake(stream="a", at_us=5),),
            posts=(Post(feed="f", at_us=1, body=b"1"), Post(feed="f", at_us=2, body=b"2")),
            audit=(entry("a"),),
        ),
        Unit(done=(Done(queue="mail", id="itm_0002", at_us=9),)),
    )
    yield store
    await store.close()


async def pages(store: SqliteStore, *, limit: int = 5_000) -> list[Page]:
    found: list[Page] = []
    place: Place | None = Place()
    while place is not None:
        page = await store.look(partial(read_page, place=place, limit=limit))
        found.append(page)
        place = page.following
    return found


def rows(found: list[Page]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: [row for page in found if page.table == table for row in page.rows]
        for table in TABLES
    }


def edit(store: SqliteStore, statement: str) -> None:
    """Change a row behind the store's back."""
    with (
        contextlib.closing(sqlite3.connect(store.folder / DATABASE_NAME)) as connection,
        connection,
    ):
        assert connection.execute(statement).rowcount == 1


async def test_all_rows_come_once_whatever_the_size_of_a_page(store: SqliteStore):
    at_once = rows(await pages(store))

    counts = await store.look(read_counts)

    assert {table: len(found) for table, found in at_once.items()} == counts
    assert all(counts.values())
    for limit in (1, 2, 3):
        assert rows(await pages(store, limit=limit)) == at_once


async def test_the_last_page_of_a_table_says_so(store: SqliteStore):
    found = await pages(store, limit=1)

    ended = [page.table for page in found if page.ends]

    assert ended == list(TABLES)


async def test_rows_are_nobodys_nodes_and_what_is_done_stays_done(store: SqliteStore):
    found = rows(await pages(store))

    assert {row[5] for row in found["events"]} == {0}, "the epoch of before there were nodes"
    assert [row[3] for row in found["wakes"]] == [0], "nobody's, for the first who comes"
    assert [row[0] for row in found["audit"]] == [""], "a chain beside those of seats"
    assert [row[6] for row in found["items"]] == [None, 9]
    assert [row[1] for row in found["posts"]] == [1, 2]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE events SET at_us = 5 WHERE stream = 'a' AND seq = 2", "events a 2"),
        ("UPDATE documents SET f2 = 'savoy' WHERE id = 'bkg_0002'", "documents booking bkg_0002"),
        ("UPDATE claims SET stream = 'b'", "claims n"),
        ("UPDATE items SET key = 'l' WHERE id = 'itm_0001'", "items mail itm_0001"),
        ("UPDATE wakes SET at_us = 6", "wakes a"),
        ("UPDATE posts SET body = x'00' WHERE n = 2", "posts f 2"),
    ],
)
async def test_a_row_that_was_changed_is_named_and_not_among_the_rows(
    store: SqliteStore, statement: str, name: str
):
    before = rows(await pages(store))

    edit(store, statement)

    found = await pages(store, limit=1)
    damage = [f"{each.table} {each.name}" for page in found for each in page.damage]
    assert damage == [name]
    table = name.partition(" ")[0]
    assert len(rows(found)[table]) == len(before[table]) - 1


async def test_kinds_are_read_with_their_facets(store: SqliteStore):
    kinds = await store.look(read_kinds)

    assert sorted(kinds, key=lambda kind: kind.name) == list(KINDS)
