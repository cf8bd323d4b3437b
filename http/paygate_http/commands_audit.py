"""`paygate audit verify`: the chain walked from its first row, beside a running server or not."""

import asyncio
import sys
from pathlib import Path

from paygate_actors.projection import KINDS
from paygate_engine import chain
from paygate_engine.stores.sqlite import SqliteStore
from paygate_http.process import Exit


def verify(folder: Path) -> Exit:
    """Print the head of a sound chain, or its first bad row (then FAILED).

    Raises `StoreRefused` where the folder holds no gateway's data.
    """
    found = asyncio.run(_verify(folder))
    match found:
        case chain.Head():
            sys.stdout.write(f"audit: {found.n} rows, all sound; head {found.hash.hex()}\n")
            return Exit.DRAINED
        case chain.Fault():
            sys.stdout.write(f"audit: row {found.n} is bad: {found.text}\n")
            return Exit.FAILED


async def _verify(folder: Path) -> chain.Head | chain.Fault:
    store = SqliteStore(folder, KINDS, read_only=True)
    await store.open()
    try:
        return await chain.verify(chain.rows_of(store), store.read_stream)
    finally:
        await store.close()
