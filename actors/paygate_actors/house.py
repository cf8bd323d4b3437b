"""What a payment may ask of its surroundings: time, routes, pools, the vault, the inbox, counters.

One `House` is shared by all payments; `gateway.py` furnishes it. Payments see this protocol-like
object and nothing of the actors behind it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.asking import Asking
from paygate_actors.draft import Context
from paygate_actors.pool import LookUp, Perform
from paygate_actors.providers.base import Capabilities
from paygate_engine.system import ActorSystem


class Limits(Struct, frozen=True, kw_only=True):
    """The durations that decisions know, in microseconds."""

    review_us: int
    key_life_us: int
    in_doubt_flag_us: int


class Providers(Protocol):
    """The way to the providers."""

    def routes(self, currency: str, pin: str | None) -> tuple[str, ...]:
        """The providers that take a new charge in this currency, best first."""
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

    def at(self, payment_id: str, at_us: int) -> None:
        """Send the payment a wake-up at this time or soon after it."""
        ...


class House:
    """What all payments share. `counts` is read by the metrics page; nothing decides by it."""

    __slots__ = (
        "again",
        "alarm",
        "arrivals",
        "asking",
        "counts",
        "in_doubt",
        "limits",
        "providers",
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
    ) -> None:
        self.system = system
        self.limits = limits
        self.providers = providers
        self.arrivals = arrivals
        self.alarm = alarm
        self.asking = Asking(system.clock)
        self.again = again
        """Send a payment a message by its id: (id, message). For timers."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.in_doubt: dict[str, tuple[str, int, int]] = {}
        """What is in doubt now: call key -> (currency, minor units, since when)."""

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

    def look_up(self, provider: str, job: LookUp) -> None:
        """Have the provider asked when it is this one's turn; the answer comes to the payment."""
        can = self.providers.capabilities(provider)
        wait_s = 0.0 if can is None else self.asking.turn_s(provider, can)
        if wait_s:
            self.system.after(wait_s, self._submit, (provider, job))
        else:
            self.providers.submit(provider, job)

    def _submit(self, turn: tuple[str, LookUp]) -> None:
        self.providers.submit(*turn)

    def context(self, currency: str, pin: str | None) -> Context:
        """What a decision about a payment in this currency may know right now."""
        return Context(
            now_us=self.system.clock.now_us(),
            routes=self.providers.routes(currency, pin),
            review_us=self.limits.review_us,
            key_life_us=self.limits.key_life_us,
            in_doubt_flag_us=self.limits.in_doubt_flag_us,
        )
