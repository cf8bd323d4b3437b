"""The ways between the gateway and its providers, which can be stopped and opened again.

What is on a stopped way is not lost: it arrives when that is opened, all of it at once.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from paygate_actors.simulation.faults import Dice
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import VirtualLoop

# Between the stop of one way and that of the next, and between two openings.
_BETWEEN_S: Final = (1.0, 120.0)


class Link:
    """One way, named as the story names it."""

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.passable = asyncio.Event()
        self.passable.set()
        self._loop = loop
        self._held: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def carry(self, act: Callable[..., None], *args: Any) -> None:
        """Let it arrive now, or when the way is open again."""
        if self.passable.is_set():
            act(*args)
        else:
            self._held.append((act, args))

    def stop(self) -> None:
        """Let nothing through."""
        self.passable.clear()

    def restore(self) -> None:
        """Let through what waits, and what comes. Call it outside of all processes."""
        self.passable.set()
        held, self._held = self._held, []
        for act, args in held:
            self._loop.call_soon(act, *args)


async def clog(links: list[Link], *, dice: Dice, trace: Trace) -> None:
    """Stop way after way, until nothing gets through; then open them in another order."""
    for step, said in ((Link.stop, "stops"), (Link.restore, "is open again")):
        for link in dice.rng.sample(links, len(links)):
            step(link)
            trace.note(f"the way of {link.name} {said}")
            await asyncio.sleep(dice.between(*_BETWEEN_S))
