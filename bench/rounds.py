"""Rounds of rows in random order, and what they come to beside each other.

A ratio is taken within a round, where both were measured on the same machine in the same mood, and
told by the median of the rounds: it is how much of the yardstick's speed is left.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from measured_server import LOAD_CORE, on_core
from msgspec import Struct
from table_rows import Row, start
from works import Figure


class Spread(Struct, frozen=True):
    """Median, minimum and maximum."""

    median: float
    least: float
    most: float

    def text(self, digits: int) -> str:
        """How a table shows it."""
        low, high = f"{self.least:,.{digits}f}", f"{self.most:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({low}-{high})"


class Found(Struct, frozen=True):
    """Figures by row, in the order of the rounds."""

    figures: dict[str, list[Figure]]

    def spread(self, name: str, of: Callable[[Figure], float]) -> Spread:
        """One column of one row."""
        return spread(of(each) for each in self.figures[name])

    def ratio(self, name: str, beside: str) -> Spread:
        """How many times the other's speed it has."""
        pairs = zip(self.figures[beside], self.figures[name], strict=True)
        return spread(base.cpu_us / own.cpu_us for base, own in pairs)


def spread(values: Iterable[float]) -> Spread:
    """Of some values."""
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def measure(rows: Sequence[Row], *, rounds: int, seed: int, note: Callable[[str], None]) -> Found:
    """Prepare every row, then measure all of them in each round. `note` hears how it goes."""
    rng = random.Random(seed)
    figures: dict[str, list[Figure]] = {row.name: [] for row in rows}
    with ExitStack() as stack:
        stack.enter_context(on_core(LOAD_CORE))
        servers = {
            name: stack.enter_context(start(name))
            for name in dict.fromkeys(row.server for row in rows)
        }
        for row in rows:
            note(f"prepares {row.name.strip()}")
            row.work.prepare(servers[row.server])
        for number in range(1, rounds + 1):
            for row in rng.sample(rows, len(rows)):
                began_s = time.perf_counter()
                figure = row.work.run(servers[row.server])
                figures[row.name].append(figure)
                took_s = time.perf_counter() - began_s
                note(
                    f"{number}/{rounds} {row.name.strip()}: {figure.cpu_us:,.2f} us, {took_s:.1f} s"
                )
    return Found(figures)


def to_stderr(line: str) -> None:
    """Show progress, where it does not end up in the table."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
