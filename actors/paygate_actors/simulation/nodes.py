"""Keeps several nodes running over one database, and lets happen to them what happens to nodes.

Whoever asks the gateway asks any of them, by the dice: a repetition mostly meets another one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from paygate_actors.simulation.database import Database
from paygate_actors.simulation.doors import Heard, Wish
from paygate_actors.simulation.keeper import MISCHIEF_S, Keeper
from paygate_actors.simulation.links import clog
from paygate_actors.simulation.server import Server, Surroundings
from paygate_actors.simulation.tracing import Violation
from paygate_engine.simulation import Killed, SimulatedClock

# The time is the database's: what the machines say by themselves may be anything.
CLOCKS_S: Final = (-43_200.0, 43_200.0)
# Where others go on, a node that is down for a day is not missed for longer than for an hour.
OUTAGE_S: Final = 3_600.0
# Cables break for less than the shortest lease, and for longer than the longest.
_CUT_S: Final = (0.5, 90.0)


class NodeKeepers:
    """A `Keeper` for each node. `violate` hears of promises that a life broke."""

    def __init__(
        self,
        surroundings: Surroundings,
        database: Database,
        *,
        violate: Callable[[Violation], None],
    ) -> None:
        self._world = surroundings
        self._database = database
        self._work: set[asyncio.Task[None]] = set()
        self._keepers = [
            Keeper(
                replace(surroundings, clock=SimulatedClock(surroundings.loop)),
                violate=violate,
                node="abc"[number],
                clock_s=CLOCKS_S,
                outage_s=OUTAGE_S,
            )
            for number in range(surroundings.options.nodes)
        ]

    @property
    def lives(self) -> list[Server]:
        """Every process that there was."""
        return [life for keeper in self._keepers for life in keeper.lives]

    async def run(self) -> None:
        """Have all nodes run at all times, but for the pauses."""
        await asyncio.gather(*(keeper.run() for keeper in self._keepers))

    async def ask(self, wish: Wish) -> Heard:
        """Ask any of them. Raises `Killed`."""
        return await self._any().ask(wish)

    async def restart(self) -> None:
        """Stop each in good order and have it started again, one after the other."""
        while self._work:
            await asyncio.wait(self._work)
        for keeper in self._keepers:
            await keeper.restart()

    def check(self) -> None:
        """Whether everything inside went as it should. Raises `Violation`."""
        for keeper in self._keepers:
            keeper.check()

    async def mischief(self) -> None:
        """Do harm to the nodes, and to their ways to the providers and to the database."""
        world, dice = self._world, self._world.dice
        while True:
            await asyncio.sleep(dice.between(0.0, 2 * MISCHIEF_S))
            if dice.strikes("link_stopped", weight=0.05):
                self._do(clog(list(world.links.values()), dice=dice, trace=world.trace))
            self._any().harm()
            if dice.strikes("clock_jump"):
                self._any().set_clock()
            if dice.strikes("database_cut", weight=0.5):
                self._cut()
            if dice.strikes("database_down", weight=0.1):
                self._database.go_down()
            if dice.strikes("node_leaves", weight=0.2):
                self._do(self._leave_in_order([self._any()]))
            if dice.strikes("rolling_restart", weight=0.03):
                world.trace.note("a rolling restart begins")
                self._do(self._leave_in_order(self._keepers))

    def bury(self) -> None:
        """Give back what the processes left in the interpreter, when the loop has stopped."""
        for task in self._work:
            task.cancel()
        for keeper in self._keepers:
            keeper.bury()

    def _any(self) -> Keeper:
        return self._world.dice.rng.choice(self._keepers)

    def _cut(self) -> None:
        """Let nothing through to the database, or nothing back, or neither, for one node."""
        dice = self._world.dice
        name = dice.rng.choice(sorted(self._database.cables))
        cable, seconds = self._database.cables[name], dice.between(*_CUT_S)
        way = dice.rng.choice(("to", "from", "both"))
        until_s = self._world.loop.time() + seconds
        if way != "from":
            cable.to_until_s = until_s
        if way != "to":
            cable.from_until_s = until_s
        self._world.trace.note(f"the cable of node {name} is cut for {seconds:.1f} s: {way}")

    async def _leave_in_order(self, keepers: Sequence[Keeper]) -> None:
        """Have each of them stop and come back, one after the other, while things go wrong."""
        for keeper in keepers:
            await keeper.ready.wait()
            if not self._world.dice.healed:
                # It may die while it leaves: then it is started again as whoever dies is.
                with suppress(Killed):
                    await keeper.restart()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
