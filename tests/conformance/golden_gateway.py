"""Today's gateway on a golden journal: it goes on with what was open, until it rests."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bank_rig import AMOUNT, OPERATOR, Bank, Heard
from golden_rig import BANKS, TWO_STEPS, Expected
from msgspec import Struct
from two_step_rig import TwoStepBank

from paygate_actors.config import Config, Database, ProviderConfig, Sandbox
from paygate_actors.gateway import Gateway
from paygate_actors.messages import Filters, PaymentPage, PaymentView, TransactionPage
from paygate_actors.outcomes import Approved, Outcome
from paygate_engine.clock import ManualClock
from paygate_engine.stores.base import Store

# Two days: longer than every deadline of a payment but that of a hold, which its bank decides.
PASSES_S: Final = 48 * 3_600
STEP_S: Final = 600
SETTLES_S: Final = 60.0
RESTING: Final = frozenset({"authorized", "success", "failed", "cancelled"})
# A node of a database: the clock is moved by days, and its lease must not run out by that.
LEASE_S: Final = 365 * 24 * 3_600.0


class Lived(Struct, frozen=True, kw_only=True):
    """What was seen before and after: payments, what is still open, what banks heard."""

    before: dict[str, PaymentView]
    after: dict[str, PaymentView]
    pending: dict[str, str]
    heard: list[Heard]


@asynccontextmanager
async def gateway_on(
    data: Path, clock: ManualClock, *, store: Store | None = None
) -> AsyncGenerator[tuple[Gateway, list[Bank]]]:
    """Today's gateway on the folder, recovered, with banks that know of every call.

    With `store` it is a node of that database, whose lease is longer than everything that happens.
    """
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
            database=Database(node="golden", lease_s=LEASE_S),
            providers=tuple(
                ProviderConfig(id=name, kind="bank", url="http://bank.invalid") for name in BANKS
            ),
        ),
        loop=asyncio.get_running_loop(),
        on_fatal=fatal.append,
        clock=clock,
        rng=random.Random(1),
        store=store,
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


async def live_on(gateway: Gateway, banks: list[Bank], clock: ManualClock) -> Lived:
    """Let time pass until everything rests."""
    before = await views(gateway)
    await rested(gateway, clock)
    return Lived(
        before=before,
        after=await views(gateway),
        pending=await pending(gateway),
        heard=[call for bank in banks for call in bank.heard],
    )


def came_to_rest(lived: Lived, expected: Expected) -> None:
    """All that its version left is there, and what was open rests: nothing was charged again."""
    before, after = lived.before, lived.after
    assert {view.status for view in before.values()} > {"processing", "requires_action", "review"}
    assert {call.verb for call in lived.heard} >= {"find", "void"}
    assert before.keys() == after.keys() == expected.payments.keys()
    # Only what is held, and what no provider has decided (a dispute), still waits.
    held = {view.transaction_id for view in after.values() if view.status == "authorized"}
    assert {kind for txn, kind in lived.pending.items() if txn not in held} <= {"chargeback"}
    assert not [view for view in after.values() if view.in_doubt]
    for payment_id, was in before.items():
        if was.status in ("failed", "cancelled") and not was.in_doubt:
            assert after[payment_id].status == was.status, "what was over stays over"
    assert charged_again(lived.heard) == []


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
