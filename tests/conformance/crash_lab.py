"""Servers die on one folder, one after another, at calls that were chosen; then it is judged.

    async with crash_lab(tmp_path, "under load") as lab:
        for nth in series.points:
            load = lab.load()
            ...                                  # a server is struck while it serves the load
            await lab.look(series, load)         # one that nobody strikes says what is left of it
        await lab.judge()                        # all at rest, and the books agree

A sample of all points is tried; with PAYGATE_CRASH_ROUNDS=full, all of them. What a series came to
is printed as a line of a table, which `pytest -s` shows.
"""

import os
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from gateway_words import seed_of
from ledger_match import disagreements
from load_rig import Load
from msgspec import Struct
from process_rig import GatewayClient, Process, ProcessRig, process_rig
from strace_rig import Strike, failing_at, killed_at, launched, where_it_struck

FULL: Final = os.environ.get("PAYGATE_CRASH_ROUNDS") == "full"

# More than a provider is ever called here.
_FOREVER: Final = 1_000_000


class Series(Struct, frozen=True, kw_only=True):
    """The calls of one kind at which servers are struck: a sample, or every one of a range.

    They are killed, or with `error` the call fails; with `file`, only calls on it are counted.
    """

    syscall: str
    sample: tuple[int, ...]
    every: Sequence[int]
    error: str | None = None
    calls: int = 1
    file: str | None = None

    @property
    def points(self) -> Sequence[int]:
        """The N of this run."""
        return self.every if FULL else self.sample

    @property
    def name(self) -> str:
        """How the table names it."""
        return self.syscall if self.error is None else f"{self.syscall}:{self.error}"

    def strike(self, nth: int, folder: Path) -> Strike:
        """What happens at the N-th call of a server on this folder."""
        files = () if self.file is None else (folder / self.file,)
        if self.error is not None:
            return failing_at(
                self.syscall, f"{nth}..{nth + self.calls - 1}", error=self.error, files=files
            )
        # Sockets are the loop's own; files are also the journal's thread's.
        loop_only = self.syscall in {"sendto", "connect"}
        return killed_at(self.syscall, nth, loop_only=loop_only, files=files)


def in_batches(every: Sequence[Series]) -> list[tuple[Series, ...]]:
    """How many folders a test is spread over: one for all series of a sample, else one for each.

    (A sample's judgement takes longer than its deaths; a full series' folder grows large.)
    """
    return [(each,) for each in every] if FULL else [tuple(every)]


def name_of(batch: tuple[Series, ...]) -> str:
    """How pytest names a batch."""
    return "-".join(each.name for each in batch)


class Tally:
    """What a series came to."""

    def __init__(self) -> None:
        self.points: list[int] = []
        self.struck: Counter[str] = Counter()
        self.acked = 0
        self.lost = 0

    def note(self, nth: int, struck: str | None) -> None:
        """Count a death at the N-th, about that file; None: the N-th was never reached."""
        self.points.append(nth)
        if struck is not None:
            self.struck[struck] += 1

    def told(self, when: str, name: str, *, doubled: int) -> str:
        """Its line of the table."""
        where = ", ".join(f"{file} {count}" for file, count in self.struck.most_common())
        span = f"N={self.points[0]}..{self.points[-1]}"
        return (
            f"{when:<11} {name:<15} {span:<10} points={len(self.points):<4}"
            f" struck={self.struck.total():<4} acked={self.acked:<5} lost={self.lost}"
            f" doubled={doubled}  at: {where}"
        )


class CrashLab:
    """One folder and one provider that outlives every server on it."""

    def __init__(self, rig: ProcessRig, rng: random.Random, when: str) -> None:
        self.rig = rig
        self.when = when
        self.served_by: tuple[str, ...] = ()
        """What runs the servers that nobody strikes, and the proof; nothing: this version."""
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.wrong: list[str] = []
        self._rng = rng
        self._loads: list[Load] = []

    def load(self) -> Load:
        """New callers, whose keys are nobody else's."""
        self._loads.append(Load(self._rng, name=f"{len(self._loads)}-"))
        return self._loads[-1]

    def struck(self, series: Series, nth: int) -> tuple[str, ...]:
        """What runs a server that is struck at its N-th call."""
        return launched(series.strike(nth, self.rig.data), self.log(series, nth))

    def log(self, series: Series, nth: int) -> Path:
        """Where strace writes of a strike."""
        return self.rig.folder / f"{series.name}-{nth}.log"

    async def plan(self, faults: Iterable[dict[str, Any]]) -> None:
        """Let the provider behave like this from here on."""
        await self.rig.sandbox.clear_faults()
        for fault in faults:
            await self.rig.sandbox.fault(**fault, count=_FOREVER)

    async def note(self, series: Series, nth: int) -> bool:
        """Count the strike on a server that has ended; False: it never came to its N-th call."""
        strike = series.strike(nth, self.rig.data)
        struck = await where_it_struck(strike, self.log(series, nth))
        self.tallies[series.name].note(nth, struck)
        return struck is not None

    async def look(self, series: Series, load: Load) -> None:
        """Start a server that nobody strikes: what was acknowledged is there, and all is whole."""
        gateway = await self.rig.serve(prefix=self.served_by)
        tally = self.tallies[series.name]
        payments = {row["id"]: row for row in await gateway.every("payments")}
        known = payments.keys() | {row["id"] for row in await gateway.every("transactions")}
        acked = load.acked | {it.acked for it in load.operations.values() if it.acked is not None}
        tally.acked += len(acked)
        tally.lost += len(acked - known)
        self.wrong += [f"acknowledged and lost: {it}" for it in acked - known]
        for row in payments.values():
            if row["metadata"]["key"] in load.payments:
                self.wrong += await _broken(gateway, row, known)
        self.wrong += await load.send_again(gateway)
        await gateway.kill()

    async def judge(self) -> None:
        """Let everything come to rest, then hold it against the books and the proof."""
        await self.rig.sandbox.clear_faults()
        gateway = await self.rig.serve(prefix=self.served_by)
        seen = await gateway.settled()
        ledger = await self.rig.sandbox.ledger()
        assert await gateway.stop() == 0
        effects = Counter(line["idempotencyKey"] for line in ledger)
        self.tell(doubled=sum(count > 1 for count in effects.values()))

        made = {row["metadata"]["key"]: row["id"] for row in seen.payments}
        sent = {key: it.acked for load in self._loads for key, it in load.payments.items()}
        assert self.wrong == []
        assert disagreements(seen, ledger) == []
        assert made == sent, "after it was sent again, each is acknowledged and there once"
        assert await self._proven(ledger), self.rig.log.read_text()[-4_000:]

    def tell(self, *, doubled: int = 0) -> None:
        """Print what each series came to."""
        for name, tally in self.tallies.items():
            print(tally.told(self.when, name, doubled=doubled))  # noqa: T201  # the table

    async def _proven(self, ledger: list[dict[str, Any]]) -> bool:
        books = self.rig.folder / "books.json"
        books.write_bytes(msgspec.json.encode({"data": ledger}))
        flags = ("prove", "--all", "--books", str(books), "--data", str(self.rig.data))
        return (
            await (await Process.spawn(*flags, log=self.rig.log, prefix=self.served_by)).ended()
            == 0
        )


async def _broken(gateway: GatewayClient, row: dict[str, Any], known: set[str]) -> list[str]:
    """Say what is there of a payment that is not whole: all of it was written at once."""
    events = await gateway.events(row["id"])
    numbers = [event["seq"] for event in events]
    if row["transactionID"] in known and numbers and numbers == [*range(1, len(numbers) + 1)]:
        return []
    return [f"{row['id']} is there in part: {numbers}, {row}"]


@asynccontextmanager
async def crash_lab(folder: Path, when: str) -> AsyncGenerator[CrashLab]:
    """A provider, and a folder that is gone when the lab is."""
    rng = seed_of(when)
    async with process_rig(folder, seed=rng.randrange(1 << 32)) as rig:
        yield CrashLab(rig, rng, when)
    shutil.rmtree(rig.data, ignore_errors=True)
