"""What a node does when it hears of others: it reads anew what they changed, sends what waits."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from pykka import ActorDeadError

from paygate_actors.furnish import reload_switches
from paygate_actors.pool_messages import GoOn
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.webhooks_in import WebhooksIn
from paygate_actors.webhooks_out import WebhooksOut
from paygate_engine.errors import Overloaded
from paygate_engine.stores.base import Store
from paygate_engine.system import ActorSystem

# What could not be read is read again after this long: a read of a database that is away takes
# seconds itself, and a change should not wait much longer than for a beat.
REREAD_S: Final = 1.0


class NodeEar:
    """An `Ear` (`fleet.py`) over the parts of a gateway that other nodes concern."""

    def __init__(
        self,
        system: ActorSystem,
        store: Store,
        desk: ProviderDesk,
        webhooks: WebhooksIn,
        webhooks_out: WebhooksOut,
    ) -> None:
        self._system = system
        self._store = store
        self._desk = desk
        self._webhooks = webhooks
        self._webhooks_out = webhooks_out
        self._outdated = False
        self._reads = False

    def configuration_changed(self) -> None:
        """Another node may have turned switches, or changed endpoints."""
        self._outdated = True
        if not self._reads:
            self._reads = True
            self._system.spawn_task(self._reload())

    def node_gone(self) -> None:
        """What another node had stored and not told is told by the one that sweeps."""
        self._system.spawn_task(self._webhooks.node_gone())

    def may_act_again(self) -> None:
        """Calls that waited may go."""
        for desk in self._desk.all():
            pool = desk.pool()
            if pool is not None:
                with suppress(Overloaded, ActorDeadError):
                    pool.tell(GoOn())

    def heard(self, words: Iterable[str]) -> None:
        """Something waits to be sent."""
        self._webhooks_out.heard(words)

    async def _reload(self) -> None:
        """Read until nothing has changed since; one reads at a time, so none undoes a newer look.

        A change is told once: until it is read, what is committed here goes past a new endpoint.
        """
        try:
            while self._outdated:
                self._outdated = False
                await reload_switches(self._desk, self._store)
                await self._webhooks_out.load()
        except Overloaded:
            self._system.after(REREAD_S, self._read_again, None)
        finally:
            self._reads = False

    def _read_again(self, _: object) -> None:
        self.configuration_changed()
