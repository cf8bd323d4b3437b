"""Brings messages to payments by their ids: now, again after a refusal, or at a time."""

from collections.abc import Callable
from typing import Any, Final

from paygate_actors.payment_messages import Look
from paygate_actors.pool_messages import Answered
from paygate_engine.errors import Overloaded
from paygate_engine.system import ActorSystem
from paygate_engine.timers import Timer

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
        self._alarms: dict[str, Timer] = {}

    def send(self, letter: tuple[str, Any]) -> None:
        """Send (id, message); also what timers call."""
        try:
            self._tell(*letter)
        except Overloaded:
            self._system.after(AGAIN_S, self.send, letter)

    def report(self, payment_id: str, answer: Answered) -> None:
        """Bring a provider's answer to its payment."""
        self.send((payment_id, answer))

    def look(self, payment_id: str) -> None:
        """Have a payment look at itself now."""
        self.send((payment_id, Look()))

    def at(self, payment_id: str, at_us: int | None) -> None:
        """Wake a payment at this time or soon after it, and at no other; None: at none."""
        alarm = self._alarms.pop(payment_id, None)
        if alarm is not None:
            # A hold is captured long before its deadline: a day's alarms would be most of memory.
            alarm.cancel()
        if at_us is not None:
            delay_s = max(0.0, (at_us - self._system.clock.now_us()) / US_PER_S)
            self._alarms[payment_id] = self._system.remind(delay_s, self._ring, payment_id)

    def _ring(self, payment_id: str) -> None:
        del self._alarms[payment_id]
        self.look(payment_id)
