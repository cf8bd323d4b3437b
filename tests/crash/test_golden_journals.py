"""Journals that released versions wrote, read by today's code: folded, proved, and gone on with.

`tests/golden/README.md` says how a version leaves its own.
"""

import asyncio
from collections.abc import AsyncGenerator
from importlib.metadata import version
from pathlib import Path

import pytest
from golden_gateway import came_to_rest, gateway_on, live_on
from golden_rig import (
    Expected,
    copied,
    differences,
    expected_of,
    kinds_of_events,
    listed_by_today,
    read_by_today,
    upgraded,
    versions,
    violations,
)

from paygate_actors import events as e
from paygate_engine.clock import ManualClock
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.__main__ import main


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
async def store(golden: Path, tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    """A copy of the journal, brought to today's schema."""
    async with upgraded(copied(golden, tmp_path)) as store:
        yield store


def test_this_version_has_left_its_journal():
    assert version("paygate") in map(names, versions())


async def test_every_kind_of_event_that_is_written_today_is_in_a_golden_journal(tmp_path: Path):
    seen: set[str] = set()
    for golden in versions():
        async with upgraded(copied(golden, tmp_path / golden.name)) as store:
            seen |= await kinds_of_events(store)

    assert e.KINDS_WRITTEN - seen == set()


async def test_every_payment_folds_to_what_its_version_said(store: SqliteStore, expected: Expected):
    today = await read_by_today(store, version=expected.version, clock_us=expected.clock_us)

    assert differences(expected.payments, today.payments) == []
    assert differences(expected.transactions, today.transactions) == []
    assert (today.events, today.audit_rows) == (expected.events, expected.audit_rows)


async def test_the_lists_show_what_its_version_showed(store: SqliteStore, expected: Expected):
    payments, transactions = await listed_by_today(store)

    assert differences(expected.payments, payments) == []
    assert differences(expected.transactions, transactions) == []


async def test_all_of_it_is_proved(store: SqliteStore):
    assert await violations(store) == []


async def test_its_published_ends_and_its_chain_agree(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = copied(golden, tmp_path)
    async with upgraded(data):
        pass  # its schema is today's from here on

    proved = await asyncio.to_thread(main, ["prove", "--all", "--data", str(data)])
    verified = await asyncio.to_thread(main, ["audit", "verify", "--data", str(data)])

    told = capsys.readouterr().out
    assert (proved, verified) == (0, 0), told
    assert " 0 published ends agree" not in told


async def test_today_s_gateway_goes_on_with_it_and_brings_what_is_open_to_rest(
    golden: Path, expected: Expected, tmp_path: Path
):
    clock = ManualClock(expected.clock_us)
    data = copied(golden, tmp_path)
    async with gateway_on(data, clock) as (gateway, banks):
        lived = await live_on(gateway, banks, clock)

    came_to_rest(lived, expected)
    async with upgraded(data) as store:
        assert await violations(store) == [], "what was added is consistent with what was found"
