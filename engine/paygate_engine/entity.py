"""Entities: light actors whose state is what the journal says, and nothing else.

An entity decides, hands a `Unit` to `persist`, and moves its state only when that is committed:
record first, reply after, act on the world last. Its mailbox waits meanwhile, so no message ever
sees a state that may not become true. Restart, recovery and waking up are one path: forget
everything, replay the stream.

Where several nodes write to one store, an entity of another node may have recorded more meanwhile.
What is decided on such a state conflicts, is brought up to date and decided again; and since not
everything that is decided is recorded, most messages are handled only after a look at what is new.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from paygate_engine.errors import Conflicted, Overloaded, StoreFailed, StoreFull
from paygate_engine.light import LightActor
from paygate_engine.marks import (
    CLOSING,
    ENDED,
    HELD,
    HOLDING,
    LATER,
    NOTHING,
    OPEN,
    Ask,
    Mark,
    Stop,
)
from paygate_engine.stores.base import Conflict, Event, Unit

if TYPE_CHECKING:
    from paygate_engine.region import Region
    from paygate_engine.system import ActorSystem

# Somebody else writes to the same stream: after three goes it is not bad luck any more.
CONFLICTS_MAX: Final = 3

# What `box_phase` says: made and nothing recorded yet; being read from the journal; in order;
# failed while a unit is under way, to be read back as soon as that is known; in order, and being
# read on from where it is.
NEW: Final = 0
LOADING: Final = 1
LOADED: Final = 2
DOOMED: Final = 3
BEHIND: Final = 4

Outcome = Conflict | Exception | None


class Recorder(Protocol):
    """What entities need of the journal."""

    def append(self, unit: Unit, done: Callable[[Outcome], None]) -> None:
        """Record `unit`; `done(None)` once it is committed, on the loop, never inside this call.

        Raises `Overloaded` when too much waits already, `StoreFailed` once the journal failed.
        """
        ...

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number, in order."""
        ...


class Entity(LightActor):
    """An event-sourced actor; its region makes, loads, restarts and stops it.

    `seq` is the number of the newest event folded in, 0 before the first. Subclasses add
    `__slots__` for their state and implement `replay`, `forget` and handlers.
    """

    __slots__ = ("box_conflicts", "box_fresh", "box_phase", "box_seq", "box_then", "seq")

    optimistic: ClassVar[frozenset[type]] = frozenset()
    """Messages that may be handled though another node has recorded more: what they decide is
    recorded, and so conflicts, or does no harm. All others are handled on the newest state."""

    box_then: Callable[[], None] | None

    parent: "Region[Any]"  # pyright: ignore[reportIncompatibleVariableOverride] - set by the region

    def __init__(self, system: "ActorSystem", key: str) -> None:
        super().__init__(system, key)
        self.seq = 0
        self.box_then = None
        self.box_seq = 0
        self.box_conflicts = 0
        self.box_phase = NEW
        self.box_fresh = False

    # ------------------------------------------------------------------ for subclasses

    def replay(self, event: Event) -> None:
        """Fold one recorded event into the state. Pure: no message, no clock, no effect."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop all state of its own, as after the constructor."""
        raise NotImplementedError

    def on_loaded(self) -> None:
        """Run after the stream was replayed: effects whose outcome is not known are asked about."""

    def on_caught_up(self) -> None:
        """Run after events that another node recorded were folded in, one or more."""

    def may_sleep(self) -> bool:
        """Whether it may be stopped, and be read back when a message comes."""
        return True

    def on_sleep(self) -> None:
        """Run before it is stopped to be read back later: what memory alone knows is put aside."""

    def on_conflict(self, conflict: Conflict) -> bool:
        """Answer a conflict oneself and return True; False: reload and decide again."""
        return False

    def on_refused(self, message: Any, error: Exception) -> None:
        """Nothing was recorded of a told message: `Overloaded`, `StoreFull` or `Conflicted`.

        By default it becomes a dead letter; whoever must not lose it tries again by a timer.
        (An asker gets the error as its answer instead.)
        """
        self.system.dead_letters.put("refused", self.key, message)

    def record(self, kind: str, body: bytes, *, answer: Any = None) -> object:
        """Record one event, fold it in once it is committed, then answer the ask in hand.

        The short way for handlers that need no more: `return self.record(...)`. What else must be
        committed with the event, or done after it, is `persist`'s business.
        """
        event = Event(
            stream=self.stream,
            seq=self.seq + 1,
            at_us=self.system.clock.now_us(),
            kind=kind,
            body=body,
            epoch=self.parent.epoch,
        )
        asker = self.asker()

        def then() -> None:
            self.replay(event)
            if asker is not None:
                asker.set(answer)

        self.persist(Unit(events=(event,)), then)
        return LATER

    def persist(self, unit: Unit, then: Callable[[], None]) -> None:
        """Record `unit`, then call `then()`, which moves the state, answers and acts.

        The mailbox waits until the commit is known. The handler does nothing more after this
        call and returns LATER. `seq` is moved before `then` runs. `then` may persist again.

        * A `Conflict`: what is new is read and the message in hand is handled again.
        * No room, or too much waiting: the asker gets `StoreFull` or `Overloaded`; nothing moved.
        * The journal failed: the asker gets `StoreFailed` and the entity ends.

        Raises RuntimeError for a second unit while one is under way, ValueError for events of
        its own stream that do not follow on `seq`.
        """
        if self.box_then is not None:
            raise RuntimeError(f"{self} is recording already")
        expected, stream = self.seq, self.stream
        for event in unit.events:
            if event.stream == stream:
                expected += 1
                if event.seq != expected:
                    raise ValueError(f"{self}: event {event.seq} where {expected} is next")
        if self.box_state == OPEN:
            self.suspend()
        self.box_then = then
        self.box_seq = expected
        try:
            self.parent.recorder.append(unit, self.box_recorded)
        except (Overloaded, StoreFailed) as error:
            self.box_then = None
            self._refuse(error.with_traceback(None))
            if isinstance(error, StoreFailed):
                self._lose(error)
            elif self.box_state == CLOSING:
                self.box_state = OPEN

    @property
    def recording(self) -> bool:
        """Whether a unit is under way: it may be on disk already, and the state here behind it."""
        return self.box_then is not None

    @property
    def stream(self) -> str:
        """The name of its stream in the journal."""
        return self.key

    # ------------------------------------------------------------------ what the journal answers

    def box_recorded(self, outcome: Outcome) -> None:
        """The journal's answer to the unit that was handed over last."""
        if self.box_state == ENDED:
            return
        then, self.box_then = self.box_then, None
        if self.box_phase == DOOMED or then is None:
            # It failed after it had handed the unit over: now it is known what to read back.
            self.parent.load(self)
        elif outcome is None:
            self._committed(then)
        elif isinstance(outcome, Conflict):
            self._conflicted(outcome)
        elif isinstance(outcome, StoreFull):
            self._refuse(outcome)
            self._go_on()
        else:
            self._refuse(outcome)
            self._lose(outcome)

    def box_loaded(self, events: Sequence[Event]) -> None:
        """Take the state from `events` and go on. Raises what `replay` or `on_loaded` raise."""
        self.forget()
        self.seq = 0
        for event in events:
            self.replay(event)
            self.seq = event.seq
        self.box_phase = LOADED if events else NEW
        self.box_fresh = bool(self.box_queue)
        if events:
            self.on_loaded()
        if self.box_then is None:
            self._go_on()

    def box_caught_up(self, events: Sequence[Event]) -> None:
        """Fold in what others recorded and go on. Raises what `replay` or `on_caught_up` raise."""
        for event in events:
            self.replay(event)
            self.seq = event.seq
        self.box_phase = LOADED
        # For the message that is next, whichever it is; the one behind it comes later.
        self.box_fresh = bool(self.box_queue)
        if events:
            self.on_caught_up()
        if self.box_then is None:
            self._go_on()

    def box_deliver(self) -> bool:
        """Handle the message in hand; tell the region when nothing is left."""
        if self.parent.epoch and self._may_be_behind():
            self.box_hold()
            self.parent.catch_up(self)
            return False
        self.box_fresh = False
        more = super().box_deliver()
        if self.box_message is NOTHING:
            self.parent.drained(self)
        return more

    def box_next(self) -> None:
        """Go on with the next message; tell the region when nothing is left."""
        super().box_next()
        if self.box_message is NOTHING:
            self.parent.drained(self)

    def _committed(self, then: Callable[[], None]) -> None:
        self.seq = self.box_seq
        self.box_phase = LOADED
        self.box_conflicts = 0
        try:
            then()
        except BaseException as error:  # noqa: BLE001 - box_failed knows which go on
            self.box_failed(error, self.box_message)
            self.box_next()
            return
        if self.box_then is None:
            self._go_on()

    def _conflicted(self, conflict: Conflict) -> None:
        self.box_conflicts += 1
        if self.on_conflict(conflict):
            self.box_conflicts = 0
            self._go_on()
        elif self.box_conflicts >= CONFLICTS_MAX:
            self.box_conflicts = 0
            self._refuse(Conflicted(conflict))
            if self.box_state != ENDED:
                self.box_message = HELD
                self._read_on()
        else:
            if not isinstance(self.box_message, Mark):
                self.box_again()
            self._read_on()

    def _read_on(self) -> None:
        if self.box_phase == NEW:
            self.parent.load(self)
        else:
            self.parent.catch_up(self)

    def _may_be_behind(self) -> bool:
        """Whether the message in hand wants a newer look than the state has had."""
        if self.box_fresh or self.box_state != OPEN or self.box_phase != LOADED:
            return False
        message: object = self.box_message
        if type(message) is Ask:
            message = message.message
        kind = type(message)
        return kind is not Stop and kind not in self.optimistic

    def _refuse(self, error: Exception) -> None:
        """Nothing was recorded: tell the sender. What was never recorded at all does not stay."""
        message = self.box_message
        if type(message) is Ask:
            if not message.reply_to.done():
                message.reply_to.set_exception(error)
        elif not isinstance(message, Mark):
            self.on_refused(message, error)
        if self.box_phase == NEW and self.box_state != ENDED:
            self.box_message = HELD
            self.box_end(error, "refused")

    def _lose(self, error: Exception) -> None:
        """The journal failed: what the state should be, nobody knows until the next start."""
        self.forget()
        self.box_message = HELD
        self.box_end(error, "refused")

    def _go_on(self) -> None:
        if self.box_state == HOLDING:
            self.box_state = OPEN
            self.box_next()
