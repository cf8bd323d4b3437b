"""A provider that an operator took off: nobody sends anything there until it is on again."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest
from bank_rig import BankRig, bank_rig
from telling_rig import TellingBank

from paygate_actors.breaker import CALLS_MIN
from paygate_actors.config import Limits
from paygate_actors.homecoming import OFF_RETRY_S
from paygate_actors.messages import Refusal
from paygate_actors.outcomes import Unknown
from paygate_actors.probing import PROBE_S
from paygate_actors.providers.base import Returned

FETCH_S: Final = 60.0
BASELINE_S: Final = 900.0
LOST: Final = Unknown(reason="timeout")
BACK: Final = Returned(url="https://shop.example/paid")


class HomelyBank(TellingBank):
    """Lists its events, and wants to be told of payers who come back."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = msgspec.structs.replace(
            self.capabilities, feeds=True, fetch_s=FETCH_S, returns=True
        )
        self.back: list[Mapping[str, str]] = []

    async def returned(self, query: Mapping[str, str]) -> Returned:
        self.back.append(query)
        return BACK


@pytest.fixture
def bank() -> HomelyBank:
    return HomelyBank()


@pytest.fixture
async def rig(tmp_path: Path, bank: HomelyBank) -> AsyncIterator[BankRig]:
    limits = Limits(events_baseline_s=BASELINE_S)
    async with bank_rig(tmp_path, bank=bank, limits=limits) as rig:
        yield rig
        assert rig.fatal == []


def fails(rig: BankRig) -> None:
    """So often that its circuit for charges opens, and it is probed."""
    desk = rig.gateway.desk.get("bank")
    assert desk is not None
    for _ in range(CALLS_MIN):
        desk.health.record("charge", LOST, seconds=0.1)
    assert desk.health.circuits["charge"].circuit == "open"


async def test_its_events_are_not_fetched_until_it_is_on_again(rig: BankRig, bank: HomelyBank):
    await rig.switch(is_active=False)
    await rig.pass_time(3 * BASELINE_S)
    while_off = len(bank.asked_for_events)

    await rig.switch(is_active=True)
    await rig.pass_time(2 * FETCH_S)

    assert (while_off, len(bank.asked_for_events)) == (0, 1)


async def test_it_is_not_probed_until_it_is_on_again(rig: BankRig, bank: HomelyBank):
    await rig.switch(is_active=False)
    fails(rig)
    await rig.pass_time(1.2 * PROBE_S, step_s=1.0)
    while_off = bank.verbs()

    await rig.switch(is_active=True)
    await rig.pass_time(1.4 * PROBE_S, step_s=1.0)

    assert while_off == []
    assert "find" in bank.verbs()


async def test_a_circuit_that_opens_is_in_the_audit_log(rig: BankRig):
    fails(rig)
    await rig.pass_time(0.1)

    rows = await rig.store.audit_rows()
    assert ("bank", "circuit charge open") in {(row.entry.stream, row.entry.what) for row in rows}


async def test_it_is_not_told_of_a_payer_who_is_asked_to_come_again(rig: BankRig, bank: HomelyBank):
    front = rig.gateway.front
    await rig.switch(is_active=False)
    refused = await front.payer_returned("bank", {"a": "1"})
    while_off = list(bank.back)

    await rig.switch(is_active=True)
    onward = await front.payer_returned("bank", {"a": "1"})

    assert isinstance(refused, Refusal)
    assert (refused.code, refused.retry_after_s) == ("provider_silent", OFF_RETRY_S)
    assert (while_off, bank.back, onward) == ([], [{"a": "1"}], BACK.url)
