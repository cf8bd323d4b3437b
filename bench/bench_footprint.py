"""What a payment leaves behind: units, rows and bytes, by what they are, in SQLite and PostgreSQL.

A sandbox and a gateway, each a real process; card payments that are charged and confirmed by the
sandbox's webhook, nothing refunded. When all is settled and the gateway has ended, the bytes are
those of SQLite's own pages (`dbstat`) or of PostgreSQL's files, indexes counted with their tables,
partitions with what they are parts of. Nothing is vacuumed before: so big they become.

The write-ahead log is what the server wrote from the first payment on. No checkpoint comes
meanwhile: after one, each page that is written to is logged whole once, which can double the log
and more, depending on how often one comes.
"""

import asyncio
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import Struct

HERE = Path(__file__).resolve().parent
# A script finds what lies beside it, and `pytest` what tests share; each needs the other as well.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from bench_postgres import server_cpu_s  # noqa: E402  # see above
from postgres_rig import (  # noqa: E402  # see above
    PostgresServer,
    connected,
    execute,
    installed,
    one_server,
    value,
)
from process_rig import process_rig  # noqa: E402  # see above

PAYMENTS = 5_000
AT_ONCE = 64
_COUNTED = ("groups", "units", "rows")
# Nothing is vacuumed before it is asked for, and no checkpoint comes while it is measured.
_SETTINGS = ("autovacuum = off", "checkpoint_timeout = '1h'", "max_wal_size = '4GB'")
# Rows that were put in, changed and deleted, those of tallies and nodes included.
_TOUCHED = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables"
_TABLES = """
SELECT coalesce(parent.relname, own.relname), own.relname, pg_total_relation_size(own.oid)
FROM pg_class AS own
    LEFT JOIN pg_inherits AS part ON part.inhrelid = own.oid
    LEFT JOIN pg_class AS parent ON parent.oid = part.inhparent
WHERE own.relnamespace = 'paygate'::regnamespace AND own.relkind = 'r'
"""


class Footprint(Struct, frozen=True, kw_only=True):
    """For a payment: what the journal wrote, and rows and bytes of each table. `whole`: bytes.

    Of PostgreSQL alone: rows that it counted as touched, bytes of write-ahead log, and microseconds
    of processor to vacuum.
    """

    written: dict[str, float]
    rows: dict[str, float]
    bytes_: dict[str, float]
    whole: float
    touched: float = 0.0
    log: float = 0.0
    vacuum_us: float = 0.0


async def measure(
    folder: Path, payments: int, *, server: PostgresServer | None = None
) -> Footprint:
    """Pay that often and wait until nothing is open."""
    dsn = None if server is None else server.create_database(f"footprint_{server.next_number()}")
    async with process_rig(folder) as rig:
        gateway = await rig.serve(*(() if dsn is None else ("--database", dsn)))
        empty = None if dsn is None else await _ends(dsn)
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
        if server is None:
            return _read(rig.data / "journal.db", payments, written)
        assert dsn is not None
        assert empty is not None
        return await _read_database(server, dsn, payments, written, empty)


class Ends(Struct, frozen=True, kw_only=True):
    """How far a database has grown: its size and its log in bytes, and the rows touched."""

    size: int
    log: int
    touched: int


async def _ends(dsn: str) -> Ends:
    return Ends(
        size=await value(dsn, "SELECT pg_database_size(current_database())"),
        log=int(await value(dsn, "SELECT pg_current_wal_lsn() - '0/0'")),
        touched=await value(dsn, _TOUCHED),
    )


async def _read_database(
    server: PostgresServer,
    dsn: str,
    payments: int,
    written: dict[str, float],
    empty: Ends,
) -> Footprint:
    full = await _ends(dsn)
    # Whole numbers over the partitions of a table: sums of their quotients need not be exact.
    rows: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    async with connected(dsn) as connection:
        for name, part, held in await connection.fetch(_TABLES):
            rows[name] += await connection.fetchval(f'SELECT count(*) FROM paygate."{part}"')
            sizes[name] += held
    cpu_s = server_cpu_s(server)
    await execute(dsn, "VACUUM (ANALYZE)")
    return Footprint(
        written=written,
        rows={name: count / payments for name, count in rows.items()},
        bytes_={name: size / payments for name, size in sizes.items()},
        whole=(full.size - empty.size) / payments,
        touched=(full.touched - empty.touched) / payments,
        log=(full.log - empty.log) / payments,
        vacuum_us=1e6 * (server_cpu_s(server) - cpu_s) / payments,
    )


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


def show(found: Footprint, name: str) -> None:
    print(f"{name}; for each payment:")
    print(", ".join(f"{count:.2f} {name}" for name, count in found.written.items()) + " written")
    print(f"{'table':<12} {'rows':>6} {'bytes':>7}")
    for table, size in sorted(found.bytes_.items(), key=lambda each: -each[1]):
        if size >= 1:
            print(f"{table:<12} {found.rows.get(table, 0):>6.2f} {size:>7.0f}")
    print(f"{'all of it':<12} {'':>6} {found.whole:>7.0f}")


def main() -> None:
    """Print the tables."""
    print(f"{PAYMENTS} payments, {AT_ONCE} at once")
    with tempfile.TemporaryDirectory() as folder:
        show(asyncio.run(measure(Path(folder), PAYMENTS)), "SQLite")
    with (
        tempfile.TemporaryDirectory() as folder,
        installed() as programs,
        one_server(programs, "footprint", *_SETTINGS) as server,
    ):
        found = asyncio.run(measure(Path(folder), PAYMENTS, server=server))
    show(found, "PostgreSQL")
    print(f"{'its log':<12} {'':>6} {found.log:>7.0f}")
    print(f"{found.touched:.2f} rows touched; {found.vacuum_us:.0f} us to vacuum and analyze")


async def test_a_payment_leaves_its_events_its_views_and_its_claim(tmp_path: Path) -> None:
    found = await measure(tmp_path, 100)

    assert found.rows["events"] >= 5
    assert found.rows["claims"] == 1.01  # the vault's mark is a claim as well, once for the folder
    assert found.written["rows"] > found.written["units"] > 1
    assert sum(found.bytes_.values()) <= found.whole


@pytest.mark.slow
async def test_a_payment_leaves_the_same_in_postgresql_and_its_tally(tmp_path: Path) -> None:
    with installed() as programs, one_server(programs, "footprint", *_SETTINGS) as server:
        found = await measure(tmp_path, 100, server=server)

    assert found.rows["events"] >= 5
    # The vault's mark is a claim as well, once for the database.
    assert found.rows["claims"] == 1.01
    assert found.rows["tallies"] == 1
    assert found.touched > found.written["rows"]
    assert found.log > found.bytes_["events"] > 0


if __name__ == "__main__":
    main()
