"""The cell of a light actor: mailbox, dispatch, failure and end. See `marks.py` for the theory.

Subclass `LightActor` instead: this is its inner half. Names that begin with `box_` are the
engine's; they have no underscore in front because references, regions and supervisors use them.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import pykka

from paygate_engine.dead_letters import Reason
from paygate_engine.errors import Overloaded
from paygate_engine.future import LoopFuture
from paygate_engine.marks import (
    CLOSING,
    ENDED,
    GONE,
    HELD,
    HOLDING,
    LATER,
    NOTHING,
    OPEN,
    STOP,
    Ask,
    Mark,
    Stop,
)
from paygate_engine.ref import LightRef, StopView

if TYPE_CHECKING:
    from types import TracebackType

    from paygate_engine.system import ActorSystem

Handler = Callable[[Any, Any], Any]

# Enough for a burst of facts about one thing; a longer queue means that something is wrong.
INBOX_MAX: Final = 1_000

_logger = logging.getLogger(__name__)


class Parent(Protocol):
    """Who decides about a child's failures: a supervisor or a region."""

    def child_failed(self, child: Any, error: BaseException, message: Any) -> None:
        """The handler of `message` raised `error`; an asker has it already.

        The child's mailbox is closed until this calls its `resume` or `box_renew`, or ends it.
        """
        ...

    def child_ended(self, child: Any) -> None:
        """The child is dead."""
        ...


class Cell(pykka.Actor):
    """A `pykka.Actor` that is its own mailbox and is run by the actor system."""

    __slots__ = (
        "box_message",
        "box_queue",
        "box_ref",
        "box_state",
        "key",
        "parent",
        "system",
    )

    inbox_max: ClassVar[int] = INBOX_MAX
    box_table: ClassVar[dict[type, Handler]] = {}

    system: "ActorSystem"
    key: str
    parent: "Parent | None"
    box_message: Any
    box_queue: "deque[Any] | None"
    box_ref: "LightRef[Any] | None"
    box_state: int

    def __init__(self, system: "ActorSystem", key: str, parent: "Parent | None" = None) -> None:
        self.system = system
        self.key = key
        self.parent = parent
        self.box_message = NOTHING
        self.box_queue = None
        self.box_ref = None
        self.box_state = OPEN

    def resume(self) -> None:
        """Be done with the message in hand and go on with the next."""
        if self.box_state == CLOSING:
            self.box_state = OPEN
        elif self.box_state == HOLDING:
            self.box_state = OPEN
            self.box_next()

    def on_restart(self) -> None:
        """Run before a restart by the supervisor: give back what the constructor takes anew."""

    # ------------------------------------------------------------------ Pykka's fields and hooks

    def __str__(self) -> str:
        return f"{type(self).__name__} ({self.key})"

    @property
    def alive(self) -> bool:
        """Whether it takes messages."""
        return self.box_state != ENDED

    # Pykka declares these three as variables; nobody assigns to them here.
    @property
    def actor_urn(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`urn:actor:` and the key."""
        return f"urn:actor:{self.key}"

    @property
    def actor_ref(self) -> LightRef[Any]:
        """The reference to it, made at the first use and dropped when it ends."""
        ref = self.box_ref
        if ref is None:
            ref = LightRef(self)
            if self.box_state != ENDED:
                self.box_ref = ref
        return ref

    @property
    def actor_inbox(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The actor is its own inbox."""
        return self

    @property
    def actor_stopped(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Answers `is_set()` and `wait()`."""
        return StopView(self)

    @staticmethod
    def _create_actor_inbox() -> Any:
        raise RuntimeError("a light actor is its own inbox")

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        raise RuntimeError("the actor system runs it")

    # ------------------------------------------------------------------ the mailbox

    def box_begin(self) -> None:
        """Register it in the directory, which alone keeps it alive."""
        cells = self.system.cells
        if self.key in cells:
            raise ValueError(f"{self.key} lives already")
        cells[self.key] = self
        self.system.stats.of(type(self)).spawned += 1

    def box_idle(self) -> bool:
        """Whether no message is in hand or waits."""
        return self.box_message is NOTHING

    def box_put(self, message: Any) -> None:
        """Take a message in. Raises `Overloaded` or `pykka.ActorDeadError`."""
        if self.box_message is NOTHING:
            self.box_message = message
            self._ready()
            return
        if self.box_state == ENDED:
            self.system.dead_letters.put("dead", self.key, message)
            raise pykka.ActorDeadError(f"{self} not found")
        queue = self.box_queue
        if queue is None:
            self.box_queue = deque((message,))
        elif len(queue) >= self.inbox_max:
            self.system.dead_letters.put("overflow", self.key, message)
            raise Overloaded(f"the inbox of {self} is full")
        else:
            queue.append(message)

    def box_ask(self, message: Any, future: LoopFuture[Any], timeout_s: float) -> None:
        """Take an ask in; what `box_put` raises becomes the future's."""
        if self.box_state == ENDED:
            future.set_exception(pykka.ActorDeadError(f"{self} not found"))
            return
        try:
            self.box_put(Ask(message, future))
        except Overloaded as error:
            future.set_exception(error.with_traceback(None))
            return
        self.system.expire_after(future, timeout_s)

    def box_ask_stop(self, future: LoopFuture[bool]) -> None:
        """Take a stop in, past the bound of the inbox: a full actor must be stoppable."""
        if self.box_state == ENDED:
            future.set(False)
        elif self.box_message is NOTHING:
            self.box_message = Ask(STOP, future)
            self._ready()
        else:
            if self.box_queue is None:
                self.box_queue = deque()
            self.box_queue.append(Ask(STOP, future))

    def box_deliver(self) -> bool:
        """Handle the message in hand; True when the next one is in hand already."""
        if self.box_state:
            # It was held or ended while it stood in the run queue.
            return False
        message: object = self.box_message
        handler = self.box_table.get(type(message))
        try:
            if handler is None:
                self.on_receive(message)
            else:
                handler(self, message)
        except BaseException as error:  # noqa: BLE001 - box_failed knows which go on
            self.box_failed(error, message)
            # The error's frames lead here: what is in hand must not lead back to the error.
            message = None
        if self.box_state:
            if self.box_state == CLOSING:
                self.box_state = HOLDING
            return False
        queue = self.box_queue
        if queue:
            self.box_message = queue.popleft()
            return True
        self.box_message = NOTHING
        if queue is not None:
            self.box_queue = None
        return False

    def box_answer(self, ask: Ask) -> None:
        """Handle an ask: set its future to what the handler returns or raises."""
        future = ask.reply_to
        message: object = ask.message
        if future.done():
            self.system.dead_letters.put("expired", self.key, message)
            return
        if type(message) is Stop:
            self.box_stop()
            future.set(True)
            return
        handler = self.box_table.get(type(message))
        reply = self.on_receive(message) if handler is None else handler(self, message)
        if reply is LATER or (self.box_state == CLOSING and reply is None):
            return
        if self.box_state == CLOSING:
            raise RuntimeError(f"{self} suspended, and answered {type(message).__name__} as well")
        future.set(reply)

    def box_next(self) -> None:
        """Put the next message in hand after one that was held; become ready if there is one."""
        if self.box_state:
            if self.box_state == CLOSING:
                self.box_state = HOLDING
            return
        queue = self.box_queue
        if queue:
            self.box_message = queue.popleft()
            self._ready()
        else:
            self.box_message = NOTHING
            self.box_queue = None

    def box_hold(self) -> None:
        """Hold the mailbox from outside: what waits goes on waiting until `resume`.

        A message in hand that was not begun goes back to the front.
        """
        if self.box_state == OPEN and not isinstance(self.box_message, Mark):
            self.box_again()
        self.box_message = HELD
        if self.box_state == OPEN:
            self.box_state = HOLDING

    def box_renew(self, *args: Any, **kwargs: Any) -> None:
        """Restart in this cell: constructor, `on_start`, then the messages that wait."""
        self._hook(self.on_restart)
        queue, ref, state = self.box_queue, self.box_ref, self.box_state
        try:
            type(self).__init__(self, self.system, self.key, *args, parent=self.parent, **kwargs)
        finally:
            self.box_queue, self.box_ref, self.box_state = queue, ref, state
            self.box_message = HELD
        self.on_start()
        self.resume()

    def box_again(self) -> None:
        """Put the message in hand back to the front of the queue, to be handled again."""
        if self.box_queue is None:
            self.box_queue = deque()
        self.box_queue.appendleft(self.box_message)
        self.box_message = HELD

    # ------------------------------------------------------------------ failures and ends

    def box_failed(self, error: BaseException, message: Any) -> None:
        """The handler of `message` raised: the asker hears it first, then the parent decides."""
        self.system.stats.of(type(self)).failed += 1
        if isinstance(error, KeyboardInterrupt | SystemExit):
            # The process is asked to end: the turn that is running hands it on to the loop.
            self.system.interrupt = error
        error.__traceback__ = _without_dispatchers(error.__traceback__)
        # It is in hand no more, and nothing else is handled until the parent has decided.
        self.box_message = HELD
        self.box_state = CLOSING
        asker = message.reply_to if type(message) is Ask else None
        if asker is not None:
            if not asker.done():
                asker.set_exception(error)
        else:
            self.system.dead_letters.put("failed", self.key, message)
        parent = self.parent
        if parent is not None:
            parent.child_failed(self, error, message)
            return
        _logger.error("unhandled exception in %s; it stops", self, exc_info=error)
        self.box_give_up(error)

    def box_give_up(self, error: BaseException) -> None:
        """End it because of a failure."""
        self.box_end()
        self._hook(self.on_failure, type(error), error, error.__traceback__)

    def box_stop(self, _message: Any = None) -> None:
        """End it in good order."""
        if self.box_state != ENDED:
            self.box_message = HELD
            self.box_end()
            self._hook(self.on_stop)

    def box_kill(self) -> None:
        """End it from outside without waiting for what is in its inbox."""
        if self.box_state != ENDED:
            self.box_end()
            self._hook(self.on_stop)

    def box_end(self, error: BaseException | None = None, reason: Reason = "dead") -> None:
        """End it as it stands: asks that wait get `error` (default: `ActorDeadError`)."""
        if self.box_state == ENDED:
            return
        system = self.system
        in_hand = self.box_message
        waiting = self.box_queue
        self.box_state = ENDED
        self.box_message = GONE
        self.box_queue = self.box_ref = None
        del system.cells[self.key]
        system.stats.of(type(self)).stopped += 1
        if not isinstance(in_hand, Mark):
            self.box_drop(in_hand, error, reason)
        for message in waiting or ():
            self.box_drop(message, error, reason)
        if system.stop_waiters:
            for event in system.stop_waiters.pop(self, ()):
                event.set()
        if self.parent is not None:
            self.parent.child_ended(self)

    def box_drop(self, message: Any, error: BaseException | None, reason: Reason) -> None:
        """Turn a message away that will not be handled."""
        if type(message) is not Ask:
            self.system.dead_letters.put(reason, self.key, message)
        elif type(message.message) is Stop:
            message.reply_to.set(True)
        elif not message.reply_to.done():
            message.reply_to.set_exception(
                error or pykka.ActorDeadError(f"{self} stopped before handling the message")
            )

    def _ready(self) -> None:
        system = self.system
        system.ready.append(self)
        if not system.armed:
            system.arm()

    def _hook(self, hook: Callable[..., None], *args: Any) -> None:
        try:
            hook(*args)
        except Exception:
            _logger.exception("%s of %s failed", hook.__name__, self)


def _without_dispatchers(traceback: "TracebackType | None") -> "TracebackType | None":
    """Leave the dispatcher's frames out: they hold the future that holds the error (a cycle)."""
    while traceback is not None and traceback.tb_frame.f_code in _DISPATCHERS:
        if traceback.tb_frame.f_code is _ANSWER:
            traceback.tb_frame.clear()
        traceback = traceback.tb_next
    return traceback


_ANSWER: Final = Cell.box_answer.__code__
_DISPATCHERS: Final = frozenset({Cell.box_deliver.__code__, _ANSWER})
