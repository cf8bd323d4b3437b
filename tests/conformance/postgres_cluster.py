"""Stores of many nodes over one PostgreSQL database, as the suites of shared stores need them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from postgres_rig import execute
from shared_store_suite import WATCHED
from store_suite import KINDS

from paygate_engine.stores.postgres import PostgresStore
from paygate_engine.stores.shared import BEAT_S, LEASE_S, SharedStore

# The database's time cannot be moved; what it is compared with can.
_LET_PASS = (
    "UPDATE paygate.nodes SET beat_us = beat_us - $1, lease_until_us = lease_until_us - $1,"
    " steady_since_us = steady_since_us - $1"
)


class PostgresCluster:
    """A `Cluster` of the suites. `options` are those of its stores."""

    def __init__(self, dsn: str, **options: Any) -> None:
        self.dsn = dsn
        self.stores: list[PostgresStore] = []
        self._options = options

    async def node(self) -> PostgresStore:
        store = PostgresStore(self.dsn, KINDS, watched=WATCHED, **self._options)
        self.stores.append(store)
        await store.open()
        return store

    async def let_leases_run_out(self, *, but: Sequence[SharedStore] = ()) -> None:
        passed_s = 0.0
        while passed_s <= LEASE_S:
            await execute(self.dsn, _LET_PASS, round(BEAT_S * 1_000_000))
            passed_s += BEAT_S
            for store in but:
                await store.beat()

    async def leave_open(self, stream: str) -> None:
        statement = "INSERT INTO paygate.wakes (stream, at_us, crc, owner) VALUES ($1, 1, 0, 0)"
        await execute(self.dsn, statement, stream)

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


@asynccontextmanager
async def clustered(dsn: str, **options: Any) -> AsyncGenerator[PostgresCluster]:
    """A cluster whose stores are closed at the end of the block."""
    cluster = PostgresCluster(dsn, **options)
    try:
        yield cluster
    finally:
        await cluster.close()
