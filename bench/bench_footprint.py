"""What a payment leaves behind: units, rows and bytes, by what they are.

A sandbox and a gateway, each a real process; card payments that are charged and confirmed by the
sandbox's webhook, nothing refunded. When all is settled and the gateway has ended, the bytes are
those of SQLite's own pages (`dbstat`), indexes counted with their tables.
"""

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from msgspec import Struct

# A script finds what lies beside it; `pytest` is told in pyproject.toml.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "conformance"))

from process_rig import process_rig  # see above

PAYMENTS = 5_000
AT_ONCE = 64
_COUNTED = ("groups", "units", "rows")


class Footprint(Struct, frozen=True, kw_only=True):
    """For a payment: what the journal wrote, and rows and bytes of each table. `whole`: bytes."""

    written: dict[str, float]
    rows: dict[str, float]
    bytes_: dict[str, float]
    whole: float


async def measure(folder: Path, payments: int) -> Footprint:
    """Pay that often and wait until nothing is open."""
    async with process_rig(folder) as rig:
        gateway = await rig.serve()
        before = await gateway.gauges()
        numbers = iter(range(payments))

        async def pay() -> None:
            for number in numbers:
                (await gateway.pay(f"footprint-{number}", wait_s=10)).made()

        await asyncio.gather(*(pay() for _ in range(AT_ONCE)))
        await gateway.settled()
        after = await gateway.gauges()
        assert await gateway.stop() == 0
        names = {each: f"paygate_journal_{each}_total" for each in _COUNTED}
        written = {each: (after[name] - before[name]) / payments for each, name in names.items()}
        return _read(rig.data / "journal.db", payments, written)


def _read(file: Path, payments: int, written: dict[str, float]) -> Footprint:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        tables = [
            row[0]
            for row in database.execute(
                "SELECT name FROM pragma_table_list"
                " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        rows = {
            each: database.execute(f'SELECT count(*) FROM "{each}"').fetchone()[0] / payments
            for each in tables
        }
        pages = database.execute(
            "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name)"
            " GROUP BY tbl_name"
        )
        bytes_ = {name: size / payments for name, size in pages}
    return Footprint(
        written=written, rows=rows, bytes_=bytes_, whole=file.stat().st_size / payments
    )


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), PAYMENTS))
    print(f"{PAYMENTS} payments, {AT_ONCE} at once; for each of them:")
    print(", ".join(f"{count:.2f} {name}" for name, count in found.written.items()) + " written")
    print(f"{'table':<12} {'rows':>6} {'bytes':>7}")
    for name, size in sorted(found.bytes_.items(), key=lambda each: -each[1]):
        if size >= 1:
            print(f"{name:<12} {found.rows.get(name, 0):>6.2f} {size:>7.0f}")
    print(f"{'the file':<12} {'':>6} {found.whole:>7.0f}")


async def test_a_payment_leaves_its_events_its_views_and_its_claim(tmp_path: Path) -> None:
    found = await measure(tmp_path, 100)

    assert found.rows["events"] >= 5
    assert found.rows["claims"] == 1
    assert found.written["rows"] > found.written["units"] > 1
    assert sum(found.bytes_.values()) <= found.whole


if __name__ == "__main__":
    main()
