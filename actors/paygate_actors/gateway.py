"""The whole gateway, built out of one Config: the only module that knows everybody.

    root          one for one: what fails too often here ends the process
    +- storage    the audit's verifier and the publisher of its signed ends
    +- services   fraud
    +- pools      one for each provider, restarted with backoff
    payments      a region: each restarts by itself, and is parked rather than take anything down

The journal is no child of anybody: when it fails, the process stops and recovers from the disk.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from paygate_actors.admission import DRAINING, Admission
from paygate_actors.among import Alone, Among
from paygate_actors.audit import HeadPublisher, Verifier, head_key, heads_file
from paygate_actors.chains import own_chain
from paygate_actors.config import Config
from paygate_actors.damage import DamageBook, Mender
from paygate_actors.desk_office import DeskOffice
from paygate_actors.fleet import Fleet, joined
from paygate_actors.fraud import FraudActor
from paygate_actors.fraud_rules import FraudRules
from paygate_actors.front import GatewayFront
from paygate_actors.furnish import (
    adapters_of,
    cry_parked,
    desk_of,
    fraud_of,
    limits_of,
    linger_max_of,
    load_switches,
    random_bytes,
    set_aside,
    start_pool,
    turning,
)
from paygate_actors.gauges import gauges
from paygate_actors.house import House
from paygate_actors.instruments import Instruments
from paygate_actors.intake import Intake
from paygate_actors.letters import Letters
from paygate_actors.marks import open_up, same_vault, stamp
from paygate_actors.node_ear import NodeEar
from paygate_actors.nodes import Nodes, as_shared
from paygate_actors.payment import PaymentActor
from paygate_actors.pool import ProviderPool, settled
from paygate_actors.projection import KINDS
from paygate_actors.provider_places import note_places
from paygate_actors.providers.base import Provider
from paygate_actors.reads import Reads
from paygate_actors.recovering import load_open
from paygate_actors.scrubber import Scrubber
from paygate_actors.vault import Vault
from paygate_actors.webhooks_in import WebhooksIn
from paygate_actors.webhooks_out import OVER_HTTP, WayOut, WebhooksOut
from paygate_engine.clock import Clock, SystemClock, system_rng
from paygate_engine.cluster_clock import ClusterClock
from paygate_engine.errors import Overloaded
from paygate_engine.heads import sign_head
from paygate_engine.journal import Journal
from paygate_engine.region import Region
from paygate_engine.stores.base import Store
from paygate_engine.stores.sqlite import SqliteStore
from paygate_engine.supervisor import Backoff, Supervisor
from paygate_engine.system import ActorSystem

# A provider's deadline and a little; the rest is handed over to the next start.
CALLS_END_S: Final = 4.0

A = TypeVar("A")

_log = structlog.get_logger("paygate.gateway")


class Gateway:
    """A running gateway. Make one with `start`, then `recover`; end it with `stop`."""

    def __init__(
        self,
        config: Config,
        *,
        system: ActorSystem,
        store: Store,
        vault: Vault,
        adapters: dict[str, Provider],
        livemode: bool,
        way_out: WayOut,
        fleet: Fleet | None = None,
    ) -> None:
        self.system = system
        self.store = store
        self._fleet = fleet
        self._nodes: Among = Alone() if fleet is None else fleet.nodes
        self._config = config
        self._adapters = adapters
        self._root = Supervisor(system, "root", restarts_max=3, within_s=60.0)
        self._storage = Supervisor(system, "storage", strategy="rest_for_one", parent=self._root)
        self._services = Supervisor(system, "services", parent=self._root)
        self._pools = Supervisor(
            system, "pools", parent=self._root, backoff=Backoff(first_s=0.2, delay_s_max=30.0)
        )
        self._publisher: Any = None
        self._head_key = head_key(vault)
        self.journal = Journal(
            store,
            spawn=system.spawn_task,
            clock=system.clock,
            backlog_max=config.limits.journal_backlog_max,
            on_fatal=system.fail,
            on_head=self._publish,
        )
        self.payments: Region[PaymentActor] = Region(
            system,
            self.journal,
            self._make_payment,
            prefix="pay_",
            linger_max=linger_max_of(config),
            on_parked=self._parked,
            epoch=self._nodes.epoch,
        )
        self._open_house(vault, adapters, way_out)
        self._open_front(vault, livemode=livemode)

    def _open_house(self, vault: Vault, adapters: dict[str, Provider], way_out: WayOut) -> None:
        config, system, store = self._config, self.system, self.store
        self.damage = DamageBook()
        self._mender = Mender(store, self.damage)
        self.letters = Letters(system, self.payments.tell)
        self.desk = desk_of(config, adapters, system, self.journal, self.letters.report)
        self.webhooks = WebhooksIn(
            system=system,
            store=store,
            journal=self.journal,
            desk=self.desk,
            mender=self._mender,
            limits=config.limits,
            tell=self.payments.tell,
            is_known=self._is_known,
            nodes=self._nodes,
        )
        self.inbox = self.webhooks.inbox
        self.webhooks_out = WebhooksOut(
            config,
            system=system,
            store=store,
            journal=self.journal,
            vault=vault,
            book=self.damage,
            root=self._root,
            way_out=way_out,
            nodes=self._nodes,
        )
        self.house = House(
            system=system,
            limits=limits_of(config),
            providers=self.desk,
            arrivals=self.inbox,
            alarm=self.letters,
            again=self.letters.send,
            notices=self.webhooks_out.notices,
            nodes=self._nodes,
        )

    def _open_front(self, vault: Vault, *, livemode: bool) -> None:
        config, system, store = self._config, self.system, self.store
        self._rules = FraudRules(fraud_of(config), fingerprint=vault.fingerprint)
        self.admission = Admission(
            config.limits,
            system=system,
            payments=self.payments,
            asleep=self.house.asleep,
            journal=self.journal,
            may_act=lambda: self._nodes.may_act,
        )
        reads = Reads(store, self.payments, self._mender, alone=self._fleet is None)
        self._instruments = Instruments(
            system=system, store=store, vault=vault, mender=self._mender, desk=self.desk
        )
        self._intake = Intake(
            system=system,
            store=store,
            payments=self.payments,
            desk=self.desk,
            vault=vault,
            rules=self._rules,
            fraud=lambda: system.get("fraud"),
            look=reads.look,
            instruments=self._instruments,
            livemode=livemode,
            key_life_us=self.house.limits.key_life_us,
        )
        self.front = GatewayFront(
            system=system,
            journal=self.journal,
            payments=self.payments,
            intake=self._intake,
            reads=reads,
            office=DeskOffice(
                system=system,
                store=store,
                payments=self.payments,
                providers=self.desk,
                reads=reads,
                report=self.letters.report,
                in_doubt_flag_us=self.house.limits.in_doubt_flag_us,
                asleep=self.house.asleep.__contains__,
            ),
            reception=self.webhooks.reception,
            replayer=self.webhooks.replayer,
            notices=self.webhooks_out.desk,
            nodes=Nodes(store, clock=system.clock, name=config.database.node),
            desk=self.desk,
            vault=vault,
            admission=self.admission,
            gauges=self._gauges,
            turning=lambda desk: turning(desk, store, self._nodes),
        )

    # ------------------------------------------------------------------ life

    @classmethod
    async def start(
        cls,
        config: Config,
        *,
        loop: asyncio.AbstractEventLoop,
        on_fatal: Callable[[BaseException], None],
        clock: Clock | None = None,
        rng: random.Random | None = None,
        store: Store | None = None,
        adapters: dict[str, Provider] | None = None,
        system: Callable[..., ActorSystem] = ActorSystem,
        threads: bool = True,
        way_out: WayOut = OVER_HTTP,
    ) -> "Gateway":
        """Open the store and build the house; reads are served, payments not before `recover`.

        Without `store`, the data folder's SQLite file; without `adapters`, those configured; a
        simulator brings its own, its clock, its seeded randomness and its kind of `system`, and
        no `threads`: then the ends of the audit chain are not published. `way_out` says how
        webhooks to merchants are spelt and sent. Raises `StoreRefused` for a data folder that
        cannot be served, `KeysRefused` for a vault without keys.
        """
        ticking = clock or SystemClock()
        common = None if store is None or as_shared(store) is None else ClusterClock(ticking)
        running = system(
            loop=loop, clock=common or ticking, rng=rng or system_rng(), on_fatal=on_fatal
        )
        folder = store is None
        if store is None:
            store = SqliteStore(Path(config.data_dir), KINDS, on_failed=running.fail)
        await store.open()
        fleet = None
        gateway = None
        try:
            if common is not None:
                fleet = await joined(config.database, store, system=running, clock=common)
            opened = await open_up(config, store, folder=folder, random=random_bytes(rng))
            gateway = cls(
                config,
                system=running,
                store=store,
                vault=opened.vault,
                adapters=adapters_of(config) if adapters is None else adapters,
                livemode=not config.sandbox.enabled,
                way_out=way_out,
                fleet=fleet,
            )
            await gateway._furnish(mark=opened.stamp, threads=threads)
            if opened.same_vault:
                await same_vault(opened.vault, store=store, journal=gateway.journal)
        except BaseException:
            if gateway is not None:
                # Who still reads would cry about a store that is closed.
                await running.stop_all()
                await gateway._root.stop()
            if fleet is not None:
                await fleet.leave()
            await store.close()
            raise
        return gateway

    async def recover(self) -> None:
        """Load what is open, ask about it, bring stored webhooks to it; then be ready.

        The asking begins when all is loaded: it would take the time that keeps everybody waiting.
        """
        self.house.asking.held = True
        if self._fleet is not None:
            opened = await self._fleet.recover()
        else:
            opened = await load_open(self.store, self.payments, self._mender, self.letters.at)
        await self.webhooks.recover()
        self.webhooks_out.open()
        self.house.asking.held = False
        self.admission.state = None
        _log.info("recovered", open_payments=opened, parked_webhooks=self.inbox.parked)

    def drain(self) -> None:
        """Take no new work; what is under way goes on, and nobody is kept waiting by preference."""
        self.admission.state = DRAINING
        self.webhooks.drain()
        self.webhooks_out.drain()
        self.front.release()

    async def stop(self) -> None:
        """Write what waits, stop the actors, close adapters and store. Open calls are recovered."""
        self.drain()
        pools = [self._actor(f"pool:{desk.config.id}", ProviderPool) for desk in self.desk.all()]
        await asyncio.gather(settled(pools, CALLS_END_S), self.webhooks_out.settle(CALLS_END_S))
        await self.system.stop_all(last=self.journal.drain)
        await self._root.stop()
        await self.webhooks_out.close()
        for adapter in self._adapters.values():
            await adapter.close()
        if self._fleet is not None:
            await self._fleet.leave()
        await self.store.close()

    # ------------------------------------------------------------------ what the parts call

    def _make_payment(self, payment_id: str) -> PaymentActor:
        return PaymentActor(self.system, payment_id, house=self.house)

    def _is_known(self, payment_id: str) -> bool:
        return payment_id in self.house.asleep or self.payments.active(payment_id) is not None

    def _parked(self, payment_id: str, error: BaseException) -> None:
        self.house.set_aside(payment_id)
        cry_parked(payment_id, error)

    def _publish(self, head: Any) -> None:
        publisher = self._publisher
        if publisher is not None:
            with suppress(Overloaded):
                publisher.tell(sign_head(self._head_key, head, self.system.clock.now_us()))

    def _gauges(self) -> Mapping[str, float]:
        return gauges(
            system=self.system,
            journal=self.journal,
            store=self.store,
            payments=self.payments,
            house=self.house,
            webhooks=self.webhooks,
            webhooks_out=self.webhooks_out,
            desk=self.desk,
            admission=self.admission,
            damage=self.damage,
            verifier=lambda: self._actor("audit", Verifier),
            pool=lambda provider: self._actor(f"pool:{provider}", ProviderPool),
            fleet=self._fleet,
        )

    def _actor(self, key: str, kind: type[A]) -> A | None:
        actor = self.system.cells.get(key)
        return actor if isinstance(actor, kind) else None

    # ------------------------------------------------------------------ furnishing

    async def _furnish(self, *, mark: str | None, threads: bool) -> None:
        await self.journal.start()
        if mark is not None:
            await stamp(mark, journal=self.journal, at_us=self.system.clock.now_us())
        await self.webhooks_out.load()
        await load_switches(self.desk, self.store, self.journal)
        at_us = self.system.clock.now_us()
        await note_places(self._config, self.store, self.journal, at_us=at_us)
        if threads:
            heads = Path(self._config.data_dir) / heads_file(own_chain(self.store))
            self._publisher = self._storage.start(HeadPublisher, "audit-heads", heads)
        aside = partial(set_aside, self.payments)
        self._storage.start(Verifier, "audit", self.store, set_aside=aside)
        if isinstance(self.store, SqliteStore):
            self._storage.start(
                Scrubber, "scrubber", store=self.store, book=self.damage, set_aside=aside
            )
        self._services.start(FraudActor, "fraud", fraud_of(self._config), self._rules)
        for desk in self.desk.all():
            start_pool(
                desk,
                self._pools,
                queue_max=self._config.limits.provider_queue_max,
                open_kept=self._instruments.open,
                report=self.letters.report,
                nodes=self._nodes,
            )
        if self._fleet is not None:
            ear = NodeEar(self.system, self.store, self.desk, self.webhooks, self.webhooks_out)
            self._fleet.serve(self.payments, ear, self.letters)
