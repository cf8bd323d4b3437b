"""When the gateway says no, early and politely: before a body is read, nothing done.

Three signs of too much: payments in memory or followed while they sleep, the age of the oldest
waiting message, and the journal's backlog. And one of not yet, or not any more: recovery and drain.
"""

from collections.abc import Callable, Sized
from typing import Final

from paygate_actors.config import Limits
from paygate_actors.messages import Refusal
from paygate_actors.payment import PaymentActor
from paygate_engine.journal import Journal
from paygate_engine.region import Region
from paygate_engine.system import ActorSystem

# A queue that is full drains within about this time, or it is worse than a queue.
RETRY_AFTER_S: Final = 1

RECOVERING: Final = "recovering: open payments are being loaded"
AWAY: Final = "the database cannot be reached just now: nothing was done"
DRAINING: Final = "draining: the server is about to stop"


class Admission:
    """The gate. `state` is one of the sentences above, or None once everything is open."""

    __slots__ = (
        "_asleep",
        "_journal",
        "_limits",
        "_may_act",
        "_payments",
        "_system",
        "refused",
        "state",
    )

    def __init__(
        self,
        limits: Limits,
        *,
        system: ActorSystem,
        payments: Region[PaymentActor],
        asleep: Sized,
        journal: Journal,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._limits = limits
        self._system = system
        self._payments = payments
        self._asleep = asleep
        self._journal = journal
        self._may_act = may_act
        self.state: str | None = RECOVERING
        self.refused = 0

    def unready(self) -> str | None:
        """Why the gateway is not ready, in one sentence; None when it is."""
        if self._journal.failed is not None:
            return "the journal failed: the process is ending"
        if self._journal.away or not self._may_act():
            return AWAY
        return self.state

    def refusal(self) -> Refusal | None:
        """None where new payments are taken."""
        why = self.unready()
        if why is not None:
            return Refusal(code="not_ready", detail=why, retry_after_s=RETRY_AFTER_S)
        why = self._too_much()
        if why is None:
            return None
        self.refused += 1
        return Refusal(code="overloaded", detail=why, retry_after_s=RETRY_AFTER_S)

    def _too_much(self) -> str | None:
        if len(self._payments) + len(self._asleep) >= self._limits.live_payments_max:
            return "Too many payments are under way."
        if self._journal.backlog >= self._limits.journal_backlog_max:
            return "The journal is behind."
        if self._system.oldest_wait_s() > self._limits.oldest_message_s_max:
            return "Messages wait too long."
        return None
