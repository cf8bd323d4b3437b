"""`paygate prove`: what the journal proves about payments, with or without a provider's books."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from paygate_actors.audit import HEADS_FILE
from paygate_actors.chains import walk_chains
from paygate_actors.config import Config
from paygate_actors.nodes import as_shared
from paygate_actors.proof import Proof, Violation
from paygate_actors.proof_books import Books, BooksUnreadable, read_books
from paygate_actors.proving import prove_all, prove_one, unlisted
from paygate_actors.scrubber import as_checked, damaged_rows
from paygate_engine.errors import NotFound
from paygate_engine.heads import BadHead
from paygate_engine.stores.base import Store
from paygate_http.commands_audit import ends_of, of_chain, read_config
from paygate_http.configure import ConfigInvalid
from paygate_http.flags import ProveFlags
from paygate_http.process import Exit, Refused
from paygate_http.proof_tables import show_proof
from paygate_http.stores import opened_to_read

# Books are held in memory whole: some two million lines, which is more than a day's.
BOOKS_BYTES_MAX: Final = 512 * 1024 * 1024
# A terminal is no place for more; a file or a pipe gets all: who restored a backup needs them.
SHOWN_MAX: Final = 100
_DAMAGED: Final = "the row is not what was written there"


def prove(payment_id: str | None, flags: ProveFlags) -> Exit:
    """Prove one payment, or all; FAILED on any violation, each named with its rule.

    Raises `ConfigInvalid`, `Refused` for what cannot be read, `StoreRefused`.
    """
    if (payment_id is None) != flags.all:
        raise ConfigInvalid("name a payment, or give --all")
    config = read_config(flags.config, flags.settings())
    books = None if flags.books is None else _read_books(flags.books)
    if payment_id is None:
        return tell(asyncio.run(prove_everything(config, flags.data, books)), books)
    proof = asyncio.run(_one(config, flags, payment_id, books))
    return tell(proof.violations, books)


def _read_books(path: Path) -> Books:
    with path.open("rb") as file:
        raw = file.read(BOOKS_BYTES_MAX + 1)
    if len(raw) > BOOKS_BYTES_MAX:
        raise Refused(f"{path} is over {BOOKS_BYTES_MAX:,} bytes: prove a shorter time of it")
    try:
        return read_books(raw)
    except BooksUnreadable as error:
        raise Refused(f"{path} holds no books as GET /ledger gives them: {error}") from error


async def _one(config: Config, flags: ProveFlags, payment_id: str, books: Books | None) -> Proof:
    async with opened_to_read(config, flags.data) as store:
        try:
            proof = await prove_one(store, payment_id, books)
        except NotFound as error:
            raise Refused(str(error)) from error
        if proof.payment is not None:
            show_proof(proof, proof.payment, await _names_of(store))
        return proof


async def _names_of(store: Store) -> dict[int, str]:
    """What the nodes that have a seat now are called, by epoch."""
    shared = as_shared(store)
    rows = [] if shared is None else await shared.nodes()
    return {row.epoch: f"seat {row.seat} ({row.name})" for row in rows}


async def prove_everything(
    config: Config, folder: Path, books: Books | None = None
) -> list[Violation]:
    """Prove all of a database, or of a folder, and say how much that was; what is violated.

    Raises `StoreRefused`, `ConfigInvalid` for unusable keys.
    """
    async with opened_to_read(config, folder) as store:
        return await prove_store(store, config, folder, books)


async def prove_store(
    store: Store, config: Config, folder: Path, books: Books | None = None
) -> list[Violation]:
    """The same of a store that is open; `folder` has the published ends of its audit chain."""
    found: list[Violation] = []
    counts: dict[str, int] = {}
    events = calls = 0
    columns = (TextColumn("proving"), BarColumn(), TextColumn("{task.completed:,.0f} events"))
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        bar = progress.add_task("events", total=await store.event_count())
        async for proof in prove_all(store, books):
            progress.update(bar, advance=proof.events)
            found += proof.violations
            events += proof.events
            if proof.payment is not None:
                calls += len(proof.payment.calls)
                status = proof.payment.status
                counts[status] = counts.get(status, 0) + 1
    found += [each async for each in unlisted(store)]
    found += [each async for each in _damaged(store)]
    found += [] if books is None else books.left_over()
    found += await _chains(store, config, folder)
    by_status = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    sys.stdout.write(
        f"{sum(counts.values()):,} payments ({by_status or 'none'}), {events:,} events,"
        f" {calls:,} calls under keys of their own\n"
    )
    return found


async def _damaged(store: Store) -> AsyncIterator[Violation]:
    checked = as_checked(store)
    if checked is not None:
        async for damage in damaged_rows(checked):
            subject = f"{damage.table} {damage.name}"
            yield Violation(subject=subject, rule="checksum", text=_DAMAGED)


async def _chains(store: Store, config: Config, folder: Path) -> list[Violation]:
    try:
        ends = ends_of(config, folder)
    except BadHead as error:
        return [Violation(subject=HEADS_FILE, rule="audit chain", text=str(error))]
    walked = await walk_chains(store, ends or {})
    if walked.fault is not None:
        subject = f"{of_chain(walked.chain)}row {walked.fault.n}"
        return [Violation(subject=subject, rule="audit chain", text=walked.fault.text)]
    for name, head in walked.heads.items():
        known = (
            "not compared" if ends is None else f"{len(ends.get(name, {}))} published ends agree"
        )
        sys.stdout.write(f"audit chain: {of_chain(name)}{head.n:,} rows, all sound; {known}\n")
    return []


def tell(violations: list[Violation], books: Books | None) -> Exit:
    """Print each violation, and what was proved, or that it was not."""
    shown = violations[:SHOWN_MAX] if sys.stdout.isatty() else violations
    for each in shown:
        sys.stdout.write(f"VIOLATION {each.subject}: {each.rule}: {each.text}\n")
    if len(shown) < len(violations):
        left = len(violations) - len(shown)
        sys.stdout.write(f"and {left:,} more: send them to a file (paygate prove ... > FILE)\n")
    if books is None:
        how = "from the journal alone: consistent in itself"
        hint = "; give --books to prove that nothing was charged twice\n"
    else:
        how = f"against {books.lines:,} lines of books: nothing was charged twice"
        hint = "\n"
    if violations:
        against = "from the journal alone" if books is None else "against the books"
        sys.stdout.write(f"NOT proved, {against}: {len(violations):,} violations\n")
        return Exit.FAILED
    sys.stdout.write(f"proved, {how}{hint}")
    return Exit.DRAINED
