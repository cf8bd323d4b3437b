"""The memory store passes the suite."""

from collections.abc import AsyncIterator

import pytest
from store_suite import KINDS, StoreSuite, booking, put

from paygate_engine.stores.base import Store, Unit
from paygate_engine.stores.memory import MemoryStore


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MemoryStore(KINDS)
        await store.open()
        yield store
        await store.close()

    async def test_all_that_is_there_can_be_said_at_once(self, store: Store) -> None:
        await put(store, Unit(documents=(booking(1),)))

        assert store.peek_document("booking", "bkg_0001") == booking(1)
