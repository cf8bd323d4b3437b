"""New routing rules while payments are under way: on record first, in force then."""

from collections.abc import Iterator

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


class RulesRefused(Exception):
    """The rules cannot be put in force here; `lines` name each place in them and why."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


async def adopt_routing(
    routing: Routing, *, desk: ProviderDesk, journal: Journal, clock: Clock, who: str
) -> bool:
    """Let these checked rules decide about payments from now on; False: they do already.

    The change is audited with the digest that each route names, before any payment is routed by
    it. Raises `RulesRefused` where they name a provider that does not run here, and what the
    journal raises; the rules are then those of before.
    """
    old, new = desk.router.digest, digest_of(routing)
    if old == new:
        return False
    if strangers := tuple(_strangers(routing, desk)):
        raise RulesRefused(*strangers)
    entry = AuditEntry(
        at_us=clock.now_us(), who=who, what=f"routing rules {new} for {old}", stream=STREAM
    )
    await journal.append_wait(Unit(audit=(entry,)))
    desk.router.adopt(routing)
    _log.info("routing_rules_changed", rules=new, before=old, count=len(routing.rules))
    return True


def _strangers(routing: Routing, desk: ProviderDesk) -> Iterator[str]:
    # Checked rules name providers of their own file, and one that was added there with them does
    # not run yet: payments that only it may take would be refused until somebody restarts.
    why = "starts with the next restart, and rules that name it can be taken no sooner"
    for index, rule in enumerate(routing.rules):
        for place, target in enumerate(rule.targets):
            if desk.get(target.provider) is None:
                here = f"routing.rules[{index}].targets[{place}].provider"
                yield f"{here}: {target.provider!r} {why}"
    for provider in routing.costs:
        if desk.get(provider) is None:
            yield f"routing.costs.{provider}: {provider!r} {why}"
