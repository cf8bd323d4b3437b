"""When the list of a provider's events was not read for too long, by what is configured for it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from bank_rig import BankRig, bank_rig
from telling_rig import TellingBank

from paygate_actors.config import Limits
from paygate_actors.fetching import OVERDUE_BASELINES, OVERDUE_S_MIN
from paygate_actors.outcomes import Unknown

FETCH_S = 60.0
DAY_S = 86_400.0
DOWN = Unknown(reason="server_error")

Opened = Callable[[TellingBank, float], AbstractAsyncContextManager[BankRig]]


@pytest.fixture
def bank() -> TellingBank:
    bank = TellingBank()
    bank.capabilities = msgspec.structs.replace(bank.capabilities, feeds=True, fetch_s=FETCH_S)
    return bank


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    @asynccontextmanager
    async def run(bank: TellingBank, baseline_s: float) -> AsyncGenerator[BankRig]:
        limits = Limits(events_baseline_s=baseline_s)
        async with bank_rig(tmp_path, bank=bank, limits=limits) as rig:
            yield rig
            assert rig.fatal == []

    return run


def overdue_s(rig: BankRig) -> float:
    return rig.gauge('paygate_provider_events_overdue_seconds{provider="bank"}')


def age_s(rig: BankRig) -> float:
    return rig.gauge('paygate_provider_events_age_seconds{provider="bank"}')


async def test_a_list_that_is_never_to_be_read_is_never_overdue(opened: Opened, bank: TellingBank):
    async with opened(bank, 0.0) as rig:
        await rig.pass_time(5 * OVERDUE_S_MIN)

        assert bank.asked_for_events == []
        assert (age_s(rig) > OVERDUE_S_MIN, overdue_s(rig)) == (True, 0.0)


async def test_a_list_that_is_read_once_a_day_is_not_overdue_in_between(
    opened: Opened, bank: TellingBank
):
    async with opened(bank, DAY_S) as rig:
        await rig.pass_time(5 * OVERDUE_S_MIN)

        assert (age_s(rig) > OVERDUE_S_MIN, overdue_s(rig)) == (True, 0.0)


@pytest.mark.parametrize("baseline_s", [900.0, DAY_S])
async def test_a_list_that_fails_for_an_hour_is_overdue_until_it_is_read(
    opened: Opened, bank: TellingBank, baseline_s: float
):
    bank.answers = [DOWN] * 20
    async with opened(bank, baseline_s) as rig:
        await rig.pass_time(OVERDUE_S_MIN / 2)
        early = overdue_s(rig)
        await rig.pass_time(OVERDUE_S_MIN)
        late, age = overdue_s(rig), age_s(rig)
        bank.answers = []
        await rig.pass_time(OVERDUE_S_MIN / 2)

        assert (early, late) == (0.0, age)
        assert late > OVERDUE_S_MIN
        assert overdue_s(rig) == 0.0


async def test_a_list_that_nobody_reads_is_overdue_after_some_of_its_turns(
    opened: Opened, bank: TellingBank
):
    baseline_s = OVERDUE_S_MIN / 2
    bound_s = OVERDUE_BASELINES * baseline_s
    async with opened(bank, baseline_s) as rig:
        rig.gateway.drain()
        rig.clock.advance(bound_s - FETCH_S)
        early = overdue_s(rig)
        rig.clock.advance(2 * FETCH_S)

        assert (early, overdue_s(rig)) == (0.0, age_s(rig))
        assert bound_s > OVERDUE_S_MIN
