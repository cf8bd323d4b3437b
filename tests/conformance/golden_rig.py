"""Golden journals: what one holds, and how today's code reads it. See `tests/golden/README.md`."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from paygate_actors.chains import rows_count, walk_chains
from paygate_actors.damage import fold
from paygate_actors.projection import KINDS, PAYMENT, TRANSACTION, read_payment, read_transaction
from paygate_actors.proving import pages, prove_all, unlisted
from paygate_actors.vault_keys import KEYS_FILE
from paygate_actors.views import payment_view, transaction_view
from paygate_engine.stores.base import PAGE_MAX, Query, Store
from paygate_engine.stores.sqlite import SqliteStore

GOLDEN: Final = Path(__file__).resolve().parent.parent / "golden"
EXPECTED: Final = "expected.json"
TWO_STEPS: Final = "bank_3"
BANKS: Final = ("bank", "bank_2", TWO_STEPS)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the version that wrote the journal said of it.

    Views hold every field that they had then, by the names of our messages.
    """

    version: str
    clock_us: int
    payments: dict[str, dict[str, Any]]
    transactions: dict[str, dict[str, Any]]
    events: int
    audit_rows: int


def versions() -> list[Path]:
    """The folder of each version that left a journal, the oldest first."""
    return sorted(path.parent for path in GOLDEN.glob(f"*/{EXPECTED}"))


def expected_of(golden: Path) -> Expected:
    """What the journal's own version said of it."""
    return msgspec.json.decode((golden / EXPECTED).read_bytes(), type=Expected)


def copied(golden: Path, folder: Path) -> Path:
    """A copy that may be written to, with the rights that a data folder must have."""
    data = folder / "data"
    shutil.copytree(golden, data, ignore=shutil.ignore_patterns(EXPECTED))
    data.chmod(0o700)
    (data / KEYS_FILE).chmod(0o600)  # which no version control keeps
    return data


@asynccontextmanager
async def upgraded(data: Path) -> AsyncGenerator[SqliteStore]:
    """The store of the folder, brought to today's schema, open and writable."""
    store = SqliteStore(data, KINDS)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def read_by_today(store: Store, *, version: str, clock_us: int) -> Expected:
    """Fold every payment out of its events."""
    payments: dict[str, dict[str, Any]] = {}
    transactions: dict[str, dict[str, Any]] = {}
    async for document in pages(store, Query(kind=PAYMENT, limit=PAGE_MAX)):
        payment = fold(document.id, await store.read_stream(document.id))
        assert payment is not None, f"{document.id} is listed, and has no events"
        payments[payment.id] = whole(payment_view(payment))
        for txn in payment.txns:
            transactions[txn.id] = whole(transaction_view(payment, txn))
    return Expected(
        version=version,
        clock_us=clock_us,
        payments=dict(sorted(payments.items())),
        transactions=dict(sorted(transactions.items())),
        events=await store.event_count(),
        audit_rows=await rows_count(store),
    )


async def listed_by_today(store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the lists show: payments and transactions, by id."""
    payments = {
        document.id: whole(read_payment(document))
        async for document in pages(store, Query(kind=PAYMENT, limit=PAGE_MAX))
    }
    transactions = {
        document.id: whole(read_transaction(document))
        async for document in pages(store, Query(kind=TRANSACTION, limit=PAGE_MAX))
    }
    return payments, transactions


async def violations(store: Store) -> list[str]:
    """What `paygate prove --all` finds wrong, as sentences."""
    found = [each async for proof in prove_all(store, None) for each in proof.violations]
    found += [each async for each in unlisted(store)]
    walked = await walk_chains(store, {})
    faults = [] if walked.fault is None else [walked.fault.text]
    return [f"{each.subject}: {each.rule}: {each.text}" for each in found] + faults


async def kinds_of_events(store: Store) -> set[str]:
    """Every kind of event in the journal, with its version."""
    return {
        event.kind
        async for document in pages(store, Query(kind=PAYMENT, limit=PAGE_MAX))
        for event in await store.read_stream(document.id)
    }


def whole(view: msgspec.Struct) -> dict[str, Any]:
    """Every field of a view, those at their defaults too."""
    return {name: msgspec.to_builtins(getattr(view, name)) for name in view.__struct_fields__}


def differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Fields of payments or transactions that read otherwise now; fields that are new do not."""
    found = [f"{name} is gone" for name in was.keys() - now.keys()]
    found += [f"{name} is new" for name in now.keys() - was.keys()]
    for name in was.keys() & now.keys():
        found += [
            f"{name}.{field} was {value!r} and reads {now[name].get(field)!r}"
            for field, value in was[name].items()
            if field not in now[name] or now[name][field] != value
        ]
    return sorted(found)
