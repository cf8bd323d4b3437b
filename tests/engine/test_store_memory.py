"""The memory store passes the suite."""

from collections.abc import AsyncIterator

import pytest
from store_suite import KINDS, StoreSuite

from paygate_engine.stores.base import Store
from paygate_engine.stores.memory import MemoryStore


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MemoryStore(KINDS)
        await store.open()
        yield store
        await store.close()
