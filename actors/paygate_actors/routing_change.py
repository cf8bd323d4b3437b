"""New routing rules while payments are under way: on record first, in force then."""

import structlog

from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.routing import digest_of
from paygate_actors.routing_config import Routing
from paygate_engine.clock import Clock
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Unit

# What audit rows about the rules are filed under.
STREAM = "routing"

_log = structlog.get_logger("paygate.routing")


async def adopt_routing(
    routing: Routing, *, desk: ProviderDesk, journal: Journal, clock: Clock, who: str
) -> bool:
    """Let these checked rules decide about payments from now on; False: they do already.

    The change is audited with the digest that each route names, before any payment is routed by
    it. Raises what the journal raises; the rules are then those of before.
    """
    old, new = desk.router.digest, digest_of(routing)
    if old == new:
        return False
    entry = AuditEntry(
        at_us=clock.now_us(), who=who, what=f"routing rules {new} for {old}", stream=STREAM
    )
    await journal.append_wait(Unit(audit=(entry,)))
    desk.router.adopt(routing)
    _log.info("routing_rules_changed", rules=new, before=old, count=len(routing.rules))
    return True
