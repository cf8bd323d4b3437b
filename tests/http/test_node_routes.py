"""`GET /api/nodes`: how a node is written, and who is there where the store is shared or is not."""

from typing import Any

import msgspec

from paygate_actors.messages import Refusal
from paygate_actors.nodes import Nodes, NodeView
from paygate_engine.clock import ManualClock
from paygate_engine.stores.base import Unit, Wake
from paygate_engine.stores.memory import MemoryStore
from paygate_engine.stores.shared_memory import MemoryCluster

AT_US = 1_768_473_000_000_000
AT = "2026-01-15T10:30:00.000000Z"
LIVE = NodeView(
    seat=2,
    epoch=7,
    name="host:42",
    state="live",
    joined_us=AT_US,
    beat_us=AT_US + 2_500_000,
    lease_until_us=AT_US + 12_500_000,
    open_payments=3,
    is_self=True,
)


async def test_a_node_is_written_in_the_wires_words(gateway: Any) -> None:
    gateway.front.node_views = (LIVE,)

    status, page, _ = await gateway.ask("GET", "/api/nodes", key="operator")

    assert status == 200
    assert page == {
        "data": [
            {
                "id": 2,
                "epoch": 7,
                "name": "host:42",
                "state": "live",
                "joinedAt": AT,
                "lastBeatAt": "2026-01-15T10:30:02.500000Z",
                "leaseUntil": "2026-01-15T10:30:12.500000Z",
                "openPayments": 3,
                "self": True,
            }
        ]
    }


async def test_the_only_node_that_there_can_be_has_no_lease(gateway: Any) -> None:
    gateway.front.node_views = (msgspec.structs.replace(LIVE, lease_until_us=None),)

    _, page, _ = await gateway.ask("GET", "/api/nodes", key="operator")

    assert page["data"][0]["leaseUntil"] is None


async def test_a_database_that_is_away_is_503_and_asks_for_patience(gateway: Any) -> None:
    gateway.front.refusal = Refusal(code="overloaded", detail="Away.", retry_after_s=1)

    status, _, headers = await gateway.ask("GET", "/api/nodes", key="operator")

    assert (status, headers["Retry-After"]) == (503, "1")


async def test_a_store_of_ones_own_has_one_node_with_all_that_is_open() -> None:
    store, clock = MemoryStore(), ManualClock()
    await store.open()
    wakes = tuple(Wake(stream=f"pay_{number}", at_us=0) for number in range(1_001))
    await store.commit([Unit(wakes=wakes)], [[]])
    started_us = clock.now_us()
    nodes = Nodes(store, clock=clock, name="alone:1")
    clock.advance(5.0)

    (only,) = await nodes.all()

    assert (only.seat, only.name, only.state, only.is_self) == (1, "alone:1", "live", True)
    assert (only.joined_us, only.beat_us) == (started_us, started_us + 5_000_000)
    assert only.open_payments == 1_001


async def test_a_shared_store_tells_of_every_seat_and_which_one_is_asked() -> None:
    clock = ManualClock()
    cluster = MemoryCluster(clock=clock)
    ann, bob = cluster.node(), cluster.node()
    for store, name in ((ann, "ann"), (bob, "bob")):
        await store.open()
        await store.join(name)
    await bob.commit([Unit(wakes=(Wake(stream="pay_1", at_us=0),))], [[]])
    await ann.leave()
    nodes = Nodes(bob, clock=clock, name="not used")

    gone, here = await nodes.all()

    assert (gone.seat, gone.name, gone.state, gone.is_self) == (1, "ann", "left", False)
    assert (here.seat, here.name, here.state, here.is_self) == (2, "bob", "live", True)
    assert (here.open_payments, here.lease_until_us) == (1, clock.now_us() + 10_000_000)
