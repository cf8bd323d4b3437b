"""`paygate simulate`: worlds by seed, a bar while they live, a table when they are over."""

import re
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, cast

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from paygate_actors.simulation.faults import (
    FAULTS,
    HOURS,
    NODE_FAULTS,
    NODES_MAX,
    RARE_FAULTS,
    Fault,
    Options,
    options_of,
)
from paygate_actors.simulation.result import Result
from paygate_actors.simulation.sweep import Totals, live, sweep
from paygate_http.configure import ConfigInvalid
from paygate_http.flags import SimulateFlags
from paygate_http.process import Exit
from paygate_http.simulated_door import EdgeDoors
from paygate_http.simulated_kinds import KINDS
from paygate_http.simulated_players import SandboxPlayers

# A run of more seeds than this is somebody's slip: it would take weeks.
SEEDS_MAX: Final = 10_000_000
JOBS_MAX: Final = 256
EVERY_FAULT: Final = (*FAULTS, *NODE_FAULTS, *RARE_FAULTS)
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def simulate(flags: SimulateFlags) -> Exit:
    """Live the worlds. FAILED at the first broken promise. Raises `ConfigInvalid`."""
    worlds = _worlds(flags)
    if flags.hashes:
        return _hashes(worlds, flags)
    if len(worlds) == 1:
        return _one(worlds[0], flags)
    totals, broken, seconds = _many(worlds, flags.jobs)
    if broken is not None:
        _report(broken)
        # The same seed again, with the story of the payment that is concerned.
        _story(_live(broken.options, story_of=_subject(broken)))
        sys.stdout.write(f"\nrepeat with: {_repeat(broken.options, flags)}\n")
        return Exit.FAILED
    _table(totals, seconds)
    return Exit.DRAINED


def _live(options: Options, *, story_of: str | None) -> Result:
    return live(options, doors=EdgeDoors, players=SandboxPlayers, story_of=story_of)


def _one(options: Options, flags: SimulateFlags) -> Exit:
    sys.stdout.write(f"paygate {version('paygate')}, {_expanded(options)}\n")
    result = _live(options, story_of=flags.trace)
    if result.breach is not None and flags.trace is None:
        result = _live(options, story_of=_subject(result))
    _story(result)
    if result.breach is not None:
        _report(result)
        sys.stdout.write(f"repeat with: {_repeat(options, flags)}\n")
        return Exit.FAILED
    sys.stdout.write(
        f"trace {result.digest}: {result.steps} steps, {result.payments} payments,"
        f" {result.promises} promises kept, {result.lives} lives of the process,"
        f" {sum(result.faults.values())} faults, {result.virtual_s / 3_600:.1f} virtual hours\n"
    )
    return Exit.DRAINED


def _hashes(worlds: Sequence[Options], flags: SimulateFlags) -> Exit:
    """Write what a golden file holds: how it is made, then a seed and its hash on each line."""
    sys.stdout.write(f"# paygate simulate --seeds {flags.seeds} --hashes\n")
    for result in sweep(worlds, doors=EdgeDoors, players=SandboxPlayers, jobs=flags.jobs):
        if result.breach is not None:
            _report(result)
            return Exit.FAILED
        sys.stdout.write(f"{result.options.seed} {result.digest}\n")
    return Exit.DRAINED


def _many(worlds: Sequence[Options], jobs: int) -> tuple[Totals, Result | None, float]:
    totals = Totals()
    began_s = time.monotonic()  # noqa: TID251 - how long people wait is no virtual time
    columns = (
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} seeds/s"),
        TimeRemainingColumn(),
    )
    broken: Result | None = None
    seconds = 0.0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("seeds", total=len(worlds), rate=0.0)
        for result in sweep(worlds, doors=EdgeDoors, players=SandboxPlayers, jobs=jobs):
            totals.add(result)
            seconds = time.monotonic() - began_s  # noqa: TID251 - as above
            progress.update(bar, advance=1, rate=totals.seeds / max(seconds, 0.001))
            if result.breach is not None:
                broken = result
                break
    return totals, broken, seconds


def _worlds(flags: SimulateFlags) -> list[Options]:
    wrong: list[str] = []
    seeds: Sequence[int] = ()
    match (flags.seed, flags.seeds):
        case (int(seed), None):
            seeds = (seed,)
        case (None, str(text)):
            found = _RANGE.fullmatch(text)
            if found is None:
                wrong.append("--seeds: a range is written as 1..1000")
            else:
                seeds = range(int(found[1]), int(found[2]) + 1)
                if not 0 < len(seeds) <= SEEDS_MAX:
                    wrong.append(f"--seeds: 1 to {SEEDS_MAX:,} seeds, not {len(seeds):,}")
        case _:
            wrong.append("give either --seed or --seeds")
    if flags.hours <= 0:
        wrong.append("--hours: must be positive")
    if flags.nodes is not None and not 1 <= flags.nodes <= NODES_MAX:
        wrong.append(f"--nodes: 1 to {NODES_MAX}")
    if not 1 <= flags.jobs <= JOBS_MAX:
        wrong.append(f"--jobs: 1 to {JOBS_MAX}")
    if flags.trace is not None and flags.seed is None:
        wrong.append("--trace: tells the story of one --seed")
    if flags.hashes and flags.seeds is None:
        wrong.append("--hashes: are of --seeds")
    faults = _faults(flags.faults, wrong)
    adapters = _adapters(flags.adapters, wrong)
    if wrong:
        raise ConfigInvalid(*wrong)
    return [
        options_of(seed, faults=faults, hours=flags.hours, adapters=adapters, nodes=flags.nodes)
        for seed in seeds
    ]


def _adapters(text: str | None, wrong: list[str]) -> tuple[str, ...]:
    named = tuple(dict.fromkeys(text.split(","))) if text is not None else ()
    unknown = [name for name in named if name not in KINDS]
    if unknown:
        wrong.append(f"--adapters: none of {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return named


def _faults(text: str | None, wrong: list[str]) -> tuple[Fault, ...] | None:
    if text is None:
        return None
    if text in ("none", "all"):
        return EVERY_FAULT if text == "all" else ()
    named = text.split(",")
    unknown = [name for name in named if name not in EVERY_FAULT]
    if unknown:
        known = ", ".join(EVERY_FAULT)
        wrong.append(f"--faults: nobody knows {', '.join(unknown)}; known: {known}")
    return tuple(cast("Fault", name) for name in named)


def _subject(result: Result) -> str:
    return (result.breach.subject if result.breach is not None else "") or "first"


def _expanded(options: Options) -> str:
    return msgspec.json.encode(options).decode()


def _repeat(options: Options, flags: SimulateFlags) -> str:
    extra = "" if flags.faults is None else f" --faults {flags.faults}"
    hours = "" if flags.hours == HOURS else f" --hours {flags.hours}"
    adapters = "" if flags.adapters is None else f" --adapters {flags.adapters}"
    nodes = "" if flags.nodes is None else f" --nodes {flags.nodes}"
    return f"paygate simulate --seed {options.seed}{extra}{hours}{adapters}{nodes}"


def _story(result: Result) -> None:
    for line in result.story:
        sys.stdout.write(line + "\n")


def _report(result: Result) -> None:
    breach = result.breach
    assert breach is not None
    sys.stdout.write(
        f"\nbroken promise: {breach.promise}\n  {breach.detail}\n"
        + (f"  payment {breach.subject}\n" if breach.subject else "")
        + f"  seed {result.options.seed}, trace {result.digest}, paygate {version('paygate')}\n"
        f"  {_expanded(result.options)}\n"
    )


def _table(totals: Totals, seconds: float) -> None:
    console = Console()
    table = Table(title=f"{totals.seeds:,} worlds, every promise kept")
    table.add_column("what")
    table.add_column("how many", justify="right")
    rows = {
        "seeds a minute": f"{60 * totals.seeds / max(seconds, 0.001):,.0f}",
        "steps": f"{totals.steps:,}",
        "payments": f"{totals.payments:,}",
        "acknowledged, and found": f"{totals.promises:,}",
        "put before a person": f"{totals.flagged:,}",
        "lives of the process": f"{totals.lives:,}",
        "virtual hours": f"{totals.virtual_s / 3_600:,.0f}",
        "faults survived": f"{sum(totals.faults.values()):,}",
    }
    for what, count in rows.items():
        table.add_row(what, count)
    for fault in EVERY_FAULT:
        if totals.faults[fault]:
            table.add_row(f"  {fault.replace('_', ' ')}", f"{totals.faults[fault]:,}")
    console.print(table)
