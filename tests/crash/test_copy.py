"""A data folder moves over to PostgreSQL: all of it or nothing, and nodes go on with it."""

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import pytest
from gateway_words import seed_of
from golden_rig import copied, versions
from ledger_match import disagreements
from load_rig import GONE, Load
from postgres_rig import connected, execute, until, value
from process_rig import GatewayClient, Process, ProcessRig, command, process_rig

from paygate_actors.moved import MOVED_FILE
from paygate_actors.vault_keys import KEYS_FILE
from paygate_engine.stores.copy_rows import TABLES
from paygate_engine.stores.postgres_schema import migrate
from paygate_engine.stores.sqlite import DATABASE_NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "reset_after_effect", "probability": 0.08},
    {"fault": "reset_before_effect", "probability": 0.05},
    {"fault": "hang_after_effect", "probability": 0.05, "delayMs": 4_000},
    {"fault": "pending", "probability": 0.06, "delayMs": 3_000},
    {"fault": "webhook_drop", "probability": 0.2},
)
# Turns of each caller before the gateway is killed, and afterwards at each node.
TURNS: Final = 12
OTHER_KEYS: Final = """
[vault]
keys = ["other:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]
fingerprint_key = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
"""
# A payment that the folder's gateway began, and a node went on with.
GONE_ON: Final = (
    "SELECT stream FROM paygate.events GROUP BY stream"
    " HAVING min(epoch) = 0 AND max(epoch) > 0 LIMIT 1"
)
WAITING: Final = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def killed_under_load(rig: ProcessRig, load: Load) -> None:
    """Pay, capture, refund and reverse at a gateway on a folder, which is killed meanwhile."""
    for fault in FAULTS:
        await rig.sandbox.fault(**fault, count=1_000_000)
    gateway = await rig.serve()
    await load.run(gateway, turns=TURNS)
    running = asyncio.create_task(until_gone(load, gateway))
    acked = len(load.acked)
    async with asyncio.timeout(30):
        while len(load.acked) < acked + 10:  # noqa: ASYNC110  # nobody would set an event
            await asyncio.sleep(0.01)
    gateway.process.signal(signal.SIGKILL)
    await running
    await gateway.kill()


async def until_gone(load: Load, gateway: GatewayClient) -> None:
    with contextlib.suppress(*GONE):
        await load.run(gateway)


def rows_of(folder: Path) -> dict[str, int]:
    """How many rows each table of a folder has."""
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in TABLES
        }


async def rows_in(database: str) -> dict[str, int]:
    """How many rows each of these tables has in the database; none where there is no schema."""
    if not await value(database, "SELECT to_regnamespace('paygate') IS NOT NULL"):
        return dict.fromkeys(TABLES, 0)
    return {
        table: await value(database, f"SELECT count(*) FROM paygate.{table}") for table in TABLES
    }


async def proved(ledger: list[dict[str, Any]], rig: ProcessRig, database: str) -> tuple[int, str]:
    """Prove the database against books."""
    books = rig.folder / "books.json"
    books.write_text(json.dumps({"data": ledger}, default=str))
    return await command(
        "prove", "--all", "--books", books, "--data", rig.data, "--database", database
    )


@pytest.mark.parametrize("nodes", [2])
async def test_nodes_go_on_with_what_a_killed_gateway_left(
    tmp_path: Path, database: str, nodes: int
):
    rng = seed_of("copy")
    load = Load(rng)
    async with process_rig(tmp_path, seed=rng.randrange(1 << 32)) as rig:
        await killed_under_load(rig, load)

        code, said = await command("copy", "--from", rig.data, "--to", database)

        assert code == 0, said
        assert "proved, from the journal alone" in said
        left, there = rows_of(rig.data), await rows_in(database)
        assert there == left, "with the mark of the vault"
        assert left["wakes"] > 0, "nothing was open"
        assert not await (await rig.spawn()).came_up(), "the folder is served once more"
        assert "have moved to postgresql://" in rig.log.read_text()

        serving = [await rig.serve("--database", database) for _ in range(nodes)]
        # Proved while both write: what moves meanwhile is read again.
        arguments = ("prove", "--all", "--data", rig.data, "--database", database)
        proving = asyncio.create_task(command(*arguments))
        await asyncio.gather(
            *(Load(rng, name=f"{n}-").run(g, turns=TURNS) for n, g in enumerate(serving))
        )
        meanwhile = await proving
        again = await load.send_again(serving[0])
        await rig.sandbox.clear_faults()
        settled = await serving[1].settled()
        ledger = await rig.sandbox.ledger()
        shown = await command(
            "prove", await value(database, GONE_ON), "--data", rig.data, "--database", database
        )
        # Beside nodes that run; then once more when they have left.
        beside = await proved(ledger, rig, database)
        ended = [await gateway.stop() for gateway in serving]
        after = await proved(ledger, rig, database)

    assert meanwhile[0] == 0, meanwhile[1]
    assert again == [], "each acknowledged request answers as it did"
    assert load.acked <= {row["id"] for row in settled.payments}
    assert disagreements(settled, ledger) == []
    assert [beside[0], after[0]] == [0, 0], beside[1] + after[1]
    assert ended == [0, 0]
    assert shown[0] == 0, shown[1]
    assert "before there were nodes" in shown[1]


# What is not moved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the newest version left, with everything in it."""
    return copied(versions()[-1], tmp_path)


def edit(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection, connection:
        assert connection.execute(statement).rowcount == 1


async def copy(folder: Path, database: str, *more: object) -> tuple[int, str]:
    return await command("copy", "--from", folder, "--to", database, *more)


async def test_a_second_time_is_refused_and_changes_nothing(folder: Path, database: str):
    first = await copy(folder, database)
    there = await rows_in(database)

    code, said = await copy(folder, database)

    assert first[0] == 0, first[1]
    assert (code, await rows_in(database)) == (1, there)
    assert "the database is not empty (there are events in it)" in said
    assert (folder / MOVED_FILE).exists()


async def test_a_folder_moves_to_one_place_only(folder: Path, database: str, postgres_server: Any):
    assert (await copy(folder, database))[0] == 0

    code, said = await copy(folder, postgres_server.dsn())

    assert code == 1
    assert "has moved to postgresql://" in said


async def test_every_damaged_row_is_named_and_nothing_is_moved(folder: Path, database: str):
    payment = "(SELECT min(stream) FROM events)"
    edit(folder, f"UPDATE events SET at_us = 1 WHERE stream = {payment} AND seq = 2")
    edit(folder, "DELETE FROM events WHERE stream = (SELECT max(stream) FROM events) AND seq = 1")
    edit(folder, "UPDATE documents SET body = x'00' WHERE kind = 'mode'")
    edit(folder, "UPDATE audit SET why = 'other' WHERE n = 7")

    code, said = await copy(folder, database, "--no-prove")

    assert code == 1
    assert said.count("the row is not what was written there") == 2, said
    assert "documents mode mode" in said
    assert "event 1 is missing" in said
    assert "audit 7: the row does not follow" in said
    assert not any((await rows_in(database)).values())
    assert not (folder / MOVED_FILE).exists()


async def test_what_is_not_proved_is_not_moved_however_sound_its_rows_are(
    folder: Path, database: str
):
    edit(
        folder,
        "DELETE FROM documents WHERE kind = 'payment' AND id IN (SELECT min(stream) FROM events)",
    )

    code, said = await copy(folder, database)

    assert code == 1
    assert "and it is not listed" in said
    assert "NOT proved" in said
    assert "was not copied, and nothing was written to the database" in said
    assert not any((await rows_in(database)).values())
    assert not (folder / MOVED_FILE).exists()


async def test_a_folder_that_is_served_is_not_moved(tmp_path: Path, database: str):
    async with process_rig(tmp_path) as rig:
        await rig.serve()

        code, said = await copy(rig.data, database)

    assert code == 1
    assert "stop it first" in said
    assert not any((await rows_in(database)).values())


async def test_a_database_that_a_node_uses_is_not_filled(tmp_path: Path, database: str):
    golden = copied(versions()[-1], tmp_path / "old")
    async with process_rig(tmp_path) as rig:
        await rig.serve("--database", database)
        before = await rows_in(database)

        code, said = await copy(golden, database)

        assert code == 1
        assert "in use by nodes" in said
        assert await rows_in(database) == before


async def test_without_the_keys_or_with_others_nothing_is_moved(folder: Path, database: str):
    others = folder.parent / "others.toml"
    others.write_text(OTHER_KEYS)

    with_others = await copy(folder, database, "--config", others)
    (folder / KEYS_FILE).unlink()
    without = await copy(folder, database)

    assert with_others[0] == 1
    assert "not the vault keys of the folder" in with_others[1]
    assert without[0] == 2
    assert "are not known" in without[1]
    assert not any((await rows_in(database)).values())


async def test_a_node_with_other_keys_is_refused(tmp_path: Path, folder: Path, database: str):
    assert (await copy(folder, database))[0] == 0
    async with process_rig(tmp_path) as rig:
        rig.data = tmp_path / "elsewhere"  # where a sandbox makes keys of its own

        came_up = await (await rig.spawn("--database", database)).came_up()

        assert not came_up
        log = rig.log.read_text()
        assert "not those of the database's other nodes" in log
        assert "Traceback" not in log, "the line that matters is not the only one"


# What ends in the middle


@asynccontextmanager
async def held_up(database: str) -> AsyncGenerator[None]:
    """Let nobody write to the table that is filled last."""
    async with connected(database) as connection, connection.transaction():
        await connection.execute("LOCK TABLE paygate.audit IN SHARE MODE")
        yield


async def test_a_copy_that_is_killed_leaves_nothing_and_the_next_one_works(
    tmp_path: Path, folder: Path, database: str
):
    await migrate(database)
    async with held_up(database):
        process = await Process.spawn(
            "copy", "--from", str(folder), "--to", database, log=tmp_path / "copy.log"
        )
        await until(lambda: value(database, WAITING))
        process.signal(signal.SIGKILL)
        await process.ended()

    assert not any((await rows_in(database)).values())
    assert not (folder / MOVED_FILE).exists()
    code, said = await copy(folder, database)
    assert code == 0, said
    assert (await rows_in(database))["events"] > 0


async def test_a_server_that_dies_on_the_way_leaves_the_folder_to_be_served(
    tmp_path: Path, folder: Path, database: str
):
    await migrate(database)
    async with held_up(database):
        running = asyncio.create_task(copy(folder, database))
        await until(lambda: value(database, WAITING))
        await execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted",
        )
        code, said = await running

    assert code == 1
    assert "nothing was written" in said
    assert not (folder / MOVED_FILE).exists()


# What is proved


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (
            "UPDATE paygate.tallies SET used = used - 1 WHERE used > 0",
            "sum in the database",
        ),
        ("DELETE FROM paygate.wakes WHERE at_us = 0", "wake: it is open"),
        ("UPDATE paygate.audit SET why = 'other' WHERE n = 7", "row 7: audit chain"),
        (
            "DELETE FROM paygate.audit WHERE n = (SELECT max(n) FROM paygate.audit)",
            "rows were cut off",
        ),
        ("UPDATE paygate.items SET key = 'other'", "checksum: the row is not what was written"),
        ("DELETE FROM paygate.documents WHERE kind = 'payment'", "and it is not listed"),
        ("UPDATE paygate.events SET epoch = 4 WHERE seq = 1", "sequence"),
    ],
)
async def test_a_database_that_somebody_changed_is_not_proved(
    folder: Path, database: str, statement: str, rule: str
):
    assert (await copy(folder, database, "--no-prove"))[0] == 0
    await execute(database, statement)

    code, said = await command("prove", "--all", "--data", folder, "--database", database)

    assert code == 1
    assert rule in said
    assert "NOT proved" in said


async def test_the_doctor_names_damaged_rows_of_a_database(folder: Path, database: str):
    assert (await copy(folder, database, "--no-prove"))[0] == 0
    await execute(database, "UPDATE paygate.events SET at_us = 1 WHERE seq = 2")

    code, said = await command("doctor", "--data", folder, "--database", database)

    assert code == 1
    assert "is quarantined: its event 2 is damaged" in said
