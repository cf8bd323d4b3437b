"""`kill -9` as the real server enters its N-th call into the system, for N = 1, 2, 3, ...

Under load, in recovery and in the drain. Each time a server is started that nobody strikes: what
was acknowledged is there, what was not is whole or absent, everything comes to rest, and the
provider's books agree to the last minor unit.
"""

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import pytest
from crash_lab import FULL, CrashLab, Series, crash_lab, in_batches, name_of
from gateway_words import until
from load_rig import GONE, Load
from process_rig import GatewayClient
from strace_rig import attached

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800 if FULL else 120)]

# What each caller of a load does at most: enough to reach the last point of each series.
TURNS: Final = 40
# Payments of each caller that are under way when a server is to end.
TURNS_OPEN: Final = 2
# Acknowledged before a drain begins, so that there is something to finish.
WARM: Final = 8
# The provider is as unkind as it is quick: calls end at once, for good or ill.
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "reset_after_effect", "probability": 0.06},
    {"fault": "reset_before_effect", "probability": 0.06},
    {"fault": "error_500", "probability": 0.03},
    {"fault": "garbage", "probability": 0.03},
    {"fault": "pending", "probability": 0.05, "delayMs": 300},
    {"fault": "webhook_drop", "probability": 0.1},
    {"fault": "webhook_duplicate", "probability": 0.1},
    {"fault": "webhook_before_reply", "probability": 0.1},
)
# Its answers take a while: calls are out when the drain begins, and come home during it.
SLOW: Final[dict[str, Any]] = {"fault": "slow", "probability": 0.7, "delayMs": 400}
# It says nothing, so that a payment is open when its gateway dies.
SILENCE: Final[tuple[dict[str, Any], ...]] = (
    {"fault": "hang_after_effect", "probability": 0.4},
    {"fault": "hang_before_effect", "probability": 0.4},
    {"fault": "webhook_drop", "probability": 0.5},
)

UNDER_LOAD: Final = (
    Series(syscall="fdatasync", sample=(9, 20), every=range(1, 41)),
    # The first sixty lie within the first group; what follows is a group and a bit for each step.
    Series(syscall="pwrite64", sample=(57, 400), every=(*range(1, 61), *range(61, 900, 7))),
    Series(syscall="sendto", sample=(5, 80), every=range(1, 81)),
    Series(syscall="connect", sample=(2, 9), every=range(1, 17)),
)
IN_RECOVERY: Final = (
    Series(syscall="fdatasync", sample=(1, 3), every=range(1, 13)),
    Series(syscall="pwrite64", sample=(31,), every=range(1, 61)),
    Series(syscall="sendto", sample=(2, 11), every=range(1, 41)),
    Series(syscall="connect", sample=(3,), every=range(1, 13)),
)
IN_THE_DRAIN: Final = (
    Series(syscall="fdatasync", sample=(1, 3), every=range(1, 13)),
    Series(syscall="pwrite64", sample=(5, 60), every=range(1, 121, 3)),
    Series(syscall="sendto", sample=(1, 8), every=range(1, 31)),
)


@pytest.mark.parametrize("batch", in_batches(UNDER_LOAD), ids=name_of)
async def test_a_death_at_the_nth_call_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "under load") as lab:
        await lab.plan(FAULTS)

        for series, nth in points_of(batch):
            load = lab.load()
            process = await lab.rig.spawn(prefix=lab.struck(series, nth))
            if await process.came_up():
                gateway = lab.rig.client(process)
                await load.run(gateway, turns=TURNS)
                await gateway.kill()
            await process.ended()
            died = await lab.note(series, nth)
            await lab.look(series, load)
            assert died, f"{series.syscall} was not called {nth} times"

        await lab.judge()


@pytest.mark.parametrize("batch", in_batches(IN_RECOVERY), ids=name_of)
async def test_a_recovery_may_die_at_any_call_and_a_later_one_finishes(
    tmp_path: Path, batch: tuple[Series, ...]
):
    async with crash_lab(tmp_path, "recovery") as lab:
        for series in batch:
            load: Load | None = None
            for nth in series.points:
                # One that died has left everything open for the next one; else there is more.
                load = load or await left_open(lab)
                process = await lab.rig.spawn(prefix=lab.struck(series, nth))
                if await process.came_up():
                    await recovered_or_dead(lab.rig.client(process))
                await process.ended()
                if not await lab.note(series, nth):
                    await lab.look(series, load)
                    load = None
            if load is not None:
                await lab.look(series, load)
            assert lab.tallies[series.name].struck, "none of its points was reached"

        await lab.judge()


@pytest.mark.parametrize("batch", in_batches(IN_THE_DRAIN), ids=name_of)
async def test_a_drain_may_die_at_any_call(tmp_path: Path, batch: tuple[Series, ...]):
    async with crash_lab(tmp_path, "drain") as lab:
        await lab.plan((SLOW, *FAULTS))

        for series, nth in points_of(batch):
            load = lab.load()
            gateway = await lab.rig.serve()
            calling = asyncio.create_task(load.run(gateway, turns=TURNS_OPEN))
            await until(lambda load=load: acked_of(load), lambda acked: len(acked) >= WARM)
            pid = gateway.process.child.pid
            async with attached(series.strike(nth, lab.rig.data), pid, lab.log(series, nth)):
                gateway.process.signal(signal.SIGTERM)
                code = await gateway.process.ended()
                await calling
            died = await lab.note(series, nth)
            assert code == (-signal.SIGKILL if died else 0)
            await lab.look(series, load)

        for series in batch:
            assert lab.tallies[series.name].struck, "none of its points was reached"
        await lab.judge()


def points_of(batch: tuple[Series, ...]) -> list[tuple[Series, int]]:
    return [(series, nth) for series in batch for nth in series.points]


async def left_open(lab: CrashLab) -> Load:
    """Kill a server whose provider said nothing; from then on the provider answers."""
    await lab.plan(SILENCE)
    load = lab.load()
    gateway = await lab.rig.serve()
    await load.run(gateway, turns=TURNS_OPEN)
    await gateway.kill()
    await lab.rig.sandbox.clear_faults()
    return load


async def recovered_or_dead(gateway: GatewayClient) -> None:
    """Wait until nothing is open, or the server is gone; it is gone then."""
    try:
        await gateway.settled()
    except GONE:
        return
    finally:
        await gateway.kill()


async def acked_of(load: Load) -> set[str]:
    return load.acked
