"""What a payment may ask of its surroundings: time, routes, pools, the vault, the inbox, counters.

One `House` is shared by all payments; `gateway.py` furnishes it. Payments see this protocol-like
object and nothing of the actors behind it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.among import Alone, Among
from paygate_actors.asking import Asking
from paygate_actors.draft import Context
from paygate_actors.outbox import Notices
from paygate_actors.payment_messages import Confirm, Pursue
from paygate_actors.pool_messages import LookUp, Perform
from paygate_actors.providers.base import Capabilities
from paygate_actors.record import Call, Payment
from paygate_actors.route import Route
from paygate_engine.system import ActorSystem

if TYPE_CHECKING:
    from paygate_actors.pursuer import Pursuer


class Limits(Struct, frozen=True, kw_only=True):
    """The durations that decisions know, in microseconds."""

    review_us: int
    key_life_us: int
    in_doubt_flag_us: int


class Providers(Protocol):
    """The way to the providers."""

    def routes(self, payment: Payment) -> tuple[str, ...]:
        """The providers that the payment may be tried at now, best first."""
        ...

    def soft_retries(self, payment: Payment) -> int:
        """How many soft declines of the payment's card may be tried elsewhere now."""
        ...

    def learned(
        self, before: Payment | None, payment: Payment, news: Sequence[e.PaymentEvent]
    ) -> None:
        """Hear what was committed of a payment."""
        ...

    def submit(self, provider: str, job: Perform | LookUp) -> None:
        """Hand a job to the provider's pool; its answer comes back to the payment."""
        ...

    def capabilities(self, provider: str) -> Capabilities | None:
        """What the provider can do; None for one that is not configured any more."""
        ...


class Arrivals(Protocol):
    """Who keeps the events that came too early."""

    def appeared(self, provider: str, provider_txn_id: str) -> None:
        """A payment knows this provider id now."""
        ...


class Alarm(Protocol):
    """Who wakes payments that sleep."""

    def at(self, payment_id: str, at_us: int | None) -> None:
        """Send the payment a wake-up at this time or soon after it, and at no other; None: none."""
        ...


class House:
    """What all payments share. `counts` is read by the metrics page; nothing decides by it."""

    __slots__ = (
        "again",
        "alarm",
        "arrivals",
        "asking",
        "asleep",
        "counts",
        "in_doubt",
        "limits",
        "nodes",
        "notices",
        "providers",
        "ring",
        "system",
    )

    def __init__(
        self,
        *,
        system: ActorSystem,
        limits: Limits,
        providers: Providers,
        arrivals: Arrivals,
        alarm: Alarm,
        again: Callable[[tuple[str, Any]], None],
        notices: Notices | None = None,
        nodes: Among | None = None,
    ) -> None:
        self.system = system
        self.limits = limits
        self.providers = providers
        self.arrivals = arrivals
        self.alarm = alarm
        self.asking = Asking(system.clock)
        self.again = again
        """Send a payment a message by its id: (id, message). For timers."""
        self.notices = notices or Notices()
        self.nodes: Among = nodes or Alone()
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.in_doubt: dict[str, tuple[str, int, int]] = {}
        """What is in doubt now: call key -> (currency, minor units, since when)."""
        self.asleep: dict[str, Pursuer] = {}
        """What stays behind of payments that sleep while something of theirs is not settled."""
        self.ring = self._ring
        """Have a call pursued: (payment's id, key). For timers; bound once for all of them."""

    def set_aside(self, payment_id: str) -> None:
        """The payment waits for a person: if it was asleep, nothing rings for it any more."""
        pursuer = self.asleep.pop(payment_id, None)
        if pursuer is not None:
            pursuer.drop()

    def count(self, news: Sequence[e.PaymentEvent]) -> None:
        """Count what was committed."""
        counts = self.counts
        for event in news:
            match event:
                case e.Moved():
                    counts["moved", event.fact] += 1
                case e.CallStarted():
                    counts["call", event.provider, event.verb] += 1
                case e.AttentionRaised():
                    counts["attention", event.code] += 1
                case e.TransactionOpened():
                    counts["transaction", event.type, event.origin] += 1
                case _:
                    pass

    def elsewhere(self, call: Call) -> bool:
        """Whether another node follows the call, and lives: then it is nobody else's to send."""
        return call.epoch != self.nodes.epoch and self.nodes.lives(call.epoch)

    def look_up(self, provider: str, job: LookUp) -> None:
        """Have the provider asked when it is this one's turn; the answer comes to the payment."""
        can = self.providers.capabilities(provider)
        wait_s = 0.0 if can is None else self.asking.turn_s(provider, can)
        if wait_s:
            self.system.after(wait_s, self._submit, (provider, job))
        else:
            self.providers.submit(provider, job)

    def ask_for_more(self, payment_id: str, call: Call | None) -> None:
        """Have the provider asked about a charge that is done, as soon as a look-up sees it.

        In memory alone: what a restart forgets to ask for stays unknown, and nothing rests on it.
        """
        can = None if call is None else self.providers.capabilities(call.provider)
        if call is not None and can is not None and can.finds:
            message = Confirm(key=call.key)
            self.system.after(can.find_lag_s, self.again, (payment_id, message))

    def _ring(self, whose: tuple[str, str]) -> None:
        payment_id, key = whose
        # Among many nodes another one may follow the call by now, which its events tell.
        pursuer = None if self.nodes.epoch else self.asleep.get(payment_id)
        if pursuer is None or not pursuer.turn_comes_later(key):
            self.again((payment_id, Pursue(key=key)))

    def _submit(self, turn: tuple[str, LookUp]) -> None:
        self.providers.submit(*turn)

    def context(self, payment: Payment | None, route: Route | None = None) -> Context:
        """What a decision may know right now: about this one, or a new one that goes `route`."""
        routes = () if route is None else route.order
        if payment is not None:
            routes = self.providers.routes(payment)
        return Context(
            now_us=self.system.clock.now_us(),
            routes=routes,
            review_us=self.limits.review_us,
            key_life_us=self.limits.key_life_us,
            in_doubt_flag_us=self.limits.in_doubt_flag_us,
            epoch=self.nodes.epoch,
            route=route,
            soft_retries=0 if payment is None else self.providers.soft_retries(payment),
            two_steps=frozenset(filter(self._takes_two_steps, routes)),
        )

    def _takes_two_steps(self, provider: str) -> bool:
        can = self.providers.capabilities(provider)
        return can is not None and can.steps == 2  # noqa: PLR2004  # the word of the capability
