"""What is written into the audit log by the way, and a system that stops meanwhile."""

import asyncio
import gc
import warnings

from journal_rig import House
from store_suite import entry

from paygate_actors.furnish import note_later
from paygate_engine.system import ActorSystem


async def test_what_is_noted_is_in_the_audit_log():
    house, system = await House().start(), ActorSystem(loop=asyncio.get_running_loop())

    note_later(system, house.journal, entry("pool"))
    await asyncio.sleep(0)
    await house.journal.drain()

    assert [row.entry for row in await house.store.audit_rows()] == [entry("pool")]


async def test_a_system_that_stops_at_once_leaves_no_note_half_begun():
    house, system = await House().start(), ActorSystem(loop=asyncio.get_running_loop())

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        note_later(system, house.journal, entry("pool"))
        await system.stop_all()
        gc.collect()

    assert [str(each.message) for each in said] == []
    assert await house.store.audit_rows() == []
