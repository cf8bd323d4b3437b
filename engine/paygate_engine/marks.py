"""What a mailbox holds besides messages: marks, states, and the envelope of an ask.

Theory of operation. An actor is its own mailbox. `box_message` is the message in hand; the mark
NOTHING there means idle, so the first message of an idle actor costs one assignment and one place
in the run queue. `box_queue` exists only while a second message waits. A mark is dispatched like a
message (the handler table knows its type). `box_state` is 0 while the mailbox is open, so that one
look at it keeps an actor that was held or ended while it stood in the run queue from being run.
"""

from typing import Any, Final

from paygate_engine.future import LoopFuture


class Mark:
    """Stands in the place of the message in hand."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


# Idle: the next message goes straight in.
NOTHING: Final = Mark("NOTHING")
# Held from outside while nothing was in hand: loading, or waiting for a restart.
HELD: Final = Mark("HELD")
# Stopped for good.
GONE: Final = Mark("GONE")

# The mailbox is open: after this message comes the next.
OPEN: Final = 0
# The handler that runs asked to keep its message in hand after it returns.
CLOSING: Final = 1
# It returned: later messages wait until `resume`.
HOLDING: Final = 2
# The actor is dead.
ENDED: Final = 3


class Later:
    """The type of `LATER`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LATER"


# A handler returns it when the ask in hand (see `LightActor.asker`) is answered later.
LATER: Final = Later()


class Ask:
    """A message whose sender waits for `reply_to`."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: LoopFuture[Any]) -> None:
        self.message = message
        self.reply_to = reply_to


class Stop:
    """Ends the actor after the messages that were sent before it."""

    __slots__ = ()


STOP: Final = Stop()
