"""The doctor's look at a folder comes to an end, whatever the rows of the folder say."""

from typing import Any, Final

import msgspec
import pytest

from paygate_actors.checkup import Bounds, check_up, troubles
from paygate_actors.config import Config
from paygate_actors.endpoints import DisabledBecause, Endpoint, endpoint_document
from paygate_actors.outbox import Delivery, DeliveryStatus, delivery_document
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


async def test_what_merchants_were_not_told_is_counted_by_endpoint_and_troubles_nobody():
    store = MemoryStore(KINDS)
    await store.open()
    endpoints = [endpoint("we_1"), endpoint("we_2", disabled="gone")]
    deliveries = [
        delivery("dlv_1", "we_1", "dead"),
        delivery("dlv_2", "we_1", "dead"),
        delivery("dlv_3", "we_1", "delivered"),
    ]
    documents = (*map(endpoint_document, endpoints), *map(delivery_document, deliveries))
    await store.commit([Unit(documents=documents)], [()])

    found = await check_up(store, now_us=9, bounds=Bounds.of(Config()), **ASIDE)

    assert (found.given_up, found.gone) == ({"we_1": 2}, ("we_2",))
    assert [each for each in troubles(found) if "we_" in each or "webhooks" in each] == []


def endpoint(of_id: str, disabled: DisabledBecause | None = None) -> Endpoint:
    return Endpoint(
        id=of_id,
        merchant="m",
        url="https://m.example/hooks",
        created_at_us=1,
        updated_at_us=1,
        secrets=(),
        disabled=disabled,
    )


def delivery(of_id: str, endpoint_id: str, status: DeliveryStatus) -> Delivery:
    return Delivery(
        id=of_id,
        endpoint_id=endpoint_id,
        merchant="m",
        event_id="evt_1",
        event_type="payment.succeeded",
        created_at_us=1,
        event=msgspec.Raw(b"{}"),
        status=status,
    )


async def test_a_damaged_stamp_is_no_mode():
    store = MemoryStore(KINDS)
    await store.open()
    stamp = Document(kind=MODE, id=MODE, body=b"\x80live", sound=False)
    await store.commit([Unit(documents=(stamp,))], [()])

    found = await check_up(store, now_us=9, bounds=Bounds.of(Config()), **ASIDE)

    assert found.mode is None
