"""The gateway's process in a simulated world: started, killed, frozen, started again.

The production code runs unchanged: `Gateway.start`, `recover`, `drain`, `stop`, and its front.
"""

import base64
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

import msgspec

from paygate_actors.config import Config, Database, Fraud, Limits, ProviderConfig, Sandbox, Vault
from paygate_actors.gateway import Gateway
from paygate_actors.providers.base import Provider
from paygate_actors.simulation.accounts import Players
from paygate_actors.simulation.doors import Door, Doors, Heard, Wish
from paygate_actors.simulation.durable import Durable
from paygate_actors.simulation.faults import Dice, Options, seeded
from paygate_actors.simulation.kinds import adapter_of
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.notices import SECRET
from paygate_actors.simulation.provider import SimulatedProvider
from paygate_actors.simulation.receivers import Receivers
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_actors.simulation.wire import Sent, SimulatedWire
from paygate_actors.simulation.wishes import LARGE_MINOR
from paygate_actors.vault import Vault as OpenVault
from paygate_actors.webhooks_out import WayOut
from paygate_engine.errors import Fenced, StoreFull
from paygate_engine.simulation import (
    Killed,
    Process,
    SimulatedClock,
    SimulatedSystem,
    VirtualLoop,
)

# The sandbox asks every five seconds for ever; a day of that would drown what matters.
ASK_S_MAX: Final = 300.0
PROVIDERS: Final = ("sandbox", "sandbox_backup")
# A day of waiting for somebody who overlooks a payment is a day of beats where there are nodes.
_REVIEW_HOURS: Final = 1
_VAULT_KEY: Final = base64.b64encode(bytes(range(32))).decode()
_HASH_KEY: Final = base64.b64encode(bytes(range(32, 64))).decode()

CONFIG: Final = Config(
    sandbox=Sandbox(enabled=True),
    fraud=Fraud(velocity=False, review_amount_usd_minor=LARGE_MINOR),
    vault=Vault(keys=(f"simulated:{_VAULT_KEY}",), fingerprint_key=_HASH_KEY),
    providers=tuple(
        ProviderConfig(id=name, kind="sandbox", url="http://simulated.invalid", priority=place)
        for place, name in enumerate(PROVIDERS, start=1)
    ),
)


def vault_of_worlds() -> OpenVault:
    """The vault that every world's gateway has, to put something into it before the first life."""
    keys = [("simulated", base64.b64decode(_VAULT_KEY))]
    return OpenVault(keys, base64.b64decode(_HASH_KEY), random=seeded(0, "vault").randbytes)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What is outside of the process and lives on."""

    options: Options
    loop: VirtualLoop
    outside: Context
    clock: SimulatedClock
    durable: Durable
    dice: Dice
    trace: Trace
    doors: Doors
    links: dict[str, Link]
    providers: dict[str, SimulatedProvider]
    players: Players | None
    receivers: Receivers
    sent: Sent


class Server:
    """One life of the gateway's process. `died(why)` is called when it ends by itself.

    `node` names it among several.
    """

    def __init__(
        self, world: Surroundings, life: int, *, node: str = "", died: Callable[[str], None]
    ) -> None:
        self.process = Process(world.loop)
        self._world = world
        self._life = f"life {life} of {node}" if node else f"life {life}"
        self._node = node
        self._died = died
        self._gateway: Gateway | None = None
        self._door: Door | None = None
        self.handle = world.durable.handle(self.process, name=node, die=died)

    async def start(self) -> None:
        """Start and recover. Raises `Killed`."""
        await self.process.call(self._start)

    async def ask(self, wish: Wish) -> Heard:
        """Ask at the door. Raises `Killed` where nobody listens, or nobody does any more."""
        door = self._door
        if door is None:
            raise Killed
        return await self.process.call(lambda: door.ask(wish))

    async def stop(self) -> None:
        """Drain and stop in good order."""
        gateway = self._gateway
        if gateway is not None:
            await self.process.call(gateway.stop)
        self.process.kill()

    def check(self) -> None:
        """Whether everything inside went as it should. Raises `Violation`."""
        gateway = self._gateway
        if gateway is None:
            return
        failed = gateway.journal.failed
        if failed is not None:
            if isinstance(failed.__cause__, StoreFull):
                raise Violation("a full disk ends no process", str(failed))
            return
        if isinstance(gateway.system.failure, Fenced):
            return
        stats = gateway.system.stats
        failed = [kind.__name__ for kind, lives in stats.kinds.items() if lives.failed]
        if failed:
            raise Violation("no handler fails", ", ".join(failed))
        if stats.tasks_failed or gateway.journal.stats.waiter_errors:
            raise Violation("no task fails", f"{stats.tasks_failed} tasks")
        if gateway.payments.parked:
            raise Violation("no payment is parked", ", ".join(gateway.payments.parked))

    def bury(self) -> None:
        """Give back what it left in the interpreter. Call it when the loop has stopped."""
        self.process.kill()
        self.process.bury()
        if self._gateway is not None and isinstance(self._gateway.system, SimulatedSystem):
            self._gateway.system.abandon()

    async def _start(self) -> None:
        world = self._world
        seed = world.options.seed
        order = seeded(seed, f"order in {self._life}")

        def system(**known: Any) -> SimulatedSystem:
            return SimulatedSystem(order=order, watch=self._watch, **known)

        config = world.doors.config(self._config())
        self._gateway = gateway = await Gateway.start(
            config,
            loop=world.loop,
            on_fatal=self._failed,
            clock=world.clock,
            rng=seeded(seed, f"ids in {self._life}"),
            store=self.handle,
            adapters={each.id: self._adapter(each.id) for each in config.providers},
            system=system,
            threads=False,
            way_out=WayOut(sender=world.receivers),
        )
        clock = gateway.system.clock if self._node else world.clock
        self._door = world.doors.open(gateway.front, config, clock)
        await gateway.recover()

    def _failed(self, error: BaseException) -> None:
        fenced = isinstance(error, Fenced)
        self._died("its epoch is over" if fenced else "the journal failed")

    def _config(self) -> Config:
        world, config = self._world, CONFIG
        limits = Limits(lingering_payments_max=world.options.lingering)
        config = msgspec.structs.replace(config, limits=limits)
        if self._node:
            database = Database(node=self._node, lease_s=world.options.lease_s)
            fraud = msgspec.structs.replace(config.fraud, review_hours=_REVIEW_HOURS)
            config = msgspec.structs.replace(config, database=database, fraud=fraud)
        if world.players is None:
            return config
        providers = (*world.players.configs(), *config.providers)
        return msgspec.structs.replace(config, providers=providers)

    def _watch(self, key: str, message: object) -> None:
        self._world.trace.delivered(key, type(message).__name__)

    def _adapter(self, name: str) -> Provider:
        world = self._world
        if world.players is not None and name in world.players.names:
            return world.players.adapter(name)
        return adapter_of(
            world.providers[name].kind,
            id=name,
            webhook_secret=SECRET,
            ask_max_s=ASK_S_MAX,
            client=SimulatedWire(
                world.providers[name],
                loop=world.loop,
                outside=world.outside,
                dice=world.dice,
                link=world.links[name],
                sent=world.sent,
            ),
        )
