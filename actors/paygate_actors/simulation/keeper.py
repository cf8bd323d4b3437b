"""Keeps the gateway's process running: starts it, sees it die, starts it again.

And lets happen to it what happens to processes: death at any step, a freeze, a wrong clock.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from paygate_actors.simulation.doors import Heard, Wish
from paygate_actors.simulation.links import clog
from paygate_actors.simulation.server import Server, Surroundings
from paygate_actors.simulation.tracing import Violation
from paygate_engine.errors import EngineError
from paygate_engine.simulation import Killed

RESTART_S: Final = (0.1, 5.0)
LONG_OUTAGE_S: Final = 25 * 3_600.0
FREEZE_S: Final = (0.5, 60.0)
# Ahead by up to two hours; behind by less than what keys are not used for before they end.
CLOCK_JUMP_S: Final = (-200.0, 7_200.0)
# Crashes, freezes and jumps are looked at as often as this.
MISCHIEF_S: Final = 1.0
# A request takes up to this long to arrive.
ARRIVAL_S: Final = (0.0, 0.02)


class Keepers(Protocol):
    """Who keeps the gateway running, as one process or as several nodes."""

    @property
    def lives(self) -> Sequence[Server]:
        """Every process that there was."""
        ...

    async def run(self) -> None:
        """Have the gateway run at all times, but for the pauses."""
        ...

    async def ask(self, wish: Wish) -> Heard:
        """Ask the gateway. Raises `Killed`."""
        ...

    async def restart(self) -> None:
        """Stop everything in good order, and have it started again."""
        ...

    def check(self) -> None:
        """Whether everything inside went as it should. Raises `Violation`."""
        ...

    async def mischief(self) -> None:
        """Let happen to processes what happens to processes."""
        ...

    def bury(self) -> None:
        """Give back what the processes left in the interpreter, when the loop has stopped."""
        ...


class Keeper:
    """One process after another. `violate` hears of promises that a life broke.

    `node` names it among several. Its clock may be wrong by `clock_s`, from one to the other; when
    it stays down for long, it does so for `outage_s`.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        violate: Callable[[Violation], None],
        node: str = "",
        clock_s: tuple[float, float] = CLOCK_JUMP_S,
        outage_s: float = LONG_OUTAGE_S,
    ) -> None:
        self.lives: list[Server] = []
        self._world = surroundings
        self._violate = violate
        self._node = node
        self._name = f"node {node}" if node else "the gateway"
        self._clock_s = clock_s
        self._outage_s = outage_s
        self._server: Server | None = None
        self._fell = asyncio.Event()
        self.ready = asyncio.Event()
        """Set while a process runs and has recovered."""

    async def run(self) -> None:
        """Have a process run at all times, but for the pauses."""
        while True:
            if self._server is None or self._server.process.dead:
                await self._start_again()
            else:
                self._fell.clear()
                await self._fell.wait()

    async def ask(self, wish: Wish) -> Heard:
        """Ask the process that runs now. Raises `Killed`."""
        await asyncio.sleep(self._world.dice.between(*ARRIVAL_S))
        server = self._server
        if server is None:
            raise Killed
        return await server.ask(wish)

    async def restart(self) -> None:
        """Stop it in good order, and have it started again; it may still be down for a day."""
        await self.ready.wait()
        server = self._server
        assert server is not None
        server.check()
        self.ready.clear()
        await server.stop()
        self._fell.set()
        await self.ready.wait()

    def check(self) -> None:
        """Whether everything inside went as it should. Raises `Violation`."""
        assert self._server is not None
        self._server.check()

    async def mischief(self) -> None:
        """Kill it, freeze it, set its clock wrong, and stop its ways to the providers."""
        world, dice = self._world, self._world.dice
        while True:
            await asyncio.sleep(dice.between(0.0, 2 * MISCHIEF_S))
            if dice.strikes("link_stopped", weight=0.05):
                await clog(list(world.links.values()), dice=dice, trace=world.trace)
            self.harm()

    def harm(self) -> None:
        """Kill it, freeze it, or set its clock wrong, as the dice say."""
        world, dice, server = self._world, self._world.dice, self._server
        if server is None or server.process.dead:
            return
        if dice.strikes("crash", weight=0.3):
            self._kill(server, "killed")
        elif dice.strikes("freeze", weight=0.3):
            seconds = dice.between(*FREEZE_S)
            world.trace.note(f"{self._name} is frozen for {seconds:.1f} s")
            server.process.freeze(seconds)
        elif dice.strikes("clock_jump", weight=0.2):
            self.set_clock()

    def set_clock(self) -> None:
        """Set its clock wrong."""
        world = self._world
        world.clock.offset_us = round(world.dice.between(*self._clock_s) * 1_000_000)
        of = f" of {self._name}" if self._node else ""
        world.trace.note(f"the clock{of} is off by {world.clock.offset_us / 1e6:.0f} s")

    def bury(self) -> None:
        """Give back what the processes left in the interpreter, when the loop has stopped."""
        for server in self.lives:
            server.bury()

    async def _start_again(self) -> None:
        world, dice = self._world, self._world.dice
        if self._server is not None:
            await self._server.handle.killed()
            long = dice.strikes("long_outage", weight=0.5)
            await asyncio.sleep(self._outage_s if long else dice.between(*RESTART_S))
        server = Server(world, len(self.lives), node=self._node, died=self._died)
        self.lives.append(server)
        self._server = server
        world.trace.note(f"{self._name} starts, life {len(self.lives)}")
        if len(self.lives) > 1 and dice.strikes("crash_in_recovery", weight=3.0):
            world.loop.call_later(dice.between(0.0, 0.05), self._kill, server, "in its recovery")
        try:
            await server.start()
        except Killed:
            return
        except EngineError as error:
            self._kill(server, f"it could not start: {error!r}")
            return
        self.ready.set()
        world.trace.note(f"{self._name} is ready")

    def _died(self, why: str) -> None:
        server = self._server
        if server is not None:
            # Not from within its own code: a dead process does not go on to the end of its line.
            world = self._world
            world.loop.call_soon(self._kill, server, why, context=world.outside)

    def _kill(self, server: Server, why: str) -> None:
        if server.process.dead:
            return
        try:
            server.check()
        except Violation as violation:
            self._violate(violation)
        self._world.trace.note(f"{self._name} dies: {why}")
        server.process.kill()
        self.ready.clear()
        self._fell.set()
