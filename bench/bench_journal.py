"""What a committed row costs: by group size, store, and beside a bare append and fdatasync.

A unit is what taking a payment writes: two events, a document with two links, a claim, a wake
and an audit row. `us CPU/row` counts both threads; `x raw` is the time that a group takes, over
the time that appending the same bytes to a file and syncing it takes, in the same run on the
same disk. Random content and names, so that nothing is won by repetition.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from paygate_engine.chain import Chain, Head
from paygate_engine.clock import SystemClock
from paygate_engine.journal import Journal
from paygate_engine.stores.base import (
    AuditEntry,
    Claim,
    Document,
    Event,
    Kind,
    Store,
    Unit,
    Wake,
)
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.sqlite import SqliteStore

KINDS = (Kind(name="payment", facets=("status", "provider")),)
GROUPS = (1, 10, 100, 1_000)
UNITS = 4_000
# One sync of a slow disk takes 10 ms: groups of one are measured by fewer units.
COMMITS_MAX = 400
WRITERS = 256
ROWS_PER_UNIT = 8
UNIT_BYTES = 1_500


class Figure(Struct, frozen=True, kw_only=True):
    """One line of the table. Times are for the whole measurement, in seconds."""

    name: str
    group: int
    rows: int
    wall_s: float
    cpu_s: float
    raw_wall_s: float

    @property
    def rows_per_s(self) -> float:
        """Rows committed in a second, as the clock on the wall says."""
        return self.rows / self.wall_s

    @property
    def cpu_us_per_row(self) -> float:
        """Microseconds of CPU, of all threads."""
        return self.cpu_s / self.rows * 1e6

    @property
    def times_raw(self) -> float:
        """How many times as long as appending and syncing the same bytes."""
        return self.wall_s / self.raw_wall_s


class Units:
    """An endless supply of units; their ids sort by the time of their making, as real ones do."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._made = 0

    def make(self, count: int) -> list[Unit]:
        """So many units, all different."""
        return [self._unit() for _ in range(count)]

    def _unit(self) -> Unit:
        rng = self._rng
        self._made += 1
        stream = f"pay_{self._made:010x}{rng.getrandbits(64):016x}"
        at_us = 1_700_000_000_000_000 + self._made
        events = tuple(
            Event(stream=stream, seq=seq, at_us=at_us, kind="noted", body=rng.randbytes(300))
            for seq in (1, 2)
        )
        document = Document(
            kind="payment",
            id=stream,
            scope=f"mer_{rng.randrange(50)}",
            facets=("processing", "sandbox"),
            links=(("order", f"o{rng.getrandbits(64)}"), ("customer", f"c{rng.randrange(1_000)}")),
            body=rng.randbytes(700),
        )
        return Unit(
            events=events,
            documents=(document,),
            claims=(Claim(name=f"{rng.getrandbits(128):032x}", stream=stream, body=bytes(64)),),
            wakes=(Wake(stream=stream, at_us=at_us),),
            audit=(AuditEntry(at_us=at_us, who="merchant", what="create", stream=stream),),
        )


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


def raw_wall_s(folder: Path, groups: int, group: int) -> float:
    """Append as many bytes as the groups hold to a file, with a sync for each."""
    file = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    content = os.urandom(UNIT_BYTES * group)
    start = time.perf_counter()
    for _ in range(groups):
        os.write(file, content)
        os.fdatasync(file)
    wall_s = time.perf_counter() - start
    os.close(file)
    return wall_s


async def measure_groups(
    name: str, store: Store, folder: Path, *, supply: Units, group: int, units: int
) -> Figure:
    """Commit group after group, as the journal does, without the journal."""
    groups = min(max(units // group, 2), COMMITS_MAX)
    batches = [supply.make(group) for _ in range(groups)]
    n, digest = await store.audit_head()
    chain = Chain(Head(n=n, hash=digest))

    async def work() -> None:
        for batch in batches:
            answers = await store.commit(batch, chain.link(batch))
            assert not any(answers)

    raw_s = raw_wall_s(folder, groups, group)
    wall_s, cpu_s = await _timed(work)
    return Figure(
        name=name,
        group=group,
        rows=groups * group * ROWS_PER_UNIT,
        wall_s=wall_s,
        cpu_s=cpu_s,
        raw_wall_s=raw_s,
    )


async def measure_journal(
    store: Store, folder: Path, *, supply: Units, writers: int, units: int
) -> Figure:
    """Many writers, each of which waits for its commit before it writes again."""
    loop = asyncio.get_running_loop()
    failures: list[BaseException] = []
    journal = Journal(
        store,
        spawn=loop.create_task,
        clock=SystemClock(),
        backlog_max=writers,
        on_fatal=failures.append,
    )
    await journal.start()
    prepared = supply.make(units)

    async def write() -> None:
        while prepared:
            assert await journal.append_wait(prepared.pop()) is None

    async def work() -> None:
        await asyncio.gather(*(write() for _ in range(writers)))

    wall_s, cpu_s = await _timed(work)
    stats = journal.stats
    group = stats.units // stats.groups
    return Figure(
        name=f"sqlite, journal, {writers} writers",
        group=group,
        rows=stats.units * ROWS_PER_UNIT,
        wall_s=wall_s,
        cpu_s=cpu_s,
        raw_wall_s=raw_wall_s(folder, stats.groups, group),
    )


async def measure_all(folder: Path, *, groups: tuple[int, ...], units: int) -> list[Figure]:
    figures: list[Figure] = []
    sqlite, memory = SqliteStore(folder / "data", KINDS), MemoryStore(KINDS)
    stores: tuple[tuple[str, Store], ...] = (("sqlite", sqlite), ("memory", memory))
    for name, store in stores:
        supply = Units(seed=1)
        await store.open()
        try:
            figures += [
                await measure_groups(name, store, folder, supply=supply, group=group, units=units)
                for group in groups
            ]
            if store is sqlite:
                writers = min(WRITERS, units // 4)
                figures.append(
                    await measure_journal(
                        store, folder, supply=supply, writers=writers, units=units
                    )
                )
        finally:
            await store.close()
    return figures


def show(figures: list[Figure]) -> None:
    print(f"{'store':32} {'group':>6} {'rows/s':>10} {'us CPU/row':>11} {'x raw':>7}")
    for figure in figures:
        print(
            f"{figure.name:32} {figure.group:>6} {figure.rows_per_s:>10,.0f}"
            f" {figure.cpu_us_per_row:>11.1f} {figure.times_raw:>7.2f}"
        )


def main() -> None:
    """Print the table; the first argument is the folder whose disk is measured."""
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-journal-") as folder:
        show(asyncio.run(measure_all(Path(folder), groups=GROUPS, units=UNITS)))


async def test_a_row_of_a_big_group_costs_less_than_a_row_of_its_own(tmp_path: Path) -> None:
    figures = await measure_all(tmp_path, groups=(1, 50), units=100)

    costs = {(figure.name, figure.group): figure.cpu_us_per_row for figure in figures}
    assert costs["sqlite", 50] < costs["sqlite", 1]
    assert len(figures) == 5


def test_a_unit_of_the_benchmark_has_the_rows_and_bytes_that_the_table_counts() -> None:
    (unit,) = Units(seed=1).make(1)
    (document,) = unit.documents

    rows = len(unit.events) + 1 + len(document.links) + len(unit.claims) + 2
    body_bytes = len(document.body) + sum(len(event.body) for event in unit.events)
    assert rows == ROWS_PER_UNIT
    assert body_bytes < UNIT_BYTES < 2 * body_bytes


if __name__ == "__main__":
    main()
