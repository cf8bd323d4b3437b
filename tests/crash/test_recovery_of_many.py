"""Many open payments after a crash: red until all are taken up, quick, gentle, and never twice."""

import asyncio
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from gateway_words import until
from ledger_match import disagreements
from msgspec import Struct
from process_rig import GatewayClient, ProcessRig, process_rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHILD: Final = Path(__file__).with_name("open_payments_child.py")
FULL: Final = os.environ.get("PAYGATE_CRASH_ROUNDS") == "full"
# A multiple of ten: the child makes ten kinds.
OPEN: Final = 20_000 if FULL else 2_000
# What is promised for 20,000 open payments, from the start of the process.
READY_S_MAX: Final = 30.0
# Longer than it takes to make them, and to start again.
PENDING_MS: Final = 60_000 if FULL else 10_000
# The adapter's own words, and the burst that it grants on top (`Capabilities`).
ASKS_PER_S: Final = 500
ASKS_BURST: Final = 250
# What is looked at: long enough that a stall of a busy machine does not bunch turns, short enough
# that more than may be asked in it is waiting to be.
SPAN_S: Final = 5.0 if FULL else 1.0
RESTS_S: Final = 240.0


class Seen(Struct):
    """What probes saw while the gateway started."""

    red: int = 0
    refused: int = 0
    ready_s: float = 0.0
    memory_mib: int = 0


@asynccontextmanager
async def full_of_open_payments(folder: Path) -> AsyncGenerator[ProcessRig]:
    """A sandbox that knows of them, and the folder of a gateway that was killed over them."""
    async with process_rig(folder, latency_ms=20) as rig:
        arguments = (str(rig.data), rig.sandbox.url, str(OPEN), str(PENDING_MS))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHILD),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert child.stdout is not None
            async with asyncio.timeout(300):
                line = await child.stdout.readline()
            assert line.decode() == f"{OPEN} payments are open\n"
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()
        yield rig


def a_free_port() -> int:
    """A port that nobody listens on now: what is probed must be known before it is ready."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def started(rig: ProcessRig) -> tuple[GatewayClient, Seen]:
    """Start a gateway, and probe it from its first moment until it is ready."""
    began_s = time.monotonic()  # noqa: TID251  # a test's own stop-watch
    seen = Seen()
    port = a_free_port()
    process = await rig.spawn(port=port)
    process.url = f"http://127.0.0.1:{port}"
    gateway = rig.client(process)
    while True:
        with_connection = await probed(gateway, seen)
        if with_connection:
            break
        await asyncio.sleep(0.02)
    seen.ready_s = time.monotonic() - began_s  # noqa: TID251
    seen.memory_mib = peak_mib(process.child.pid)
    await process.listening()
    return gateway, seen


async def probed(gateway: GatewayClient, seen: Seen) -> bool:
    """Whether it is ready. The API is asked first: red afterwards means red then."""
    assert gateway.process.child.returncode is None, gateway.process.tail()
    try:
        answer = await gateway.api("GET", "/api/payments?limit=1")
        probe = await gateway.ask("GET", "/readyz")
    except aiohttp.ClientConnectionError:
        return False  # it does not listen yet
    if probe.status == 200:
        return True
    assert probe.status == 503
    assert answer.status == 503, "the API answered while the probe was red"
    assert (await gateway.ask("GET", "/healthz")).status == 200
    seen.red += 1
    return False


def peak_mib(pid: int) -> int:
    """The most memory that the process ever had, in MiB; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) // 1024


async def at_rest(gateway: GatewayClient) -> None:
    """Wait until nothing is in doubt, by the gauge: lists of this length are not read in a loop."""

    async def in_doubt() -> float:
        gauges = await gateway.gauges()
        return sum(value for name, value in gauges.items() if "in_doubt" in name)

    await until(in_doubt, lambda count: count == 0, patience_s=RESTS_S)


def seconds_of(calls: list[dict[str, Any]], *, provider: str) -> list[float]:
    at = [line["at"] for line in calls if line["provider"] == provider]
    return sorted(datetime.fromisoformat(each).timestamp() for each in at)


async def test_very_many_open_payments_are_taken_up_in_time_and_settled_once(tmp_path: Path):
    async with full_of_open_payments(tmp_path) as rig:
        moved_before = Counter(line["idempotencyKey"] for line in await rig.sandbox.ledger())

        gateway, seen = await started(rig)
        fresh = await gateway.pay("fresh", wait_s=20)
        await at_rest(gateway)
        settled = await gateway.settled()

        ledger = await rig.sandbox.ledger()
        looks = seconds_of(await rig.sandbox.calls("find"), provider="sandbox")
    busiest = max(count_within(looks, SPAN_S))
    print(f"{OPEN} open payments: {seen}")  # noqa: T201  # the figures
    print(f"{len(looks)} look-ups in {looks[-1] - looks[0]:.0f} s, at most {busiest} in {SPAN_S}")  # noqa: T201
    statuses = Counter(row["status"] for row in settled.payments)
    tenth = OPEN // 10
    assert seen.red > 0, "it was never seen red"
    assert seen.ready_s < READY_S_MAX
    assert fresh.made()["status"] == "success", "a new payment does not wait behind the old ones"
    assert statuses == {
        "success": 7 * tenth + 1,
        "requires_action": tenth,
        "review": tenth,
        "cancelled": tenth,
    }
    assert disagreements(settled, ledger) == []
    assert Counter(line["idempotencyKey"] for line in ledger) >= moved_before
    assert busiest <= ASKS_PER_S * SPAN_S + ASKS_BURST


def count_within(times: list[float], span_s: float) -> list[int]:
    """How many there are in the span that begins with each of them."""
    counts: list[int] = []
    end = 0
    for begin, first in enumerate(times):
        while end < len(times) and times[end] < first + span_s:
            end += 1
        counts.append(end - begin)
    return counts
