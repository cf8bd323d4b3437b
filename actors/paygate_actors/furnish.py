"""What the house is furnished with, out of the configuration and the store."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog

from paygate_actors.among import Among
from paygate_actors.card import SealedCard
from paygate_actors.chains import chains_of, rows_of
from paygate_actors.config import Config, Fraud, ProviderConfig
from paygate_actors.credentials import SealedToken
from paygate_actors.guarding import guarded
from paygate_actors.house import Limits
from paygate_actors.payment import PaymentActor
from paygate_actors.pool import ProviderPool
from paygate_actors.pool_messages import Answered
from paygate_actors.probing import watched
from paygate_actors.projection import PROVIDER
from paygate_actors.provider_desk import (
    Desk,
    ProviderDesk,
    Switches,
    read_switches,
    switches_unit,
    word_unknown,
)
from paygate_actors.providers.base import Provider
from paygate_actors.providers.registry import ProviderRefused, build
from paygate_engine.clock import system_bytes
from paygate_engine.errors import Corrupt, StoreRefused
from paygate_engine.journal import Journal
from paygate_engine.ref import LightRef
from paygate_engine.region import Region
from paygate_engine.stores.base import AuditEntry, Document, Store, Unit
from paygate_engine.supervisor import Supervisor
from paygate_engine.system import ActorSystem

US_PER_S: Final = 1_000_000
# Payments that only linger in memory take no more of its places than one in this many.
LINGER_SHARE: Final = 10
# The sandbox blocks this card, as its contract says.
SANDBOX_BLOCKED: Final = "4100000000000019"

_log = structlog.get_logger("paygate.furnish")
_gateway_log = structlog.get_logger("paygate.gateway")


def limits_of(config: Config) -> Limits:
    """The durations that payments decide by."""
    return Limits(
        review_us=config.fraud.review_hours * 3_600 * US_PER_S,
        key_life_us=config.limits.idempotency_hours * 3_600 * US_PER_S,
        in_doubt_flag_us=round(config.limits.in_doubt_flag_s * US_PER_S),
    )


def fraud_of(config: Config) -> Fraud:
    """The fraud rules; the sandbox's have its blocked card on the list."""
    if not config.sandbox.enabled:
        return config.fraud
    cards = (*config.fraud.block_cards, SANDBOX_BLOCKED)
    return msgspec.structs.replace(config.fraud, block_cards=cards)


def adapters_of(config: Config) -> dict[str, Provider]:
    """An adapter for each configured provider. Raises `StoreRefused` for an unknown kind."""
    return {each.id: _adapter(each, config) for each in config.providers}


def desk_of(
    config: Config,
    adapters: Mapping[str, Provider],
    system: ActorSystem,
    journal: Journal,
    report: Callable[[str, Answered], None],
) -> ProviderDesk:
    """The providers with their switches, and the routing rules, as configured."""
    desks = _desks(config, adapters, system, journal)
    return ProviderDesk(desks, report, routing=config.routing, clock=system.clock)


def _desks(
    config: Config, adapters: Mapping[str, Provider], system: ActorSystem, journal: Journal
) -> Iterable[Desk]:
    for each in config.providers:
        concurrency = each.concurrency or config.limits.provider_concurrency
        yield _desk(each, adapters[each.id], concurrency, system, journal)


def _desk(
    provider: ProviderConfig,
    adapter: Provider,
    concurrency: int,
    system: ActorSystem,
    journal: Journal,
) -> Desk:
    switches = Switches(accepts_charges=True, created_at_us=system.clock.now_us())
    health = watched(
        provider.id,
        deadline_s=adapter.capabilities.deadline_s,
        concurrency=concurrency,
        finds=adapter.capabilities.finds,
        # Asked when a circuit has opened, and then there is a desk.
        is_active=lambda: desk.is_active,
        system=system,
        note=lambda entry: note_later(system, journal, entry),
    )
    desk = Desk(provider, adapter, health, switches, _pool_of(system, provider.id))
    return desk


def note_later(system: ActorSystem, journal: Journal, entry: AuditEntry) -> None:
    """Write it into the audit log, or not: where there is no room, log and metrics have it."""

    async def write() -> None:
        # Made when it is waited for: the system may stop before it comes to that.
        await guarded(journal.append_wait(Unit(audit=(entry,))))

    system.spawn_task(write())


@asynccontextmanager
async def turning(desk: Desk, store: Store, nodes: Among) -> AsyncGenerator[None]:
    """Have a provider's switches to oneself, as they were left. Raises `Overloaded`."""
    async with desk.turning, nodes.turn(f"provider {desk.config.id}"):
        if nodes.epoch:
            await _refresh(desk, store)
        yield


async def reload_switches(desk: ProviderDesk, store: Store) -> None:
    """Turn the switches as another node has left them; what cannot be read changes nothing."""
    for each in desk.all():
        async with each.turning:
            await _refresh(each, store)


async def _refresh(desk: Desk, store: Store) -> None:
    stored = await store.read_document(PROVIDER, desk.config.id)
    if stored is not None and stored.sound:
        desk.switches = read_switches(stored)


def start_pool(
    desk: Desk,
    pools: Supervisor,
    *,
    queue_max: int,
    open_kept: Callable[[str, str], Awaitable[SealedCard | SealedToken | None]],
    report: Callable[[str, Answered], None],
    nodes: Among,
) -> None:
    """Start the pool of a provider; it sends while the node may act."""
    pools.start(
        ProviderPool,
        f"pool:{desk.config.id}",
        provider=desk.adapter,
        queue_max=queue_max,
        open_kept=open_kept,
        report=report,
        health=desk.health,
        may_act=lambda: nodes.may_act,
    )


async def load_switches(desk: ProviderDesk, store: Store, journal: Journal) -> None:
    """Turn the switches as they were left; a provider that is new is known from now on."""
    for each in desk.all():
        stored = await store.read_document(PROVIDER, each.config.id)
        if stored is not None and stored.sound:
            each.switches = await _left(each, stored, store, journal)
        elif stored is not None:
            # What an operator last said is not readable: nothing is sent there until it is said
            # again. The configuration may be older than a reason to keep away from it.
            _log.critical("provider_off", provider=each.config.id, why="its switches are damaged")
            each.switches = msgspec.structs.replace(
                each.switches, is_active=False, accepts_charges=False
            )
        else:
            made_us = each.switches.created_at_us
            unit = switches_unit(each.config.id, each.switches, who="system", at_us=made_us)
            await journal.append_wait(unit)


async def _left(desk: Desk, stored: Document, store: Store, journal: Journal) -> Switches:
    """The switches as they were left; an older row is stored anew, with whose word it was."""
    switches = read_switches(stored)
    was_active = word_unknown(stored)
    if was_active is None:
        return switches
    # The audit log is long, and is only asked where the answer matters today: a provider that is
    # on, and on in the file, is used either way.
    on_both_ways = was_active and desk.config.active
    if on_both_ways or not await _operator_switched(desk.config.id, store):
        switches = msgspec.structs.replace(switches, is_active=None)
    at_us = desk.switches.created_at_us
    await journal.append_wait(switches_unit(desk.config.id, switches, who="system", at_us=at_us))
    return switches


async def _operator_switched(provider: str, store: Store) -> bool:
    """Whether anybody but the gateway itself ever turned a switch of the provider."""
    for name in await chains_of(store):
        async for row in rows_of(store, name):
            entry = row.entry
            by_operator = entry.what.startswith("switch ") and entry.who != "system"
            if by_operator and entry.stream == provider:
                return True
    return False


def cry_parked(payment_id: str, error: BaseException) -> None:
    """Log that a payment waits for a person."""
    what = "payment_quarantined" if isinstance(error, Corrupt) else "payment_parked"
    _gateway_log.critical(what, payment=payment_id, error=str(error) or repr(error))


def set_aside(payments: Region[PaymentActor], stream: str, error: Corrupt) -> None:
    """Park the payment whose stream was found damaged; other streams are not followed."""
    if stream.startswith("pay_"):
        payments.park(stream, error)


def linger_max_of(config: Config) -> int:
    """How many payments stay in memory that could be read back."""
    limits = config.limits
    return min(limits.lingering_payments_max, limits.live_payments_max // LINGER_SHARE)


def random_bytes(rng: random.Random | None) -> Callable[[int], bytes]:
    """The system's randomness, or a simulator's."""
    return system_bytes if rng is None else rng.randbytes


def _adapter(config: ProviderConfig, gateway: Config) -> Provider:
    # Our own sandbox's terms stand beside its providers' tables, not in them.
    ours = {"void_window_s": str(gateway.sandbox.void_window_s)} if config.kind == "sandbox" else {}
    try:
        return build(config, options=ours)
    except ProviderRefused as error:
        raise StoreRefused(f"providers: {error}") from error


def _pool_of(system: ActorSystem, provider: str) -> Callable[[], LightRef[ProviderPool] | None]:
    return lambda: system.get(f"pool:{provider}")
