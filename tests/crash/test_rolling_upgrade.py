"""Two versions over one database: the newer one joins beside the older one, and both pay."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest
from gateway_words import seed_of
from ledger_match import disagreements
from load_rig import Load
from postgres_rig import connected, execute, value
from process_rig import ProcessRig, command, process_rig

from paygate_engine.stores.base import Event
from paygate_engine.stores.checksums import event_crc
from paygate_engine.stores.migrations import read_migrations
from paygate_engine.stores.postgres_schema import MIGRATIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TURNS: Final = 6
# What a next version may do beside this one: a column with a default, and a function of its own
# that fills it. The function is today's with another insert, as if somebody had written it anew.
EXPANDS: Final = """-- expand: who wrote an event
ALTER TABLE paygate.events ADD COLUMN written_by bigint NOT NULL DEFAULT 1;
DO $do$
BEGIN
    EXECUTE replace(replace(replace(
        pg_get_functiondef('paygate.commit_group_1'::regproc),
        'commit_group_1', 'commit_group_2'),
        'epoch, crc)' || E'\\n        SELECT stream',
        'epoch, crc, written_by)' || E'\\n        SELECT stream'),
        'kind, body, epoch, crc' || E'\\n        FROM',
        'kind, body, epoch, crc, 2' || E'\\n        FROM');
END
$do$;
"""
# And what it may not: no program of today can commit after it, or join behind it.
CONTRACTS: Final = """-- contract: no older version is left
DROP FUNCTION paygate.commit_group_1;
"""
WRITTEN_BY: Final = "SELECT written_by, count(*) FROM paygate.events GROUP BY 1 ORDER BY 1"


def version(folder: Path, *texts: str) -> tuple[str, ...]:
    """How a version is called that has these migrations beside today's."""
    folder.mkdir()
    for path in MIGRATIONS.glob("*.sql"):
        shutil.copy(path, folder)
    for number, text in enumerate(texts, start=len(read_migrations(MIGRATIONS)) + 1):
        (folder / f"{number:04}_later.sql").write_text(text)
    return (sys.executable, str(Path(__file__).parent / "next_version.py"), "postgres", str(folder))


async def written_by(database: str) -> dict[int, int]:
    """How many events each version wrote."""
    async with connected(database) as connection:
        return dict(await connection.fetch(WRITTEN_BY))


async def proved(rig: ProcessRig, database: str) -> tuple[int, str]:
    books = rig.folder / "books.json"
    books.write_text(json.dumps({"data": await rig.sandbox.ledger()}, default=str))
    return await command(
        "prove", "--all", "--books", books, "--data", rig.data, "--database", database
    )


async def test_nodes_of_two_versions_pay_side_by_side_and_all_of_it_is_proved(
    tmp_path: Path, database: str
):
    rng = seed_of("upgrade")
    load = Load(rng)
    newer = version(tmp_path / "newer", EXPANDS)
    async with process_rig(tmp_path, seed=rng.randrange(1 << 32)) as rig:
        await rig.sandbox.fault("reset_after_effect", probability=0.1, count=1_000_000)
        old = await rig.serve("--database", database)
        # Paid at the older one while the newer one brings the schema up and joins.
        paying = asyncio.create_task(load.run(old, turns=TURNS))
        new = await rig.serve("--database", database, prefix=newer)
        await paying
        # Each also captures and refunds what the other one charged.
        await asyncio.gather(load.run(old, turns=TURNS), load.run(new, turns=TURNS))
        again = await rig.serve("--database", database)
        await asyncio.gather(load.run(again, turns=2), load.run(new, turns=2))
        wrong = await load.send_again(again)
        await rig.sandbox.clear_faults()
        # The older ones leave with what they have open, and the newer one brings it to its end.
        left = [await old.stop(), await again.stop()]
        settled = await new.settled()
        ledger = await rig.sandbox.ledger()
        code, said = await proved(rig, database)
        wrote = await written_by(database)

    assert wrong == [], "each acknowledged request answers as it did, at whichever version"
    assert left == [0, 0]
    assert load.acked <= {row["id"] for row in settled.payments}
    assert disagreements(settled, ledger) == []
    assert code == 0, said
    assert wrote.keys() == {1, 2}, "only one of the versions has written"


async def test_an_event_that_an_older_node_cannot_read_sets_that_payment_aside_alone(
    tmp_path: Path, database: str
):
    """Why one release learns to read a kind of event, and only the next one writes it."""
    async with process_rig(tmp_path) as rig:
        node = await rig.serve("--database", database)
        hit, other = [(await node.pay(f"k{n}", wait_s=5)).made()["id"] for n in range(2)]
        await node.stop()
        await write_later_kind(database, hit)
        older = await rig.serve("--database", database)

        refused = await older.operate(hit, "refund", {"amount": 1})
        refunded = await older.operate(other, "refund", {"amount": 1})
        shown = await older.payment(hit)

    assert refused.status == 503, refused
    assert shown["attention"] == "set_aside"
    assert refunded.status == 201, refunded


async def write_later_kind(database: str, payment_id: str) -> None:
    """Add an event as a later version might."""
    where = "FROM paygate.events WHERE stream = $1"
    seq = await value(database, f"SELECT max(seq) + 1 {where}", payment_id)
    event = Event(stream=payment_id, seq=seq, at_us=1, kind="later.1", body=b"{}", epoch=9)
    await execute(
        database,
        "INSERT INTO paygate.events (stream, seq, at_us, kind, body, epoch, crc)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        event.stream,
        event.seq,
        event.at_us,
        event.kind,
        event.body,
        event.epoch,
        event_crc(event),
    )


async def test_what_takes_away_waits_until_all_older_nodes_have_stopped(
    tmp_path: Path, database: str
):
    newer = version(tmp_path / "newer", EXPANDS)
    newest = version(tmp_path / "newest", EXPANDS, CONTRACTS)
    async with process_rig(tmp_path) as rig:
        old = await rig.serve("--database", database)
        new = await rig.serve("--database", database, prefix=newer)

        refused = await rig.spawn("--database", database, prefix=newest)
        came_up = await refused.came_up()
        paid = [(await node.pay(f"k{n}", wait_s=5)).made() for n, node in enumerate((old, new))]

        await old.stop()
        await new.stop()
        latest = await rig.serve("--database", database, prefix=newest)
        late = await rig.spawn("--database", database)
        came_up_late = await late.came_up()
        settled = await latest.settled()

    log = rig.log.read_text()
    assert not came_up
    assert "in use by nodes: stop them all first" in log
    assert {row["id"] for row in settled.payments} == {row["id"] for row in paid}
    assert not came_up_late
    assert "start a newer version of the program" in log
    known = len(read_migrations(MIGRATIONS))
    assert await value(database, "SELECT max(number) FROM paygate.migrations") == known + 2
