"""What every test of the engine starts from: a system on the running loop, stopped afterwards."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from paygate_engine.clock import ManualClock
from paygate_engine.system import ActorSystem


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def system(clock: ManualClock) -> AsyncIterator[ActorSystem]:
    system = ActorSystem(loop=asyncio.get_running_loop(), clock=clock, rng=random.Random(7))
    yield system
    await system.stop_all(timeout_s=1.0)
