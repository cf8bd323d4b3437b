"""What tests of the journal share: a store whose commits wait and fail, and a house around it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from store_suite import KINDS, entry, event

from paygate_engine.chain import Fault, Head, rows_of, verify
from paygate_engine.clock import ManualClock
from paygate_engine.journal import Answer, Journal
from paygate_engine.stores.base import AuditRow, Conflict, Event, Unit
from paygate_engine.stores.memory import MemoryStore

BACKLOG_MAX = 2_000


class SlowStore(MemoryStore):
    """A memory store whose commits take as long as the test wants, and fail when it says so."""

    def __init__(self) -> None:
        super().__init__(KINDS)
        self.groups: list[int] = []
        self.in_flight = 0
        self.began = asyncio.Event()
        self.errors: list[BaseException] = []
        self.read_error: Exception | None = None
        self._gate = asyncio.Event()
        self._gate.set()

    def hold(self) -> None:
        self._gate.clear()

    def let_go(self) -> None:
        self._gate.set()

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        assert self.in_flight == 0, "two commits at once"
        self.in_flight += 1
        self.began.set()
        try:
            await self._gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            self.groups.append(len(units))
            return await super().commit(units, audit)
        finally:
            self.in_flight -= 1
            self.began.clear()

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        if self.read_error is not None:
            raise self.read_error
        return await super().read_stream(stream, after_seq=after_seq)


class House:
    """A started journal, what it said to the outside, and the tasks that it runs."""

    def __init__(
        self,
        backlog_max: int = BACKLOG_MAX,
        *,
        store: SlowStore | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
        on_head: Callable[[Head], None] | None = None,
    ) -> None:
        self.store = store or SlowStore()
        self.clock = ManualClock()
        self.fatal: list[BaseException] = []
        self.heads: list[Head] = []
        self.answers: list[tuple[str, Answer]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.journal = Journal(
            self.store,
            spawn=self._spawn,
            clock=self.clock,
            backlog_max=backlog_max,
            on_fatal=on_fatal or self.fatal.append,
            on_head=on_head or self.heads.append,
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.append(task)
        return task

    async def start(self) -> "House":
        await self.store.open()
        await self.journal.start()
        return self

    def append(self, stream: str, seq: int = 1) -> None:
        self.journal.append(unit(stream, seq), self.waiter(f"{stream}/{seq}"))

    def waiter(self, name: str) -> Callable[[Answer], None]:
        return lambda answer: self.answers.append((name, answer))

    async def committing(self) -> None:
        """Return when a commit is under way and held."""
        async with asyncio.timeout(5):
            await self.store.began.wait()

    async def drain(self) -> None:
        async with asyncio.timeout(5):
            await self.journal.drain()

    async def chain(self) -> Head | Fault:
        return await verify(rows_of(self.store), self.store.read_stream)


def unit(stream: str, seq: int = 1) -> Unit:
    return Unit(events=(event(stream, seq),), audit=(entry(stream),))
