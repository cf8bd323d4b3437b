"""Brings messages to payments by their ids: now, again after a refusal, or at a time."""

from collections.abc import Callable
from typing import Any, Final

from paygate_actors.payment_messages import Look
from paygate_actors.pool_messages import Answered
from paygate_engine.errors import Overloaded
from paygate_engine.system import ActorSystem

# What a full inbox refuses comes again after this long; a full inbox empties in milliseconds.
AGAIN_S: Final = 1.0
US_PER_S: Final = 1_000_000


class Letters:
    """The post to payments. `tell(payment_id, message)` may raise `Overloaded`.

    Nothing that is handed in here is lost while the process lives: what is refused comes again.
    """

    def __init__(self, system: ActorSystem, tell: Callable[[str, Any], None]) -> None:
        self._system = system
        self._tell = tell

    def send(self, letter: tuple[str, Any]) -> None:
        """Send (id, message); also what timers call."""
        try:
            self._tell(*letter)
        except Overloaded:
            self._system.after(AGAIN_S, self.send, letter)

    def report(self, payment_id: str, answer: Answered) -> None:
        """Bring a provider's answer to its payment."""
        self.send((payment_id, answer))

    def at(self, payment_id: str, at_us: int) -> None:
        """Wake a payment at this time or soon after it."""
        delay_s = max(0.0, (at_us - self._system.clock.now_us()) / US_PER_S)
        self._system.after(delay_s, self.send, (payment_id, Look()))
