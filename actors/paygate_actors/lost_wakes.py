"""What is open by what the lists say: for a start that finds a wake damaged.

A damaged wake may have named any payment, so it cannot be known which one nobody would wake.
Every payment that waits for something shows it in its list, or in that of its transactions.
"""

from collections.abc import AsyncIterator
from typing import Final

from paygate_actors.damage import Mender
from paygate_actors.projection import PAYMENT, TRANSACTION, read_transaction
from paygate_actors.proving import pages
from paygate_actors.states import FINAL, STATUSES
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import PAGE_MAX, Query, Store

_OPEN: Final = tuple(status for status in STATUSES if status not in FINAL)


async def listed_open(store: Store, mender: Mender) -> AsyncIterator[str]:
    """The ids of all payments that are shown as open, or with an open transaction."""
    for status in _OPEN:
        query = Query(kind=PAYMENT, where=(("status", status),), limit=PAGE_MAX)
        async for document in pages(store, query):
            yield document.id
    query = Query(kind=TRANSACTION, where=(("status", "pending"),), limit=PAGE_MAX)
    async for document in pages(store, query):
        try:
            whole = await mender.mended(document)
        except Corrupt:
            continue  # its payment is set aside when it is looked at
        if whole is not None:
            yield read_transaction(whole).payment_id
