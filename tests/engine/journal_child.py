"""A process that commits through a journal for ever, to be killed: FOLDER is its argument.

It says `ready`, then a line for each answer: `ack STREAM SEQ`, `full`, or `failed` as its last.
Each unit has two events, a document and an audit row that must all be there or none.
"""

import asyncio
import os
import sys
from pathlib import Path

from store_suite import KINDS, booking, entry, event

from paygate_engine.clock import SystemClock
from paygate_engine.errors import StoreFailed, StoreFull
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Unit
from paygate_engine.stores.sqlite import SqliteStore

WRITERS = 8
EXIT_FAILED = 3


def say(line: str) -> None:
    # One write a line, past all buffers: what was said was committed.
    os.write(1, f"{line}\n".encode())


async def write(journal: Journal, stream: str, number: int) -> None:
    seq = len(await journal.read_stream(stream)) + 1
    while True:
        unit = Unit(
            events=(event(stream, seq, bytes(300)), event(stream, seq + 1, bytes(300))),
            documents=(booking(number, status=str(seq)),),
            audit=(entry(stream),),
        )
        try:
            conflict = await journal.append_wait(unit)
        except StoreFull:
            say("full")
            await asyncio.sleep(0.01)
            continue
        assert conflict is None
        say(f"ack {stream} {seq + 1}")
        seq += 2


async def main(folder: Path) -> None:
    store = SqliteStore(folder, KINDS)
    await store.open()
    loop = asyncio.get_running_loop()
    fatal: asyncio.Future[BaseException] = loop.create_future()
    journal = Journal(
        store,
        spawn=loop.create_task,
        clock=SystemClock(),
        backlog_max=1_000,
        on_fatal=fatal.set_result,
    )
    await journal.start()
    say("ready")
    writers = [loop.create_task(write(journal, f"s{n}", n)) for n in range(WRITERS)]
    done, _ = await asyncio.wait([fatal, *writers], return_when=asyncio.FIRST_COMPLETED)
    for writer in writers:
        if writer in done and not isinstance(writer.exception(), StoreFailed):
            writer.result()
    await asyncio.wait(writers, timeout=5)
    say("failed")
    os._exit(EXIT_FAILED)  # as a process that lost its journal does: no goodbye to the database


asyncio.run(main(Path(sys.argv[1])))
