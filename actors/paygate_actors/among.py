"""A node among others, as payments and services see it: alone, or one of several.

What is done for all and must be done once (sweeps, couriers, fetching) is a *duty* that one node
has at a time; what is read, changed and written back (switches, endpoints) is done in *turn*.
Nothing about money rests on either: there `(payment, seq)` decides.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol

from paygate_engine.clock import Clock
from paygate_engine.errors import EngineError, Fenced, Overloaded
from paygate_engine.stores.shared import SharedStore

# A duty that somebody else had a moment ago is not asked for again at each tick.
NOT_MINE_S: Final = 10.0
# A turn is one commit of somebody else; a few of them are waited for, then the caller is told.
TURN_TRIES_MAX: Final = 20
TURN_PAUSE_S: Final = 0.05


class Among(Protocol):
    """The own epoch, who lives, and what is this node's to do."""

    @property
    def epoch(self) -> int:
        """The own epoch; 0 where there is one node alone."""
        ...

    @property
    def may_act(self) -> bool:
        """Whether the own epoch lives for certain: only then anything is sent to the world."""
        ...

    def lives(self, epoch: int) -> bool:
        """Whether the epoch is not over: only what is over may be taken up by others."""
        ...

    async def mine(self, duty: str) -> bool:
        """Whether a duty is this node's now."""
        ...

    def turn(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only node that changes what has this name. Raises `Overloaded`."""
        ...

    def say(self, *words: str) -> None:
        """Let the other nodes know that something happened; they may not hear it."""
        ...


class Alone:
    """The only node there is."""

    __slots__ = ()

    epoch = 0
    may_act = True

    def lives(self, epoch: int) -> bool:
        """Whether it is the own one."""
        return epoch == 0

    async def mine(self, duty: str) -> bool:
        """Everything is."""
        return True

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[None]:
        """Nobody else is there to wait for."""
        yield

    def say(self, *words: str) -> None:
        """Nobody is there to hear."""


class OneOfMany:
    """A node among others. `lives` and `may_act` are its membership's."""

    def __init__(
        self,
        store: SharedStore,
        *,
        epoch: int,
        lives: Callable[[int], bool],
        may_act: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.epoch = epoch
        self._lives = lives
        self._store = store
        self._may_act = may_act
        self._clock = clock
        self._mine: set[str] = set()
        self._not_mine: dict[str, float] = {}
        self._owed: set[str] = set()
        # Held while one is given back late, so that it is not a new turn of the same name.
        self._returning = asyncio.Lock()

    @property
    def may_act(self) -> bool:
        """Whether the own epoch lives for certain."""
        return self._may_act()

    def lives(self, epoch: int) -> bool:
        """Whether the epoch is not over, as far as the newest beat told."""
        return self._lives(epoch)

    @property
    def duties(self) -> int:
        """How many duties are this node's."""
        return len(self._mine)

    async def mine(self, duty: str) -> bool:
        """Whether a duty is this node's now: once it is, it stays so while the epoch lives."""
        if duty in self._mine:
            return self.may_act
        now_s = self._clock.monotonic_s()
        if now_s < self._not_mine.get(duty, now_s):
            return False
        try:
            taken = await self._store.take_duty(duty)
        except (Overloaded, Fenced):
            # The database is away, and so is everything that the duty is about; or this node's
            # place is taken, which its next beat says, and then it ends.
            return False
        if taken:
            self._mine.add(duty)
            self._not_mine.pop(duty, None)
        else:
            self._not_mine[duty] = now_s + NOT_MINE_S
        return taken

    def somebody_left(self) -> None:
        """Another node is gone: what it had to do may be this one's now."""
        self._not_mine.clear()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[None]:
        """Wait for a few others at the most. Of one name, one at a time here."""
        duty = f"turn {name}"
        async with self._returning:
            self._owed.discard(duty)
        try:
            for _ in range(TURN_TRIES_MAX):
                if await self._store.take_duty(duty):
                    break
                await asyncio.sleep(TURN_PAUSE_S)
            else:
                raise Overloaded(f"another node has been changing {name} for long")
            yield
        finally:
            # Also what was taken without an answer.
            await self._give_back(duty)

    async def give_back(self) -> None:
        """Give back the turns that could not be given back when they ended."""
        for duty in tuple(self._owed):
            async with self._returning:
                if duty in self._owed:
                    await self._give_back(duty)

    async def _give_back(self, duty: str) -> None:
        self._owed.add(duty)
        with suppress(EngineError):  # it is tried again, for as long as nobody buries this node
            await self._store.drop_duty(duty)
            self._owed.discard(duty)

    def say(self, *words: str) -> None:
        """Let the other nodes know."""
        self._store.say(*words)
