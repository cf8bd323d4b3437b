"""The doctor's look at a folder comes to an end, whatever the rows of the folder say."""

from typing import Any, Final

import pytest

from paygate_actors.checkup import Bounds, check_up
from paygate_actors.config import Config
from paygate_actors.projection import INBOX, KINDS, MODE
from paygate_engine.stores.base import Document, Item, Unit, Wake
from paygate_engine.stores.memory import MemoryStore

ASIDE: Final[dict[str, Any]] = {"published_n": None, "free_bytes": 1, "last_backup": None}


class Misnamed(MemoryStore):
    """Its rows lie in their order, and the last one's name was damaged since."""

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        found = await super().open_streams(after="" if after < "pay_1" else after, limit=limit)
        return [*found, Wake(stream="aay_2", at_us=0)]

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        found = await super().waiting(queue, after_id="" if after_id < "s/1" else after_id)
        return [*found, Item(queue=queue, id="a/2", key="k", at_us=7, body=b"")]


@pytest.mark.timeout(10)
async def test_names_that_lead_back_end_the_look():
    store = Misnamed(KINDS)
    await store.open()
    waiting = Item(queue=INBOX, id="s/1", key="k", at_us=5, body=b"")
    await store.commit([Unit(wakes=(Wake(stream="pay_1", at_us=0),), items=(waiting,))], [()])

    found = await check_up(store, now_us=9, bounds=Bounds.of(Config()), **ASIDE)

    assert found.open_payments >= 2
    assert (found.parked >= 2, found.parked_oldest_us) == (True, 5)


async def test_a_damaged_stamp_is_no_mode():
    store = MemoryStore(KINDS)
    await store.open()
    stamp = Document(kind=MODE, id=MODE, body=b"\x80live", sound=False)
    await store.commit([Unit(documents=(stamp,))], [()])

    found = await check_up(store, now_us=9, bounds=Bounds.of(Config()), **ASIDE)

    assert found.mode is None
