"""When a call that is not settled is asked about, and when it is sent again. Pure.

A pursuit lives in memory only, and goes on while its payment sleeps. After a restart the journal
says what is open, and asking begins anew. Asking comes first; what a look-up does not see is sent
again under the same key, as long as the provider is sure to remember that key. Absence proves
nothing.

Where no look-up shows an operation, the same key sent again is the question: it is answered with
what became of the first request. When the provider may have forgotten the key there is no way to
ask, and it is for a person. What is only prepared has moved nothing, and is simply prepared again.
"""

from typing import Final, Literal, assert_never

from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.pool_messages import Answered, Source
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Call
from paygate_engine.timers import Timer

Step = Literal["look_up", "send"]

# A payer takes minutes to confirm, and the webhook says so at once: asking is for lost webhooks.
ACTION_ASK_MAX_S: Final = 30.0
# The same for what the provider said it would take its time for.
PENDING_ASK_MAX_S: Final = 60.0
# A key that is about to be forgotten is not used any more: clocks differ, and requests travel.
KEY_WINDOW_MARGIN_S: Final = 600.0
# The same where no look-up would show what a forgotten key has done: then the clock alone decides,
# and those of machines were seen to be wrong by an hour of summer time, and by two.
UNSEEN_MARGIN_S: Final = 9_000.0

# A provider may want to be left alone for longer; then its payments would be in doubt for longer
# than a person should wait to hear of it.
RETRY_AFTER_S_MAX: Final = 600.0

# A request whose answer got lost on the way to the payment (its pool failed) is asked about
# after this long: later than any deadline and any wait in a pool.
LOST_AFTER_S: Final = 90.0

US_PER_S: Final = 1_000_000


class Pursuit:
    """One unsettled call, its key, and whom it was sent to.

    `arrived`: the provider said that it knows the key.
    `under_way`: a request is out. `touched`: one may have done something, on record or not: its
    answer said so and could not be written yet, or nobody will ever say how it ended.
    `has_turn`: its turn to ask was taken, and comes at `due_s`.
    `due_s`: when the next step is due, on the monotonic clock; a timer that fires before it is an
    old one. `asked_s`: when the newest look-up was made, by the same clock. `heard`: the newest
    answer, in a word; `pause_s`: how long its provider wants to be left alone since. `outdated`:
    something came since the timer was set that may move it. `timer`: what wakes its payment then.
    `unwritten`: the answers that could not be recorded, each of which comes again.
    """

    __slots__ = (
        "arrived",
        "asked_s",
        "asks",
        "due_s",
        "has_turn",
        "heard",
        "key",
        "outdated",
        "pause_s",
        "provider",
        "timer",
        "touched",
        "under_way",
        "unwritten",
    )

    def __init__(self, key: str, *, provider: str) -> None:
        self.key = key
        self.provider = provider
        self.asks = 0
        self.arrived = False
        self.under_way = False
        self.touched = False
        self.unwritten: tuple[Answered, ...] = ()
        self.outdated = False
        self.has_turn = False
        self.due_s = 0.0
        self.asked_s: float | None = None
        self.heard: str | None = None
        self.pause_s = 0.0
        self.timer: Timer | None = None

    def end(self) -> None:
        """It is settled: its payment may sleep, and need not be read back to be told nothing."""
        if self.timer is not None:
            self.timer.cancel()

    def hear(self, outcome: Outcome | Prepared, *, source: Source = "call") -> None:
        """Take note of an answer; of the first of two steps it says nothing of the second."""
        self.under_way = False
        self.outdated = True
        did_nothing = isinstance(outcome, Declined) and not outcome.conclusive
        self.touched |= source == "call" and not did_nothing
        self.heard = word_of(outcome)
        said = isinstance(outcome, Declined | Unknown)
        self.pause_s = min(RETRY_AFTER_S_MAX, (outcome.retry_after_s or 0.0) if said else 0.0)
        if said and source != "prepare" and self.heard in ("key_known", "in_progress"):
            self.arrived = True

    def waits(self, *, now_s: float) -> bool:
        """Whether its next step is set for a time to come."""
        return self.timer is not None and not self.outdated and now_s < self.due_s

    def delay_s(self, call: Call, can: Capabilities, *, now_us: int) -> float:
        """Seconds until the next step, growing with each one; without jitter.

        No sooner than the provider wants to be asked again.
        """
        if call.state == "pending" and call.expected_by_us is not None and not self.asks:
            return max(0.0, (call.expected_by_us - now_us) / US_PER_S) + can.ask_first_s
        longest = {
            "action": max(can.ask_max_s, ACTION_ASK_MAX_S),
            "pending": max(can.ask_max_s, PENDING_ASK_MAX_S),
        }.get(call.state, can.ask_max_s)
        # Two to the power of ten is beyond every maximum; more would only grow the number.
        return max(self.pause_s, min(longest, can.ask_first_s * 2 ** min(self.asks, 10)))

    def next_step(self, call: Call, can: Capabilities, *, now_us: int) -> Step | None:
        """Look first; send again at once only what certainly did nothing the last time.

        None: there is no way to ask; its webhook, or a person, says what became of it.
        """
        untouched = call.state == "open" and not call.in_doubt and not self.touched
        if (call.unprepared or untouched) and not _of_other_steps(call, can):
            return "send"
        seen = can.terms(call.verb).finds or call.prepared_id is not None
        if not seen and self.may_send(call, can, now_us=now_us):
            return "send"
        return "look_up" if shows(can, call) else None

    def may_send(self, call: Call, can: Capabilities, *, now_us: int) -> bool:
        """Whether the same key may go out again: not seen to arrive, and still remembered."""
        if _of_other_steps(call, can) or self.unwritten:
            return False
        if call.unprepared:
            return True
        terms = can.terms(call.verb)
        if not terms.key_window_s:
            return False  # without a key it would be done twice
        margin_s = KEY_WINDOW_MARGIN_S if terms.finds else UNSEEN_MARGIN_S
        ends_us = key_window_ends_us(call, can) - round(margin_s * US_PER_S)
        # Where the key is the question, it may be asked again while the first is in progress.
        arrived = self.arrived if terms.finds else self.heard == "key_known"
        return call.state == "open" and not arrived and now_us < ends_us

    def may_ask(self, can: Capabilities, *, now_s: float) -> bool:
        """Whether a person may have it asked about now: nothing is out, and none was just now."""
        pause_over = self.asked_s is None or now_s - self.asked_s >= can.ask_first_s
        return pause_over and not self.under_way


def _of_other_steps(call: Call, can: Capabilities) -> bool:
    # Somebody gave the provider's name to another one, which knows nothing of what was prepared.
    return call.prepares and can.steps == 1


def shows(can: Capabilities, call: Call) -> bool:
    """Whether a look-up can show the call: by its key, or by the provider's id of it."""
    named = call.provider_txn_id or call.target
    return can.terms(call.verb).finds or (can.steps == 2 and named is not None)  # noqa: PLR2004


def key_window_ends_us(call: Call, can: Capabilities) -> int:
    """Until when the provider remembers the call's key; it was not used before it was prepared."""
    first_us = call.prepared_at_us or call.started_at_us
    return first_us + round((can.terms(call.verb).key_window_s or 0) * US_PER_S)


def cannot_succeed_from_us(call: Call, can: Capabilities) -> int:
    """When a charge that no look-up sees cannot have been, nor become, a success any more.

    Its key is forgotten and was not used for the margin before that, and what an earlier request
    did has had time to be seen, also where clocks differ.
    """
    late_s = max(KEY_WINDOW_MARGIN_S, can.find_lag_s)
    return key_window_ends_us(call, can) + round(late_s * US_PER_S)


def word_of(outcome: Outcome | Prepared) -> str:
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
        case Prepared():
            return "prepared"
        case Unknown():
            return outcome.reason
        case _:
            assert_never(outcome)
