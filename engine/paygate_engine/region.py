"""A region of entities: activation by id, loading, sleep, restart from the journal, parking.

An id is asleep (only the journal knows it), loading, live, or parked. A message to a sleeping id
wakes it; messages that come while it loads wait in its own bounded inbox. So there is one entity
of an id at the most, and nobody outside has to know whether it is in memory.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from paygate_engine.entity import BEHIND, DOOMED, LOADED, LOADING, NEW, Entity, Recorder
from paygate_engine.errors import Corrupt, NotFound, Overloaded, Parked, StoreFailed
from paygate_engine.future import LoopFuture
from paygate_engine.marks import ENDED, NOTHING
from paygate_engine.stores.base import Event

if TYPE_CHECKING:
    from paygate_engine.dead_letters import Reason
    from paygate_engine.system import ActorSystem

E = TypeVar("E", bound=Entity)

# More reads at once would only queue inside the store.
LOAD_CONCURRENCY: Final = 64
# Sleeping ids that wait to be read; behind that many a caller is better off told to come back.
WAITING_MAX: Final = 1_000
# How many that may sleep stay awake, the last used ones: a webhook or a read often follows soon.
LINGER_MAX: Final = 1_000
# An entity that fails more often than this within the time is put before a person.
RESTARTS_MAX: Final = 3
WITHIN_S: Final = 60.0
# Parked ids remembered; past it the oldest is let go (and would be parked again).
PARKED_MAX: Final = 10_000
# What cannot be read just now is read again after this long; whoever waits has an own deadline.
REREAD_S: Final = 1.0

_logger = logging.getLogger(__name__)


class Region(Generic[E]):
    """All entities of one kind. `make(id)` returns a new one, not started.

    Ids that do not begin with `prefix` are not found without a look at the journal. `on_parked`
    hears of each entity that is given up. `epoch` is that of this node, 0 where it is alone: then
    nobody else records, and no look is taken for what others did. To be used on the loop's thread
    only.
    """

    def __init__(
        self,
        system: "ActorSystem",
        recorder: Recorder,
        make: Callable[[str], E],
        *,
        prefix: str = "",
        load_concurrency: int = LOAD_CONCURRENCY,
        waiting_max: int = WAITING_MAX,
        linger_max: int = LINGER_MAX,
        on_parked: Callable[[str, BaseException], None] | None = None,
        epoch: int = 0,
    ) -> None:
        self.system = system
        self.recorder = recorder
        self.epoch = epoch
        self._make = make
        self._prefix = prefix
        self._load_concurrency = load_concurrency
        self._waiting_max = waiting_max
        self._linger_max = linger_max
        self._on_parked = on_parked
        self._live = 0
        self._loads = 0
        self._to_load: deque[Entity] = deque()
        self._drowsy: dict[str, Entity] = {}
        self._failures: dict[str, deque[float]] = {}
        self._parked: dict[str, BaseException] = {}

    def __len__(self) -> int:
        """How many entities are in memory, loading ones included."""
        return self._live

    @property
    def parked(self) -> dict[str, BaseException]:
        """Ids that wait for a person, with the error that was the last straw."""
        return dict(self._parked)

    def tell(self, id: str, message: Any) -> None:  # noqa: A002 - what everybody calls it
        """Send a message to the entity of that id, waking it if need be.

        Raises `Overloaded` when its inbox is full or too many wait to be woken. What nobody will
        handle (no such id, parked) becomes a dead letter.
        """
        try:
            entity = self._awake(id)
        except (NotFound, Parked) as error:
            reason: Reason = "parked" if isinstance(error, Parked) else "not_found"
            self.system.dead_letters.put(reason, id, message)
        else:
            entity.box_put(message)

    def ask(self, id: str, message: Any, *, timeout: float) -> LoopFuture[Any]:  # noqa: A002
        """Ask the entity of that id; the future fails as that of `LightRef.ask`.

        And with `NotFound` for an id without a stream, `Parked`, or what reading it raised.
        """
        future: LoopFuture[Any] = LoopFuture(self.system)
        try:
            entity = self._awake(id)
        except (NotFound, Parked, Overloaded) as error:
            future.set_exception(error.with_traceback(None))
        else:
            entity.box_ask(message, future, timeout)
        return future

    def create(self, id: str) -> E:  # noqa: A002
        """A new entity, live at once and without a look at the journal.

        Its first event has the number 1; if the id exists after all the journal answers with a
        conflict. Raises ValueError for an id that is in memory, Parked for one that is parked.
        """
        if id in self._parked:
            raise Parked(f"{id} waits for a person")
        entity = self._begin(id)
        entity.forget()
        return entity

    def active(self, id: str) -> E | None:  # noqa: A002
        """The entity of that id if it is in memory and loaded."""
        entity = self._mine(id)
        ready = (NEW, LOADED, BEHIND)
        return entity if entity is not None and entity.box_phase in ready else None

    def live(self) -> list[E]:
        """All entities in memory, loading ones included."""
        cells: Any = self.system.cells.values()
        return [cell for cell in cells if cell.parent is self]

    def is_parked(self, id: str) -> bool:  # noqa: A002
        """Whether the id waits for a person."""
        return id in self._parked

    def park(self, id: str, error: BaseException) -> None:  # noqa: A002
        """Put an id before a person, be it in memory or not: nothing is done to it any more.

        Whoever waits for it gets `Parked`. What its entity has handed to the journal may still
        be committed.
        """
        entity = self._mine(id)
        if entity is not None:
            self._park(entity, error)
        elif id not in self._parked:
            self._give_up(id, error)

    def release(self, id: str) -> bool:  # noqa: A002
        """Let a parked id be woken again; False if it was not parked."""
        self._failures.pop(id, None)
        return self._parked.pop(id, None) is not None

    # ------------------------------------------------------------------ called by the entities

    def load(self, entity: Entity) -> None:
        """Read the entity's state back; its mailbox is held and goes on when that is done."""
        entity.box_phase = LOADING if entity.seq or entity.box_phase != NEW else NEW
        self._read(entity)

    def catch_up(self, entity: Entity) -> None:
        """Read what others recorded behind its state; its mailbox is held, and goes on then."""
        entity.box_phase = BEHIND
        self._read(entity)

    def _read(self, entity: Entity) -> None:
        if self._loads < self._load_concurrency:
            self._loads += 1
            self.system.spawn_task(self._load_all(entity))
        else:
            self._to_load.append(entity)

    def drained(self, entity: Entity) -> None:
        """Nothing is in its inbox: it may go to sleep, but the last few stay awake for a while."""
        if not entity.may_sleep():
            return
        drowsy = self._drowsy
        drowsy.pop(entity.key, None)
        drowsy[entity.key] = entity
        while len(drowsy) > self._linger_max:
            oldest = drowsy.pop(next(iter(drowsy)))
            if oldest.box_message is NOTHING and oldest.may_sleep():
                oldest.on_sleep()
                oldest.box_stop()

    def child_failed(self, child: Entity, error: BaseException, message: Any) -> None:
        """A handler raised: restart from the journal, or park when it happens too often."""
        if self._too_often(child.key):
            self._park(child, error)
            return
        _logger.error("%s failed; it is read back from the journal", child, exc_info=error)
        self.system.stats.of(type(child)).restarted += 1
        child.box_hold()
        if child.box_then is None:
            self.load(child)
        else:
            child.box_phase = DOOMED

    def child_ended(self, child: Entity) -> None:
        """It is in memory no more."""
        self._live -= 1
        self._drowsy.pop(child.key, None)

    # ------------------------------------------------------------------ private

    def _mine(self, id: str) -> E | None:  # noqa: A002
        cell: Any = self.system.cells.get(id)
        # The directory is everybody's: an id from outside must not reach a service by its name.
        return cell if cell is not None and cell.parent is self else None

    def _awake(self, id: str) -> E:  # noqa: A002
        entity = self._mine(id)
        if entity is not None:
            return entity
        if id in self._parked:
            raise Parked(f"{id} waits for a person")
        if not id.startswith(self._prefix) or id in self.system.cells:
            raise NotFound(id)
        if len(self._to_load) >= self._waiting_max:
            raise Overloaded("too many wait to be read from the journal")
        entity = self._begin(id)
        entity.box_hold()
        entity.box_phase = LOADING
        self.load(entity)
        return entity

    def _begin(self, id: str) -> E:  # noqa: A002
        entity = self._make(id)
        entity.parent = self
        entity.box_begin()
        self._live += 1
        return entity

    async def _load_all(self, entity: Entity) -> None:
        try:
            await self._load_one(entity)
            while self._to_load:
                await self._load_one(self._to_load.popleft())
        finally:
            self._loads -= 1

    async def _load_one(self, entity: Entity) -> None:
        after_seq = entity.seq if entity.box_phase == BEHIND else 0
        try:
            events = await self.recorder.read_stream(entity.stream, after_seq=after_seq)
        except StoreFailed as error:
            entity.box_end(error, "refused")
        except Overloaded:
            self.system.after(REREAD_S, self._read_again, entity)
        except Exception as error:  # noqa: BLE001 - whatever it is, it cannot be read
            self._park(entity, error)
        else:
            if entity.box_state != ENDED:
                self._loaded(entity, events)

    def _read_again(self, entity: Entity) -> None:
        if entity.box_state != ENDED:
            self._read(entity)

    def _loaded(self, entity: Entity, events: list[Event]) -> None:
        behind = entity.box_phase == BEHIND
        if not events and not behind and entity.box_phase != NEW:
            entity.box_end(NotFound(entity.key), "not_found")
            return
        try:
            if behind:
                entity.box_caught_up(events)
            else:
                entity.box_loaded(events)
        except Exception as error:  # noqa: BLE001 - counted like the failure of a handler
            self.child_failed(entity, error, None)

    def _too_often(self, id: str) -> bool:  # noqa: A002
        now_s = self.system.clock.monotonic_s()
        failures = self._failures
        times = failures.pop(id, None) or deque()
        times.append(now_s)
        failures[id] = times
        while times[0] < now_s - WITHIN_S:
            times.popleft()
        # The dictionary is in the order of the last failure: the old ones are in front.
        while (first := next(iter(failures))) != id and failures[first][-1] < now_s - WITHIN_S:
            del failures[first]
        return len(times) > RESTARTS_MAX

    def _park(self, entity: Entity, error: BaseException) -> None:
        self._give_up(entity.key, error)
        entity.box_end(Parked(f"{entity.key} waits for a person"), "parked")

    def _give_up(self, id: str, error: BaseException) -> None:  # noqa: A002
        # Damage is told by its sentence; where it was met is of no interest.
        trace = None if isinstance(error, Corrupt) else error
        _logger.critical("%s is parked, it waits for a person: %s", id, error, exc_info=trace)
        if len(self._parked) >= PARKED_MAX:
            del self._parked[next(iter(self._parked))]
        self._parked[id] = error
        self._failures.pop(id, None)
        if self._on_parked is not None:
            self._on_parked(id, error)
