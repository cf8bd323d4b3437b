"""What is durable in a world, as the world sees it: a disk of one process, or a database."""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from paygate_actors.record import Payment
from paygate_engine.simulation import Process
from paygate_engine.stores.base import Store, Unit
from paygate_engine.stores.memory import MemoryStore

# Ends the process, for a reason.
Die = Callable[[str], None]


class Standing(Struct, frozen=True, kw_only=True):
    """How a node stands at this moment. `certain`: nobody can have taken its place so far.

    `thawed`: it has been frozen until this very moment, and does what it was about to do.
    """

    epoch: int
    certain: bool
    thawed: bool


class Handle(Store, Protocol):
    """A `Store` as one process has it open."""

    async def killed(self) -> None:
        """The process was killed: what it was writing is there, or it is not."""
        ...


class Durable(Protocol):
    """What outlives processes. `store` reads it from outside of all of them."""

    @property
    def store(self) -> MemoryStore:
        """All that is durable."""
        ...

    def handle(self, process: Process, *, name: str, die: Die) -> Handle:
        """Let a process open it; `name` is the node's."""
        ...

    async def furnish(self, unit: Unit) -> None:
        """Open it, and put in what was there before the first process."""
        ...

    def standing(self, process: Process | None) -> Standing | None:
        """How the node stands that is this process; None where there is one alone."""
        ...

    def lives(self, epoch: int) -> bool:
        """Whether a node's epoch is not over."""
        ...

    async def check(self, payments: Mapping[str, Payment]) -> None:
        """Hold what lies beside streams and documents against these. Raises `Violation`."""
        ...
