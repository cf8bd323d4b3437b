"""`make bench`: one table of what the gateway costs, beside yardsticks and peers of the same run.

Each server has a process and a core of its own, the load the other core (one core for both where
there is no other). Every round measures every row, in an order that the seed chooses; the table
shows median, minimum and maximum of the rounds. Behind it stand the goals, met or not.
"""

import argparse
import math
import os
import platform
import random
import sqlite3
import sys
import sysconfig
from collections.abc import Generator, Sequence
from importlib.metadata import version
from pathlib import Path

# None is found when the tests load this file by its path.
sys.path.append(str(Path(__file__).resolve().parent))

import made_requests  # see above
import pytest  # see above
from goals import Goal, judged  # see above
from measured_server import CORES, LOAD_CORE, SERVER_CORE, on_core  # see above
from rounds import Found, measure, to_stderr  # see above
from table_rows import BARE, Row, rows, start  # see above
from works import Figure, load  # see above

ROUNDS = 5
# As many digits as say something: a cheap part is told by its hundredths.
DIGITS = 3


def header(seed: int, rounds: int) -> Generator[str]:
    """Where and how it was measured."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "an optimised build" if optimised else "not an optimised build"
    yield (
        f"Python {platform.python_version()} ({build}), SQLite {sqlite3.sqlite_version},"
        f" aiohttp {version('aiohttp')}, Linux {platform.release()}, {os.cpu_count()} cores:"
        f" servers on {SERVER_CORE}, load on {LOAD_CORE} of {len(CORES)}"
    )
    yield f"{rounds} rounds, order by seed {seed}; median (min-max)"


def table(found: Found, shown: Sequence[Row]) -> Generator[str]:
    """Lines of the table."""
    yield (
        f"{'':<36} {'us CPU':>24} {'x yardstick':>24} {'p50 ms':>8} {'p99 ms':>8} {'load us':>8}"
    )
    for row in shown:
        cost = found.spread(row.name, lambda it: it.cpu_us)
        line = f"{row.name:<36} {cost.text(digits(cost.median)):>24}"
        if row.beside in found.figures:
            ratio = found.ratio(row.name, row.beside)
            line += f" {ratio.text(digits(ratio.median)):>24}"
        if found.figures[row.name][0].p50_ms:
            columns = (
                found.spread(row.name, lambda it: it.p50_ms),
                found.spread(row.name, lambda it: it.p99_ms),
                found.spread(row.name, lambda it: it.own_us),
            )
            line += "".join(f" {each.median:>8.1f}" for each in columns)
        yield line
    refused = {row.name: sum(each.refused for each in found.figures[row.name]) for row in shown}
    for name, count in refused.items():
        if count:
            yield f"{name}: {count} requests were refused with 429, and sent again"


def digits(value: float) -> int:
    """So many decimals that `DIGITS` digits are shown, or the whole number."""
    return max(DIGITS - 1 - math.floor(math.log10(max(value, 1e-9))), 0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    given = parser.parse_args()
    wanted = [row for row in rows() if given.rows in row.name]
    needed = {row.beside for row in wanted}
    chosen = [row for row in rows() if row.name in needed] if given.rows else []
    shown = [*(row for row in chosen if given.rows not in row.name), *wanted]
    found = measure(shown, rounds=given.rounds, seed=given.seed, note=to_stderr)
    for line in (*header(given.seed, given.rounds), *table(found, shown), "", *judged(found)):
        print(line)


@pytest.mark.slow
def test_every_row_has_a_figure_and_every_payment_comes_to_its_end() -> None:
    """The figures are noise; each work holds what it did against the server's count."""
    every = rows(share=0.02)

    found = measure(every, rounds=1, seed=1, note=lambda _: None)

    assert all(found.figures[row.name][0].cpu_us > 0 for row in every)
    assert len([*table(found, every)]) > len(every)


@pytest.mark.slow
def test_a_bare_reply_is_as_long_as_the_gateways() -> None:
    lengths: dict[str, int] = {}
    for name in ("bare", "instant"):
        with on_core(LOAD_CORE), start(name) as server:
            requests = made_requests.payments(1)
            bodies = load(server, requests, connections=1, status=201)[1]
            lengths[name] = len(bodies[0])

    assert lengths["bare"] == pytest.approx(lengths["instant"], rel=0.05)


def test_a_ratio_is_that_of_the_rounds_and_a_goal_is_met_by_its_median() -> None:
    def figures(*costs: float) -> list[Figure]:
        return [Figure(cpu_us=each) for each in costs]

    found = Found({BARE: figures(10, 20, 30), "ours": figures(20, 20, 20)})

    ratio = found.ratio("ours", BARE)
    assert (ratio.median, ratio.least, ratio.most) == (1.0, 0.5, 1.5)
    goals = (Goal("ours", BARE, 1.0), Goal("ours", BARE, 1.1), Goal("unmeasured", BARE, 1.0))
    assert [line.rpartition(": ")[2] for line in judged(found, goals)][1:] == ["met", "not met"]


if __name__ == "__main__":
    main()
