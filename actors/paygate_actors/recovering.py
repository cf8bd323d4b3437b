"""What a start does with payments that are open: each is loaded and looked at, a page at a time."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from pykka import ActorDeadError

from paygate_actors.damage import Mender
from paygate_actors.lost_wakes import Opened, due_pages, listed_open
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Look
from paygate_engine.errors import EngineError
from paygate_engine.region import Region
from paygate_engine.stores.base import Store

# One payment's recovery is a read and at most one commit; past this something is wrong with it.
RECOVER_S: Final = 60.0

_log = structlog.get_logger("paygate.gateway")


async def load_open(
    store: Store,
    payments: Region[PaymentActor],
    mender: Mender,
    later: Callable[[str, int], None],
) -> int:
    """Look at everything that is open in a store of one's own; how much that was.

    `later(payment_id, at_us)` sets the alarm of what is not due yet.
    """
    found = Opened()
    clock = payments.system.clock
    async for due in due_pages(store, found, clock=clock, book=mender.book, later=later):
        await asyncio.gather(*(look_at(payments, payment_id) for payment_id in due))
    if found.damaged:
        async for payment_id in listed_open(store, mender):
            await look_at(payments, payment_id)
    return found.opened


async def look_at(payments: Region[PaymentActor], payment_id: str) -> bool:
    """Have a payment see to what is open of it; False where it could not be."""
    try:
        await payments.ask(payment_id, Look(), timeout=RECOVER_S)
    except (EngineError, ActorDeadError) as error:
        # It is asked again by the sweepers and by whoever needs it; the others go on. So do those
        # that were adopted by a node that is just stopping: the next one adopts them.
        _log.error("not_recovered", payment=payment_id, error=repr(error))
        return False
    return True
