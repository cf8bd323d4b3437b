"""The providers in the house: their pools, their switches, and where a new charge goes.

Two switches for operators: `is_active` off, nothing is sent there any more (what is open waits);
`accepts_charges` off, no *new* charge goes there, while refunds, look-ups and webhooks go on.
Both are stored, and survive a restart.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from pykka import ActorDeadError

from paygate_actors.breaker import Breaker
from paygate_actors.config import ProviderConfig
from paygate_actors.messages import ProviderView
from paygate_actors.pool import Answered, LookUp, Perform, ProviderPool, unsent
from paygate_actors.projection import PROVIDER
from paygate_actors.providers.base import Capabilities, Provider
from paygate_engine.errors import Overloaded
from paygate_engine.future import LoopFuture
from paygate_engine.ref import LightRef
from paygate_engine.stores.base import AuditEntry, Document, Unit

_log = structlog.get_logger("paygate.providers")


class Switches(Struct, frozen=True, kw_only=True):
    """What an operator decided about a provider, and since when it is known."""

    is_active: bool
    accepts_charges: bool
    created_at_us: int


class Desk:
    """One provider: its adapter, health, pool and switches."""

    __slots__ = ("adapter", "breaker", "config", "pool", "switches")

    def __init__(
        self,
        config: ProviderConfig,
        adapter: Provider,
        breaker: Breaker,
        switches: Switches,
        pool: Callable[[], LightRef[ProviderPool] | None],
    ) -> None:
        self.config = config
        self.adapter = adapter
        self.breaker = breaker
        self.switches = switches
        self.pool = pool


class ProviderDesk:
    """All providers, by priority (lower first). `report` carries an answer to its payment."""

    def __init__(self, desks: Iterable[Desk], report: Callable[[str, Answered], None]) -> None:
        ordered = sorted(desks, key=lambda desk: (desk.config.priority, desk.config.id))
        self._desks = {desk.config.id: desk for desk in ordered}
        self._report = report

    def get(self, provider: str) -> Desk | None:
        """The provider with this id."""
        return self._desks.get(provider)

    def all(self) -> tuple[Desk, ...]:
        """Every provider, by priority."""
        return tuple(self._desks.values())

    def routes(self, currency: str, pin: str | None) -> tuple[str, ...]:
        """Where a new charge in this currency may go: healthy ones first, each by priority."""
        able = [
            desk
            for desk in self._desks.values()
            if desk.switches.is_active
            and desk.switches.accepts_charges
            and (pin is None or desk.config.id == pin)
            and _takes(desk.adapter.capabilities, currency)
        ]
        able.sort(key=lambda desk: desk.breaker.circuit == "open")
        return tuple(desk.config.id for desk in able)

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
        source = "look_up" if isinstance(job, LookUp) else "call"
        self._report(job.payment_id, Answered(key=job.key, outcome=unsent(job), source=source))

    def look_up(
        self, provider: str, key: str, *, timeout_s: float, payment_id: str = ""
    ) -> LoopFuture[Any] | None:
        """Ask the provider about a call, for somebody who waits for the answer.

        With a payment's id the payment hears the answer too, before whoever waits goes on.
        """
        desk = self._desks.get(provider)
        pool = desk.pool() if desk is not None and desk.switches.is_active else None
        job = LookUp(key=key, payment_id=payment_id)
        return None if pool is None else pool.ask(job, block=False, timeout=timeout_s)

    def view(self, desk: Desk) -> ProviderView:
        """The provider as operators see it."""
        config = desk.config
        return ProviderView(
            id=config.id,
            name=config.name or desk.adapter.name,
            kind=config.kind,
            is_active=desk.switches.is_active,
            accepts_charges=desk.switches.accepts_charges,
            priority=config.priority,
            config=desk.adapter.redacted_config(),
            created_at_us=desk.switches.created_at_us,
            circuit=desk.breaker.circuit,
            success_rate_milli=desk.breaker.success_rate_milli,
            p99_ms=desk.breaker.p99_ms,
        )


def switches_unit(provider: str, switches: Switches, *, who: str, at_us: int) -> Unit:
    """What is committed when an operator turns a switch."""
    what = f"active={switches.is_active} charges={switches.accepts_charges}"
    return Unit(
        documents=(Document(kind=PROVIDER, id=provider, body=msgspec.json.encode(switches)),),
        audit=(AuditEntry(at_us=at_us, who=who, what=f"switch {what}", stream=provider),),
    )


def read_switches(document: Document) -> Switches:
    """The switches as they were stored."""
    return msgspec.json.decode(document.body, type=Switches)


def _takes(can: Capabilities, currency: str) -> bool:
    return can.currencies is None or currency in can.currencies
