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
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from paygate_actors.admission import DRAINING, Admission
from paygate_actors.audit import HEADS_FILE, HeadPublisher, Verifier, head_key
from paygate_actors.config import Config
from paygate_actors.damage import DamageBook, Mender
from paygate_actors.desk_office import DeskOffice
from paygate_actors.fraud import FraudActor
from paygate_actors.fraud_rules import FraudRules
from paygate_actors.front import GatewayFront
from paygate_actors.furnish import (
    adapters_of,
    desks_of,
    fraud_of,
    is_unmarked,
    limits_of,
    load_switches,
    random_bytes,
    stamp,
)
from paygate_actors.gauges import gauges
from paygate_actors.house import House
from paygate_actors.inbox import SWEEP_S, Inbox
from paygate_actors.intake import Intake
from paygate_actors.letters import Letters
from paygate_actors.lost_wakes import listed_open
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Look
from paygate_actors.pool import ProviderPool
from paygate_actors.projection import KINDS
from paygate_actors.provider_desk import (
    ProviderDesk,
)
from paygate_actors.providers.base import Provider
from paygate_actors.reads import Reads
from paygate_actors.scrubber import Scrubber
from paygate_actors.vault import Vault
from paygate_actors.vault_keys import vault_keys
from paygate_engine.clock import Clock, SystemClock, system_rng
from paygate_engine.errors import Corrupt, EngineError, Overloaded
from paygate_engine.heads import sign_head
from paygate_engine.journal import Journal
from paygate_engine.region import LINGER_MAX, Region
from paygate_engine.stores.base import Store
from paygate_engine.stores.sqlite import SqliteStore
from paygate_engine.supervisor import Backoff, Supervisor
from paygate_engine.system import ActorSystem

# As many as a page of open streams: more at once would only wait inside the region.
RECOVER_PAGE: Final = 500
# One payment's recovery is a read and at most one commit; past this something is wrong with it.
RECOVER_S: Final = 60.0
# Payments that are over and only linger in memory take no more of its places than one in this many.
LINGER_SHARE: Final = 10

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
    ) -> None:
        self.system = system
        self.store = store
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
            linger_max=min(LINGER_MAX, config.limits.live_payments_max // LINGER_SHARE),
            on_parked=self._parked,
        )
        self.damage = DamageBook()
        self._mender = Mender(store, self.damage)
        self.letters = Letters(system, self.payments.tell)
        self.inbox = Inbox(
            system=system,
            store=store,
            journal=self.journal,
            tell=self.payments.tell,
            is_active=lambda payment_id: self.payments.active(payment_id) is not None,
            mender=self._mender,
        )
        self.desk = ProviderDesk(desks_of(config, adapters, system), self.letters.report)
        self.house = House(
            system=system,
            limits=limits_of(config),
            providers=self.desk,
            arrivals=self.inbox,
            alarm=self.letters,
            again=self.letters.send,
        )
        self._open_front(vault, livemode=livemode)

    def _open_front(self, vault: Vault, *, livemode: bool) -> None:
        config, system, store = self._config, self.system, self.store
        self._rules = FraudRules(fraud_of(config), fingerprint=vault.fingerprint)
        self.admission = Admission(
            config.limits, system=system, payments=self.payments, journal=self.journal
        )
        reads = Reads(store, self.payments, self._mender)
        self._intake = Intake(
            system=system,
            store=store,
            payments=self.payments,
            desk=self.desk,
            vault=vault,
            rules=self._rules,
            fraud=lambda: system.get("fraud"),
            look=reads.look,
            mender=self._mender,
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
            ),
            inbox=self.inbox,
            desk=self.desk,
            vault=vault,
            admission=self.admission,
            gauges=self._gauges,
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
    ) -> "Gateway":
        """Open the store and build the house; reads are served, payments not before `recover`.

        Without `store`, the data folder's SQLite file; without `adapters`, those configured; a
        simulator brings its own, its clock, its seeded randomness and its kind of `system`, and
        no `threads`: then the ends of the audit chain are not published. Raises `StoreRefused` for
        a data folder that cannot be served, `KeysRefused` for a vault without keys.
        """
        running = system(
            loop=loop,
            clock=clock or SystemClock(),
            rng=rng or system_rng(),
            on_fatal=on_fatal,
        )
        livemode = not config.sandbox.enabled
        mode = "live" if livemode else "sandbox"
        if store is None:
            store = SqliteStore(Path(config.data_dir), KINDS, on_failed=running.fail)
        await store.open()
        try:
            unmarked = await is_unmarked(config.data_dir, store, mode=mode)
            keys = vault_keys(
                config.vault,
                data_dir=Path(config.data_dir),
                livemode=livemode,
                random=random_bytes(rng),
            )
            vault = Vault(keys.keys, keys.fingerprint_key, random=random_bytes(rng))
            if adapters is None:
                adapters = adapters_of(config)
            gateway = cls(
                config,
                system=running,
                store=store,
                vault=vault,
                adapters=adapters,
                livemode=livemode,
            )
            await gateway._furnish(mark=mode if unmarked else None, threads=threads)
        except BaseException:
            await store.close()
            raise
        return gateway

    async def recover(self) -> None:
        """Load what is open, ask about it, bring stored webhooks to it; then be ready.

        The asking begins when all is loaded: it would take the time that keeps everybody waiting.
        """
        self.house.asking.held = True
        after = ""
        opened = damaged = 0
        while True:
            page = await self.store.open_streams(after=after, limit=RECOVER_PAGE)
            now_us = self.system.clock.now_us()
            due: list[str] = []
            for wake in page:
                if not wake.sound:
                    self.damage.note("wakes", wake.stream)
                    damaged += 1
                elif wake.at_us is not None and wake.at_us > now_us:
                    self.letters.at(wake.stream, wake.at_us)
                else:
                    due.append(wake.stream)
            await asyncio.gather(*(self._recover_one(payment_id) for payment_id in due))
            opened += len(page)
            if len(page) < RECOVER_PAGE or page[-1].stream <= after:
                break  # the end, or a damaged name that would lead back
            after = page[-1].stream
        if damaged:
            async for payment_id in listed_open(self.store, self._mender):
                await self._recover_one(payment_id)
        await self.inbox.recover()
        self.system.after(SWEEP_S, self._sweep, None)
        self.house.asking.held = False
        self.admission.state = None
        _log.info("recovered", open_payments=opened, parked_webhooks=self.inbox.parked)

    def drain(self) -> None:
        """Take no new work; what is under way goes on, and nobody is kept waiting by preference."""
        self.admission.state = DRAINING
        self.front.release()

    async def stop(self) -> None:
        """Write what waits, stop the actors, close adapters and store. Open calls are recovered."""
        self.drain()
        await self._calls_end()
        await self.system.stop_all(last=self.journal.drain)
        await self._root.stop()
        for adapter in self._adapters.values():
            await adapter.close()
        await self.store.close()

    async def _calls_end(self) -> None:
        """Let calls that are out come home: what is cut off is in doubt until the next start."""
        pools = [self._actor(f"pool:{desk.config.id}", ProviderPool) for desk in self.desk.all()]
        with suppress(TimeoutError):
            async with asyncio.timeout(CALLS_END_S):
                for pool in pools:
                    if pool is not None:
                        await pool.idle.wait()

    # ------------------------------------------------------------------ what the parts call

    def _make_payment(self, payment_id: str) -> PaymentActor:
        return PaymentActor(self.system, payment_id, house=self.house)

    def _parked(self, payment_id: str, error: BaseException) -> None:
        what = "payment_quarantined" if isinstance(error, Corrupt) else "payment_parked"
        _log.critical(what, payment=payment_id, error=str(error) or repr(error))

    def _set_aside(self, stream: str, error: Corrupt) -> None:
        if stream.startswith("pay_"):
            self.payments.park(stream, error)

    def _publish(self, head: Any) -> None:
        publisher = self._publisher
        if publisher is not None:
            with suppress(Overloaded):
                publisher.tell(sign_head(self._head_key, head, self.system.clock.now_us()))

    def _gauges(self) -> Mapping[str, float]:
        return gauges(
            system=self.system,
            journal=self.journal,
            payments=self.payments,
            house=self.house,
            inbox=self.inbox,
            desk=self.desk,
            admission=self.admission,
            damage=self.damage,
            verifier=lambda: self._actor("audit", Verifier),
            pool=lambda provider: self._actor(f"pool:{provider}", ProviderPool),
        )

    def _actor(self, key: str, kind: type[A]) -> A | None:
        actor = self.system.cells.get(key)
        return actor if isinstance(actor, kind) else None

    def _sweep(self, _: object) -> None:
        self.system.spawn_task(self._sweep_once())

    async def _sweep_once(self) -> None:
        try:
            await self.inbox.sweep()
            waited_s = self.inbox.oldest_parked_s()
            if waited_s > self._config.limits.parked_alert_s:
                _log.warning("webhook_parked", waiting=self.inbox.parked, oldest_s=waited_s)
        finally:
            self.system.after(SWEEP_S, self._sweep, None)

    # ------------------------------------------------------------------ furnishing

    async def _furnish(self, *, mark: str | None, threads: bool) -> None:
        await self.journal.start()
        if mark is not None:
            await stamp(mark, journal=self.journal, at_us=self.system.clock.now_us())
        await load_switches(self.desk, self.store, self.journal)
        if threads:
            heads = Path(self._config.data_dir) / HEADS_FILE
            self._publisher = self._storage.start(HeadPublisher, "audit-heads", heads)
        self._storage.start(Verifier, "audit", self.store, set_aside=self._set_aside)
        if isinstance(self.store, SqliteStore):
            self._storage.start(
                Scrubber, "scrubber", store=self.store, book=self.damage, set_aside=self._set_aside
            )
        self._services.start(FraudActor, "fraud", fraud_of(self._config), self._rules)
        for desk in self.desk.all():
            self._pools.start(
                ProviderPool,
                f"pool:{desk.config.id}",
                provider=desk.adapter,
                concurrency=self._config.limits.provider_concurrency,
                queue_max=self._config.limits.provider_queue_max,
                open_card=self._intake.open_card,
                report=self.letters.report,
                breaker=desk.breaker,
            )

    async def _recover_one(self, payment_id: str) -> None:
        try:
            await self.payments.ask(payment_id, Look(), timeout=RECOVER_S)
        except EngineError as error:
            # It is asked again by the sweepers and by whoever needs it; the others go on.
            _log.error("not_recovered", payment=payment_id, error=repr(error))
