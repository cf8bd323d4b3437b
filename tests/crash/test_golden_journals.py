"""Journals that released versions wrote, read by today's code: folded, proved, and gone on with.

`tests/golden/README.md` says how a version leaves its own.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from bank_rig import AMOUNT, OPERATOR, Bank, Heard
from golden_rig import (
    BANKS,
    TWO_STEPS,
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
from two_step_rig import TwoStepBank

from paygate_actors import events as e
from paygate_actors.config import Config, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import Filters, PaymentPage, PaymentView, TransactionPage
from paygate_actors.outcomes import Approved, Outcome
from paygate_engine.clock import ManualClock
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.__main__ import main

# Two days: longer than every deadline of a payment but that of a hold, which its bank decides.
PASSES_S: Final = 48 * 3_600
STEP_S: Final = 600
SETTLES_S: Final = 60.0
RESTING: Final = frozenset({"authorized", "success", "failed", "cancelled"})


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


@asynccontextmanager
async def gateway_on(data: Path, clock: ManualClock) -> AsyncGenerator[tuple[Gateway, list[Bank]]]:
    """Today's gateway on the folder, recovered, with banks that know of every call."""
    banks: list[Bank] = []
    for name in BANKS:
        bank = TwoStepBank() if name == TWO_STEPS else Bank()
        bank.id = name
        bank.says["find"] = found
        banks.append(bank)
    fatal: list[BaseException] = []
    gateway = await Gateway.start(
        Config(
            data_dir=str(data),
            sandbox=Sandbox(enabled=True),
            providers=tuple(
                ProviderConfig(id=name, kind="bank", url="http://bank.invalid") for name in BANKS
            ),
        ),
        loop=asyncio.get_running_loop(),
        on_fatal=fatal.append,
        clock=clock,
        rng=random.Random(1),
        adapters={bank.id: bank for bank in banks},
    )
    try:
        await gateway.recover()
        yield gateway, banks
    finally:
        await gateway.stop()
    assert not fatal


def found(key: str) -> Outcome:
    """The bank did all of it: what is left open in a golden journal is about this sum."""
    return Approved(provider_txn_id=f"ch_{key}", amount=AMOUNT, captured=True)


async def test_today_s_gateway_goes_on_with_it_and_brings_what_is_open_to_rest(
    golden: Path, expected: Expected, tmp_path: Path
):
    clock = ManualClock(expected.clock_us)
    data = copied(golden, tmp_path)
    async with gateway_on(data, clock) as (gateway, banks):
        before = await views(gateway)
        await rested(gateway, clock)
        after = await views(gateway)
        open_transactions = await pending(gateway)
        heard = [call for bank in banks for call in bank.heard]

    assert {view.status for view in before.values()} > {"processing", "requires_action", "review"}
    assert {call.verb for call in heard} >= {"find", "void"}
    assert before.keys() == after.keys() == expected.payments.keys()
    # Only what is held, and what no provider has decided (a dispute), still waits.
    held = {view.transaction_id for view in after.values() if view.status == "authorized"}
    assert {kind for txn, kind in open_transactions.items() if txn not in held} <= {"chargeback"}
    assert not [view for view in after.values() if view.in_doubt]
    for payment_id, was in before.items():
        if was.status in ("failed", "cancelled") and not was.in_doubt:
            assert after[payment_id].status == was.status, "what was over stays over"
    assert charged_again(heard) == []
    async with upgraded(data) as store:
        assert await violations(store) == [], "what was added is consistent with what was found"


def charged_again(heard: list[Heard]) -> list[Heard]:
    """Calls that move money without having been asked about first."""
    asked: set[str] = set()
    again: list[Heard] = []
    for call in heard:
        if call.verb in ("find", "prepare"):
            asked.add(call.key)  # what is only prepared now was never confirmed before
        elif call.verb in ("charge", "refund", "capture") and call.key not in asked:
            again.append(call)
    return again


async def views(gateway: Gateway) -> dict[str, PaymentView]:
    page = await gateway.front.payments(OPERATOR, Filters(limit=100))
    assert isinstance(page, PaymentPage)
    assert page.next_cursor is None
    return {view.id: view for view in page.items}


async def pending(gateway: Gateway) -> dict[str, str]:
    """The types of all open transactions, by id."""
    page = await gateway.front.transactions(OPERATOR, Filters(status="pending", limit=100))
    assert isinstance(page, TransactionPage)
    return {txn.id: txn.type for txn in page.items}


async def rested(gateway: Gateway, clock: ManualClock) -> None:
    """Let two days pass, and then as long as something is still on its way."""
    left_s = PASSES_S
    async with asyncio.timeout(SETTLES_S):
        while True:
            open_now = {view.status for view in (await views(gateway)).values()} - RESTING
            if left_s <= 0 and not open_now:
                return
            clock.advance(STEP_S)
            left_s -= STEP_S
