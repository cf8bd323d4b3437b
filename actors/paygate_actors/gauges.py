"""The gateway in numbers, read when somebody looks: nothing is counted twice, nothing is kept."""

from collections.abc import Callable, Mapping

from paygate_actors.admission import Admission
from paygate_actors.audit import Verifier
from paygate_actors.breaker import Circuit
from paygate_actors.damage import DamageBook
from paygate_actors.fleet import Fleet
from paygate_actors.health import Health
from paygate_actors.house import House
from paygate_actors.money import Money
from paygate_actors.payment import PaymentActor
from paygate_actors.pool import ProviderPool
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.webhooks_in import WebhooksIn
from paygate_actors.webhooks_out import WebhooksOut
from paygate_engine.errors import Corrupt
from paygate_engine.journal import Journal
from paygate_engine.region import Region
from paygate_engine.stores.base import Store
from paygate_engine.system import ActorSystem

_CIRCUITS: dict[Circuit, int] = {"closed": 0, "half_open": 1, "open": 2}


def gauges(
    *,
    system: ActorSystem,
    journal: Journal,
    store: Store,
    payments: Region[PaymentActor],
    house: House,
    webhooks: WebhooksIn,
    webhooks_out: WebhooksOut,
    desk: ProviderDesk,
    admission: Admission,
    damage: DamageBook,
    verifier: Callable[[], Verifier | None],
    pool: Callable[[str], ProviderPool | None],
    fleet: Fleet | None,
) -> Mapping[str, float]:
    """Every number, by its Prometheus name; labels hold no merchant and no id."""
    found: dict[str, float] = {
        "paygate_ready": float(admission.unready() is None),
        "paygate_live_payments": len(payments),
        "paygate_sleeping_payments": len(house.asleep),
        "paygate_parked_payments": len(payments.parked),
        "paygate_quarantined_payments": sum(
            isinstance(error, Corrupt) for error in payments.parked.values()
        ),
        "paygate_damaged_rows": len(damage.rows),
        "paygate_oldest_message_seconds": system.oldest_wait_s(),
        "paygate_messages_handled_total": system.stats.handled,
        "paygate_tasks_failed_total": system.stats.tasks_failed,
        "paygate_journal_backlog": journal.backlog,
        "paygate_journal_full": float(journal.full),
        "paygate_journal_failed": float(journal.failed is not None),
        "paygate_journal_log_bytes": store.log_bytes,
        "paygate_journal_groups_total": journal.stats.groups,
        "paygate_journal_units_total": journal.stats.units,
        "paygate_journal_rows_total": journal.stats.rows,
        "paygate_journal_conflicts_total": journal.stats.conflicts,
        "paygate_admission_refused_total": admission.refused,
    }
    walker = verifier()
    if walker is not None:
        found["paygate_audit_verified_rows"] = walker.verified
        found["paygate_audit_broken"] = float(walker.fault is not None)
    for (reason, kind), count in system.dead_letters.counts.items():
        found[f'paygate_dead_letters_total{{reason="{reason}",message="{kind}"}}'] = count
    if fleet is not None:
        found.update(fleet.gauges())
    found.update(webhooks.gauges())
    found.update(webhooks_out.gauges())
    found.update(_doubts(house, system.clock.now_us()))
    found.update(_counts(house))
    found.update(_providers(desk, pool))
    return found


def _doubts(house: House, now_us: int) -> Mapping[str, float]:
    sums: dict[str, int] = {}
    oldest_us = now_us
    for currency, minor, since_us in house.in_doubt.values():
        sums[currency] = sums.get(currency, 0) + minor
        oldest_us = min(oldest_us, since_us)
    found = {
        # A gauge is a float by Prometheus' nature; it is shown, and nothing is computed from it.
        f'paygate_in_doubt_amount{{currency="{currency}"}}': float(
            Money(minor, currency).to_decimal()
        )
        for currency, minor in sums.items()
    }
    found["paygate_in_doubt_calls"] = len(house.in_doubt)
    found["paygate_in_doubt_oldest_seconds"] = (now_us - oldest_us) / 1_000_000
    return found


def _counts(house: House) -> Mapping[str, float]:
    names = {
        "moved": ("paygate_payments_moved_total", ("fact",)),
        "call": ("paygate_provider_calls_total", ("provider", "verb")),
        "desk": ("paygate_desk_actions_total", ("action",)),
        "attention": ("paygate_attention_total", ("code",)),
        "transaction": ("paygate_transactions_total", ("type", "origin")),
    }
    found: dict[str, float] = {}
    for (what, *values), count in house.counts.items():
        name, labels = names[what]
        text = ",".join(f'{label}="{value}"' for label, value in zip(labels, values, strict=True))
        found[f"{name}{{{text}}}"] = count
    return found


def _providers(
    desk: ProviderDesk, pool: Callable[[str], ProviderPool | None]
) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for each in desk.all():
        label = f'{{provider="{each.config.id}"}}'
        charges = each.health.circuits["charge"]
        found[f"paygate_provider_circuit{label}"] = _CIRCUITS[charges.circuit]
        found.update(_of_health(each.config.id, each.health))
        found[f"paygate_provider_active{label}"] = float(each.is_active)
        rate = charges.success_rate_milli
        if rate is not None:
            found[f"paygate_provider_success_ratio{label}"] = rate / 1_000
        running = pool(each.config.id)
        if running is not None:
            found[f"paygate_provider_calls_running{label}"] = running.running
            found[f"paygate_provider_calls_waiting{label}"] = running.waiting
    return found


def _of_health(provider: str, health: Health) -> Mapping[str, float]:
    label = f'{{provider="{provider}"}}'
    found = {
        f"paygate_provider_circuit_changes_total{label}": health.changes,
        f"paygate_provider_concurrency{label}": health.concurrency,
        f"paygate_provider_quiet_seconds{label}": health.quiet_s,
        f"paygate_provider_repeats_left{label}": health.budget.left,
    }
    for operation, circuit in health.circuits.items():
        both = f'{{provider="{provider}",operation="{operation}"}}'
        found[f"paygate_provider_operation_circuit{both}"] = _CIRCUITS[circuit.circuit]
    for reason, count in health.unknowns.items():
        found[f'paygate_provider_unknown_total{{provider="{provider}",reason="{reason}"}}'] = count
    return found
