"""A day of a million payments in minutes, and what is stored grows to a million: `make bench-day`.

Two stores are filled, one of 10,000 payments and one of all of them (`stored.py` says how, and what
is left out). Then a gateway with a sandbox of its own stands on each, and rounds of the day's mixed
load (`day_rounds.py`) come to them by turns: what a payment costs at 10,000 and at a million are
neighbours in time. In the end both are killed with a few payments open, and started again.

Whole, it takes an hour on a small machine. `--payments 50000` is the same program in minutes;
`--store DIR` keeps what was filled, and takes it again.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct

HERE = Path(__file__).resolve().parent
# A script finds what lies beside it, and `pytest` what tests share; each needs the other as well.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from day_rounds import WALKED, Site, idle_share, mixed_round, read_round  # noqa: E402  # see above
from gateway_words import until  # noqa: E402  # see above
from process_rig import command, process_rig  # noqa: E402  # see above
from progress import PROGRESS  # noqa: E402  # see above
from stored import Stage, filled  # noqa: E402  # see above
from vitals import cpu_s_of  # noqa: E402  # see above

PAYMENTS = 1_000_000
FEW = 10_000
ROUNDS = 5
A_ROUND = 1_000
READS = 1_000
# Left open at the restart: what a quiet moment of a busy day has on its way.
OPEN = 20
# The chain of a million payments is walked once after a start.
WALK_S_MAX = 1_800.0
HOURS_MAX = 3.0
MIB = 1024 * 1024

GROWS_MAX = 1.2
RESTART_S_MAX = 5.0


class Plan(Struct, frozen=True, kw_only=True):
    """How many are stored in the small store and in the big one, and how much is measured."""

    few: int
    payments: int
    rounds: int = ROUNDS
    a_round: int = A_ROUND
    reads: int = READS
    idle_s: float = 3.0


class Start(Struct, frozen=True, kw_only=True):
    """How long a start took until its line, and its CPU; then what the walk of the chain took."""

    seconds: float
    cpu_s: float


class Day(Struct, kw_only=True):
    """What was seen, the small store first."""

    plan: Plan
    stages: list[list[Stage]]
    sites: list[Site]
    walks: list[Start]
    restarts: list[Start]
    doctors: list[str]

    @property
    def grows(self) -> float:
        """What a payment costs on the big store, in what it costs on the small one."""
        small, big = self.sites
        pairs = zip(small.rounds, big.rounds, strict=True)
        return statistics.median(of.cpu_us / base.cpu_us for base, of in pairs)


@asynccontextmanager
async def site_on(folder: Path, stages: list[Stage]) -> AsyncGenerator[Site]:
    """A sandbox, and a gateway on the folder that was filled."""
    async with process_rig(folder, latency_ms=0) as rig:
        gateway = await rig.serve()
        ids = [id_ for stage in stages for id_ in stage.ids]
        yield Site(name=f"{stages[-1].stored}", rig=rig, gateway=gateway, ids=ids)


async def lived(folder: Path, plan: Plan) -> Day:
    """Fill, measure by turns, restart, and let the doctor look."""
    sizes = (("few", plan.few), ("all", plan.payments))
    stages = [filled(folder / name, count) for name, count in sizes]
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(site_on(folder / name, each))
            for (name, _), each in zip(sizes, stages, strict=True)
        ]
        day = Day(plan=plan, stages=stages, sites=sites, walks=[], restarts=[], doctors=[])
        for site in sites:
            day.walks.append(await _walked(site))
        rng = random.Random(1)
        for number in range(plan.rounds):
            for site in sites:
                PROGRESS.note(f"round {number + 1} of {plan.rounds} at {site.name} stored")
                idle = await idle_share(site, plan.idle_s)
                await mixed_round(site, plan.a_round, idle)
                await read_round(site, plan.reads, idle, rng)
        for site in sites:
            PROGRESS.note(f"a restart at {site.name} stored")
            day.restarts.append(await _restarted(site))
            day.doctors.append(await _doctor(site))
    PROGRESS.end()
    return day


async def _walked(site: Site) -> Start:
    """Wait until the chain has been walked once: a start begins with that, beside its work."""
    began_s, cpu_s = time.perf_counter(), cpu_s_of(site.pid)
    PROGRESS.note(f"the chain of {site.name} is being walked")
    # Nothing is recorded meanwhile, so a walk that has come to its end has seen all of it.
    await until(site.gateway.gauges, lambda seen: seen.get(WALKED, 0) > 0, patience_s=WALK_S_MAX)
    return Start(seconds=time.perf_counter() - began_s, cpu_s=cpu_s_of(site.pid) - cpu_s)


async def _restarted(site: Site) -> Start:
    """Leave a few open, kill, and start again."""
    await site.rig.sandbox.fault("pending", count=OPEN, delayMs=3_600_000)
    for number in range(OPEN):
        (await site.gateway.pay(f"open-{number}")).made()
    await site.gateway.kill()
    began_s = time.perf_counter()
    site.gateway = await site.rig.serve()
    seconds = time.perf_counter() - began_s
    return Start(seconds=seconds, cpu_s=cpu_s_of(site.pid))


async def _doctor(site: Site) -> str:
    """What the doctor says in the end; the gateway runs on."""
    code, said = await command("doctor", "--data", site.rig.data)
    return f"exit code {code}: {said.strip().splitlines()[-1].strip()}"


def show(day: Day) -> None:
    """Print the tables."""
    print(f"{'filled':>10}{'CPU us':>9}{'memory MiB':>12}{'bytes each':>12}")
    for stage in day.stages[1]:
        each = stage.bytes_ / stage.stored
        print(f"{stage.stored:>10}{stage.cpu_us:>9.0f}{stage.memory / MIB:>12.0f}{each:>12.0f}")
    names = [f"{site.name} stored" for site in day.sites]
    print(f"{'':<34}" + "".join(f"{name:>24}" for name in names))
    for title, figures in _lines(day):
        print(f"{title:<34}" + "".join(f"{figure:>24}" for figure in figures))
    for name, said in zip(names, day.doctors, strict=True):
        print(f"doctor, {name}: {said}")
    slow = max(each.seconds for each in day.restarts)
    _verdict(day.grows <= GROWS_MAX, f"a payment costs {day.grows:.2f} times as much: at most 1.2")
    _verdict(slow < RESTART_S_MAX, f"the slowest restart took {slow:.1f} s: under 5")


def _lines(day: Day) -> list[tuple[str, list[str]]]:
    sites = day.sites
    found = [
        ("CPU us a payment, median (range)", [_spread(site) for site in sites]),
        (
            "idle, share of a core",
            [f"{statistics.median(each.idle_share for each in site.rounds):.2f}" for site in sites],
        ),
        (
            "memory MiB, first and last round",
            [f"{s.rounds[0].memory / MIB:.0f}, {s.rounds[-1].memory / MIB:.0f}" for s in sites],
        ),
    ]
    for name in sites[0].reads:
        of = [site.reads[name] for site in sites]
        found.append(
            (
                f"{name}: CPU us; p50, p99 ms",
                [
                    f"{statistics.median(each.cpu_us for each in reads):.0f};"
                    f" {statistics.median(each.p50_ms for each in reads):.2f},"
                    f" {statistics.median(each.p99_ms for each in reads):.2f}"
                    for reads in of
                ],
            )
        )
    starts = (("walk of the chain", day.walks), (f"restart, {OPEN} open", day.restarts))
    found += [
        (f"{name}: s, CPU s", [f"{each.seconds:.1f}, {each.cpu_s:.1f}" for each in both])
        for name, both in starts
    ]
    return found


def _spread(site: Site) -> str:
    cpu = sorted(each.cpu_us for each in site.rounds)
    return f"{statistics.median(cpu):.0f} ({cpu[0]:.0f}-{cpu[-1]:.0f})"


def _verdict(met: bool, text: str) -> None:  # noqa: FBT001  # the one thing that it says
    print(f"{'met' if met else 'NOT MET':<8}{text}")


def main() -> None:
    """Live the day, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--payments", type=int, default=PAYMENTS, help="stored in the big store")
    parser.add_argument("--few", type=int, default=FEW, help="stored in the small one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at each of them")
    parser.add_argument("--store", type=Path, help="a folder for the stores, kept")
    parser.add_argument("--hours", type=float, default=HOURS_MAX, help="at most, all of it")
    given = parser.parse_args()
    plan = Plan(few=given.few, payments=given.payments, rounds=given.rounds)

    async def run() -> Day:
        with tempfile.TemporaryDirectory() as folder:
            async with asyncio.timeout(3_600 * given.hours):
                return await lived(given.store or Path(folder), plan)

    show(asyncio.run(run()))


@pytest.mark.slow
async def test_a_tiny_day_is_lived_and_its_stores_are_sound(tmp_path: Path) -> None:
    """At this size the figures are noise; what must hold is asserted."""
    plan = Plan(few=50, payments=200, rounds=1, a_round=40, reads=5, idle_s=0.1)
    day = await lived(tmp_path, plan)
    show(day)

    assert [each.stored for each in day.stages[1]][-1] == 200
    assert all(said.startswith("exit code 0") for said in day.doctors)
    code, said = await command("prove", "--all", "--data", tmp_path / "all" / "data")
    assert code == 0, said


if __name__ == "__main__":
    main()
