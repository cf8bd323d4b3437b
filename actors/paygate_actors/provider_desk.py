"""The providers in the house: their pools, their switches, and where a new charge goes.

Two switches for operators: `is_active` off, nothing is sent there any more (what is open waits);
`accepts_charges` off, no *new* charge goes there, while refunds, look-ups and webhooks go on.
Priority, weight and the number of calls at a time may be set too, over what is configured. All of
it is stored, and survives a restart; what no operator said is as the configuration says today.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct, field
from pykka import ActorDeadError

from paygate_actors import events as e
from paygate_actors.config import ProviderConfig
from paygate_actors.health import Health
from paygate_actors.pool import ProviderPool
from paygate_actors.pool_messages import Answered, LookUp, Perform, answered, look_up_of, unsent
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

    `is_active`, `priority`, `weight`, `concurrency`: None where it stands as it is configured.
    """

    # Stored under another name than `is_active` of older rows, which told the configuration's word
    # and an operator's alike: who reads one knows which of the two it is.
    is_active: bool | None = field(default=None, name="active")
    accepts_charges: bool
    created_at_us: int
    priority: int | None = None
    weight: int | None = None
    concurrency: int | None = None


class _OlderSwitches(Switches, frozen=True, kw_only=True):
    """As rows were that did not know what an operator had said and what the configuration."""

    was_active: bool | None = field(default=None, name="is_active")


class Desk:
    """One provider: its adapter, health, pool and switches. `concurrency`: as configured."""

    __slots__ = ("_concurrency", "_switches", "adapter", "config", "health", "pool", "turning")

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
        # Held from reading the switches until they are stored and set: of two operators at the
        # same time the second turns what the first one left.
        self.turning = asyncio.Lock()

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
    def is_active(self) -> bool:
        """Whether anything may be sent there."""
        given = self._switches.is_active
        return self.config.active if given is None else given

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
            active=self.is_active,
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
        pool = desk.pool() if desk is not None and desk.is_active else None
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
        pool = desk.pool() if desk is not None and desk.is_active else None
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
            is_active=desk.is_active,
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
    switches: Switches, *, is_active: bool | None, accepts_charges: bool | None, tuning: Tuning
) -> Switches:
    """The switches as an operator wants them now; what is None stays as it is."""
    return Switches(
        is_active=switches.is_active if is_active is None else is_active,
        accepts_charges=switches.accepts_charges if accepts_charges is None else accepts_charges,
        created_at_us=switches.created_at_us,
        priority=switches.priority if tuning.priority is None else tuning.priority,
        weight=switches.weight if tuning.weight is None else tuning.weight,
        concurrency=switches.concurrency if tuning.concurrency is None else tuning.concurrency,
    )


def switches_unit(provider: str, switches: Switches, *, who: str, at_us: int) -> Unit:
    """What is committed when an operator turns a switch."""
    active = "as configured" if switches.is_active is None else switches.is_active
    what = f"active={active} charges={switches.accepts_charges}"
    for name in ("priority", "weight", "concurrency"):
        value = getattr(switches, name)
        what += "" if value is None else f" {name}={value}"
    return Unit(
        documents=(Document(kind=PROVIDER, id=provider, body=msgspec.json.encode(switches)),),
        audit=(AuditEntry(at_us=at_us, who=who, what=f"switch {what}", stream=provider),),
    )


def read_switches(document: Document) -> Switches:
    """The switches as they were stored; of an older row as an operator's, while nobody knows."""
    older = word_unknown(document)
    read = msgspec.json.decode(document.body, type=Switches)
    return read if older is None else msgspec.structs.replace(read, is_active=older)


def word_unknown(document: Document) -> bool | None:
    """Whether the provider was on in a row that does not say by whose word; None: the row says."""
    return msgspec.json.decode(document.body, type=_OlderSwitches).was_active
