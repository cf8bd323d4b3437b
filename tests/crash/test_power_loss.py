"""The power fails: whatever the disk may hold then, nothing that was acknowledged is gone.

The real process runs under strace on real sockets and a real disk. Out of its system calls every
disk is built that a power loss may leave (`disk_images.py`), and opened: by plain SQLite all of
them, by the gateway's own commands and by the gateway itself some.

`PAYGATE_CRASH_ROUNDS=full` takes the point after every write; otherwise some are drawn.
"""

import asyncio
import base64
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from disk_images import HOWS, Disk
from gateway_words import payment, seed_of, signed, until
from msgspec import Struct
from needing import needs
from power_loss import (
    DATABASE,
    Findings,
    Run,
    data_steps,
    explore,
    explore_here,
    put,
    spread,
    turning_points,
    unmapped,
)
from process_rig import GatewayClient, Process, ProcessRig, process_rig
from syscall_log import Made, Step, Synced, Wrote, are_stopped, is_whole, read_steps, traced
from weakened_child import WEAKNESSES, weakened

from paygate_actors.audit import HEADS_FILE

FULL: Final = os.environ.get("PAYGATE_CRASH_ROUNDS") == "full"
# Of some 20,000: what the time that `make test` has allows.
POINTS: Final = 60
# Disks that a gateway is started on.
BY_SERVER: Final = 12 if FULL else 2
CONTROL_POINTS: Final = 400 if FULL else 30
# Of the payments that a gateway is asked for again, these many under their keys too.
REPEATS: Final = 20
# Each publishes a head as it ends: the fourth of them does not fit into the first sector.
FIRST_LIVES: Final = 4
# Callers at once: groups of the journal hold several payments then.
CALLERS: Final = 8
# The log is checkpointed after some 500 payments; it never was where these are not enough.
PAYMENTS_MAX: Final = 4_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7_200 if FULL else 240)]

# Keys that are made are kept under it.
PEPPER: Final = {"PAYGATE__API_KEY_PEPPER": base64.b64encode(bytes(range(32))).decode()}
NO_SYNC: Final = "fsync,fdatasync:retval=0"


class Paid(Struct, frozen=True):
    """A payment that was acknowledged, and the request that made it."""

    key: str
    id: str
    body: dict[str, Any]


class Customers:
    """They pay, capture, refund, ask again and hear webhooks sent; every answer must be a good one.

    Every request is named (`X-Request-ID`), so that its answer is found among what was sent.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.paid: list[Paid] = []
        self.done: Counter[str] = Counter()

    async def buy(self, gateway: GatewayClient, count: int) -> None:
        """That many payments, by several callers at once, and what follows on them."""
        share = [count // CALLERS + (caller < count % CALLERS) for caller in range(CALLERS)]
        await asyncio.gather(*(self._caller(gateway, each) for each in share))

    async def _caller(self, gateway: GatewayClient, count: int) -> None:
        for _ in range(count):
            await self._buy(gateway)

    async def _buy(self, gateway: GatewayClient) -> None:
        manual = self._rng.random() < 0.2
        self.done["payment"] += 1
        key = f"key-{self.done['payment']}"
        body = payment(minor=self._rng.randrange(200, 50_000), manual=manual)
        made = (await gateway.pay(key, body=body, wait_s=5)).made()
        self.paid.append(Paid(key, made["id"], body))
        if manual:
            await self._operate(gateway, "capture", made["id"])
        if self._rng.random() < 0.25:
            await self._operate(gateway, "refund", made["id"])
        if self._rng.random() < 0.15:
            await self.ask_again(gateway, self._rng.choice(self.paid))
        if self._rng.random() < 0.15:
            await self._report(gateway, made)

    async def _operate(self, gateway: GatewayClient, verb: str, payment_id: str) -> None:
        self.done[verb] += 1
        body = {"amount": 1} if verb == "refund" else {}
        key = f"{verb}-{self.done[verb]}"
        if verb == "refund":
            await gateway.until_status(payment_id, "success")
        (await gateway.operate(payment_id, verb, body, key=key)).made()

    async def ask_again(self, gateway: GatewayClient, paid: Paid) -> None:
        """The same request under the same key: the same payment, and nothing new."""
        self.done["repeat"] += 1
        answer = await gateway.pay(paid.key, body=paid.body)
        assert answer.made()["id"] == paid.id and answer.replayed, answer

    async def _report(self, gateway: GatewayClient, made: dict[str, Any]) -> None:
        """A webhook of the provider, which says what is known already, and is kept."""
        self.done["webhook"] += 1
        event: dict[str, Any] = {
            "providerID": "sandbox",
            "eventType": "settlement.announced",
            "transactionID": made["providerTxnID"] or "unknown",
            "data": {},
            "timestamp": made["createdAt"],
        }
        raw = msgspec.json.encode(event)
        message_id = f"msg_{self.done['webhook']}"
        headers = signed(message_id, raw) | {"X-Request-ID": message_id}
        (await gateway.ask("POST", "/api/webhooks/sandbox", raw, headers=headers)).made()


class Watched:
    """Gateways that live on one folder one after another, and every step that they take."""

    def __init__(self, rig: ProcessRig) -> None:
        self.rig = rig
        self.steps: list[Step] = []
        self._lives = 0

    async def serve(self, *injected: str, before: tuple[str, ...] = ()) -> GatewayClient:
        """Start the next one. `before`: what else runs the command."""
        self._lives += 1
        return await self.rig.serve(env=PEPPER, prefix=(*traced(self._log(), *injected), *before))

    async def stop(self, gateway: GatewayClient) -> None:
        """End it in order: the log is written into the database, and removed."""
        assert await gateway.stop() == 0
        await self._read(gateway)

    async def kill(self, gateway: GatewayClient) -> None:
        """End it by SIGKILL between two steps: what a call did that is cut off, nobody knows."""
        await gateway.settled()
        gateway.process.signal(signal.SIGSTOP)

        async def is_frozen() -> bool:
            return are_stopped(self._log(), gateway.process.child.pid)

        await until(is_frozen, bool)
        await gateway.kill()
        await self._read(gateway)

    def _log(self) -> Path:
        return self.rig.folder / f"life-{self._lives}.strace"

    async def _read(self, gateway: GatewayClient) -> None:
        async def is_written() -> bool:
            return is_whole(self._log(), gateway.process.child.pid)

        await until(is_written, bool)
        self.steps += read_steps(self._log(), self.rig.data, before=len(self.steps))
        self._log().unlink()


async def make_key(rig: ProcessRig) -> None:
    """`paygate keys create`, which goes through the server that runs."""
    process = await Process.spawn(
        "keys",
        "create",
        "--data",
        str(rig.data),
        "--role",
        "merchant",
        "--merchant",
        "m",
        log=rig.folder / "keys.log",
        env=PEPPER,
    )
    assert await process.ended() == 0, process.tail()


async def several_lives(watched: Watched, customers: Customers) -> None:
    """First steps, a life in which the log is checkpointed and begun again, and a recovery."""
    for _ in range(FIRST_LIVES):
        gateway = await watched.serve()
        await customers.buy(gateway, 16)
        await make_key(watched.rig)
        await watched.stop(gateway)

    gateway = await watched.serve()
    database = watched.rig.data / DATABASE
    size = database.stat().st_size
    while database.stat().st_size == size:
        assert len(customers.paid) < PAYMENTS_MAX, "the log is never checkpointed"
        await customers.buy(gateway, 40)
    await customers.buy(gateway, 40)
    await watched.kill(gateway)

    gateway = await watched.serve()
    await customers.ask_again(gateway, customers.paid[0])
    await customers.buy(gateway, 24)
    await watched.kill(gateway)


def points_of(run: Run, rng: random.Random) -> list[int]:
    """The points at which the power fails."""
    every = data_steps(run)
    return every if FULL else sorted({*spread(every, POINTS, rng), *turning_points(run)})


async def test_whatever_a_power_loss_leaves_holds_all_that_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    needs("strace is not installed", met=shutil.which("strace") is not None)
    rng = seed_of("power loss")
    customers = Customers(rng)
    async with process_rig(tmp_path) as rig:
        watched = Watched(rig)
        await several_lives(watched, customers)
        run = Run.of(rig.data, watched.steps)
        as_it_was_left(run, rig.data)
        points = points_of(run, rng)
        begun = time.perf_counter()

        found = await asyncio.to_thread(explore, run, points, seed=rng.randrange(1 << 32))

        with capsys.disabled():
            show("power loss", run, found, time.perf_counter() - begun)
        for point in spread(first_promised(run, points), BY_SERVER, rng):
            await served_again(rig, run, customers, point, rng)
    assert kinds_of(run) >= {"pay", "txn", "as of", "sandbox/msg", "key", "head"}
    assert heads_forced(run) == (Path(run.folder) / HEADS_FILE).read_bytes().count(b"\n")
    assert log_beginnings(run) > FIRST_LIVES + 1, "the log was never begun again within a life"
    assert found.lost == []
    assert found.partial == []
    assert found.corrupt == []
    assert found.refused == []


async def test_a_folder_that_was_made_just_before_the_start_does_not_vanish(tmp_path: Path):
    needs("strace is not installed", met=shutil.which("strace") is not None)
    rng = seed_of("a folder made before")
    async with process_rig(tmp_path) as rig:
        watched = Watched(rig)
        rig.data.mkdir(mode=0o700)
        watched.steps.append(Made(str(rig.data)))
        gateway = await watched.serve()
        await Customers(rng).buy(gateway, 1)
        await watched.kill(gateway)
        run = Run.of(rig.data, watched.steps)

    point = first_promised(run, data_steps(run))[0]

    found = await asyncio.to_thread(explore_here, run, [point], seed=1)

    assert found.images
    assert found.lost == []


@pytest.mark.parametrize("how", ["no_sync", *WEAKNESSES])
async def test_it_takes_payments_where_the_disk_is_not_waited_for(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    needs("strace is not installed", met=shutil.which("strace") is not None)
    rng = seed_of(how)
    customers = Customers(rng)
    async with process_rig(tmp_path) as rig:
        watched = Watched(rig)
        gateway = await (
            watched.serve(NO_SYNC) if how == "no_sync" else watched.serve(before=weakened(how))
        )
        await customers.buy(gateway, 24)
        await watched.kill(gateway)
        run = Run.of(rig.data, watched.steps)
    as_it_was_left(run, Path(run.folder))
    points = spread(first_promised(run, data_steps(run)), CONTROL_POINTS, rng)
    begun = time.perf_counter()

    found = await asyncio.to_thread(explore_here, run, points, seed=rng.randrange(1 << 32))

    with capsys.disabled():
        show(f"control, {how}", run, found, time.perf_counter() - begun)
    assert any(loss.how == "none" for loss in found.lost)


def as_it_was_left(run: Run, folder: Path) -> None:
    """All steps, one after another, come to the folder as it is: none was overlooked."""
    disk = Disk(run.folder)
    for step in run.steps:
        disk.apply(step)

    for name, content in unmapped(disk.live()).items():
        assert (folder / name).read_bytes() == content, name


def first_promised(run: Run, points: list[int]) -> list[int]:
    """Those of the points that something was promised before."""
    first = run.promises[0].step
    return [point for point in points if point >= first]


def kinds_of(run: Run) -> set[str]:
    """What was promised: the words' beginnings, and `as of` where a state was told of."""
    return {
        "as of" if " as of " in each.word else re.split(r"[_ ]", each.word)[0]
        for each in run.promises
    }


def heads_forced(run: Run) -> int:
    """How many of the published heads were forced to the disk."""
    return sum(each.stream == HEADS_FILE for each in run.promises)


def log_beginnings(run: Run) -> int:
    """How many times SQLite's log was begun at its first byte."""
    log = f"{run.folder}/{DATABASE}-wal"
    return sum(isinstance(it, Wrote) and it.path == log and it.offset == 0 for it in run.steps)


def show(name: str, run: Run, found: Findings, seconds: float) -> None:
    syncs = sum(isinstance(step, Synced) for step in run.steps)
    ways = ", ".join(f"{count} {how}" for how, count in sorted(found.by_how.items()))
    print(  # noqa: T201  # the figures are what it is run for
        f"\n{name}: {len(data_steps(run))} writes and syncs ({syncs} syncs), "
        f"{len(run.promises)} promises; {found.points} points, {found.images} disks ({ways}), "
        f"{found.images / seconds:.0f} a second; {found.by_commands} read by the gateway's own "
        f"commands\n{name}: {len(found.lost)} with something acknowledged lost, "
        f"{len(found.partial)} with a part of a group, {len(found.corrupt)} corrupt, "
        f"{len(found.refused)} refused by the gateway"
    )


async def served_again(
    rig: ProcessRig, run: Run, customers: Customers, point: int, rng: random.Random
) -> None:
    """Start a gateway on a disk that the power loss left, and ask it for what was acknowledged."""
    disk = Disk(run.folder)
    for step in run.steps[: point + 1]:
        disk.apply(step)
    rig.data = rig.folder / f"found-{point}"
    put(unmapped(disk.image(rng.choice(HOWS), rng), rng), rig.data)
    promised = {each.stream for each in run.promises if each.step <= point}
    paid = [each for each in customers.paid if each.id in promised]

    gateway = await rig.serve(env=PEPPER)
    there = {row["id"] for row in await gateway.every("payments")}

    assert {each.id for each in paid} <= there, point
    for each in rng.sample(paid, min(len(paid), REPEATS)):
        await customers.ask_again(gateway, each)
    await gateway.kill()
