"""The light actor: a `pykka.Actor` that costs a hundred bytes instead of a thread.

It runs on the loop's thread, one message at a time, by synchronous handlers. Its mailbox is
described in `marks.py`. Pykka's constructor is not called: it makes a UUID, an Event and a
reference for each actor (6 us, 2.4 KB), all of which are made on demand here; the invariant that
it keeps (urn, inbox, ref and stopped flag are there) is kept by properties.

What differs from Pykka's own actors: an exception is treated alike whether it came of a tell or
an ask (the asker gets it, then the parent decides; without a parent the actor stops), and
`asyncio.CancelledError` concerns the actor that raised it alone.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from paygate_engine.cell import Cell, Handler, Parent
from paygate_engine.errors import Unhandled
from paygate_engine.future import LoopFuture
from paygate_engine.marks import CLOSING, LATER, OPEN, Ask, Mark, Stop

if TYPE_CHECKING:
    from typing import Self

    from paygate_engine.ref import LightRef
    from paygate_engine.system import ActorSystem

F = TypeVar("F", bound=Callable[..., Any])


def handles(*types: type) -> Callable[[F], F]:
    """Mark a method as the handler of these types of message, exactly (no subclasses)."""

    def mark(function: F) -> F:
        setattr(function, _HANDLES, types)
        return function

    return mark


_HANDLES: Final = "engine_handles"


class LightActor(Cell):
    """An actor of one loop. Subclass it with `__slots__`; handlers are marked with `@handles`.

    `key` is unique among the live actors of its system. `inbox_max` messages may wait behind the
    one in hand. Names that begin with `box_` are the engine's.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        table: dict[type, Handler] = {
            Ask: Cell.box_answer,
            Stop: Cell.box_stop,
            Mark: _nothing,
            ProxyCall: cls.box_proxy,
            ProxyGetAttr: cls.box_proxy,
            ProxySetAttr: cls.box_proxy,
        }
        for base in reversed(cls.__mro__):
            for name, function in vars(base).items():
                for kind in cast("Sequence[type]", getattr(function, _HANDLES, ())):
                    # By name, so that a subclass's override serves the base's message types.
                    table[kind] = cls.box_handler(getattr(cls, name))
        cls.box_table = table

    @classmethod
    def box_handler(cls, function: Handler) -> Handler:
        """What goes into the table for a handler; a light actor's is synchronous."""
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__qualname__}: only a LoopActor's handlers may be async")
        return function

    # ------------------------------------------------------------------ for subclasses

    @classmethod
    def start(
        cls,
        system: "ActorSystem",
        key: str,
        *args: Any,
        parent: "Parent | None" = None,
        **kwargs: Any,
    ) -> "LightRef[Any]":
        """Make one and register it. `args` go to the constructor behind system and key.

        Raises ValueError for a key that lives already, and whatever `on_start` raises.
        """
        return cls.box_open(system, key, *args, parent=parent, **kwargs).actor_ref

    @classmethod
    def box_open(cls, system: "ActorSystem", key: str, *args: Any, **kwargs: Any) -> "Self":
        """Do what `start` does, and give the actor itself to its supervisor."""
        cell = cls(system, key, *args, **kwargs)
        cell.box_begin()
        try:
            cell.on_start()
        except BaseException:
            cell.box_end()
            raise
        return cell

    def on_receive(self, message: Any) -> Any:
        """Handle what no handler is marked for: a dead letter; an asker gets `Unhandled`."""
        self.system.dead_letters.put("unhandled", self.key, message)
        asker = self.asker()
        if asker is not None:
            asker.set_exception(Unhandled(f"{self} does not handle {type(message).__name__}"))
        return LATER

    def asker(self) -> LoopFuture[Any] | None:
        """The future of the ask in hand, or None for a tell; to be answered with LATER returned."""
        message = self.box_message
        return message.reply_to if type(message) is Ask else None

    def suspend(self) -> None:
        """Keep the message in hand and let later ones wait (bounded), until `resume`.

        A handler that suspends answers its ask by `asker`. Raises RuntimeError if nothing is in
        hand, or if it is suspended already.
        """
        if self.box_state != OPEN or isinstance(self.box_message, Mark):
            raise RuntimeError(f"{self} has no message in hand to be suspended with")
        self.box_state = CLOSING

    def stop(self) -> None:
        """Stop after the messages that wait already."""
        self.box_ask_stop(LoopFuture(self.system))

    def box_proxy(self, message: Any) -> Any:
        """Calls and attributes by Pykka's ActorProxy."""
        return self._handle_receive(message)


def _nothing(_actor: Cell, _message: Mark) -> None:
    """It stood in the run queue twice (held and resumed meanwhile): nothing is left to do."""
