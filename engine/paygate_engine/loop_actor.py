"""The loop actor: a light actor whose handlers may be coroutines; for services, by the dozen.

While a coroutine runs its message stays in hand and later ones wait, so a handler is never
entered twice. An actor that wants to do several things at once starts them with
`system.spawn_task` and takes their results as messages.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pykka

from paygate_engine.cell import Handler
from paygate_engine.light import LightActor
from paygate_engine.marks import ENDED, HOLDING, LATER, OPEN

if TYPE_CHECKING:
    from collections.abc import Coroutine

# Services hear from every payment at once.
INBOX_MAX: Final = 10_000


class LoopActor(LightActor):
    """A service on the loop. It is listed in `pykka.ActorRegistry` too, as there are only few."""

    __slots__ = ("box_task",)

    inbox_max: ClassVar[int] = INBOX_MAX
    box_task: "asyncio.Task[Any] | None"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.box_task = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # An `async def on_receive` is wrapped like a marked handler.
        if inspect.iscoroutinefunction(cls.__dict__.get("on_receive")):
            setattr(cls, "on_receive", cls.box_handler(cls.on_receive))  # noqa: B010 - same shape

    @classmethod
    def box_handler(cls, function: Handler) -> Handler:
        """A coroutine function is run on a task; others are called as they are."""
        if not inspect.iscoroutinefunction(function):
            return function
        return _on_task(function)

    def box_begin(self) -> None:
        """Register it here and in Pykka's registry."""
        super().box_begin()
        pykka.ActorRegistry.register(self.actor_ref)

    def box_proxy(self, message: Any) -> Any:
        """Calls by Pykka's ActorProxy, of coroutine functions too."""
        reply = super().box_proxy(message)
        return self.box_run(reply) if inspect.iscoroutine(reply) else reply

    def box_run(self, coro: "Coroutine[Any, Any, Any]") -> Any:
        """Keep the message in hand while `coro` runs on a task."""
        self.suspend()
        self.box_task = task = self.system.loop.create_task(coro)
        task.add_done_callback(self._task_ended)
        return LATER

    def box_hold(self) -> None:
        """Hold the mailbox; the coroutine that runs is cancelled and its asker is told."""
        if self.box_task is not None:
            in_hand = self.box_message
            self._cancel()
            self.box_drop(in_hand, None, "dead")
            self.box_state = HOLDING
        super().box_hold()

    def box_end(self, *args: Any, **kwargs: Any) -> None:
        """End it; the coroutine that runs is cancelled."""
        if self.box_state == ENDED:
            return
        ref = self.actor_ref
        self._cancel()
        super().box_end(*args, **kwargs)
        pykka.ActorRegistry.unregister(ref)

    def _cancel(self) -> None:
        task, self.box_task = self.box_task, None
        if task is not None and task is not asyncio.current_task(self.system.loop):
            task.cancel()

    def _task_ended(self, task: "asyncio.Task[Any]") -> None:
        cancelled = task.cancelled()
        error = asyncio.CancelledError() if cancelled else task.exception()
        if self.box_task is not task:
            # The actor was held or ended meanwhile: whoever asked was told then.
            return
        self.box_task = None
        if error is not None:
            self.box_state = OPEN
            self.box_failed(error, self.box_message)
        else:
            asker = self.asker()
            reply = task.result()
            if asker is not None and reply is not LATER:
                asker.set(reply)
            if self.box_state == ENDED:
                return
            self.box_state = OPEN
        self.box_next()


def _on_task(function: Callable[[Any, Any], "Coroutine[Any, Any, Any]"]) -> Handler:
    @functools.wraps(function)
    def run(actor: LoopActor, message: Any) -> Any:
        return actor.box_run(function(actor, message))

    return run
