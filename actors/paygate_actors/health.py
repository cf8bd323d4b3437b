"""How a provider does: a circuit for each operation, when it wants to be left alone, its permits.

Pools write it, routing and operators read it. It is in memory only: a restart begins with good
faith, and notices within a few calls.
"""

from collections.abc import Callable
from typing import Final, Literal, assert_never, get_args

from paygate_actors.breaker import Breaker, Circuit
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
    UnknownReason,
)
from paygate_actors.retry_budget import RetryBudget
from paygate_actors.route import Behind
from paygate_engine.clock import Clock

Operation = Literal["charge", "capture", "void", "refund", "find"]

OPERATIONS: Final[tuple[Operation, ...]] = ("charge", "capture", "void", "refund", "find")
# Why nobody knows what a provider did, as far as its answers say so: all but our own restarts.
REASONS: Final = tuple(reason for reason in get_args(UnknownReason) if reason != "restarted")
# A provider that needs half of its deadline is about to miss it.
SLOW_SHARE: Final = 0.5
# A provider may ask for any pause; after this long it is asked whether it still means it.
QUIET_S_MAX: Final = 60.0


class Health:
    """One provider's. `running`, `waiting`, `concurrency`: its pool's, as the pool last said.

    `unknowns`: how many answers left it unknown what was done, by reason, from the start.
    `on_change` hears which operation's circuit opened or closed.
    """

    __slots__ = (
        "_clock",
        "_quiet_until_s",
        "budget",
        "changes",
        "circuits",
        "concurrency",
        "running",
        "unknowns",
        "waiting",
    )

    def __init__(
        self,
        clock: Clock,
        *,
        deadline_s: float,
        concurrency: int,
        on_change: Callable[[Operation, Circuit], None] | None = None,
    ) -> None:
        self._clock = clock
        self._quiet_until_s: float | None = None
        self.budget = RetryBudget()
        self.concurrency = concurrency
        self.running = 0
        self.waiting = 0
        self.changes = 0
        self.unknowns: dict[str, int] = dict.fromkeys(REASONS, 0)

        def breaker(operation: Operation) -> Breaker:
            def changed(circuit: Circuit) -> None:
                self.changes += 1
                if on_change is not None:
                    on_change(operation, circuit)

            return Breaker(clock, slow_s=deadline_s * SLOW_SHARE, on_change=changed)

        self.circuits = {operation: breaker(operation) for operation in OPERATIONS}

    @property
    def behind(self) -> Behind | None:
        """Why new charges should go to others first; None: it does well.

        Its permits count as out only when as many calls wait as there are permits: then a new one
        would wait for longer than a whole call takes.
        """
        if self.circuits["charge"].holds_back:
            return "circuit_open"
        if self.quiet_s > 0:
            return "told_to_wait"
        if self.running >= self.concurrency and self.waiting >= self.concurrency:
            return "full"
        return None

    @property
    def quiet_s(self) -> float:
        """For how long it still wants to be left alone, in seconds."""
        if self._quiet_until_s is None:
            return 0.0
        left_s = self._quiet_until_s - self._clock.monotonic_s()
        if left_s <= 0:
            self._quiet_until_s = None
            return 0.0
        return left_s

    def record(self, operation: Operation, outcome: Outcome | Prepared, *, seconds: float) -> None:
        """Note an answer, and what it says about when to come again."""
        self.circuits[operation].record(well=answered_well(outcome), seconds=seconds)
        if isinstance(outcome, Unknown):
            # What an adapter says that is none of our own words is none that anybody understands.
            reason = outcome.reason if outcome.reason in self.unknowns else "garbage"
            self.unknowns[reason] += 1
        wait_s = outcome.retry_after_s if isinstance(outcome, Declined | Unknown) else None
        if wait_s is not None and wait_s > 0:
            until_s = self._clock.monotonic_s() + min(wait_s, QUIET_S_MAX)
            self._quiet_until_s = max(until_s, self._quiet_until_s or until_s)


def answered_well(outcome: Outcome | Prepared) -> bool:
    """Whether it is a provider's sensible answer.

    A decline is one, and so is any refusal in the provider's own words; silence, noise, "too many"
    and what never got there are none.
    """
    match outcome:
        case Unknown():
            return outcome.reason in ("not_visible", "key_known", "in_progress")
        case Declined():
            return outcome.conclusive or outcome.code not in ("not_sent", "too_many_requests")
        case Approved() | ActionRequired() | Pending() | Prepared():
            return True
        case _:
            assert_never(outcome)
