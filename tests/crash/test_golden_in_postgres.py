"""Journals that released versions wrote, moved over to PostgreSQL: shown, proved, gone on with."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from golden_gateway import LEASE_S, came_to_rest, gateway_on, live_on
from golden_rig import (
    Expected,
    copied,
    differences,
    expected_of,
    listed_by_today,
    read_by_today,
    versions,
    violations,
)
from postgres_rig import execute, value

from paygate_actors.projection import KINDS, WATCHED
from paygate_engine.clock import ManualClock
from paygate_engine.stores.postgres import PostgresStore
from paygate_http.__main__ import main

pytestmark = pytest.mark.slow


def names(golden: Path) -> str:
    return golden.name


@pytest.fixture(params=versions(), ids=names)
def golden(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def expected(golden: Path) -> Expected:
    return expected_of(golden)


@pytest.fixture
async def data(golden: Path, tmp_path: Path, database: str) -> Path:
    """The journal's folder, after it was moved over to the database."""
    data = copied(golden, tmp_path)
    assert await paygate("copy", "--from", data, "--to", database, "--no-prove") == 0
    return data


@pytest.fixture
async def store(data: Path, database: str) -> AsyncIterator[PostgresStore]:
    """The database, to be looked at."""
    async with opened(database) as store:
        yield store


@asynccontextmanager
async def opened(database: str) -> AsyncGenerator[PostgresStore]:
    store = PostgresStore(database, KINDS, read_only=True)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def paygate(*arguments: object) -> int:
    return await asyncio.to_thread(main, [str(each) for each in arguments])


async def test_every_payment_folds_to_what_its_version_said(
    store: PostgresStore, expected: Expected
):
    today = await read_by_today(store, version=expected.version, clock_us=expected.clock_us)

    assert differences(expected.payments, today.payments) == []
    assert differences(expected.transactions, today.transactions) == []
    assert (today.events, today.audit_rows) == (expected.events, expected.audit_rows)


async def test_the_lists_show_what_its_version_showed(store: PostgresStore, expected: Expected):
    payments, transactions = await listed_by_today(store)

    assert differences(expected.payments, payments) == []
    assert differences(expected.transactions, transactions) == []


async def test_all_of_it_is_proved_and_the_ends_that_its_version_published_agree(
    data: Path, store: PostgresStore, database: str, capsys: pytest.CaptureFixture[str]
):
    found = await violations(store)
    proved = await paygate("prove", "--all", "--data", data, "--database", database)
    verified = await paygate("audit", "verify", "--data", data, "--database", database)

    told = capsys.readouterr().out
    assert found == []
    assert (proved, verified) == (0, 0), told
    assert " 0 published ends agree" not in told


async def test_a_node_goes_on_with_it_and_brings_what_is_open_to_rest(
    data: Path, expected: Expected, database: str
):
    clock = ManualClock(expected.clock_us)
    await let_it_be(database, expected.clock_us)
    node = PostgresStore(database, KINDS, watched=WATCHED, lease_s=LEASE_S)
    async with gateway_on(data, clock, store=node) as (gateway, banks):
        lived = await live_on(gateway, banks, clock)

    came_to_rest(lived, expected)
    async with opened(database) as store:
        assert await violations(store) == [], "what was added is consistent with what was found"
        assert await store.chains() == ["", "1"], "a chain of the node's own, beside the moved one"
    owners = "SELECT count(*) FROM paygate.wakes WHERE owner = 0"
    assert await value(database, owners) == 0, "nothing was left to nobody"


async def let_it_be(database: str, now_us: int) -> None:
    """Have the database's time stand still at the moment when the journal was left."""
    await execute(
        database,
        "CREATE OR REPLACE FUNCTION paygate.now_us_1() RETURNS bigint LANGUAGE sql VOLATILE AS"
        f" $$ SELECT {now_us}::bigint $$",
    )
