"""The blocking actor: a thread of its own for what would block the loop.

It is a `pykka.ThreadingActor` with three differences: its inbox is bounded and refuses instead of
blocking the sender, its replies complete a `LoopFuture` on the loop's thread, and its thread runs
our own loop, as Pykka's stops every actor of the process on a `BaseException` and lets an ask that
comes during the end hang for ever.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pykka

from paygate_engine.errors import Overloaded
from paygate_engine.future import LoopFuture
from paygate_engine.marks import STOP, Ask
from paygate_engine.ref import ASK_TIMEOUT_S

if TYPE_CHECKING:
    from typing import Self

    from paygate_engine.cell import Parent
    from paygate_engine.system import ActorSystem

# A thread does one thing at a time: a long queue before it only hides that it is too slow.
INBOX_MAX: Final = 64

_logger = logging.getLogger(__name__)


class BlockingActor(pykka.ThreadingActor):
    """An actor on its own thread. Handle messages in `on_receive`; the reply is what it returns.

    A handler that raises answers its asker and is reported to the parent; a supervisor restarts
    it in the same cell (constructor, `on_start`), so references stay good. Start it with
    `start(system, key, ...)` on the loop's thread.
    """

    inbox_max: ClassVar[int] = INBOX_MAX
    # A thread that hangs in a call must not keep the process from ending.
    use_daemon_thread: ClassVar[bool] = True

    def __init__(self, system: "ActorSystem", key: str, parent: "Parent | None" = None) -> None:
        # Pykka's constructor makes a UUID and an unbounded queue: see the module's docstring.
        self.system = system
        self.key = key
        self.parent = parent
        self.actor_urn = f"urn:actor:{key}"
        self.actor_inbox = BoundedInbox(str(self), self.inbox_max)
        self.actor_stopped = threading.Event()
        self._actor_ref = BlockingRef(self)

    @property
    def alive(self) -> bool:
        """Whether it takes messages."""
        return not self.actor_stopped.is_set()

    @property
    def inbox(self) -> "BoundedInbox":
        """Its inbox, as the type that it is."""
        inbox = self.actor_inbox
        assert isinstance(inbox, BoundedInbox)
        return inbox

    def on_restart(self) -> None:
        """Run on its thread before `on_start` when the supervisor restarts it."""

    @classmethod
    def box_open(cls, *args: Any, **kwargs: Any) -> "Self":
        """Do what `start` does, and give the actor itself to its supervisor."""
        actor = cls(*args, **kwargs)
        pykka.ActorRegistry.register(actor.actor_ref)
        actor._start_actor_loop()
        return actor

    def resume(self) -> None:
        """Go on with the next message after a failure, as it stands."""
        self.inbox.release()

    def box_hold(self) -> None:
        """Handle nothing more until `box_renew`; called by the supervisor."""
        self.inbox.hold()

    def box_renew(self, *_args: Any, **_kwargs: Any) -> None:
        """Have its thread run `on_restart` and `on_start` and go on with its inbox."""
        self.inbox.release(RENEW)

    def box_kill(self) -> None:
        """Stop it before what waits in its inbox; what it is doing it finishes."""
        self.inbox.release(STOP)

    def stop(self) -> None:
        """Stop after the messages that wait already."""
        self.actor_ref.stop(block=False)

    def _actor_loop(self) -> None:
        try:
            going = self._handle(START)
            while going:
                going = self._handle(self.inbox.take())
        except BaseException as error:
            _logger.exception("unhandled exception in %s; it stops", self)
            self._end()
            self._hook(self.on_failure, type(error), error, error.__traceback__)

    def _handle(self, message: Any) -> bool:
        ask = message if isinstance(message, Ask) else None
        content = message if ask is None else ask.message
        if content is STOP:
            self._end()
            self._hook(self.on_stop)
            self._reply(ask, value=True)
            return False
        try:
            if content is START:
                self.on_start()
            elif content is RENEW:
                self.on_restart()
                self.on_start()
            elif ask is None:
                self._handle_receive(content)
            elif not ask.reply_to.done():
                self._reply(ask, value=self._handle_receive(content))
        except Exception as error:  # the parent decides; BaseExceptions end the thread
            self._reply(ask, error=error)
            if self.parent is None:
                raise
            self.inbox.hold()
            self._to_loop(self.parent.child_failed, self, error, content)
        return True

    def _reply(self, ask: Ask | None, *, value: Any = None, error: Any = None) -> None:
        if ask is None:
            return
        if error is not None:
            self._to_loop(ask.reply_to.set_exception, error)
        else:
            self._to_loop(ask.reply_to.set, value)

    def _end(self) -> None:
        self.actor_stopped.set()
        pykka.ActorRegistry.unregister(self.actor_ref)
        for message in self.inbox.close():
            if not isinstance(message, Ask):
                self._to_loop(self.system.dead_letters.put, "dead", self.key, message)
            elif message.message is STOP:
                self._reply(message, value=True)
            else:
                self._reply(message, error=pykka.ActorDeadError(f"{self} stopped"))
        if self.parent is not None:
            self._to_loop(self.parent.child_ended, self)

    def _to_loop(self, fn: Callable[..., object], *args: Any) -> None:
        try:
            self.system.call_from_thread(fn, *args)
        except pykka.ActorDeadError:
            _logger.warning("%s had something to say when the loop was gone", self)

    def _hook(self, hook: Callable[..., None], *args: Any) -> None:
        try:
            hook(*args)
        except Exception:
            _logger.exception("%s of %s failed", hook.__name__, self)


class Order:
    """What a thread is told past its inbox."""

    __slots__ = ()


START: Final = Order()
RENEW: Final = Order()


class BoundedInbox:
    """A closable queue between threads: `put` refuses and never blocks, `take` waits.

    Held, it hands out only what `release` puts in front.
    """

    def __init__(self, owner: str, inbox_max: int) -> None:
        self._owner = owner
        self._max = inbox_max
        self._messages: deque[Any] = deque()
        self._urgent: deque[Any] = deque()
        self._changed = threading.Condition()
        self._held = False
        self._closed = False

    def put(self, message: Any, /) -> None:
        """Take it in. Raises `Overloaded` or `pykka.ActorDeadError`; a stop goes past the bound."""
        with self._changed:
            if self._closed:
                raise pykka.ActorDeadError(f"{self._owner} not found")
            stop = isinstance(message, Ask) and message.message is STOP
            if len(self._messages) >= self._max and not stop:
                raise Overloaded(f"the inbox of {self._owner} is full")
            self._messages.append(message)
            self._changed.notify()

    def take(self) -> Any:
        """The next message, waited for."""
        with self._changed:
            while not self._urgent and (self._held or not self._messages):
                self._changed.wait()
            return self._urgent.popleft() if self._urgent else self._messages.popleft()

    def get(self) -> Any:
        """The same, by the name that Pykka gives it."""
        return self.take()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._messages and not self._urgent

    def hold(self) -> None:
        """Hand out nothing until `release`."""
        with self._changed:
            self._held = True

    def release(self, *first: Any) -> None:
        """Hand out `first`, then the messages again."""
        with self._changed:
            self._held = False
            self._urgent.extend(first)
            self._changed.notify()

    def close(self) -> list[Any]:
        """Refuse from now on; what was left."""
        with self._changed:
            self._closed = True
            left = list(self._messages)
            self._messages.clear()
            return left


class BlockingRef(pykka.ActorRef[BlockingActor]):
    """Reference to a blocking actor; tell and ask work on the loop's thread and on others."""

    def __init__(self, actor: BlockingActor) -> None:
        super().__init__(actor)
        self._system = actor.system
        self._inbox = actor.inbox
        self._key = actor.key

    def tell(self, message: Any) -> None:
        """Send a message. Raises `Overloaded` or `pykka.ActorDeadError`; never blocks."""
        try:
            self._inbox.put(message)
        except Overloaded:
            self._system.dead_letters.put("overflow", self._key, message)
            raise
        except pykka.ActorDeadError:
            self._system.dead_letters.put("dead", self._key, message)
            raise

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] - the defaults differ as LightRef's
        self, message: Any, *, block: bool = False, timeout: float | None = ASK_TIMEOUT_S
    ) -> Any:
        """Send a message; a `LoopFuture` of the reply. As `LightRef.ask`."""
        timeout_s = ASK_TIMEOUT_S if timeout is None else timeout
        return self._send(message, block=block, timeout_s=timeout_s, wait_s=None)

    def stop(  # pyright: ignore[reportIncompatibleMethodOverride] - the default differs
        self, *, block: bool = False, timeout: float | None = None
    ) -> Any:
        """Stop it after the messages sent before; a future of True, or of False if it was dead."""
        return self._send(STOP, block=block, timeout_s=None, wait_s=timeout)

    def _send(
        self, message: Any, *, block: bool, timeout_s: float | None, wait_s: float | None
    ) -> Any:
        system = self._system
        future: LoopFuture[Any] = LoopFuture(system)
        try:
            self._inbox.put(Ask(message, future))
        except (Overloaded, pykka.ActorDeadError) as error:
            if message is STOP:
                self._complete(future.set, False)  # noqa: FBT003 - the reply's value
            else:
                self._complete(future.set_exception, error.with_traceback(None))
        else:
            if timeout_s is not None:
                self._complete(system.expire_after, future, timeout_s)
        return future.get(timeout=wait_s) if block else future

    def _complete(self, fn: Callable[..., object], *args: Any) -> None:
        if threading.get_ident() == self._system.thread_id:
            fn(*args)
        else:
            self._system.call_from_thread(fn, *args)
