"""Two small actors that add: a light one and one with coroutines for handlers."""

import asyncio
from collections.abc import Callable
from typing import Any

from paygate_engine.actor import LATER, LightActor, LoopActor, handles
from paygate_engine.future import LoopFuture
from paygate_engine.system import ActorSystem


class Add:
    def __init__(self, number: int) -> None:
        self.number = number


class Wait:
    pass


class Boom:
    pass


class Adder(LightActor):
    __slots__ = ("log", "stopped", "total")
    inbox_max = 3

    def __init__(self, system: ActorSystem, key: str, parent: Any = None) -> None:
        super().__init__(system, key, parent)
        self.total = 0
        self.stopped = False
        self.log: list[int] = []

    @handles(Add)
    def add(self, message: Add) -> int:
        self.total += message.number
        self.log.append(message.number)
        return self.total

    @handles(Wait)
    def wait(self, _message: Wait) -> object:
        self.suspend()
        return LATER

    @handles(Boom)
    def boom(self, _message: Boom) -> None:
        raise ValueError("boom")

    def on_stop(self) -> None:
        self.stopped = True


class Slow(LoopActor):
    def __init__(self, system: ActorSystem, key: str, parent: Any = None) -> None:
        super().__init__(system, key, parent)
        self.gate = asyncio.Event()
        self.running = 0
        self.running_max = 0

    @handles(Add)
    async def add(self, message: Add) -> int:
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        await self.gate.wait()
        self.running -= 1
        return message.number + 1

    @handles(Boom)
    async def boom(self, _message: Boom) -> None:
        raise asyncio.CancelledError

    async def double(self, number: int) -> int:
        await asyncio.sleep(0)
        return number * 2


def adder(system: ActorSystem) -> Adder:
    cell = system.cells["a"]
    assert isinstance(cell, Adder)
    return cell


def slow(system: ActorSystem) -> Slow:
    cell = system.cells["s"]
    assert isinstance(cell, Slow)
    return cell


def asker_of(cell: Adder) -> LoopFuture[Any]:
    asker = cell.asker()
    assert asker is not None
    return asker


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the engine has no event for every state
            await asyncio.sleep(0)
