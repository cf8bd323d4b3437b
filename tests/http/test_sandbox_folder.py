"""The folder under the books: what was flushed is on disk, whoever else writes meanwhile."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from paygate_engine.errors import StoreFailed
from paygate_http.sandbox.folder import Folder


def on_disk(path: Path) -> set[str]:
    """The ids that another process would find now."""
    with closing(sqlite3.connect(path / "sandbox.db")) as db:
        return {id_ for (id_,) in db.execute("SELECT id FROM record")}


async def test_what_was_put_before_a_flush_is_on_disk_after_it(tmp_path: Path):
    folder = Folder(tmp_path)
    missed: list[str] = []

    async def write(id_: str) -> None:
        folder.put("kind", id_, {"id": id_})
        await folder.flush()
        if id_ not in on_disk(tmp_path):
            missed.append(id_)

    # Some come while a batch is being written, some before the first one.
    for wave in range(20):
        await asyncio.gather(*(write(f"{wave}-{n}") for n in range(10)))
    await folder.close()

    assert missed == []


async def test_a_record_that_changed_before_it_was_written_is_written_as_it_is(tmp_path: Path):
    folder = Folder(tmp_path)
    record = {"n": 1}

    folder.put("kind", "a", record)
    record["n"] = 2
    folder.put("kind", "b", {"n": 3})
    folder.drop("kind", "b")
    await folder.flush()

    assert on_disk(tmp_path) == {"a"}
    assert [bytes(body) for body in folder.load("kind")] == [b"\x81\xa1n\x02"]
    await folder.close()


async def test_a_clear_forgets_what_came_before_and_nothing_after(tmp_path: Path):
    folder = Folder(tmp_path)
    folder.put("kind", "written", 1)
    await folder.flush()
    folder.put("kind", "collected", 1)

    folder.clear()
    folder.put("kind", "after", 1)
    await folder.flush()

    assert on_disk(tmp_path) == {"after"}
    await folder.close()


async def test_books_that_cannot_be_written_say_so_from_then_on(tmp_path: Path):
    folder = Folder(tmp_path)
    with closing(sqlite3.connect(tmp_path / "sandbox.db")) as db:
        db.execute("DROP TABLE record")

    folder.put("kind", "a", 1)
    with pytest.raises(StoreFailed):
        await folder.flush()

    with pytest.raises(StoreFailed):
        await folder.flush()
    with pytest.raises(StoreFailed):
        await folder.close()
