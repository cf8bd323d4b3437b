"""A bank account as an entity, and a journal that a test holds back, refuses or breaks."""

import asyncio
from collections.abc import Callable
from typing import Any

from paygate_engine.actor import LATER, handles
from paygate_engine.entity import Entity, Outcome
from paygate_engine.stores.base import Conflict, Event, Unit
from paygate_engine.system import ActorSystem


class Memory:
    """A journal whose commits a test holds back, refuses or breaks, one by one."""

    def __init__(self) -> None:
        self.streams: dict[str, list[Event]] = {}
        self.waiting: list[tuple[Unit, Callable[[Outcome], None]]] = []
        self.held = False
        self.answers: list[Outcome] = []
        self.refuse: Exception | None = None
        self.reads: list[str] = []
        self.reading = 0
        self.reading_max = 0
        self.read_gate: asyncio.Event | None = None
        self.read_error: Exception | None = None

    def append(self, unit: Unit, done: Callable[[Outcome], None]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.waiting.append((unit, done))
        if not self.held:
            asyncio.get_running_loop().call_soon(self.commit)

    def commit(self) -> None:
        unit, done = self.waiting.pop(0)
        answer = self.answers.pop(0) if self.answers else self._conflict(unit)
        if answer is None:
            self.write(unit.events)
        done(answer)

    def write(self, events: tuple[Event, ...]) -> None:
        for event in events:
            self.streams.setdefault(event.stream, []).append(event)

    def _conflict(self, unit: Unit) -> Conflict | None:
        for event in unit.events:
            if event.seq <= len(self.streams.get(event.stream, [])):
                return Conflict(what="event", name=f"{event.stream}/{event.seq}")
        return None

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        self.reads.append(stream)
        self.reading += 1
        self.reading_max = max(self.reading_max, self.reading)
        await asyncio.sleep(0)
        if self.read_gate is not None:
            await self.read_gate.wait()
        self.reading -= 1
        if self.read_error is not None:
            raise self.read_error
        return [each for each in self.streams.get(stream, []) if each.seq > after_seq]


class Add:
    def __init__(self, number: int) -> None:
        self.number = number


class Twice(Add):
    """Adds in two units, the second from the first one's `then`."""


class Fail:
    def __init__(self, *, where: str) -> None:
        self.where = where


class Get:
    pass


class Account(Entity):
    __slots__ = ("loaded", "open", "refused", "total")

    def __init__(self, system: ActorSystem, key: str) -> None:
        super().__init__(system, key)
        self.total = 0
        self.loaded = 0
        self.open = False
        self.refused: list[Exception] = []

    def forget(self) -> None:
        self.total = 0

    def replay(self, event: Event) -> None:
        self.total += int(event.body)

    def on_loaded(self) -> None:
        self.loaded += 1

    def may_sleep(self) -> bool:
        return not self.open

    def on_refused(self, message: Any, error: Exception) -> None:
        self.refused.append(error)

    @handles(Add)
    def add(self, message: Add) -> object:
        asker = self.asker()
        event = self.event(message.number)

        def then() -> None:
            self.replay(event)
            if asker is not None:
                asker.set(self.total)

        self.persist(Unit(events=(event,)), then)
        return LATER

    @handles(Twice)
    def twice(self, message: Twice) -> object:
        pair = (self.event(message.number), self.event(message.number, ahead=2))

        def then() -> None:
            for event in pair:
                self.replay(event)
            self.add(message)

        self.persist(Unit(events=pair), then)
        return LATER

    @handles(Fail)
    def fail(self, message: Fail) -> object:
        self.total = 1_000_000
        if message.where == "handler":
            raise ValueError("planted")

        def then() -> None:
            if message.where == "then":
                raise ValueError("planted")
            self.total += 1_000

        self.persist(Unit(events=(self.event(7),)), then)
        if message.where == "after persist":
            raise ValueError("planted")
        return LATER

    @handles(Get)
    def get(self, _message: Get) -> int:
        return self.total

    def event(self, number: int, *, ahead: int = 1) -> Event:
        return Event(
            stream=self.key, seq=self.seq + ahead, at_us=0, kind="added", body=str(number).encode()
        )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the engine has no event for every state
            await asyncio.sleep(0)


def added(stream: str, seq: int, number: int) -> Event:
    return Event(stream=stream, seq=seq, at_us=0, kind="added", body=str(number).encode())
