"""Trips over a cable to the database: there, executed outside of the process, and back.

Of a call that may be made twice, silence is `Overloaded`; of a group, nothing is known, and it is
asked for as long as it takes whether it arrived: what did not is barred, and sent again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from paygate_actors.simulation.faults import Dice
from paygate_engine.errors import EngineError, Fenced, Overloaded
from paygate_engine.simulation import VirtualLoop

T = TypeVar("T")

# There and back on a good day, and on one when the database is busy.
_TRIP_S: Final = (0.0005, 0.004)
_SLOW_S: Final = (0.2, 4.0)
# Whoever hears nothing for this long is not going to: as the real store's deadlines.
_READ_S: Final = 5.0
_COMMIT_S: Final = 10.0
_PAUSE_S: Final = 0.5
# How long a node that lost its connection cannot ask what became of its group, and how late that
# may still arrive.
_IN_DOUBT_S: Final = (0.0, 20.0)


class Far(Protocol):
    """What is at the other end."""

    loop: VirtualLoop
    dice: Dice
    outside: Context

    def passes(self, cable: "Cable", way: str) -> bool:
        """Whether anything gets through."""
        ...

    def lives(self, epoch: int) -> bool:
        """Whether an epoch is not over."""
        ...


class Cable:
    """A node's way to the database, and back."""

    def __init__(self) -> None:
        self.to_until_s = 0.0
        self.from_until_s = 0.0


class _Trip(Generic[T]):
    """A call on its way. `barred`: it may arrive, and is not executed any more."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], loop: Any) -> None:
        self.work = work
        self.answer: asyncio.Future[T] = loop.create_future()
        self.done: asyncio.Future[T] = loop.create_future()  # resolved when it was executed
        self.barred = False


class Trips:
    """One process's trips."""

    def __init__(self, world: Far, cable: Cable) -> None:
        self.epoch = 0
        """Under which groups are sent; set when the node has joined."""
        self._world = world
        self._cable = cable
        self._unreachable = False
        self._asking = False
        self._at_work = asyncio.Lock()

    @property
    def away(self) -> bool:
        """Whether no answer came to the newest call, or a group is being asked for."""
        return self._unreachable or self._asking

    def carry(self, act: Callable[..., None], *args: object) -> None:
        """Let something happen there that nobody waits for."""
        if self._world.passes(self._cable, "to"):
            self._later(self._trip_s(), act, *args)

    async def ask(self, work: Callable[[], Coroutine[Any, Any, T]], *, often: bool = False) -> T:
        """Have it executed there; `Overloaded` where no answer comes.

        What is done `often` for as long as a world lives takes no time once everything works.
        """
        if often and self._world.dice.healed:
            self._unreachable = False
            return await work()
        trip = self._send(work, self._trip_s())
        try:
            async with asyncio.timeout(_READ_S):
                found = await trip.answer
        except TimeoutError:
            self._unreachable = True
            raise Overloaded("simulated: the database does not answer") from None
        self._unreachable = False
        return found

    async def certainly(
        self, work: Callable[[], Coroutine[Any, Any, T]], *, often: bool = False
    ) -> T:
        """Have it executed there once, and know it; as long as that takes."""
        dice = self._world.dice
        async with self._at_work:
            while True:
                if often and dice.healed:
                    return await work()
                breaks = dice.strikes("commit_in_doubt", weight=0.3)
                trip = self._send(work, self._trip_s(), silent=breaks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_S if breaks else _COMMIT_S):
                        return await trip.answer
                if await self._settled(trip, blind_s=dice.between(*_IN_DOUBT_S) if breaks else 0.0):
                    return trip.done.result()

    async def _settled(self, trip: _Trip[Any], *, blind_s: float) -> bool:
        """Whether it was executed; if not, it never will be."""
        self._asking = True

        async def settle() -> bool:
            if not self._world.lives(self.epoch):
                raise Fenced(f"epoch {self.epoch} is over")
            trip.barred = True
            return trip.done.done()

        try:
            await asyncio.sleep(blind_s)
            while True:
                with suppress(Overloaded):
                    return await self.ask(settle)
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._asking = False

    def _send(
        self, work: Callable[[], Coroutine[Any, Any, T]], delay_s: float, *, silent: bool = False
    ) -> _Trip[T]:
        """Send it off. `silent`: the connection breaks: it or its answer is lost, or it is late."""
        world, dice = self._world, self._world.dice
        trip = _Trip(work, world.loop)
        if silent:
            fate = dice.rng.randrange(3)
            if fate == 0:
                return trip
            delay_s = dice.between(*_IN_DOUBT_S) if fate == 1 else delay_s
        if world.passes(self._cable, "to"):
            self._later(delay_s / 2, self._arrive, trip, delay_s / 2, silent)
        return trip

    def _arrive(self, trip: _Trip[Any], back_s: float, silent: bool) -> None:  # noqa: FBT001 - a callback's
        """Execute it. Outside of all processes."""
        if trip.barred:
            return
        try:
            trip.done.set_result(_at_once(trip.work()))
        except EngineError as error:
            trip.done.set_exception(error)
            trip.done.exception()  # it is looked at, or its answer was lost
        if not silent and self._world.passes(self._cable, "from"):
            self._later(back_s, self._return, trip)

    def _return(self, trip: _Trip[Any]) -> None:
        if trip.answer.done():
            return
        error = trip.done.exception()
        if error is None:
            trip.answer.set_result(trip.done.result())
        else:
            trip.answer.set_exception(error)
            trip.answer.exception()  # whoever waits for it may be dead

    def _trip_s(self) -> float:
        dice = self._world.dice
        return dice.between(*(_SLOW_S if dice.strikes("database_slow", weight=0.3) else _TRIP_S))

    def _later(self, delay_s: float, act: Callable[..., None], *args: object) -> None:
        self._world.loop.call_later(delay_s, act, *args, context=self._world.outside)


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    work.close()
    raise RuntimeError("it was to be complete when it returns")
