"""A folder that a real gateway wrote, copied for each test to damage, and served again.

What is flipped is flipped in the rows, behind the back of their checksums, as a disk does it: the
next reader meets other bytes than were written.
"""

import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from inside_gateway import Inside, inside, sandbox_aside
from live_gateway import OPERATOR, Live, payment_request, visiting

from paygate_actors.config import Config, Limits
from paygate_engine.stores.sqlite import DATABASE_NAME

# One payment in ten of these lingers in memory: all others are read from the disk.
LIMITS: Final = Limits(live_payments_max=10)


class Kept(NamedTuple):
    """The folder, and what was read of everything before it was damaged."""

    folder: Path
    hit: dict[str, Any]
    """The payment that tests damage: refunded in part, made under the key `hit`."""
    held: dict[str, Any]
    """A payment that is open: authorized, under the key `held`."""
    others: list[dict[str, Any]]


class Served(NamedTuple):
    """A gateway that runs on the folder, and its client."""

    running: Inside
    live: Live


async def keep(folder: Path) -> Kept:
    """Write the folder: seven payments, of which one is open."""
    async with serve(folder) as (_, live):
        hit = (await live.process(payment_request(), idempotency_key="hit")).body
        await live.done(hit["id"], "refund", {"amount": 4.00})
        manual = payment_request(captureMethod="manual")
        held = (await live.process(manual, idempotency_key="held")).body
        others = [(await live.pay())["id"] for _ in range(5)]
        return Kept(
            folder,
            await live.payment(hit["id"]),
            await live.payment(held["id"]),
            [await live.payment(each) for each in others],
        )


def copied(kept: Kept, folder: Path) -> Kept:
    """A copy of the folder to damage; sockets of the ended server stay behind."""
    shutil.copytree(
        kept.folder, folder, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True
    )
    return kept._replace(folder=folder)


@asynccontextmanager
async def serve(folder: Path) -> AsyncGenerator[Served]:
    """Run a gateway on the folder, with the sandbox whose books are beside it."""
    config = Config(limits=LIMITS)
    async with (
        sandbox_aside(folder) as sandbox,
        inside(folder, sandbox, config=config) as running,
        visiting(running.url) as live,
    ):
        yield Served(running, live)


def flipped(raw: bytes, place: int | None = None) -> bytes:
    """The bytes with the lowest bit of one of them turned; by default of the one in the middle."""
    at = len(raw) // 2 if place is None else place
    return raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]


def damage(kept: Kept, table: str, column: str, where: str, *values: object) -> None:
    """Turn one bit of one column of the first row that fits."""
    with closing(sqlite3.connect(kept.folder / "data" / DATABASE_NAME)) as database:
        # The one that writes takes the log over, and this is not it.
        database.execute("PRAGMA wal_autocheckpoint = 0")
        found = database.execute(f"SELECT {column} FROM {table} WHERE {where}", values).fetchone()
        assert found is not None, f"no row of {table} where {where}"
        spoilt: object
        match found[0]:
            case int(number):
                spoilt = number ^ 64  # no neighbour has that number
            case str(text):
                spoilt = flipped(text.encode()).decode()
            case raw:
                spoilt = flipped(raw)
        statement = f"UPDATE {table} SET {column} = ? WHERE {where}"  # of the tests
        assert database.execute(statement, (spoilt, *values)).rowcount == 1
        database.commit()


def plain(payment: dict[str, Any]) -> dict[str, Any]:
    """The payment without what says that a person should look."""
    return {name: value for name, value in payment.items() if name != "attention"}


async def refusal_of(live: Live, verb: str, payment_id: str) -> tuple[int, str | None]:
    """How an operation on the payment is refused."""
    return (await live.operate(payment_id, verb, key=OPERATOR)).code
