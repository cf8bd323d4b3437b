"""`kill -9` at the N-th call of a start that makes or changes the folder: the first, a migration.

Whatever was killed, the next start finds nothing of it, or all of it.
"""

import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from crash_lab import FULL, CrashLab, Series, crash_lab, in_batches, name_of
from load_rig import Load

from paygate_actors.projection import KINDS
from paygate_engine.chain import Head, rows_of, verify
from paygate_engine.stores import sqlite_schema
from paygate_engine.stores.migrations import read_migrations
from paygate_engine.stores.sqlite import DATABASE_NAME, SqliteStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800 if FULL else 120)]

# What a first start does to its folder: the folder itself, the vault's keys, the database.
FIRST_START: Final = (
    Series(syscall="fsync", sample=(2,), every=range(1, 6)),
    Series(syscall="link", sample=(1,), every=(1,)),
    Series(syscall="unlink", sample=(), every=range(1, 4)),
    Series(syscall="fdatasync", sample=(2,), every=range(1, 13)),
    Series(syscall="pwrite64", sample=(40,), every=range(1, 121, 3)),
)
MIGRATION: Final = (
    Series(syscall="fdatasync", sample=(1, 2), every=range(1, 7)),
    Series(syscall="pwrite64", sample=(12, 40), every=range(1, 151, 3)),
)
VERSION: Final = len(read_migrations(sqlite_schema.MIGRATIONS))
# Payments of each caller that a migration has to carry over, some of them open.
TURNS: Final = 6
# Touches every row that the journal cannot do without.
NEXT: Final = """\
ALTER TABLE events ADD COLUMN written_by INTEGER NOT NULL DEFAULT 1;
UPDATE events SET written_by = 2;
CREATE INDEX events_written_by ON events (written_by);
"""


@pytest.mark.parametrize("batch", in_batches(FIRST_START), ids=name_of)
async def test_a_first_start_may_die_at_any_call_and_the_next_one_serves(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "first start") as lab:
        for series in batch:
            for nth in series.points:
                lab.rig.data = tmp_path / f"data-{series.syscall}-{nth}"
                process = await lab.rig.spawn(prefix=lab.struck(series, nth))
                if await process.came_up():
                    # It serves already: it has no such call any more.
                    break
                await process.ended()
                assert await lab.note(series, nth)

                gateway = await lab.rig.serve()

                assert (await gateway.pay(None, wait_s=5)).made()["status"] == "success"
                assert await gateway.stop() == 0
            assert not series.points or lab.tallies[series.name].struck, "it never died"
        lab.tell()


@pytest.mark.parametrize("batch", in_batches(MIGRATION), ids=name_of)
async def test_a_migration_that_dies_was_made_whole_or_not_at_all(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "migration") as lab:
        load = await paid(lab)
        later = next_version(tmp_path / "schema")
        today = lab.rig.data

        for series in batch:
            found: set[int] = set()
            for nth in series.points:
                # All is at rest, so no server tells the provider anything: a copy is as good.
                lab.rig.data = copy_of(today, tmp_path / f"data-{series.syscall}-{nth}")
                prefix = (*lab.struck(series, nth), *later)
                process = await lab.rig.spawn(prefix=prefix)
                came_up = await process.came_up()
                process.signal(signal.SIGKILL)
                await process.ended()
                died = await lab.note(series, nth)
                found.add(await schema_found(lab.rig.data))
                if came_up:
                    break
                assert died
            # Before the first sync every page of the new schema was written already.
            wanted = VERSION + 1 if series.syscall == "fdatasync" else VERSION
            assert wanted in found

        lab.rig.data, lab.served_by = today, later
        await lab.look(batch[-1], load)
        await lab.judge()


def copy_of(folder: Path, into: Path) -> Path:
    """A copy of a dead server's folder; its socket cannot be copied, and is nobody's."""
    return shutil.copytree(folder, into, ignore=shutil.ignore_patterns("*.sock"))


async def paid(lab: CrashLab) -> Load:
    """Leave a folder whose payments are at rest, and whose log was not merged by its server."""
    load = lab.load()
    gateway = await lab.rig.serve()
    await load.run(gateway, turns=TURNS)
    await gateway.settled()
    await gateway.kill()
    return load


def next_version(folder: Path) -> tuple[str, ...]:
    """What runs commands of the version after this one."""
    shutil.copytree(sqlite_schema.MIGRATIONS, folder)
    (folder / f"{VERSION + 1:04}_next.sql").write_text(NEXT)
    return (sys.executable, str(Path(__file__).parent / "next_version.py"), "sqlite", str(folder))


async def schema_found(folder: Path) -> int:
    """The version of a folder, which is whole: that of today opens it, a later one is complete."""
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (version,) = database.execute("SELECT max(number) FROM migrations").fetchone()
        columns = [row[1] for row in database.execute("PRAGMA table_info (events)")]
        assert ("written_by" in columns) == (version > VERSION)
        if version > VERSION:
            written_by = database.execute("SELECT DISTINCT written_by FROM events").fetchall()
            assert written_by == [(2,)]
            return version
    store = SqliteStore(folder, KINDS)
    await store.open()
    try:
        assert isinstance(await verify(rows_of(store), store.read_stream), Head)
    finally:
        await store.close()
    return version
