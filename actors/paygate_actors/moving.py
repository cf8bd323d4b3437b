"""Moves everything that a data folder holds over to an empty database, byte for byte.

Rows are copied as they are, each held against its checksum, each stream's numbers against a gap,
each row of the audit chain against the one before. One thing is made anew: what a database adds up
for itself of every payment (`tallying.py`), out of the payment that its events fold to.

After the first thing that is wrong nothing more is sent, and the rest is only looked at, so that
everything that is wrong is named.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from paygate_actors.moving_checks import ChainCheck, Folding
from paygate_engine.stores.base import Claim
from paygate_engine.stores.checksums import claim_crc
from paygate_engine.stores.copy_rows import Row, read_counts, read_page
from paygate_engine.stores.row_check import Place
from paygate_engine.stores.sqlite import SqliteStore

# Of a folder that is damaged more than that, a list is of no help.
NAMED_MAX: Final = 100
_DAMAGED: Final = "the row is not what was written there"
_TALLY: Final = ("stream", "limit", "used")
_CLAIM: Final = ("name", "stream", "body", "crc")

Watch = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


class Target(Protocol):
    """Where rows go: see `postgres_fill.Filling`."""

    async def put(self, table: str, columns: tuple[str, ...], rows: list[Row]) -> None:
        """Add rows to a table, by columns."""
        ...

    async def count(self, table: str) -> int:
        """How many rows the table has by now."""
        ...


class Moved(Struct, frozen=True, kw_only=True):
    """What was moved: rows by table, payments and those of them that are open."""

    rows: Mapping[str, int]
    payments: int
    open: int
    tallies: int


class NotMoved(Exception):
    """What is wrong with the folder, or with what arrived; `found` names the first of it."""

    def __init__(self, found: list[str]) -> None:
        self.found = found[:NAMED_MAX]
        self.more = len(found) - len(self.found)
        super().__init__("; ".join(self.found))


async def move(source: SqliteStore, target: Target, *, mark: Claim, watch: Watch) -> Moved:
    """Put everything of the store into the target, with the vault's mark, and count it there.

    Nobody else may write to either meanwhile. Raises `NotMoved`, and what the two raise.
    """
    counts = await source.look(read_counts)
    folding, chain = Folding(), ChainCheck()
    found: list[str] = []
    done = 0
    place: Place | None = Place()
    while place is not None:
        page = await source.look(partial(read_page, place=place))
        found += [f"{each.table} {each.name}: {_DAMAGED}" for each in page.damage]
        if page.table == "events":
            found += folding.take(page)
        elif page.table == "audit":
            found += chain.take(page)
        if not found:
            await target.put(page.table, page.columns, page.rows)
            await target.put("tallies", _TALLY, folding.take_tallies())
        done += len(page.rows) + len(page.damage)
        watch(done, sum(counts.values()))
        place = page.following
    if found:
        raise NotMoved(found)
    marked = await source.read_claim(mark.name) is not None  # and so it was copied
    if not marked:
        await target.put("claims", _CLAIM, [(mark.name, mark.stream, mark.body, claim_crc(mark))])
    claims = counts["claims"] + (not marked)
    expected = {**counts, "claims": claims, "tallies": folding.tallied}
    if short := [each async for each in _differences(target, expected)]:
        raise NotMoved(short)
    return Moved(rows=counts, payments=folding.payments, open=folding.open, tallies=folding.tallied)


async def _differences(target: Target, expected: Mapping[str, int]) -> AsyncIterator[str]:
    for table, rows in expected.items():
        there = await target.count(table)
        if there != rows:
            yield f"{table}: {rows:,} rows were sent, and {there:,} are there"
