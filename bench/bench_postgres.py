"""What a group costs over PostgreSQL: processor time of client and server, by size of the group.

A unit is that of `bench_journal.py`: two events, a document with two links, a claim, a wake and an
audit row, random content. `client` is this process, `server` all processes of the server. With
statements prepared a group is one round trip; without, as behind a pooler, two. The server runs on
this machine, with every commit synced to its disk.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from msgspec import Struct

from paygate_engine.chain import Chain, Head
from paygate_engine.stores.postgres import PostgresStore

HERE = Path(__file__).resolve().parent
# Neither is found when the tests load this file by its path, nor the rig when it is run by itself.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from bench_journal import KINDS, Units  # noqa: E402  # see above
from postgres_rig import (  # noqa: E402  # see above
    PostgresServer,
    installed,
    one_server,
    processes_of,
)

GROUPS = (1, 10, 100, 500)
UNITS = 2_000
# Groups of one are measured by fewer units.
COMMITS_MAX = 400
EVENTS_PER_UNIT = 2


class Figure(Struct, frozen=True, kw_only=True):
    """One line of the table. Times are for the whole measurement, in seconds."""

    statements: int
    group: int
    units: int
    wall_s: float
    client_s: float
    server_s: float

    def us_per_event(self, spent_s: float) -> float:
        """A time of the measurement in microseconds for each event."""
        return spent_s * 1e6 / (self.units * EVENTS_PER_UNIT)


def server_cpu_s(server: PostgresServer) -> float:
    """Processor time of the server so far, of its processes that live and that have ended."""
    ticks = 0
    # The first process last: it has the time of its dead children too, also of one that ends now.
    for pid in sorted(processes_of(server.pid), key=lambda each: each == server.pid):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Of its own in user and system.
        ticks += sum(map(int, fields[11:15] if pid == server.pid else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def measure(
    server: PostgresServer, dsn: str, *, statements: int, group: int, units: int
) -> Figure:
    """Commit group after group, as the journal does, without the journal."""
    groups = min(max(units // group, 2), COMMITS_MAX)
    supply = Units(seed=statements * 1_000 + group)
    store = PostgresStore(dsn, KINDS, statements=statements)
    await store.open()
    await store.join("bench")
    n, digest = await store.audit_head()
    chain = Chain(Head(n=n, hash=digest))
    try:
        first = supply.make(group)  # plans are made once
        assert not any(await store.commit(first, chain.link(first)))
        batches = [supply.make(group) for _ in range(groups)]
        wall, cpu, server_s = time.perf_counter(), time.process_time(), server_cpu_s(server)
        for batch in batches:
            assert not any(await store.commit(batch, chain.link(batch)))
        return Figure(
            statements=statements,
            group=group,
            units=groups * group,
            wall_s=time.perf_counter() - wall,
            client_s=time.process_time() - cpu,
            server_s=server_cpu_s(server) - server_s,
        )
    finally:
        await store.leave()
        await store.close()


async def measure_all(
    server: PostgresServer, *, groups: tuple[int, ...], units: int
) -> list[Figure]:
    dsn = server.create_database(f"bench_{server.next_number()}")
    return [
        await measure(server, dsn, statements=statements, group=group, units=units)
        for statements in (0, 100)
        for group in groups
    ]


def show(figures: list[Figure]) -> None:
    print(
        f"{'prepared':9} {'group':>6} {'events/s':>9} {'ms/group':>9}"
        f" {'client us/event':>16} {'server us/event':>16}"
    )
    for each in figures:
        print(
            f"{'yes' if each.statements else 'no':9} {each.group:>6}"
            f" {each.units * EVENTS_PER_UNIT / each.wall_s:>9,.0f}"
            f" {each.wall_s * 1e3 * each.group / each.units:>9.1f}"
            f" {each.us_per_event(each.client_s):>16.1f}"
            f" {each.us_per_event(each.server_s):>16.1f}"
        )


def main() -> None:
    """Print the table."""
    with installed() as programs, one_server(programs, "bench") as server:
        show(asyncio.run(measure_all(server, groups=GROUPS, units=UNITS)))


@pytest.mark.slow
async def test_an_event_of_a_big_group_costs_less_than_one_of_its_own() -> None:
    with installed() as programs, one_server(programs, "bench") as server:
        figures = await measure_all(server, groups=(1, 50), units=100)

    costs = {(each.statements, each.group): each.us_per_event(each.client_s) for each in figures}
    assert len(figures) == 4
    assert all(each.server_s >= 0 for each in figures)
    assert costs[0, 50] < costs[0, 1]


if __name__ == "__main__":
    main()
