"""Does what was acknowledged survive a power loss? Every disk that may be found is opened and read.

What a process promised is taken from its own system calls: whatever id of ours leaves through a
socket, in an answer to a merchant or in a call to a provider, must be on the disk from then on,
and so must the state that the answer told of. No clock is compared with another one.

    run = Run(folder, steps)
    findings = explore(run, points, seed=7)       # on all cores
"""

import asyncio
import io
import multiprocessing
import os
import random
import re
import shutil
import sqlite3
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import msgspec
from disk_images import Disk, Files
from msgspec import Struct, field
from syscall_log import Linked, Made, Removed, Renamed, Said, Step, Synced

from paygate_actors.audit import HEADS_FILE
from paygate_actors.marks import VAULT_MARK
from paygate_actors.projection import KINDS
from paygate_actors.vault_keys import KEYS_FILE
from paygate_engine.errors import StoreRefused
from paygate_engine.heads import mend_heads
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.commands_audit import verify
from paygate_http.commands_prove import prove
from paygate_http.flags import AuditFlags, ProveFlags
from paygate_http.process import Exit, Refused

DATABASE: Final = "journal.db"
# What SQLite keeps beside its database for running processes only, and rebuilds.
_MAPPED: Final = DATABASE + "-shm"
_MAPPED_BYTES: Final = 32_768
# One in so many disks is also shown to the gateway's own commands, which takes ten times as long.
_COMMANDS_EVERY: Final = 25

_WORD: Final = re.compile(rb"\b(?:(?:pay|txn)_[0-9a-z]{26}(?:-\d+)?|key_[0-9a-z]{26})\b")
_WEBHOOK: Final = re.compile(rb"X-Request-ID: (msg_[\w-]+)", re.IGNORECASE)
_OK: Final = re.compile(rb"HTTP/1\.1 2\d\d ")

# What of one unit belongs together, though it lies in several tables: each finds what is alone.
_ALONE: Final = {
    "events and audit rows": (
        "SELECT 1 WHERE (SELECT count(*) FROM events)"
        " <> (SELECT coalesce(sum(events), 0) FROM audit)"
    ),
    "events with a gap": "SELECT stream FROM events GROUP BY stream HAVING max(seq) <> count(*)",
    "a payment and its document": (
        "SELECT stream FROM events WHERE seq = 1 AND stream NOT IN"
        " (SELECT id FROM documents WHERE kind = 'payment')"
    ),
    "a document and its payment": (
        "SELECT id FROM documents WHERE kind = 'payment' AND id NOT IN (SELECT stream FROM events)"
    ),
    "a claim and its payment": (
        "SELECT name FROM claims WHERE stream NOT IN (SELECT stream FROM events)"
        f" AND name <> '{VAULT_MARK}'"
    ),
}

# In memory where there is such a folder: thousands of disks are made and thrown away.
_MEMORY: Final = Path("/dev/shm")


class _Reply(Struct, frozen=True, rename="camel"):
    """What all answers about one thing have."""

    id: str
    updated_at: str


_decode: Final = msgspec.json.Decoder(_Reply).decode


class Promise(Struct, frozen=True):
    """From a step on, `stream` has at least `seq` events; `seq` 0: an item or a key is there.

    The file of published heads counts as a stream of its lines.
    """

    step: int
    stream: str
    seq: int
    word: str


class Seen(Struct, frozen=True, kw_only=True):
    """What plain SQLite finds on a disk.

    `alone`: parts of a unit without the others; `state`: a digest of all rows of all tables.
    """

    fault: str = ""
    alone: str = ""
    streams: dict[str, int] = field(default_factory=dict[str, int])
    others: frozenset[str] = frozenset()
    state: bytes = b""


class Loss(Struct, frozen=True, kw_only=True):
    """What is wrong with one disk: where, how it was made, and a sentence."""

    step: int
    how: str
    text: str


class Findings(Struct, kw_only=True):
    """What an exploration found, by disks.

    `lost`: something promised is not there. `corrupt`: SQLite finds fault. `partial`: neither all
    nor nothing of the group that was being written. `refused`: the gateway does not take it.
    """

    points: int = 0
    images: int = 0
    by_commands: int = 0
    by_how: Counter[str] = field(default_factory=Counter[str])
    lost: list[Loss] = field(default_factory=list[Loss])
    corrupt: list[Loss] = field(default_factory=list[Loss])
    partial: list[Loss] = field(default_factory=list[Loss])
    refused: list[Loss] = field(default_factory=list[Loss])

    def add(self, other: "Findings") -> None:
        """Take in what another worker found."""
        self.points += other.points
        self.images += other.images
        self.by_commands += other.by_commands
        self.by_how.update(other.by_how)
        self.lost += other.lost
        self.corrupt += other.corrupt
        self.partial += other.partial
        self.refused += other.refused


class Run(Struct, frozen=True, kw_only=True):
    """What was watched: the folder's path, every step, and what was promised, in order.

    `keys`: the file of the vault's keys, without which no card that was taken can be read.
    """

    folder: str
    steps: list[Step]
    promises: list[Promise]
    keys: bytes

    @classmethod
    def of(cls, folder: Path, steps: list[Step]) -> Self:
        """The run that left the folder as it is now."""
        return cls(
            folder=str(folder),
            steps=steps,
            promises=promises_of(steps, folder),
            keys=(folder / KEYS_FILE).read_bytes(),
        )


def memory_folder() -> tempfile.TemporaryDirectory[str]:
    """A scratch folder that no disk is behind, if the machine has such."""
    return tempfile.TemporaryDirectory(
        prefix="paygate-images-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None
    )


def put(files: Files, folder: Path) -> None:
    """Make the folder hold exactly these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content)
        path.chmod(0o600)


def unmapped(files: Files, rng: random.Random | None = None) -> Files:
    """Without what was mapped; with `rng`, sometimes with rubbish in its place."""
    kept = {name: content for name, content in files.items() if name != _MAPPED}
    if rng is not None and _MAPPED in files and rng.random() < 0.5:
        kept[_MAPPED] = rng.randbytes(_MAPPED_BYTES)
    return kept


def look(folder: Path) -> Seen:
    """Open the folder's database with plain SQLite, check it, and read all of it."""
    seen = _look(folder / DATABASE)
    heads = folder / HEADS_FILE
    if heads.exists():
        seen.streams[HEADS_FILE] = heads.read_bytes().count(b"\n")
    return seen


def _look(path: Path) -> Seen:
    if not path.exists() or not path.stat().st_size:
        return Seen()
    # A journal of the first start must be rolled back; whatever came later is read without
    # a change, so that the gateway can be shown the same disk.
    mode = "rw" if path.with_name(DATABASE + "-journal").exists() else "ro"
    connection = sqlite3.connect(f"file:{path}?mode={mode}", uri=True)
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            return Seen(fault="; ".join(found)[:500])
        return _read(connection)
    except sqlite3.Error as error:
        return Seen(fault=f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def _read(connection: sqlite3.Connection) -> Seen:
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        )
    ]
    if "audit" not in tables:
        return Seen()
    state = blake2b(digest_size=16)
    for table in tables:
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        state.update(table.encode() + msgspec.msgpack.encode(rows))
    streams = dict(connection.execute("SELECT stream, max(seq) FROM events GROUP BY stream"))
    others = connection.execute(
        "SELECT id FROM items UNION SELECT id FROM documents WHERE kind = 'api_key'"
    )
    alone = [what for what, query in _ALONE.items() if connection.execute(query).fetchone()]
    return Seen(
        alone=", ".join(alone),
        streams=streams,
        others=frozenset(row[0] for row in others),
        state=state.digest(),
    )


def promises_of(steps: Sequence[Step], folder: Path) -> list[Promise]:
    """What was promised, in order; the folder as the process left it says what an id belongs to.

    Raises `AssertionError` for a promise that not even the folder as it was left keeps.
    """
    told = _Told(folder)
    made: list[Promise] = []
    known: set[tuple[str, int]] = set()
    heads = 0
    for number, step in enumerate(steps):
        match step:
            case Said(data):
                for stream, seq, word in told.by(data):
                    if (stream, seq) not in known:
                        known.add((stream, seq))
                        made.append(Promise(number, stream, seq, word))
            case Synced(path) if path.endswith(f"/{HEADS_FILE}"):
                # What an auditor relies on, though no answer tells of it.
                heads += 1
                made.append(Promise(number, HEADS_FILE, heads, f"head {heads}"))
            case _:
                pass
    return made


class _Told:
    """Which events an id, or a state that was told of, stands on."""

    def __init__(self, folder: Path) -> None:
        connection = sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True)
        try:
            events = connection.execute(
                "SELECT stream, seq, at_us, body FROM events ORDER BY at_us, stream, seq"
            ).fetchall()
            seen = _read(connection)
        finally:
            connection.close()
        self._others = seen.others
        self._first: dict[str, tuple[str, int]] = {}
        self._times: dict[str, list[int]] = {}
        for stream, seq, at_us, body in events:
            self._times.setdefault(stream, []).append(at_us)
            for word in (stream, *(each.decode() for each in _WORD.findall(body))):
                self._first.setdefault(word, (stream, seq))

    def by(self, data: bytes) -> Iterator[tuple[str, int, str]]:
        """What these bytes promise: (stream, events, the word that does)."""
        for each in _WORD.findall(data):
            word = each.decode()
            if word.startswith("key_"):
                yield self._other(word), 0, word
            else:
                assert word in self._first, f"{word} was sent, and nothing was ever written of it"
                yield *self._first[word], word
        if _OK.match(data):
            for each in _WEBHOOK.findall(data):
                word = f"sandbox/{each.decode()}"
                yield self._other(word), 0, word
            yield from self._states(data.partition(b"\r\n\r\n")[2])

    def _other(self, word: str) -> str:
        assert word in self._others, f"{word} was acknowledged, and is not there"
        return word

    def _states(self, body: bytes) -> Iterator[tuple[str, int, str]]:
        """What is told of a payment is told as of a time: all its events up to then."""
        try:
            reply = _decode(body)
        except msgspec.DecodeError:  # a list, a problem, or no JSON at all
            return
        if reply.id.startswith("pay_"):
            at_us = _microseconds(reply.updated_at)
            times = self._times[reply.id]
            assert at_us in times, f"{reply.id} was told of as of {at_us}, of its events: {times}"
            yield reply.id, sum(each <= at_us for each in times), f"{reply.id} as of {at_us}"


def _microseconds(text: str) -> int:
    at = datetime.fromisoformat(text)
    return round(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def data_steps(run: Run) -> list[int]:
    """The steps after which a disk may differ from the one before."""
    return [number for number, step in enumerate(run.steps) if not isinstance(step, Said)]


def turning_points(run: Run) -> list[int]:
    """The steps that change names or force anything but the log that every group is written to."""
    log = f"{run.folder}/{DATABASE}-wal"
    return [
        number
        for number, step in enumerate(run.steps)
        if isinstance(step, Made | Linked | Renamed | Removed)
        or (isinstance(step, Synced) and step.path != log)
    ]


def spread(points: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """At most `count` of the points: one, by chance, of each of so many equal parts."""
    if len(points) <= count:
        return list(points)
    edges = [len(points) * part // count for part in range(count + 1)]
    return [points[rng.randrange(*pair)] for pair in pairwise(edges)]


def explore(run: Run, points: Sequence[int], *, seed: int) -> Findings:
    """Open every disk that may be found after each of the points (step numbers); on all cores."""
    workers = max(1, os.cpu_count() or 1)
    shares = [points[part::workers] for part in range(workers)]
    # Not by fork: the tests' own process has threads.
    context = multiprocessing.get_context("spawn")
    found = Findings()
    with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
        for each in pool.map(partial(explore_here, run, seed=seed), shares):
            found.add(each)
    return found


def explore_here(run: Run, points: Sequence[int], *, seed: int) -> Findings:
    """The same, in this process."""
    found = Findings(points=len(points))
    wanted = set(points)
    # Only the database's own: another thread publishes a head while a group is being written. The
    # end is the state of whatever was committed last, synced or not.
    database = f"{run.folder}/{DATABASE}"
    syncs = [
        number
        for number, step in enumerate(run.steps)
        if isinstance(step, Synced) and step.path.startswith(database)
    ]
    syncs.append(len(run.steps) - 1)
    states = dict.fromkeys((each for point in points for each in _neighbours(point, syncs)), b"")
    judge = _Judge(run, found)
    disk = Disk(run.folder)
    # Judged at the end: the state after a group is known only once the group is written.
    unjudged: list[tuple[int, str, bytes]] = []
    with memory_folder() as scratch:
        folder = Path(scratch) / "data"
        for number, step in enumerate(run.steps):
            disk.apply(step)
            if number in states:
                put(unmapped(disk.live()), folder)
                states[number] = look(folder).state
            if number not in wanted:
                continue
            rng = random.Random(f"{seed} {number}")
            for how, files in disk.images(rng):
                put(unmapped(files, rng), folder)
                seen = look(folder)
                if not seen.fault:
                    unjudged.append((number, how, seen.state))
                judge.hold(seen, files, number, how)
                judge.hold_by_commands(folder, number, how)
    for number, how, state in unjudged:
        if state not in [states[each] for each in _neighbours(number, syncs)]:
            text = "neither the state before the group that was being written nor the one after"
            found.partial.append(Loss(step=number, how=how, text=text))
    return found


class _Judge:
    """Holds what is found against what was promised up to then. Steps come in order."""

    def __init__(self, run: Run, found: Findings) -> None:
        self._run = run
        self._found = found
        self._left = list(reversed(run.promises))
        self._streams: dict[str, Promise] = {}
        self._others: set[str] = set()

    def hold(self, seen: Seen, files: Files, number: int, how: str) -> None:
        """Judge one disk."""
        self._found.images += 1
        self._found.by_how[how] += 1
        self._promised_by(number)
        if seen.fault:
            self._found.corrupt.append(Loss(step=number, how=how, text=seen.fault))
            return
        if seen.alone:
            self._found.partial.append(Loss(step=number, how=how, text=seen.alone))
        missing = [
            each.word
            for stream, each in self._streams.items()
            if seen.streams.get(stream, 0) < each.seq
        ]
        missing += self._others - seen.others
        if self._streams and files.get(KEYS_FILE) != self._run.keys:
            missing.append(KEYS_FILE)
        if missing:
            text = f"{len(missing)} promised and lost: {', '.join(missing[:3])}"
            self._found.lost.append(Loss(step=number, how=how, text=text))

    def hold_by_commands(self, folder: Path, number: int, how: str) -> None:
        """Show some of the disks to the gateway's own commands; all of them before a promise."""
        if self._streams and self._found.images % _COMMANDS_EVERY:
            return
        self._found.by_commands += 1
        text = refusal(folder, proves=bool(self._streams))
        if text:
            self._found.refused.append(Loss(step=number, how=how, text=text))

    def _promised_by(self, number: int) -> None:
        while self._left and self._left[-1].step <= number:
            promise = self._left.pop()
            known = self._streams.get(promise.stream)
            if not promise.seq:
                self._others.add(promise.stream)
            elif known is None or promise.seq > known.seq:
                self._streams[promise.stream] = promise


def refusal(folder: Path, *, proves: bool) -> str:
    """Why the gateway does not take the folder as it is; empty: it does.

    `proves`: also by `paygate prove --all`, which changes nothing and so comes first; then the
    folder is opened to be written as at a start, and `paygate audit verify` walks the chain.
    """
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            if proves and prove(None, ProveFlags(all=True, data=folder)) != Exit.DRAINED:
                return said.getvalue()[-500:]
            asyncio.run(_open_to_write(folder))
            if verify(AuditFlags(data=folder)) != Exit.DRAINED:
                return said.getvalue()[-500:]
    except (StoreRefused, Refused) as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def _open_to_write(folder: Path) -> None:
    store = SqliteStore(folder, KINDS)
    await store.open()
    await store.close()
    mend_heads(folder / HEADS_FILE)


def _neighbours(number: int, syncs: Sequence[int]) -> tuple[int, int]:
    """The last sync up to a step (-1: none), and the first one after it: a group is in between."""
    place = bisect_right(syncs, number)
    before = syncs[place - 1] if place else -1
    return before, syncs[min(place, len(syncs) - 1)]
