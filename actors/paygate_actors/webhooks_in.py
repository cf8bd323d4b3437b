"""What providers tell us, by webhook or because we ask: reception, inbox, fetchers, the sweep."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog

from paygate_actors.among import Among
from paygate_actors.config import Limits
from paygate_actors.damage import Mender
from paygate_actors.fetching import EventFetcher
from paygate_actors.inbox import SWEEP_S, Inbox
from paygate_actors.key_names import KeyNames
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.reception import Reception
from paygate_actors.replaying import Replayer
from paygate_engine.errors import Overloaded
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Store
from paygate_engine.system import ActorSystem

# The duty of the node that brings what lies in the inbox for long, and forgets what is done.
SWEEP: Final = "sweep inbox"

_log = structlog.get_logger("paygate.webhooks")


class WebhooksIn:
    """The parts, and when they begin and end. `tell(payment_id, message)` reaches a payment."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        store: Store,
        journal: Journal,
        desk: ProviderDesk,
        mender: Mender,
        limits: Limits,
        tell: Callable[[str, Any], None],
        is_known: Callable[[str], bool],
        nodes: Among,
    ) -> None:
        self._system = system
        self._limits = limits
        self._nodes = nodes
        self.inbox = Inbox(
            system=system,
            store=store,
            journal=journal,
            tell=tell,
            is_known=is_known,
            mender=mender,
        )
        self.replayer = Replayer(
            store=store,
            adapter_of=lambda provider: (
                None if (one := desk.get(provider)) is None else one.adapter
            ),
            payment_of=self.inbox.payment_of,
            correct=self.inbox.correct,
        )
        self._desk = desk
        self._key_names = KeyNames(store=store, journal=journal)
        self.reception = Reception(
            system=system,
            desk=desk,
            journal=journal,
            inbox=self.inbox,
            key_names=self._key_names,
            oldest_message_s_max=limits.oldest_message_s_max,
            may_act=lambda: nodes.may_act,
        )
        self.fetchers = tuple(
            EventFetcher(
                each,
                system=system,
                store=store,
                journal=journal,
                inbox=self.inbox,
                baseline_s=limits.events_baseline_s,
                nodes=nodes,
            )
            for each in desk.all()
            if each.adapter.capabilities.feeds
        )

    async def recover(self) -> None:
        """Bring what is stored to its payments; from here on sweep and fetch."""
        for each in self._desk.all():
            await self._key_names.recover(each)
        await self.inbox.recover(bring=await self._nodes.mine(SWEEP))
        self._system.after(SWEEP_S, self._sweep, None)
        for fetcher in self.fetchers:
            fetcher.start()

    def drain(self) -> None:
        """Fetch no more. Idempotent."""
        for fetcher in self.fetchers:
            fetcher.stop()

    def gauges(self) -> Mapping[str, float]:
        """Every number, by its Prometheus name."""
        inbox = self.inbox
        found: dict[str, float] = {
            "paygate_webhooks_received_total": inbox.received,
            "paygate_webhooks_repeated_total": inbox.repeated,
            "paygate_webhooks_busy": inbox.busy,
            "paygate_webhooks_parked": inbox.parked,
            "paygate_webhooks_unreadable": inbox.unreadable,
            "paygate_webhooks_parked_oldest_seconds": inbox.oldest_parked_s(),
        }
        for each in self.fetchers:
            label = f'{{provider="{each.provider}"}}'
            found[f"paygate_provider_events_fetched_total{label}"] = each.fetched
            found[f"paygate_provider_events_failed_total{label}"] = each.failed
            found[f"paygate_provider_events_age_seconds{label}"] = each.age_s
            found[f"paygate_provider_events_overdue_seconds{label}"] = each.overdue_s
        for (provider, code), count in self.reception.refused.items():
            label = f'{{provider="{provider}",code="{code}"}}'
            found[f"paygate_webhooks_refused_total{label}"] = count
        return found

    def _sweep(self, _: object) -> None:
        self._system.spawn_task(self._sweep_once())

    async def node_gone(self) -> None:
        """Another node is gone: what it had stored and not told is told by whoever sweeps."""
        if await self._nodes.mine(SWEEP):
            with suppress(Overloaded):  # the sweep brings it
                await self.inbox.bring_all()

    async def _sweep_once(self) -> None:
        try:
            if not await self._nodes.mine(SWEEP):
                self.inbox.leave_parked()
                return
            await self.inbox.sweep()
            waited_s = self.inbox.oldest_parked_s()
            if waited_s > self._limits.parked_alert_s:
                _log.warning("webhook_parked", waiting=self.inbox.parked, oldest_s=waited_s)
        except Overloaded as error:
            _log.warning("not_swept", error=str(error))
        finally:
            self._system.after(SWEEP_S, self._sweep, None)
