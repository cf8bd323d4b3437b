"""Who follows a payment's unsettled calls: sends them, asks about them, sends them again.

In memory only, and only while something is unsettled. It also holds the card as it came in, with
its CVV, for as long as the charge may have to be sent again, and drops it with the last of them.

A payment that waits for nothing but the next inquiry sleeps. Its pursuer then stays behind in the
house with what is not on record: how often was asked, when the next time comes, and the one timer
for that, which is a letter to the payment's id. It is not rebuilt, so that nothing comes twice,
and nothing at another time than it would have.
"""

import sys
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.charging import ELSEWHERE_US
from paygate_actors.credential_use import lacks_cvv
from paygate_actors.desk_messages import OpenCall
from paygate_actors.failover import untried
from paygate_actors.house import House
from paygate_actors.outcomes import Unknown
from paygate_actors.performing import perform_of
from paygate_actors.pool_messages import Answered, LookUp, Perform, look_up_of
from paygate_actors.preparing import is_unconfirmed, may_confirm, may_give_up, payer_is_done
from paygate_actors.providers.base import Capabilities
from paygate_actors.pursuit import (
    LOST_AFTER_S,
    US_PER_S,
    Pursuit,
    key_window_ends_us,
    shows,
)
from paygate_actors.record import Call, Payment, is_release
from paygate_actors.sums import asserted, unresolved

# Asks are spread by this share of their delay, so that a recovered provider is not stormed.
JITTER: Final = 0.1
# So long the first of two steps is tried: nothing is charged yet, and another provider may be well.
PREPARE_FOR_US: Final = 30 * US_PER_S
# So long an object that was found unconfirmed is confirmed again; then it is cancelled there: a
# payer who has waited for minutes is not charged by surprise.
CONFIRM_FOR_US: Final = 120 * US_PER_S
# The wheel's ticks are coarser than the clock.
TIMER_EARLY_S: Final = 0.02
# A call that another node follows is looked at this often: it may have settled, or its node died.
# Whoever waits for it hears of its end within that time where it was not this node's own.
ELSEWHERE_S: Final = 10.0
# An answer that could not be recorded comes again each second, and is waited for this long at once.
UNWRITTEN_S: Final = 10.0
# A person waits for the answers; a payment has rarely more than one call open.
ASKED_MAX: Final = 8

Due = Literal[
    "under_way",  # a request is out, or its turn comes later
    "unanswerable",  # nobody can be asked and nothing sent: only time passes
    "give_up",  # the attempt is to be given up, as `preparing` allows it
]


class Pursuer:
    """The pursuits of one payment. `card` is None after a restart: the vault has the number.

    `seq`: of the newest event when its payment fell asleep.
    """

    __slots__ = ("_card", "_house", "_payment_id", "_pursuits", "seq")

    def __init__(self, house: House, payment_id: str, card: SealedCard | None) -> None:
        self._house = house
        self._payment_id = payment_id
        self._card = card
        # One as a rule, and a few at the most: a dictionary would be the largest part of it.
        self._pursuits: tuple[Pursuit, ...] = ()
        self.seq = 0

    def follows(self, key: str) -> bool:
        """Whether this call is being pursued."""
        return self._of(key) is not None

    def follow(self, payment: Payment, news: Sequence[e.PaymentEvent]) -> bool:
        """Act on what was committed: send what is new, keep asking about the rest.

        False when nothing is left to follow: then this pursuer has done its work.
        """
        open_calls = unresolved(payment)
        if not open_calls:
            self.drop()
            return False
        fresh = {event.key for event in news if isinstance(event, e.CallStarted | e.CallPrepared)}
        if not any(call.charges and call.state in ("open", "pending") for call in open_calls):
            self._card = None  # no charge can need it again: not with the CVV
        self._take_stock(open_calls)
        # What happens to one call puts the inquiry about another one off no further: of many
        # refunds the last would be asked about when all others have ended.
        told = {getattr(event, "key", None) for event in news}
        now_s = self._house.system.clock.monotonic_s()
        for call, pursuit in zip(open_calls, self._pursuits, strict=True):
            self._note_doubt(payment, call)
            if call.key in fresh and self._wanted(payment, call):
                self._send(payment, call, pursuit)
            elif not pursuit.under_way and (call.key in told or not pursuit.waits(now_s=now_s)):
                self._later(call, pursuit)
        return True

    def caught_up(self) -> None:
        """Another node may have moved each of the calls: `follow` is to time them all anew."""
        for pursuit in self._pursuits:
            pursuit.outdated = True

    def may_sleep(self, payment: Payment) -> bool:
        """Whether a timer is all that is waited for: no request is out, or may go out again as is.

        What may have to be sent again needs the card, and what is in doubt is counted while awake.
        """
        return not any(each.under_way for each in self._pursuits) and not any(
            call.state == "open" for call in payment.calls
        )

    def sleep(self, payment: Payment, seq: int) -> None:
        """Stay behind until the payment wakes; the timers go on."""
        if self._card is not None and not self._may_go_elsewhere(payment):
            self._card = None
        self.seq = seq
        self._house.asleep[self._payment_id] = self

    def turn_comes_later(self, key: str) -> bool:
        """Take a turn to ask for a payment that sleeps; True: its timer is set for that.

        So a payment that stands in line is not read back to be told to wait.
        """
        pursuit = self._of(key)
        asking = self._house.asking
        if pursuit is None or (pursuit.has_turn and not asking.held):
            return False
        can = self._house.providers.capabilities(pursuit.provider)
        wait_s = 0.0 if can is None else asking.turn_s(pursuit.provider, can)
        pursuit.has_turn = can is not None
        if wait_s > 0:
            self._set_timer(pursuit, wait_s)
        return wait_s > 0

    def heard(self, message: Answered) -> None:
        """An answer came in, whatever it says."""
        pursuit = self._of(message.key)
        if pursuit is None:
            return
        # By itself, not by what it says: two may say the same.
        pursuit.unwritten = tuple(each for each in pursuit.unwritten if each is not message)
        pursuit.hear(message.outcome, source=message.source)

    def not_written(self, message: Answered) -> None:
        """It could not be recorded; until it comes again nothing is sent, nor asked by itself."""
        pursuit = self._of(message.key)
        if pursuit is not None:
            pursuit.unwritten += (message,)

    def nothing_new(self, payment: Payment, message: Answered) -> bool:
        """The answer moved nothing: send again what a look-up does not see, or ask later.

        True: neither; the call is to be given up, as `preparing` allows it.
        """
        pursuit = self._of(message.key)
        call = payment.call(message.key)
        if pursuit is None or call is None or not call.unresolved or self._house.elsewhere(call):
            return False
        now_us = self._house.system.clock.now_us()
        unseen = isinstance(message.outcome, Unknown) and message.outcome.reason == "not_visible"
        looked = message.source == "look_up" and unseen
        unconfirmed = is_unconfirmed(call, message.outcome)
        if (unconfirmed or call.unprepared) and self._gives_up(payment, call, now_us=now_us):
            return True
        payer_done = payer_is_done(call, message.outcome) and self._wanted(payment, call)
        unseen_still = not call.unprepared and self._may_send(payment, call, pursuit, now_us=now_us)
        if looked and (payer_done or unseen_still):
            self._send(payment, call, pursuit)
        else:
            self._later(call, pursuit)
        return False

    def due(self, payment: Payment, key: str) -> Due:
        """A timer fired: ask about the call, or send it again; what came of it."""
        pursuit = self._of(key)
        call = payment.call(key)
        if pursuit is None or call is None:
            return "under_way"
        if self._house.system.clock.monotonic_s() < pursuit.due_s - TIMER_EARLY_S:
            return "under_way"  # an old timer: another one is set
        if self._house.elsewhere(call):
            self._set_timer(pursuit, ELSEWHERE_S)
            return "under_way"
        if pursuit.unwritten:
            # That the last request did nothing, say, must not be recorded behind the next one.
            self._set_timer(pursuit, UNWRITTEN_S)
            return "under_way"
        now_us = self._house.system.clock.now_us()
        if call.unprepared and self._gives_up(payment, call, now_us=now_us):
            return "give_up"
        can = self._house.providers.capabilities(call.provider)
        if can is None or self._must_wait(pursuit, can):
            return "under_way"
        pursuit.asks += 1
        step = pursuit.next_step(call, can, now_us=now_us)
        if step == "send" and not pursuit.under_way and self._wanted(payment, call):
            self._send(payment, call, pursuit)
        elif step is not None and shows(can, call):
            pursuit.asked_s = self._house.system.clock.monotonic_s()
            self._submit(call, pursuit, look_up_of(call, self._payment_id))
        else:
            # A request that is still out by now is lost inside, and nobody can be asked about it.
            pursuit.touched |= pursuit.under_way
            pursuit.under_way = False
            self._later(call, pursuit)
            return "unanswerable"
        return "under_way"

    def may_ask(self, payment: Payment) -> tuple[Call, ...]:
        """The calls that a person may have asked about now, the oldest first."""
        now_s = self._house.system.clock.monotonic_s()
        return tuple(
            call
            for call in unresolved(payment)
            if (pursuit := self._of(call.key)) is not None
            and (can := self._house.providers.capabilities(call.provider)) is not None
            and pursuit.may_ask(can, now_s=now_s)
        )[:ASKED_MAX]

    def asked_aside(self, call: Call) -> None:
        """Somebody else asks about the call now; its answer comes here as any answer does."""
        pursuit = self._of(call.key)
        if pursuit is None:
            return
        pursuit.asks += 1
        pursuit.asked_s = self._house.system.clock.monotonic_s()
        pursuit.under_way = True
        self._set_timer(pursuit, LOST_AFTER_S)

    def shown(self, payment: Payment, opened: OpenCall) -> OpenCall:
        """The call with how it is pursued."""
        key = opened.key or ""
        pursuit = self._of(key)
        call = payment.call(key)
        can = self._house.providers.capabilities(opened.provider)
        if pursuit is None or call is None or can is None:
            return opened
        clock = self._house.system.clock
        wait_s = max(0.0, pursuit.due_s - clock.monotonic_s())
        return msgspec.structs.replace(
            opened,
            asks=pursuit.asks,
            asking=pursuit.under_way,
            last_answer=pursuit.heard,
            # While one is out, its answer decides when the next one goes.
            next_check_us=None if pursuit.under_way else clock.now_us() + round(wait_s * US_PER_S),
            key_window_ends_us=key_window_ends_us(call, can),
            can_resend=self._may_send(payment, call, pursuit, now_us=clock.now_us()),
        )

    def drop(self) -> None:
        """Forget everything: the journal knows what is open."""
        for pursuit in self._pursuits:
            pursuit.end()
            self._house.in_doubt.pop(pursuit.key, None)
        self._pursuits = ()
        self._card = None

    def _of(self, key: str) -> Pursuit | None:
        for pursuit in self._pursuits:
            if pursuit.key == key:
                return pursuit
        return None

    def _take_stock(self, open_calls: Sequence[Call]) -> None:
        """Have a pursuit for each call, in their order, and end those of all others."""
        was = {pursuit.key: pursuit for pursuit in self._pursuits}
        if was.keys() != {call.key for call in open_calls}:
            self._pursuits = tuple(
                # The same few providers stand in each: their names are kept once.
                was.pop(call.key, None) or Pursuit(call.key, provider=sys.intern(call.provider))
                for call in open_calls
            )
            for pursuit in was.values():
                pursuit.end()
                self._house.in_doubt.pop(pursuit.key, None)

    def _may_go_elsewhere(self, payment: Payment) -> bool:
        """Whether another provider may yet have to be tried with the card, should one decline."""
        now_us = self._house.system.clock.now_us()
        return any(
            call.charges and now_us - call.started_at_us < ELSEWHERE_US
            for call in unresolved(payment)
        ) and bool(untried(payment, self._house.providers.routes(payment)))

    def _may_send(self, payment: Payment, call: Call, pursuit: Pursuit, *, now_us: int) -> bool:
        can = self._house.providers.capabilities(call.provider)
        return (
            can is not None
            and pursuit.may_send(call, can, now_us=now_us)
            and self._wanted(payment, call)
            and not (call.charges and self._lacks_cvv(payment, can))
        )

    def _wanted(self, payment: Payment, call: Call) -> bool:
        if call.epoch != self._house.nodes.epoch:
            return False  # only the node that has its intent on record sends it
        # What an operator says has come to an end is asked about, and no more attempted; nor is
        # what somebody wants undone confirmed once more. To undo it is always wanted.
        if is_release(payment, call):
            return True
        if call.prepares and not may_confirm(payment, call):
            return False
        return not asserted(payment, call)

    def _lacks_cvv(self, payment: Payment, can: Capabilities) -> bool:
        # It is never on disk: after a restart a card's charge can only be repeated without it.
        return lacks_cvv(payment.created, can, has_card=self._card is not None)

    def _gives_up(self, payment: Payment, call: Call, *, now_us: int) -> bool:
        """Whether an attempt that is certainly not confirmed should not be confirmed any more."""
        can = self._house.providers.capabilities(call.provider)
        if can is None or not may_give_up(payment, call):
            return False
        if asserted(payment, call) or self._lacks_cvv(payment, can):
            return True
        if call.prepared_at_us is None:
            return now_us - call.started_at_us >= PREPARE_FOR_US
        return now_us - call.prepared_at_us >= CONFIRM_FOR_US

    def _must_wait(self, pursuit: Pursuit, can: Capabilities) -> bool:
        """Whether the provider is asked by so many now that the turn of this one comes later."""
        asking = self._house.asking
        if pursuit.has_turn and not asking.held:
            pursuit.has_turn = False
            return False
        wait_s = asking.turn_s(pursuit.provider, can)
        pursuit.has_turn = wait_s > 0
        if pursuit.has_turn:
            self._set_timer(pursuit, wait_s)
        return pursuit.has_turn

    def _note_doubt(self, payment: Payment, call: Call) -> None:
        if call.in_doubt:
            currency = payment.created.currency
            self._house.in_doubt[call.key] = (currency, call.amount_minor, call.started_at_us)
        else:
            self._house.in_doubt.pop(call.key, None)

    def _later(self, call: Call, pursuit: Pursuit) -> None:
        if pursuit.has_turn:
            return  # it stands in line: whoever set its timer anew would let it jump the queue
        can = self._house.providers.capabilities(call.provider)
        if can is None:
            return  # a provider that is not configured any more cannot be asked
        system = self._house.system
        delay_s = pursuit.delay_s(call, can, now_us=system.clock.now_us())
        share = JITTER * system.rng.random()
        # Who was told to wait comes no sooner for being spread.
        self._set_timer(pursuit, delay_s * (1 + share if pursuit.pause_s else 1 - share))

    def _set_timer(self, pursuit: Pursuit, delay_s: float) -> None:
        system = self._house.system
        pursuit.due_s = system.clock.monotonic_s() + delay_s
        pursuit.outdated = False
        pursuit.end()
        whose = (self._payment_id, pursuit.key)
        pursuit.timer = system.remind(delay_s, self._house.ring, whose)

    def _submit(self, call: Call, pursuit: Pursuit, job: Perform | LookUp) -> None:
        pursuit.under_way = True
        self._set_timer(pursuit, LOST_AFTER_S)
        self._house.providers.submit(call.provider, job)

    def _send(self, payment: Payment, call: Call, pursuit: Pursuit) -> None:
        job = perform_of(payment, call, payment_id=self._payment_id, card=self._card)
        self._submit(call, pursuit, job)
