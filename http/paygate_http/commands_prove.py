"""`paygate prove`: what the journal proves about payments, with or without a provider's books."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from paygate_actors.audit import HEADS_FILE
from paygate_actors.money import Money
from paygate_actors.projection import KINDS
from paygate_actors.proof import Proof, Violation
from paygate_actors.proof_books import Books, BooksUnreadable, read_books
from paygate_actors.proving import prove_all, prove_one, unlisted, walk_chain
from paygate_actors.record import Payment
from paygate_actors.scrubber import damaged_rows
from paygate_actors.views import payment_view
from paygate_engine import chain
from paygate_engine.errors import NotFound
from paygate_engine.heads import BadHead
from paygate_engine.stores.base import Store
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.commands_audit import published_ends
from paygate_http.configure import ConfigInvalid
from paygate_http.flags import ProveFlags
from paygate_http.process import Exit, Refused

# Books are held in memory whole: some two million lines, which is more than a day's.
BOOKS_BYTES_MAX: Final = 512 * 1024 * 1024
# A terminal is no place for more; a file or a pipe gets all: who restored a backup needs them.
SHOWN_MAX: Final = 100
PIPE_WIDTH: Final = 220
_DAMAGED: Final = "the row is not what was written there"


def prove(payment_id: str | None, flags: ProveFlags) -> Exit:
    """Prove one payment, or all; FAILED on any violation, each named with its rule.

    Raises `ConfigInvalid`, `Refused` for what cannot be read, `StoreRefused`.
    """
    if (payment_id is None) != flags.all:
        raise ConfigInvalid("name a payment, or give --all")
    books = None if flags.books is None else _read_books(flags.books)
    if payment_id is None:
        return _told(asyncio.run(_all(flags, books)), books)
    proof = asyncio.run(_one(flags.data, payment_id, books))
    if proof.payment is not None:
        _show(proof, proof.payment)
    return _told(proof.violations, books)


def _read_books(path: Path) -> Books:
    with path.open("rb") as file:
        raw = file.read(BOOKS_BYTES_MAX + 1)
    if len(raw) > BOOKS_BYTES_MAX:
        raise Refused(f"{path} is over {BOOKS_BYTES_MAX:,} bytes: prove a shorter time of it")
    try:
        return read_books(raw)
    except BooksUnreadable as error:
        raise Refused(f"{path} holds no books as GET /ledger gives them: {error}") from error


async def _one(data: Path, payment_id: str, books: Books | None) -> Proof:
    async with _opened(data) as store:
        try:
            return await prove_one(store, payment_id, books)
        except NotFound as error:
            raise Refused(str(error)) from error


async def _all(flags: ProveFlags, books: Books | None) -> list[Violation]:
    found: list[Violation] = []
    counts: dict[str, int] = {}
    events = calls = 0
    async with _opened(flags.data) as store:
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
        found += [
            Violation(subject=f"{damage.table} {damage.name}", rule="checksum", text=_DAMAGED)
            async for damage in damaged_rows(store)
        ]
        found += [] if books is None else books.left_over()
        found += await _chain(store, flags)
    by_status = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    sys.stdout.write(
        f"{sum(counts.values()):,} payments ({by_status or 'none'}), {events:,} events,"
        f" {calls:,} calls under keys of their own\n"
    )
    return found


async def _chain(store: Store, flags: ProveFlags) -> list[Violation]:
    try:
        heads = published_ends(flags.data, flags.config)
    except BadHead as error:
        return [Violation(subject=HEADS_FILE, rule="audit chain", text=str(error))]
    found = await walk_chain(store, heads or {})
    if isinstance(found, chain.Fault):
        return [Violation(subject=f"row {found.n}", rule="audit chain", text=found.text)]
    ends = "not compared" if heads is None else f"{len(heads)} published ends agree"
    sys.stdout.write(f"audit chain: {found.n:,} rows, all sound; {ends}\n")
    return []


@asynccontextmanager
async def _opened(data: Path) -> AsyncGenerator[SqliteStore]:
    store = SqliteStore(data, KINDS, read_only=True)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _told(violations: list[Violation], books: Books | None) -> Exit:
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


def _show(proof: Proof, payment: Payment) -> None:
    currency = payment.created.currency
    calls = Table(title=f"{payment.id}, {payment.status}: {proof.events} events")
    for name in ("intent", "of", "key", "provider", "answer", "at the provider"):
        calls.add_column(name, overflow="fold")
    for name in ("asked", "confirmed"):
        calls.add_column(name, justify="right")
    for call in payment.calls:
        answer = "in doubt" if call.in_doubt else call.state
        confirmed = "" if call.confirmed_minor is None else _money(call.confirmed_minor, currency)
        calls.add_row(
            call.verb,
            call.transaction_id,
            call.key,
            call.provider,
            answer,
            call.provider_txn_id or "",
            _money(call.amount_minor, currency),
            confirmed,
        )
    # Into a pipe nothing is folded: half a key is of no use to anybody.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(calls)
    view = payment_view(payment)
    sums = Table(title="sums")
    sums.add_column("what")
    sums.add_column("how much", justify="right")
    for name, minor in {
        "asked for": view.amount_minor,
        "authorized": view.amount_authorized_minor,
        "captured": view.amount_captured_minor,
        "released": view.amount_released_minor,
        "refunded": view.amount_refunded_minor,
        "returned": view.amount_returned_minor,
        "disputed": view.amount_disputed_minor,
    }.items():
        sums.add_row(name, _money(minor, currency))
    console.print(sums)


def _money(minor: int, currency: str) -> str:
    return str(Money(minor, currency))
