"""The memory cluster passes the suites of shared stores, and each of its stores that of stores."""

from collections.abc import AsyncIterator, Sequence

import pytest
from shared_commit_suite import SharedCommitSuite
from shared_store_suite import WATCHED, Cluster, SharedStoreSuite
from store_suite import KINDS, StoreSuite

from paygate_engine.clock import ManualClock
from paygate_engine.stores.base import Store
from paygate_engine.stores.shared import BEAT_S, LEASE_S, SharedStore
from paygate_engine.stores.shared_memory import MemoryCluster, SharedMemoryStore


class MemoryRig:
    """A `Cluster` whose time is a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.database = MemoryCluster(KINDS, watched=WATCHED, clock=self.clock)

    async def node(self) -> SharedMemoryStore:
        store = self.database.node()
        await store.open()
        return store

    async def let_leases_run_out(self, *, but: Sequence[SharedStore] = ()) -> None:
        passed_s = 0.0
        while passed_s <= LEASE_S:
            self.clock.advance(BEAT_S)
            passed_s += BEAT_S
            for store in but:
                await store.beat()

    async def leave_open(self, stream: str) -> None:
        self.database.tables.wakes[stream] = 1


@pytest.fixture
def rig() -> MemoryRig:
    return MemoryRig()


class TestNodesOfMemory(SharedStoreSuite):
    @pytest.fixture
    def cluster(self, rig: MemoryRig) -> Cluster:
        return rig


class TestCommitsOfMemory(SharedCommitSuite):
    @pytest.fixture
    def cluster(self, rig: MemoryRig) -> Cluster:
        return rig


class TestOneNodeOfMemory(StoreSuite):
    @pytest.fixture
    async def store(self, rig: MemoryRig) -> AsyncIterator[Store]:
        store = await rig.node()
        await store.join("alone")
        yield store
        await store.close()
