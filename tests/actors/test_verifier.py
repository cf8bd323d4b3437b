"""The walk along the audit chain in the background: a page at a time, and only what is new."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_suite import KINDS, entry, event, put

from paygate_actors.audit import Verifier, Walk
from paygate_engine.chain import WALKED_MAX
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Unit
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_engine.system import ActorSystem

# More than two pages, the last one not full.
ROWS = 2 * WALKED_MAX + 7


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store with a chain of some pages, a stream of two events for each two rows."""
    store = SqliteStore(tmp_path / "data", KINDS)
    await store.open()
    await put(
        store,
        *(
            Unit(events=(event(f"s{n // 2}", n % 2 + 1),), audit=(entry(f"s{n // 2}"),))
            for n in range(ROWS)
        ),
    )
    yield store
    await store.close()


def verifier(store: SqliteStore, damaged: list[str]) -> Verifier:
    def set_aside(stream: str, _: Corrupt) -> None:
        damaged.append(stream)

    system = ActorSystem(loop=asyncio.get_running_loop())
    return Verifier(system, "audit", store, set_aside=set_aside)


def edit(store: SqliteStore, statement: str) -> None:
    """Change the database behind the store's back."""
    path = store.folder / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount == 1


async def test_the_whole_chain_is_walked_and_then_what_is_new(store: SqliteStore):
    damaged: list[str] = []
    walker = verifier(store, damaged)

    await walker.on_walk(Walk())
    first = walker.verified
    await put(store, Unit(events=(event("new", 1),), audit=(entry("new"),)))
    await walker.on_walk(Walk())

    assert (first, walker.verified, walker.fault, damaged) == (ROWS, ROWS + 1, None, [])


async def test_a_damaged_event_of_any_page_is_set_aside_and_the_walk_goes_on(store: SqliteStore):
    edit(store, f"UPDATE events SET body = x'00' WHERE stream = 's{WALKED_MAX}' AND seq = 2")
    damaged: list[str] = []
    walker = verifier(store, damaged)

    await walker.on_walk(Walk())

    assert (walker.verified, walker.fault) == (ROWS, None)
    assert set(damaged) == {f"s{WALKED_MAX}"}


async def test_the_first_row_of_another_s_hand_is_the_fault_and_ends_the_walk(store: SqliteStore):
    edit(store, f"UPDATE audit SET who = 'eve' WHERE n = {WALKED_MAX + 3}")
    walker = verifier(store, [])

    await walker.on_walk(Walk())

    assert walker.fault is not None
    assert walker.fault.n == WALKED_MAX + 3
