"""What was set out for, beside what was measured: a table that says met, or not met."""

from collections.abc import Generator, Sequence

import table_rows as rows
from msgspec import Struct
from rounds import Found


class Goal(Struct, frozen=True):
    """So many times the speed of another row, at least."""

    name: str
    beside: str
    least: float


GOALS: tuple[Goal, ...] = (
    # The rest of a yardstick is room for what a bare handler does not do: three quarters of it
    # again for checks, vault, decision and a row's share of a synced group.
    Goal(rows.ACCEPT, rows.BARE, 0.60),
    # A call over a lean client costs about what the accept does, and the outcome is written too.
    Goal(rows.WHOLE, rows.BARE, 0.25),
    # Whoever writes their own in a day must not be better off by it.
    Goal(rows.ACCEPT, rows.AIOHTTP, 2.0),
    Goal(rows.ACCEPT, rows.FASTAPI, 30.0),
    # A read does what the bare one does, and checks whose it is; a stored one asks SQLite too.
    Goal(rows.LIVE, rows.BARE_READ, 0.80),
    Goal(rows.STORED, rows.BARE_READ, 0.50),
    # Two commits: the event before it is acknowledged, and what follows from it.
    Goal(rows.WEBHOOK, rows.BARE_WEBHOOK, 0.40),
)


def judged(found: Found, goals: Sequence[Goal] = GOALS) -> Generator[str]:
    """Lines of the table, of those goals whose rows were measured."""
    measured = [each for each in goals if {each.name, each.beside} <= found.figures.keys()]
    if not measured:
        return
    yield f"{'goal':<36} {'of the speed of':<26} {'at least':>8}  measured"
    for goal in measured:
        ratio = found.ratio(goal.name, goal.beside)
        verdict = "met" if ratio.median >= goal.least else "not met"
        yield f"{goal.name:<36} {goal.beside:<26} {goal.least:>8.2f}  {ratio.text(3)}: {verdict}"
