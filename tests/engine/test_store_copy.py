"""Copies of a store: one moment of it, untouched by what is written meanwhile; whole or nothing."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from paygate_engine.errors import StoreRefused
from paygate_engine.stores.base import Event, Kind, Unit
from paygate_engine.stores.draft_folder import DraftFolder
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore
from paygate_engine.stores.sqlite_copy import Snapshot

KINDS = (Kind(name="guest", facets=("status",)),)
MIB = 2**20
# Several steps of the copy, so that something can be written between them.
STREAMS = 40
BODY = bytes(range(256)) * 512


def event(stream: str, body: bytes = BODY) -> Unit:
    return Unit(events=(Event(stream=stream, seq=1, at_us=1, kind="k", body=body),))


@asynccontextmanager
async def hotel(folder: Path) -> AsyncGenerator[SqliteStore]:
    """A store of some five MiB, most of them still in the log."""
    store = SqliteStore(folder, KINDS)
    await store.open()
    try:
        for number in range(STREAMS):
            await store.commit([event(f"s{number}")], [()])
        yield store
    finally:
        await store.close()


def quiet(done: int, total: int) -> None:
    """Hear of the progress and do nothing."""


def insert(folder: Path, stream: str) -> None:
    """Commit an event on a connection of its own, as the server's would between two steps."""
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute(
            "INSERT INTO events SELECT ?, 1, 1, 'k', body, 0 FROM events LIMIT 1", (stream,)
        )


def streams(database: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as copy:
        return {stream for (stream,) in copy.execute("SELECT stream FROM events")}


async def test_a_copy_is_one_moment_whatever_is_committed_while_it_is_made(tmp_path: Path):
    async with hotel(tmp_path):
        steps: list[int] = []

        def meanwhile(done: int, total: int) -> None:
            steps.append(done)
            insert(tmp_path, f"late{len(steps)}")

        with Snapshot(tmp_path / DATABASE_NAME, KINDS) as moment:
            insert(tmp_path, "after the moment")
            moment.copy_to(tmp_path / "copy.db", meanwhile)

    assert len(steps) > 2
    assert steps[-1] == moment.size == (tmp_path / "copy.db").stat().st_size > 4 * MIB
    assert streams(tmp_path / "copy.db") == {f"s{number}" for number in range(STREAMS)}
    assert moment.events == STREAMS


async def test_a_copy_changes_nothing_of_what_it_copies(tmp_path: Path):
    async with hotel(tmp_path):
        names = (DATABASE_NAME, f"{DATABASE_NAME}-wal")
        before = {name: (tmp_path / name).read_bytes() for name in names}
        assert len(before[names[1]]) > MIB, "there is something to checkpoint"

        with Snapshot(tmp_path / DATABASE_NAME, KINDS) as moment:
            moment.copy_to(tmp_path / "copy.db", quiet)

        assert {name: (tmp_path / name).read_bytes() for name in names} == before
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


async def test_a_copy_is_opened_like_any_store(tmp_path: Path):
    (tmp_path / "there").mkdir()
    async with hotel(tmp_path):
        with Snapshot(tmp_path / DATABASE_NAME, KINDS) as moment:
            moment.copy_to(tmp_path / "there" / DATABASE_NAME, quiet)

    store = SqliteStore(tmp_path / "there", KINDS)
    await store.open()
    try:
        (read,) = await store.read_stream("s7")
        await store.commit([event("new", b"1")], [()])
        assert read.body == BODY
        assert await store.check_pages(thorough=True) == []
        assert await store.event_count() == STREAMS + 1
    finally:
        await store.close()


def test_what_is_no_store_is_no_source(tmp_path: Path):
    (tmp_path / DATABASE_NAME).write_bytes(b"a letter, and no database at all")

    with pytest.raises(StoreRefused, match="no database"):
        Snapshot(tmp_path / DATABASE_NAME, KINDS)
    with pytest.raises(StoreRefused, match="nowhere"):
        Snapshot(tmp_path / "nowhere" / DATABASE_NAME, KINDS)


def test_a_folder_appears_when_it_is_published_and_not_before(tmp_path: Path):
    with DraftFolder(tmp_path / "copy") as draft:
        (draft.path / "file").write_text("text")
        assert not (tmp_path / "copy").exists()
        draft.publish()

    assert (tmp_path / "copy" / "file").read_text() == "text"
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_nothing_stays_of_a_folder_that_was_given_up(tmp_path: Path):
    def interrupted() -> None:
        with DraftFolder(tmp_path / "copy") as draft:
            (draft.path / "file").write_text("text")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_replaced_and_a_full_one_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()

    with DraftFolder(tmp_path / "empty") as draft:
        (draft.path / "file").touch()
        draft.publish()

    assert (tmp_path / "empty" / "file").exists()
    with pytest.raises(StoreRefused, match="not empty"), DraftFolder(tmp_path / "full"):
        pass
    for nameless in (Path("/"), Path()):
        with pytest.raises(StoreRefused, match="no name of its own"), DraftFolder(nameless):
            pass
    with pytest.raises(StoreRefused, match="no folder"), DraftFolder(tmp_path / "file"):
        pass
    with pytest.raises(StoreRefused, match="does not exist"), DraftFolder(tmp_path / "a" / "b"):
        pass


def test_a_folder_that_is_filled_meanwhile_is_not_overwritten(tmp_path: Path):
    def overtaken() -> None:
        with DraftFolder(tmp_path / "copy") as draft:
            (tmp_path / "copy").mkdir()
            (tmp_path / "copy" / "mine").touch()
            draft.publish()

    with pytest.raises(StoreRefused, match="cannot be made"):
        overtaken()

    assert [path.name for path in tmp_path.rglob("*")] == ["copy", "mine"]


def test_two_do_not_fill_one_folder_and_what_a_dead_one_left_is_swept(tmp_path: Path):
    left = tmp_path / ".copy.unfinished"
    left.mkdir()
    (left / "half").write_text("half a copy")

    with DraftFolder(tmp_path / "copy") as draft:
        assert list(draft.path.iterdir()) == []
        with (
            pytest.raises(StoreRefused, match="another process is making"),
            DraftFolder(tmp_path / "copy"),
        ):
            pass
        draft.publish()

    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
