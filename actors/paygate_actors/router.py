"""Routes payments: holds the rules in force and what was learned, and decides by `routing`.

The rules may be changed while payments are under way: each payment keeps the route that it was
given, and the next one is decided by the new rules. What is learned here (how often targets
approve, how often a card was tried again) is in memory alone: a restart forgets at most a window
of charges and a day of counts, and never which intents there are.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from paygate_actors import events as e
from paygate_actors.failover import is_soft
from paygate_actors.record import Payment
from paygate_actors.route import Route
from paygate_actors.routing import Candidate, Facts, decide, digest_of, facts_kept
from paygate_actors.routing_config import Routing
from paygate_actors.success_rates import SuccessRates
from paygate_actors.velocity import SlidingWindow
from paygate_engine.clock import Clock

DAY_US: Final = 86_400 * 1_000_000
# Which declines say nothing about a provider's payers: the request never left, was turned away at
# the door, or the payment was called off.
_NO_VERDICT: Final = frozenset({"not_sent", "too_many_requests", "card_not_in_vault", "cancelled"})
_EVERYBODY: Final = "*"

_log = structlog.get_logger("paygate.routing")


class Router:
    """Decides about new payments, and where declined ones may go.

    `candidates` are the providers as they stand now, in any order.
    """

    def __init__(
        self, routing: Routing, *, clock: Clock, candidates: Callable[[], Sequence[Candidate]]
    ) -> None:
        self._clock = clock
        self._candidates = candidates
        self._rates = SuccessRates(routing.window)
        self._by_card, self._by_day = _windows(routing)
        self.routing = routing
        self.digest = digest_of(routing)

    def adopt(self, routing: Routing) -> None:
        """Decide by these rules from now on. What was learned under a rule's name stays its own.

        Counts of retries begin anew where their limits change.
        """
        limits = (routing.retries_per_card_day, routing.retries_per_day)
        if limits != (self.routing.retries_per_card_day, self.routing.retries_per_day):
            self._by_card, self._by_day = _windows(routing)
        self.routing = routing
        self.digest = digest_of(routing)
        self._rates.resize(routing.window)

    def route(self, facts: Facts) -> Route | None:
        """Where this payment goes and why; None: nobody takes it now."""
        decision = decide(
            self.routing, facts, self._candidates(), rate=self._rates.milli, digest=self.digest
        )
        return None if decision is None else decision.route

    def again(self, payment: Payment) -> tuple[str, ...]:
        """Where the payment may be tried now, best first, out of what its route names.

        A payment from before routes were recorded may go anywhere that takes it.
        """
        if payment.route is None:
            found = self.route(facts_kept(payment))
            return () if found is None else found.order
        named = payment.route.order
        able = {
            each.id: each for each in self._candidates() if each.active and each.accepts_charges
        }
        order = [id_ for id_ in named if id_ in able]
        order.sort(key=lambda id_: able[id_].behind is not None)
        return tuple(order)

    def soft_retries(self, payment: Payment) -> int:
        """How many soft declines of the payment's card may be tried elsewhere now: 0 or 1."""
        now_us = self._clock.now_us()
        card = payment.created.fingerprint
        used_up = self._by_day.is_used_up(_EVERYBODY, now_us=now_us) or (
            card is not None and self._by_card.is_used_up(card, now_us=now_us)
        )
        return 0 if used_up else 1

    def learned(
        self, before: Payment | None, payment: Payment, news: Sequence[e.PaymentEvent]
    ) -> None:
        """Learn from what was committed: how charges ended, and what was tried again."""
        declined = False
        for event in news:
            match event:
                case e.CallApproved():
                    self._verdict(before, payment, event.key, approved=True)
                case e.CallDeclined() if event.failure.code not in _NO_VERDICT:
                    declined = is_soft(payment, event.failure.code)
                    self._verdict(before, payment, event.key, approved=False)
                case e.CallStarted() if declined and event.verb in ("charge", "authorize"):
                    self._count_retry(payment)
                case _:
                    pass

    def _verdict(
        self, before: Payment | None, payment: Payment, key: str, *, approved: bool
    ) -> None:
        call = None if before is None else before.call(key)
        if payment.route is None or call is None or not call.charges or not call.unresolved:
            return  # no charge of a route, or a repetition of what is known
        self._rates.learn(payment.route.rule or "", call.provider, approved=approved)

    def _count_retry(self, payment: Payment) -> None:
        now_us = self._clock.now_us()
        self._by_day.count(_EVERYBODY, now_us=now_us)
        if payment.created.fingerprint is not None:
            self._by_card.count(payment.created.fingerprint, now_us=now_us)
        _log.info("soft_decline_tried_elsewhere", payment=payment.id, provider=payment.provider)


def _windows(routing: Routing) -> tuple[SlidingWindow, SlidingWindow]:
    by_card = SlidingWindow(window_us=DAY_US, count_max=routing.retries_per_card_day)
    by_day = SlidingWindow(window_us=DAY_US, count_max=routing.retries_per_day, keys_max=1)
    return by_card, by_day
