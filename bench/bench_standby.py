"""What a standby costs: time of a commit, and processor time of the primary, by size of the group.

Units are those of `bench_postgres.py`, with statements prepared. `alone` has no standby; the other
two are one pair, whose primary waits for its standby, or does not. Rounds are interleaved; all
servers are on this machine and share its disk, so that a commit is synced twice by one device, and
nothing lies between the two but loopback: add your network's round trip.
"""

import asyncio
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec import Struct

HERE = Path(__file__).resolve().parent
# Neither is found when the tests load this file by its path, nor the rig when it is run by itself.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from bench_postgres import Figure, measure, server_cpu_s  # noqa: E402  # see above
from postgres_rig import (  # noqa: E402  # see above
    STANDBY_NAME,
    PostgresServer,
    installed,
    one_server,
    server_pair,
    until,
    value,
)

MODES = ("alone", "asynchronous", "synchronous")
GROUPS = (1, 10, 100)
UNITS = 2_000
ROUNDS = 5
# Statements that are kept prepared. The number seeds what is written, so each round has its own.
PREPARED = 100


class Line(Struct, frozen=True, kw_only=True):
    """One measurement: what `bench_postgres` found, and the standby's processor time in seconds."""

    figure: Figure
    standby_s: float

    @property
    def commit_ms(self) -> float:
        """How long a group takes, on average."""
        return 1e3 * self.figure.wall_s * self.figure.group / self.figure.units

    @property
    def primary_us(self) -> float:
        """For an event."""
        return self.figure.us_per_event(self.figure.server_s)

    @property
    def standby_us(self) -> float:
        """For an event."""
        return self.figure.us_per_event(self.standby_s)


async def wait_for_standby(primary: PostgresServer, *, synchronous: bool) -> None:
    """Have the primary wait for its standby or not, and return when it does."""
    primary.set(f"synchronous_standby_names = '{STANDBY_NAME if synchronous else ''}'")
    primary.reload()
    wanted = "sync" if synchronous else "async"

    async def is_so() -> bool:
        return wanted == await value(
            primary.dsn(), "SELECT max(sync_state) FROM pg_stat_replication"
        )

    await until(is_so)


async def measure_all(
    *, groups: tuple[int, ...], units: int, rounds: int
) -> dict[tuple[int, str], list[Line]]:
    """Lines by group and mode."""
    found: dict[tuple[int, str], list[Line]] = {}
    with ExitStack() as stack:
        programs = stack.enter_context(installed())
        primary, standby = stack.enter_context(server_pair(programs, "pair"))
        alone = stack.enter_context(one_server(programs, "alone"))
        dsns = {each: each.create_database("bench") for each in (primary, alone)}
        for number in range(rounds):
            for group in groups:
                for place, mode in enumerate(MODES):
                    server = alone if mode == "alone" else primary
                    if server is primary:
                        await wait_for_standby(primary, synchronous=mode == "synchronous")
                    before_s = server_cpu_s(standby)
                    statements = PREPARED + len(MODES) * number + place
                    figure = await measure(
                        server, dsns[server], statements=statements, group=group, units=units
                    )
                    spent_s = 0.0 if server is alone else server_cpu_s(standby) - before_s
                    line = Line(figure=figure, standby_s=spent_s)
                    found.setdefault((group, mode), []).append(line)
    return found


def show(found: dict[tuple[int, str], list[Line]]) -> None:
    titles = ("group", "ms/commit (min-max)", "primary us/event", "standby us/event")
    print(f"{'':13} {titles[0]:>6} {titles[1]:>22} {titles[2]:>20} {titles[3]:>20}")
    for (group, mode), lines in found.items():
        print(
            f"{mode:13} {group:>6} {_spread([each.commit_ms for each in lines], 2):>22}"
            f" {_spread([each.primary_us for each in lines], 0):>20}"
            f" {_spread([each.standby_us for each in lines], 0):>20}"
        )


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def main() -> None:
    """Print the table."""
    show(asyncio.run(measure_all(groups=GROUPS, units=UNITS, rounds=ROUNDS)))


@pytest.mark.slow
async def test_a_standby_is_waited_for_or_not_and_works_in_both_cases() -> None:
    found = await measure_all(groups=(10,), units=100, rounds=1)

    assert {mode for _, mode in found} == set(MODES)
    assert all(line.commit_ms > 0 for lines in found.values() for line in lines)
    assert found[10, "alone"][0].standby_s == 0


if __name__ == "__main__":
    main()
