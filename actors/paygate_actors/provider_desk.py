"""The providers in the house: their pools, their switches, and where a new charge goes.

Two switches for operators: `is_active` off, nothing is sent there any more (what is open waits);
`accepts_charges` off, no *new* charge goes there, while refunds, look-ups and webhooks go on.
Priority, weight and the number of calls at a time may be set too, over what is configured. All of
it is stored, and survives a restart.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from pykka import ActorDeadError

from paygate_actors import events as e
from paygate_actors.config import ProviderConfig
from paygate_actors.health import Health
from paygate_actors.pool import (
    Answered,
    LookUp,
    Perform,
    ProviderPool,
    answered,
    look_up_of,
    unsent,
)
from paygate_actors.projection import PROVIDER
from paygate_actors.provider_messages import ProviderView, Tuning
from paygate_actors.provider_views import circuit_views
from paygate_actors.providers.base import Capabilities, Provider
from paygate_actors.record import Call, Payment
from paygate_actors.route import Route
from paygate_actors.router import Router
from paygate_actors.routing import Candidate, Facts
from paygate_actors.routing_config import Routing
from paygate_engine.clock import Clock
from paygate_engine.errors import Overloaded
from paygate_engine.future import LoopFuture
from paygate_engine.ref import LightRef
from paygate_engine.stores.base import AuditEntry, Document, Unit

_log = structlog.get_logger("paygate.providers")


class Switches(Struct, frozen=True, kw_only=True):
    """What an operator decided about a provider, and since when it is known.

    `priority`, `weight`, `concurrency`: None where it stands as it is configured.
    """

    is_active: bool
    accepts_charges: bool
    created_at_us: int
    priority: int | None = None
    weight: int | None = None
    concurrency: int | None = None


class Desk:
    """One provider: its adapter, health, pool and switches. `concurrency`: as configured."""

    __slots__ = ("_concurrency", "_switches", "adapter", "config", "health", "pool")

    def __init__(
        self,
        config: ProviderConfig,
        adapter: Provider,
        health: Health,
        switches: Switches,
        pool: Callable[[], LightRef[ProviderPool] | None],
    ) -> None:
        self.config = config
        self.adapter = adapter
        self.health = health
        self.pool = pool
        self._concurrency = health.concurrency
        self.switches = switches

    @property
    def switches(self) -> Switches:
        """What an operator decided; what is set anew holds from the next call on."""
        return self._switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self._switches = switches
        given = switches.concurrency
        self.health.concurrency = self._concurrency if given is None else given

    @property
    def priority(self) -> int:
        """Lower goes first."""
        given = self._switches.priority
        return self.config.priority if given is None else given

    @property
    def weight(self) -> int:
        """Its share where payments are spread by weight; 0: none but what others cannot take."""
        given = self._switches.weight
        return self.config.weight if given is None else given

    def standing(self) -> Candidate:
        """How it stands in the eyes of a routing decision."""
        return Candidate(
            id=self.config.id,
            can=self.adapter.capabilities,
            active=self._switches.is_active,
            accepts_charges=self._switches.accepts_charges,
            priority=self.priority,
            weight=self.weight,
            behind=self.health.behind,
        )


class ProviderDesk:
    """All providers. `report` carries an answer to its payment; `routing` are the first rules."""

    def __init__(
        self,
        desks: Iterable[Desk],
        report: Callable[[str, Answered], None],
        *,
        routing: Routing,
        clock: Clock,
    ) -> None:
        self._desks = {desk.config.id: desk for desk in desks}
        self._report = report
        self.router = Router(routing, clock=clock, candidates=self._standings)

    def get(self, provider: str) -> Desk | None:
        """The provider with this id."""
        return self._desks.get(provider)

    def all(self) -> tuple[Desk, ...]:
        """Every provider, by priority."""
        by_priority = sorted(self._desks.values(), key=lambda desk: (desk.priority, desk.config.id))
        return tuple(by_priority)

    def route(self, facts: Facts) -> Route | None:
        """Where a new payment goes and why; None: nobody takes it now."""
        route = self.router.route(facts)
        if route is not None:
            self._desks[route.order[0]].health.circuits["charge"].try_out()
        return route

    def routes(self, payment: Payment) -> tuple[str, ...]:
        """Where the payment may be tried now, best first."""
        return self.router.again(payment)

    def soft_retries(self, payment: Payment) -> int:
        """How many soft declines of the payment's card may be tried elsewhere now."""
        return self.router.soft_retries(payment)

    def learned(
        self, before: Payment | None, payment: Payment, news: Sequence[e.PaymentEvent]
    ) -> None:
        """Hear what was committed of a payment: how its charges ended."""
        self.router.learned(before, payment, news)

    def capabilities(self, provider: str) -> Capabilities | None:
        """What the provider can do; None for one that is not configured."""
        desk = self._desks.get(provider)
        return None if desk is None else desk.adapter.capabilities

    def submit(self, provider: str, job: Perform | LookUp) -> None:
        """Hand a job to the provider's pool; what cannot leave is answered as not sent."""
        desk = self._desks.get(provider)
        pool = desk.pool() if desk is not None and desk.switches.is_active else None
        try:
            if pool is not None:
                pool.tell(job)
                return
        except (Overloaded, ActorDeadError):
            _log.warning("pool_refused", provider=provider)
        self._report(job.payment_id, answered(job, unsent(job)))

    def look_up(
        self, call: Call, *, timeout_s: float, payment_id: str = ""
    ) -> LoopFuture[Any] | None:
        """Ask the provider about a call, for somebody who waits for the answer.

        With a payment's id the payment hears the answer too, before whoever waits goes on.
        """
        desk = self._desks.get(call.provider)
        pool = desk.pool() if desk is not None and desk.switches.is_active else None
        job = look_up_of(call, payment_id)
        return None if pool is None else pool.ask(job, block=False, timeout=timeout_s)

    def view(self, desk: Desk) -> ProviderView:
        """The provider as operators see it."""
        config = desk.config
        health = desk.health
        charges = health.circuits["charge"]
        return ProviderView(
            id=config.id,
            name=config.name or desk.adapter.name,
            kind=config.kind,
            is_active=desk.switches.is_active,
            accepts_charges=desk.switches.accepts_charges,
            priority=desk.priority,
            config=desk.adapter.redacted_config(),
            created_at_us=desk.switches.created_at_us,
            circuit=charges.circuit,
            success_rate_milli=charges.success_rate_milli,
            p99_ms=charges.p99_ms,
            weight=desk.weight,
            concurrency=health.concurrency,
            running=health.running,
            waiting=health.waiting,
            quiet_ms=round(1_000 * health.quiet_s),
            repeats_left=health.budget.left,
            circuits=circuit_views(health),
        )

    def _standings(self) -> tuple[Candidate, ...]:
        return tuple(desk.standing() for desk in self._desks.values())


def turned(
    switches: Switches, *, is_active: bool, accepts_charges: bool, tuning: Tuning
) -> Switches:
    """The switches as an operator wants them now."""
    return Switches(
        is_active=is_active,
        accepts_charges=accepts_charges,
        created_at_us=switches.created_at_us,
        priority=switches.priority if tuning.priority is None else tuning.priority,
        weight=switches.weight if tuning.weight is None else tuning.weight,
        concurrency=switches.concurrency if tuning.concurrency is None else tuning.concurrency,
    )


def switches_unit(provider: str, switches: Switches, *, who: str, at_us: int) -> Unit:
    """What is committed when an operator turns a switch."""
    what = f"active={switches.is_active} charges={switches.accepts_charges}"
    for name in ("priority", "weight", "concurrency"):
        value = getattr(switches, name)
        what += "" if value is None else f" {name}={value}"
    return Unit(
        documents=(Document(kind=PROVIDER, id=provider, body=msgspec.json.encode(switches)),),
        audit=(AuditEntry(at_us=at_us, who=who, what=f"switch {what}", stream=provider),),
    )


def read_switches(document: Document) -> Switches:
    """The switches as they were stored."""
    return msgspec.json.decode(document.body, type=Switches)
