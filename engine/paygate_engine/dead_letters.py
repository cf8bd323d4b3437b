"""Dead letters: messages and replies that reached nobody, counted by reason and kept for a look.

Only what a message was is kept, never its content: it may hold what must not outlive its use.
"""

import logging
from collections import Counter, deque
from typing import Final, Literal

from msgspec import Struct

from paygate_engine.clock import US_PER_S, Clock

# Enough to see what happened in an incident; older ones are in the counters still.
RING_MAX: Final = 1_024
# A storm of dead letters must not become a storm of log lines: ten tell the story.
LOGGED_MAX: Final = 10
SILENCE_S: Final = 300

Reason = Literal[
    "dead",  # told to an actor that has stopped
    "overflow",  # the inbox was full (the sender was told as well)
    "expired",  # the ask's deadline passed while it waited
    "late_reply",  # answered after the deadline, or twice
    "unhandled",  # the actor has no handler for it
    "not_found",  # told to an id that nothing is recorded of
    "parked",  # told to an entity that waits for a person
    "refused",  # told, and its outcome could not be recorded
    "failed",  # its handler raised
    "closed",  # the loop was gone
]

_logger = logging.getLogger(__name__)


class DeadLetter(Struct, frozen=True, kw_only=True, gc=False):
    """One of them: when (UTC), why, to whom, and the message's type."""

    at_us: int
    reason: Reason
    key: str
    kind: str


class DeadLetters:
    """A ring of the newest `RING_MAX` and counters by (reason, message type)."""

    __slots__ = ("_clock", "_logged", "_silent_until_us", "_unlogged", "counts", "ring")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged = 0
        self._unlogged = 0
        self._silent_until_us = 0
        self.ring: deque[DeadLetter] = deque(maxlen=RING_MAX)
        self.counts: Counter[tuple[Reason, str]] = Counter()

    def put(self, reason: Reason, key: str, message: object) -> None:
        """Count and keep it; log the first `LOGGED_MAX`, then be silent for `SILENCE_S`."""
        kind = type(message).__name__
        at_us = self._clock.now_us()
        self.counts[reason, kind] += 1
        self.ring.append(DeadLetter(at_us=at_us, reason=reason, key=key, kind=kind))
        if at_us < self._silent_until_us:
            self._unlogged += 1
            return
        if self._unlogged:
            _logger.warning("dead letters: %d more were not logged", self._unlogged)
            self._logged = self._unlogged = 0
        _logger.warning("dead letter: %s to %s: %s", kind, key, reason)
        self._logged += 1
        if self._logged == LOGGED_MAX:
            self._silent_until_us = at_us + SILENCE_S * US_PER_S

    def total(self, reason: Reason) -> int:
        """How many there were for this reason, of all types."""
        return sum(count for (why, _), count in self.counts.items() if why == reason)
