"""The parts by themselves, in a process that serves nobody: engine, journal, decisions, codec.

Asked `PART COUNT`, it does the part so many times and answers what one of them cost in CPU
microseconds, all threads, without what was made ready before: `tell`, `spawn`, `journal-N` (a row
of groups of N units in SQLite), `decide`, `decode`, `encode`, `event`.
"""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from alone_payment import approved, created_draft, raw_request, recorded, view
from bench_engine import Counter, Nowhere, Payment, make_system
from bench_journal import KINDS, Units, measure_groups
from measured_server import Answer, answering

from paygate_actors import events as e
from paygate_engine.region import Region
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http import render
from paygate_http.bodies import PaymentBody
from paygate_http.decode import decode
from paygate_http.process import settle
from paygate_http.validation import Faults
from paygate_http.wire import encode

# So many messages are told before the run queue gets its turn: what a busy loop sees.
BURST = 500


def timed(work: Callable[[], object], count: int) -> float:
    """CPU microseconds that one of so many calls takes."""
    began_s = time.process_time()
    for _ in range(count):
        work()
    return 1e6 * (time.process_time() - began_s) / count


async def tell(count: int) -> float:
    """A message, told and handled."""
    system = make_system()
    ref = Counter.start(system, "counter")
    waves = max(count // BURST, 1)
    began_s = time.process_time()
    for _ in range(waves):
        for _ in range(BURST):
            ref.tell(1)
        while system.ready:  # noqa: ASYNC110 - an event would be measured as well
            await asyncio.sleep(0)
    used_s = time.process_time() - began_s
    assert system.stats.handled == waves * BURST
    await system.stop_all()
    return 1e6 * used_s / (waves * BURST)


async def spawn(count: int) -> float:
    """An entity with the fields of a payment, made and live."""
    system = make_system()
    region: Region[Payment] = Region(system, Nowhere(), lambda key: Payment(system, key))
    ids = iter([system.ids.new("pay") for _ in range(count)])
    cost_us = timed(lambda: region.create(next(ids)), count)
    assert len(region) == count
    await system.stop_all()
    return cost_us


async def journal(folder: Path, group: int, count: int) -> float:
    """A row in groups of so many units, on a fresh SQLite file."""
    # Groups of one are dear: fewer of them say as much.
    units = min(count, 100 * group)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        store = SqliteStore(Path(fresh, "data"), KINDS)
        await store.open()
        try:
            found = await measure_groups(
                "sqlite", store, Path(fresh), supply=Units(seed=1), group=group, units=units
            )
        finally:
            await store.close()
    return found.cpu_us_per_row


def decide() -> None:
    """A whole payment: accepted, scored, its call intended; then approved. Folded as decided."""
    approved(created_draft())


def event() -> None:
    """One event, encoded and read back: the largest of a payment's."""
    kind, body = e.encode(recorded())
    e.decode(kind, body)


PARTS: dict[str, Callable[[], object]] = {
    "decide": decide,
    "decode": lambda: decode(raw_request(), PaymentBody, Faults()),
    "encode": lambda: encode(render.payment(view())),
    "event": event,
}


async def answer(folder: Path, words: str) -> Answer:
    """Do what is asked."""
    what, number = words.split()
    count = int(number)
    gc.collect()
    match what.split("-"):
        case ["tell"]:
            cost_us = await tell(count)
        case ["spawn"]:
            cost_us = await spawn(count)
        case ["journal", group]:
            cost_us = await journal(folder, int(group), count)
        case _:
            cost_us = timed(PARTS[what], count)
    return {"cpu_us": cost_us}


async def main() -> None:
    """Answer until the parent closes our standard input."""
    with tempfile.TemporaryDirectory() as folder:
        settle()
        await answering(0, partial(answer, Path(folder)))


if __name__ == "__main__":
    asyncio.run(main())
