"""Looks whether a provider whose circuit for charges is open answers again: with a look-up.

A look-up moves no money and says at once whether anybody is there; a payer's charge need not be
the one that finds out. What the probe hears only shortens the wait: where it is not answered, the
circuit half opens after its time all the same, and one charge decides.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import structlog
from pykka import ActorDeadError

from paygate_actors.breaker import Circuit
from paygate_actors.health import Health, Operation, answered_well
from paygate_actors.outcomes import Outcome
from paygate_actors.pool import ProviderPool
from paygate_actors.pool_messages import LookUp
from paygate_engine.errors import EngineError
from paygate_engine.future import LoopFuture
from paygate_engine.ref import LightRef
from paygate_engine.stores.base import AuditEntry
from paygate_engine.system import ActorSystem

# Often enough to notice within seconds, rarely enough that nobody calls it load.
PROBE_S: Final = 5.0
# No call has this key: whoever answers that it is not there is there.
PROBE_KEY: Final = "paygate-probe"
# A pool whose permits are all out gives no answer in time, and the next probe asks again.
ANSWER_S: Final = 30.0

_log = structlog.get_logger("paygate.providers")


def watched(
    provider: str,
    *,
    deadline_s: float,
    concurrency: int,
    finds: bool,
    is_active: Callable[[], bool],
    system: ActorSystem,
    note: Callable[[AuditEntry], None],
) -> Health:
    """Make the health of a provider: changes of its circuits are noted, open ones are probed.

    While it is not active nothing is sent there, and so no probe.
    """

    def changed(operation: Operation, circuit: Circuit) -> None:
        _log.warning("circuit_changed", provider=provider, operation=operation, circuit=circuit)
        what = f"circuit {operation} {circuit}"
        note(AuditEntry(at_us=system.clock.now_us(), who="system", what=what, stream=provider))
        if operation == "charge" and circuit == "open" and finds:
            system.after(PROBE_S, prober.due, None)

    health = Health(system.clock, deadline_s=deadline_s, concurrency=concurrency, on_change=changed)
    prober = Prober(provider, health, system, is_active=is_active)
    return health


class Prober:
    """Probes one provider while its circuit for charges is open."""

    def __init__(
        self,
        provider: str,
        health: Health,
        system: ActorSystem,
        *,
        is_active: Callable[[], bool],
    ) -> None:
        self._provider = provider
        self._is_active = is_active
        self._health = health
        self._system = system
        self._asking = False

    def due(self, _: None) -> None:
        """Ask once, and again after a while; not while it is not open any more."""
        if self._health.circuits["charge"].circuit == "open" and not self._asking:
            self._asking = True
            self._system.spawn_task(self._probe())

    async def _probe(self) -> None:
        pool = cast("LightRef[ProviderPool] | None", self._system.get(f"pool:{self._provider}"))
        try:
            if pool is not None and self._is_active():
                asked: LoopFuture[Any] = pool.ask(
                    LookUp(key=PROBE_KEY), block=False, timeout=ANSWER_S
                )
                answer: Outcome = await asked
                if answered_well(answer):
                    self._health.circuits["charge"].probed()
        except (EngineError, ActorDeadError):
            pass  # its pool is being restarted, or has no place: the next probe finds out
        finally:
            self._asking = False
        self._system.after(PROBE_S, self.due, None)
