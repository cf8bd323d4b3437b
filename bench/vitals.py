"""How a gateway is, looked at from outside at a steady pace: memory, CPU, gauges, its loop.

The loop's lag is seen in two ways. The gateway's own: the age of its oldest waiting message. Ours:
how long `/healthz` takes, which does nothing but take its turn in the loop.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from callers import Lines, asking
from msgspec import Struct
from process_rig import GatewayClient

LIVE = "paygate_live_payments"
ASLEEP = "paygate_sleeping_payments"
TICKS = os.sysconf("SC_CLK_TCK")


class Vitals(Struct, frozen=True, kw_only=True):
    """One look, by `perf_counter`: bytes of memory, CPU seconds so far, the page of metrics."""

    at_s: float
    memory: int
    cpu_s: float
    health_ms: float
    gauges: dict[str, float]

    @property
    def live(self) -> int:
        """How many payments are in memory, or are followed while they sleep."""
        return round(self.gauges[LIVE] + self.gauges[ASLEEP])

    @property
    def oldest_ms(self) -> float:
        """For how long the oldest message has waited."""
        return 1e3 * self.gauges["paygate_oldest_message_seconds"]


class Watch:
    """Looks at one gateway, and keeps what it saw."""

    def __init__(self, gateway: GatewayClient, lines: Lines) -> None:
        self._gateway = gateway
        self._lines = lines
        self.seen: list[Vitals] = []

    async def look(self) -> Vitals:
        """Look now."""
        began_s = time.perf_counter()
        status, _ = await self._lines.ask(asking("GET", "/healthz"))
        health_ms = 1e3 * (time.perf_counter() - began_s)
        assert status == 200
        gauges = await self._gateway.gauges()
        pid = self._gateway.process.child.pid
        found = Vitals(
            at_s=began_s,
            memory=memory_of(pid),
            cpu_s=cpu_s_of(pid),
            health_ms=health_ms,
            gauges=gauges,
        )
        self.seen.append(found)
        return found


@asynccontextmanager
async def watched(gateway: GatewayClient, every_s: float) -> AsyncGenerator[Watch]:
    """Look once in a while until the block ends."""
    async with Lines(port_of(gateway)) as lines:
        watch = Watch(gateway, lines)
        looking = asyncio.create_task(_keep_looking(watch, every_s))
        try:
            yield watch
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _keep_looking(watch: Watch, every_s: float) -> None:
    while True:
        await watch.look()
        await asyncio.sleep(every_s)


def port_of(gateway: GatewayClient) -> int:
    """Where it listens."""
    return int(gateway.url.rpartition(":")[2])


def memory_of(pid: int | str) -> int:
    """Bytes of memory that are in use (RSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("the kernel names no memory")


def cpu_s_of(pid: int) -> float:
    """CPU seconds used so far, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
