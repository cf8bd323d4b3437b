"""Operators who turn switches of one provider at the same time: each of them is heeded."""

import asyncio
from pathlib import Path
from typing import Any, Final

from bank_rig import OPERATOR, bank_rig

from paygate_actors.provider_messages import ProviderView, Tuning

BANK: Final = "bank"
# What six operators say in one moment; each says one thing and leaves the others.
SAID: Final[tuple[dict[str, Any], ...]] = (
    {"is_active": False},
    {"tuning": Tuning(weight=7)},
    {"accepts_charges": False},
    {"tuning": Tuning(priority=3)},
    {"tuning": Tuning(concurrency=2)},
    {},
)


async def test_of_switches_that_are_turned_at_the_same_time_none_is_lost(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        front = rig.gateway.front

        done = await asyncio.gather(
            *(front.switch_provider(OPERATOR, BANK, **each) for each in SAID)
        )

        (now,) = await front.providers()
        await rig.crash()
        await rig.start()
        (later,) = await rig.gateway.front.providers()

    assert all(isinstance(each, ProviderView) for each in done)
    for view in (now, later):
        assert (view.is_active, view.accepts_charges) == (False, False)
        assert (view.weight, view.priority, view.concurrency) == (7, 3, 2)
