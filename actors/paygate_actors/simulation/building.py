"""Builds what a world's gateway runs on: one process over a disk, or nodes over a database."""

from collections.abc import Callable
from contextvars import Context

from paygate_actors.simulation.database import Database
from paygate_actors.simulation.disk import Committed, Disk
from paygate_actors.simulation.durable import Durable
from paygate_actors.simulation.faults import Dice, Options
from paygate_actors.simulation.keeper import Keeper, Keepers
from paygate_actors.simulation.nodes import NodeKeepers
from paygate_actors.simulation.room import Room
from paygate_actors.simulation.server import Surroundings
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_engine.simulation import VirtualLoop


def durable_of(
    options: Options,
    *,
    loop: VirtualLoop,
    dice: Dice,
    trace: Trace,
    outside: Context,
    committed: Committed,
    violate: Callable[[Violation], None],
) -> Durable:
    """The disk, or the database. `committed` hears of each group when it is durable."""
    room = Room(options, loop=loop, dice=dice, trace=trace)
    if options.nodes == 1:
        return Disk(room, dice, committed)
    return Database(
        loop,
        dice,
        committed,
        room=room,
        options=options,
        trace=trace,
        outside=outside,
        violate=violate,
    )


def keepers_of(surroundings: Surroundings, *, violate: Callable[[Violation], None]) -> Keepers:
    """Who keeps the gateway running."""
    if isinstance(surroundings.durable, Database):
        return NodeKeepers(surroundings, surroundings.durable, violate=violate)
    return Keeper(surroundings, violate=violate)
