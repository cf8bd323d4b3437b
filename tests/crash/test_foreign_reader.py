"""Another program looks into the journal beside the running server: nothing acknowledged is lost.

SQLite's last connection takes the log over and removes it. The server's locks must tell the other
program that it is not the last one.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import pytest
from process_rig import process_rig

from paygate_engine.stores.sqlite import DATABASE_NAME
from paygate_http.__main__ import main

pytestmark = pytest.mark.slow

LOOK: Final = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("SELECT count(*) FROM events").fetchone()[0])
database.close()
"""


async def looked_into(database: Path) -> int:
    """Count the events with a program that opens the database for writing too, and closes it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOOK, database, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert child.returncode == 0
    return int(said)


def removed_but_open(process_id: int) -> list[str]:
    """The journal's files that a process goes on with, though they have no name any more."""
    links = [str(each.readlink()) for each in Path(f"/proc/{process_id}/fd").iterdir()]
    return [link for link in links if DATABASE_NAME in link and link.endswith(" (deleted)")]


async def test_what_is_acknowledged_after_another_program_looked_in_survives_kill_9(
    tmp_path: Path,
):
    async with process_rig(tmp_path) as rig:
        gateway = await rig.serve()
        first = (await gateway.pay("before", wait_s=5)).made()

        assert await looked_into(rig.data / DATABASE_NAME) > 0
        removed = removed_but_open(gateway.process.child.pid)
        second = (await gateway.pay("after", wait_s=5)).made()
        await gateway.kill()
        gateway = await rig.serve()
        kept = {row["id"] for row in await gateway.every("payments")}
        await gateway.stop()

    assert removed == []
    assert kept == {first["id"], second["id"]}
    assert await asyncio.to_thread(main, ["audit", "verify", "--data", str(rig.data)]) == 0
