"""When a call that is not settled is asked about, and when it is sent again. Pure.

A pursuit lives in memory only: after a restart the journal says what is open, and asking begins
anew. Asking comes first; what a look-up does not see is sent again under the same key, as long as
the provider is sure to remember that key. Absence proves nothing.
"""

from typing import Final, Literal, assert_never

from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Call

Step = Literal["look_up", "send"]

# A payer takes minutes to confirm, and the webhook says so at once: asking is for lost webhooks.
ACTION_ASK_MAX_S: Final = 30.0
# The same for what the provider said it would take its time for.
PENDING_ASK_MAX_S: Final = 60.0
# A key that is about to be forgotten is not used any more: clocks differ, and requests travel.
KEY_WINDOW_MARGIN_S: Final = 600.0

# A request whose answer got lost on the way to the payment (its pool failed) is asked about
# after this long: later than any deadline and any wait in a pool.
LOST_AFTER_S: Final = 60.0

US_PER_S: Final = 1_000_000


class Pursuit:
    """One unsettled call. `arrived`: the provider said that it knows the key.

    `under_way`: a request is out. `has_turn`: its turn to ask was taken, and comes at `due_s`.
    `due_s`: when the next step is due, on the monotonic clock; a timer that fires before it is an
    old one. `asked_s`: when the newest look-up was made, by the same clock. `heard`: the newest
    answer, in a word.
    """

    __slots__ = ("arrived", "asked_s", "asks", "due_s", "has_turn", "heard", "under_way")

    def __init__(self) -> None:
        self.asks = 0
        self.arrived = False
        self.under_way = False
        self.has_turn = False
        self.due_s = 0.0
        self.asked_s: float | None = None
        self.heard: str | None = None

    def delay_s(self, call: Call, can: Capabilities, *, now_us: int) -> float:
        """Seconds until the next step, growing with each one; without jitter."""
        if call.state == "pending" and call.expected_by_us is not None and not self.asks:
            return max(0.0, (call.expected_by_us - now_us) / US_PER_S) + can.ask_first_s
        longest = {
            "action": max(can.ask_max_s, ACTION_ASK_MAX_S),
            "pending": max(can.ask_max_s, PENDING_ASK_MAX_S),
        }.get(call.state, can.ask_max_s)
        # Two to the power of ten is beyond every maximum; more would only grow the number.
        return min(longest, can.ask_first_s * 2 ** min(self.asks, 10))

    def next_step(self, call: Call) -> Step:
        """Look first; send again at once only what certainly did nothing the last time."""
        if call.state == "open" and not call.in_doubt:
            return "send"
        return "look_up"

    def may_send(self, call: Call, can: Capabilities, *, now_us: int) -> bool:
        """Whether the same key may go out again: not seen to arrive, and still remembered."""
        age_s = (now_us - call.started_at_us) / US_PER_S
        return (
            call.state == "open"
            and not self.arrived
            and age_s < can.key_window_s - KEY_WINDOW_MARGIN_S
        )

    def may_ask(self, can: Capabilities, *, now_s: float) -> bool:
        """Whether a person may have it asked about now: nothing is out, and none was just now."""
        pause_over = self.asked_s is None or now_s - self.asked_s >= can.ask_first_s
        return pause_over and not self.under_way


def key_window_ends_us(call: Call, can: Capabilities) -> int:
    """Until when the provider remembers the call's key."""
    return call.started_at_us + round(can.key_window_s * US_PER_S)


def cannot_succeed_from_us(call: Call, can: Capabilities) -> int:
    """When a charge that no look-up sees cannot have been, nor become, a success any more.

    Its key is forgotten and was not used for the margin before that, and what an earlier request
    did has had time to be seen, also where clocks differ.
    """
    late_s = max(KEY_WINDOW_MARGIN_S, can.find_lag_s)
    return key_window_ends_us(call, can) + round(late_s * US_PER_S)


def word_of(outcome: Outcome) -> str:
    """An answer in a word, as it is shown to operators."""
    match outcome:
        case Approved():
            return "approved"
        case Declined():
            return outcome.code
        case ActionRequired():
            return "requires_action"
        case Pending():
            return "pending"
        case Unknown():
            return outcome.reason
        case _:
            assert_never(outcome)
