"""Supervisors: who is started in what order, and what happens when a child fails.

A child is restarted in its own cell: its constructor and `on_start` run again, its inbox and every
reference to it stay good, and the message that it failed on is not handled again. A healthy child
costs its supervisor nothing; all decisions are made inside the turn in which the child failed.

Supervisors form a tree by `parent`. One whose children fail too often gives up on all of them and
is itself a failed child of its parent; at the root that is `ActorSystem.fail`.
"""

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from msgspec import Struct

from paygate_engine.cell import Parent

if TYPE_CHECKING:
    from paygate_engine.system import ActorSystem

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]

# More failures than this within the time are no accident; Erlang's documents suggest the figures.
RESTARTS_MAX: Final = 5
WITHIN_S: Final = 30.0

_logger = logging.getLogger(__name__)


class Directive(Enum):
    """What to do about an error."""

    RESUME = "resume"  # go on with the next message, state as it is
    RESTART = "restart"
    STOP = "stop"
    ESCALATE = "escalate"


class Backoff(Struct, frozen=True, kw_only=True):
    """How long a child waits before it is restarted: doubled each time within the period.

    `jitter` is the share of the delay that is random: children that failed together must not
    come back together. A first delay of 0 restarts at once.
    """

    first_s: float = 0.0
    delay_s_max: float = 30.0
    jitter: float = 0.2


class Child(Protocol):
    """What a supervisor needs of a child: actors of all three kinds and supervisors have it."""

    key: str

    @property
    def alive(self) -> bool:
        """Whether it runs, or waits to be restarted."""
        ...

    @property
    def actor_ref(self) -> Any:
        """Its reference; a supervisor has none."""
        ...

    def box_hold(self) -> None:
        """Handle nothing more for now."""
        ...

    def box_renew(self, *args: Any, **kwargs: Any) -> None:
        """Start afresh in the same cell with the constructor's further arguments, and go on."""
        ...

    def resume(self) -> None:
        """Go on with the next message after a failure."""
        ...

    def box_kill(self) -> None:
        """End it as it stands."""
        ...


class _Place(Struct, kw_only=True):
    """A child, with what is needed to start it afresh, in the order of starting."""

    child: Child
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Supervisor:
    """Starts children in order, stops them in reverse, and decides about their failures.

    `decide` maps an exception to a `Directive` (default: restart). More than `restarts_max`
    restarts `within_s` seconds are too many: it stops all its children and escalates.
    """

    def __init__(
        self,
        system: "ActorSystem",
        key: str,
        *,
        strategy: Strategy = "one_for_one",
        restarts_max: int = RESTARTS_MAX,
        within_s: float = WITHIN_S,
        backoff: Backoff | None = None,
        decide: Callable[[BaseException], Directive] | None = None,
        parent: "Supervisor | None" = None,
    ) -> None:
        self.system = system
        self.key = key
        self.parent: Parent | None = parent
        self._strategy: Strategy = strategy
        self._restarts_max = restarts_max
        self._within_s = within_s
        self._backoff = backoff or Backoff()
        self._decide = decide or _restart
        self._places: list[_Place] = []
        self._restarts: deque[float] = deque()
        # Counts up at each restart or stop: a delayed restart that was overtaken does nothing.
        self._generation = 0
        self._stopping = False
        if parent is not None:
            parent.adopt(self)

    @property
    def alive(self) -> bool:
        """Whether it still supervises."""
        return not self._stopping

    @property
    def actor_ref(self) -> None:
        """None: nobody sends messages to a supervisor."""

    @property
    def children(self) -> list[str]:
        """Keys of the children, in the order of starting."""
        return [place.child.key for place in self._places]

    def start(self, kind: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        """Start an actor of class `kind` as the newest child; its reference.

        Raises what its `on_start` raises (a loop or light actor): a house that cannot be built
        must not open.
        """
        child = kind.box_open(self.system, key, *args, parent=self, **kwargs)
        self._places.append(_Place(child=child, args=args, kwargs=kwargs))
        return child.actor_ref

    def adopt(self, child: "Supervisor") -> None:
        """Take a supervisor in as the newest child."""
        self._places.append(_Place(child=child, args=(), kwargs={}))

    async def stop(self) -> None:
        """Stop the children one by one, the youngest first, each after what is in its inbox."""
        self._stopping = True
        self._generation += 1
        for place in reversed(self._places[:]):
            if isinstance(place.child, Supervisor):
                await place.child.stop()
            elif place.child.alive:
                await place.child.actor_ref.stop()
        self._places.clear()

    # ------------------------------------------------------------------ called by the children

    def child_failed(self, child: Any, error: BaseException, message: Any) -> None:
        """Decide: resume, restart, stop, or escalate."""
        place = self._place(child)
        if place is None or self._stopping:
            child.box_kill()
            return
        directive = self._decide(error)
        _logger.error("%s of %s failed: %s", child, self.key, directive.value, exc_info=error)
        match directive:
            case Directive.RESUME:
                child.resume()
            case Directive.STOP:
                self._places.remove(place)
                child.box_kill()
            case Directive.ESCALATE:
                self._give_up(error)
            case Directive.RESTART:
                if self._too_often():
                    self._give_up(error)
                else:
                    self._restart(place)

    def child_ended(self, child: Any) -> None:
        """A child stopped by itself: it is started no more."""
        place = self._place(child)
        if place is not None and not self._stopping:
            self._places.remove(place)

    # ------------------------------------------------------------------ called by the parent

    def box_hold(self) -> None:
        """Hold all children."""
        self._generation += 1
        for place in reversed(self._places):
            if place.child.alive:
                place.child.box_hold()

    def box_renew(self) -> None:
        """Start all children afresh, in order."""
        self._restarts.clear()
        self._renew(self._places[:])

    def resume(self) -> None:
        """Go on: the children that were held are started afresh, as their state is not known."""
        self.box_renew()

    def box_kill(self) -> None:
        """End all children, the youngest first."""
        self._stopping = True
        self._generation += 1
        for place in reversed(self._places):
            if place.child.alive:
                place.child.box_kill()
        self._places.clear()

    def __str__(self) -> str:
        return f"Supervisor ({self.key})"

    # ------------------------------------------------------------------ private

    def _place(self, child: Any) -> _Place | None:
        return next((place for place in self._places if place.child is child), None)

    def _affected(self, place: _Place) -> list[_Place]:
        match self._strategy:
            case "one_for_one":
                return [place]
            case "one_for_all":
                return self._places[:]
            case "rest_for_one":
                return self._places[self._places.index(place) :]

    def _restart(self, place: _Place) -> None:
        affected = self._affected(place)
        for each in reversed(affected):
            each.child.box_hold()
        delay_s = self._delay_s()
        if not delay_s:
            self._renew(affected)
            return
        generation = self._generation
        self.system.after(delay_s, self._renew_later, (generation, affected))

    def _renew_later(self, due: tuple[int, list[_Place]]) -> None:
        generation, affected = due
        if generation == self._generation and not self._stopping:
            self._renew(affected)

    def _renew(self, affected: list[_Place]) -> None:
        for place in affected:
            if place in self._places and place.child.alive:
                self.system.stats.of(type(place.child)).restarted += 1
                try:
                    place.child.box_renew(*place.args, **place.kwargs)
                except Exception as error:  # noqa: BLE001 - the failure of a child like any other
                    self.child_failed(place.child, error, None)
                    return

    def _delay_s(self) -> float:
        backoff = self._backoff
        doublings = max(0, len(self._restarts) - 1)
        delay_s = min(backoff.delay_s_max, backoff.first_s * 2.0**doublings)
        return delay_s * (1 - backoff.jitter * self.system.rng.random()) if delay_s else 0.0

    def _too_often(self) -> bool:
        now_s = self.system.clock.monotonic_s()
        restarts = self._restarts
        restarts.append(now_s)
        while restarts[0] < now_s - self._within_s:
            restarts.popleft()
        return len(restarts) > self._restarts_max

    def _give_up(self, error: BaseException) -> None:
        _logger.critical("%s gives up", self, exc_info=error)
        parent = self.parent
        if parent is None:
            self.box_kill()
            self.system.fail(error)
        else:
            self.box_hold()
            parent.child_failed(self, error, None)


def _restart(_error: BaseException) -> Directive:
    return Directive.RESTART
