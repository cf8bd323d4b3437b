"""References to light actors: Pykka's API, for a loop.

What differs from Pykka's own: `ask` and `stop` do not block unless told to, an ask has a deadline
always, and a full inbox refuses instead of making the sender wait.
"""

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pykka

from paygate_engine.future import LoopFuture
from paygate_engine.marks import NOTHING

if TYPE_CHECKING:
    from paygate_engine.cell import Cell

A = TypeVar("A", bound="Cell")

# An ask that nobody gave a deadline: long for a message, short for whoever waits.
ASK_TIMEOUT_S: Final = 5.0

_get_ident = threading.get_ident


class LightRef(pykka.ActorRef[A]):
    """Reference to one light actor; two references are equal when the actor is the same one.

    It does not wake what sleeps: keep the id of an entity and go through its region instead.
    """

    __slots__ = ("_cell",)

    _cell: A

    def __init__(self, cell: A) -> None:
        # Pykka's constructor is not called: it copies four fields that are properties here.
        self._cell = cell

    # Pykka declares these as variables; here they are read from the actor, at no cost a reference.
    @property
    def actor_class(self) -> type[A]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The actor's class."""
        return type(self._cell)

    @property
    def actor_urn(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The actor's URN: its key behind a fixed prefix."""
        return self._cell.actor_urn

    @property
    def actor_inbox(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The actor: a light actor is its own inbox."""
        return self._cell

    @property
    def actor_stopped(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Something that answers `is_set()` and `wait()` like an Event."""
        return self._cell.actor_stopped

    @property
    def key(self) -> str:
        """The actor's key in the directory."""
        return self._cell.key

    def _actor_weakref(self) -> A:  # ActorProxy calls it to look at the actor's attributes.
        return self._cell

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LightRef) and cast("LightRef[Any]", other)._cell is self._cell

    def __hash__(self) -> int:
        return hash(self._cell)

    def is_alive(self) -> bool:
        """Whether it still takes messages."""
        return self._cell.alive

    def tell(self, message: Any) -> None:
        """Send a message. Raises `Overloaded` (inbox full) or `pykka.ActorDeadError`.

        From another thread it never raises these: they become dead letters.
        """
        cell = self._cell
        system = cell.system
        if _get_ident() != system.thread_id:
            system.tell_from_thread(cell, message)
        elif cell.box_message is NOTHING:
            # The way of nearly every message, written out here: a call would double its cost.
            cell.box_message = message
            system.ready.append(cell)
            if not system.armed:
                system.arm()
        else:
            cell.box_put(message)

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] - the defaults differ, see above
        self, message: Any, *, block: bool = False, timeout: float | None = ASK_TIMEOUT_S
    ) -> Any:
        """Send a message; a `LoopFuture` of the reply, or the reply itself with `block`.

        The future fails with `AskTimeout` after `timeout` seconds, with `Overloaded` when the
        inbox is full, with `pykka.ActorDeadError` at once when the actor is dead, and with
        whatever its handler raises. None as `timeout` means the default, never for ever. `block`
        is for other threads only (RuntimeError on the loop's).
        """
        cell = self._cell
        system = cell.system
        timeout_s = ASK_TIMEOUT_S if timeout is None else timeout
        future: LoopFuture[Any] = LoopFuture(system)
        if _get_ident() == system.thread_id:
            cell.box_ask(message, future, timeout_s)
        else:
            system.call_from_thread(cell.box_ask, message, future, timeout_s)
        return future.get() if block else future

    def stop(  # pyright: ignore[reportIncompatibleMethodOverride] - the default differs
        self, *, block: bool = False, timeout: float | None = None
    ) -> Any:
        """Stop it after the messages sent before; a future of True, or of False if it was dead.

        `block` waits for `timeout` seconds (None: for ever), on other threads only.
        """
        cell = self._cell
        system = cell.system
        future: LoopFuture[bool] = LoopFuture(system)
        if _get_ident() == system.thread_id:
            cell.box_ask_stop(future)
        else:
            system.call_from_thread(cell.box_ask_stop, future)
        return future.get(timeout=timeout) if block else future


class StopView:
    """Stands for the `threading.Event` of `actor_stopped`; made on demand, nothing per actor."""

    __slots__ = ("_cell",)

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell

    def is_set(self) -> bool:
        """Whether the actor is dead."""
        return not self._cell.alive

    def wait(self, timeout: float | None = None) -> bool:
        """Wait off the loop's thread for its end; False when `timeout` seconds were too few."""
        cell = self._cell
        if not cell.alive:
            return True
        if _get_ident() == cell.system.thread_id:
            raise RuntimeError("wait() on the loop's thread would wait for ever; await stop()")
        event = threading.Event()
        cell.system.stop_waiters.setdefault(cell, []).append(event)
        return not cell.alive or event.wait(timeout)
