"""Many worlds, one after another or on several cores, and what they had in common."""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import structlog
from msgspec import Struct

from paygate_actors.simulation.accounts import Players
from paygate_actors.simulation.doors import Doors, FrontDoors
from paygate_actors.simulation.faults import Fault, Options
from paygate_actors.simulation.result import Result
from paygate_actors.simulation.world import World

# Handed to a worker at a time: enough that handing over costs nothing, few enough for the bar.
_CHUNK = 4


class Totals(Struct, kw_only=True):
    """Sums over worlds."""

    seeds: int = 0
    steps: int = 0
    payments: int = 0
    promises: int = 0
    flagged: int = 0
    lives: int = 0
    virtual_s: float = 0.0
    faults: Counter[Fault] = Counter()

    def add(self, result: Result) -> None:
        """Count one more."""
        self.seeds += 1
        self.steps += result.steps
        self.payments += result.payments
        self.promises += result.promises
        self.flagged += result.flagged
        self.lives += result.lives
        self.virtual_s += result.virtual_s
        self.faults.update(result.faults)


def live(
    options: Options,
    *,
    doors: type[Doors] = FrontDoors,
    players: Callable[[tuple[str, ...]], Players] | None = None,
    story_of: str | None = None,
) -> Result:
    """Live one world in silence; its story is kept if it is asked for (a payment, or `first`).

    `players` makes those who play the accounts of `options.adapters`.
    """
    played = players(options.adapters) if players is not None and options.adapters else None
    with _silence():
        world = World(options, doors=doors(), players=played, keep_story=story_of is not None)
        return world.run(story_of=story_of)


def sweep(
    worlds: Iterable[Options],
    *,
    doors: type[Doors] = FrontDoors,
    players: Callable[[tuple[str, ...]], Players] | None = None,
    jobs: int = 1,
) -> Iterator[Result]:
    """Live all of them, in the order in which they are given."""
    one = partial(live, doors=doors, players=players)
    if jobs == 1:
        yield from map(one, worlds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, worlds, chunksize=_CHUNK)


@contextmanager
def _silence() -> Generator[None]:
    """Keep the gateway's own logs out: everything that they warn of happens here on purpose."""
    disabled = logging.root.manager.disable
    known = structlog.get_config()
    logging.disable(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    try:
        yield
    finally:
        logging.disable(disabled)
        structlog.configure(**known)
