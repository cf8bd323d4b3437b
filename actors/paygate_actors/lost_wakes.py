"""What is open at a start: by the wakes, and by what the lists say where a wake is damaged.

A damaged wake may have named any payment, so it cannot be known which one nobody would wake.
Every payment that waits for something shows it in its list, or in that of its transactions.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final

from msgspec import Struct

from paygate_actors.damage import DamageBook, Mender
from paygate_actors.projection import PAYMENT, TRANSACTION, read_transaction
from paygate_actors.proving import pages
from paygate_actors.states import FINAL, STATUSES
from paygate_engine.clock import Clock
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import PAGE_MAX, Query, Store

# As many as a page of open streams: more at once would only wait inside the region.
RECOVER_PAGE: Final = 500
_OPEN: Final = tuple(status for status in STATUSES if status not in FINAL)


class Opened(Struct, kw_only=True):
    """How many wakes there were, and how many of them damaged."""

    opened: int = 0
    damaged: int = 0


async def due_pages(
    store: Store,
    found: Opened,
    *,
    clock: Clock,
    book: DamageBook,
    later: Callable[[str, int], None],
) -> AsyncIterator[list[str]]:
    """The streams that want to be looked at now, a page at a time; the others go to `later`."""
    after = ""
    while True:
        page = await store.open_streams(after=after, limit=RECOVER_PAGE)
        now_us = clock.now_us()
        due: list[str] = []
        for wake in page:
            if not wake.sound:
                book.note("wakes", wake.stream)
                found.damaged += 1
            elif wake.at_us is not None and wake.at_us > now_us:
                later(wake.stream, wake.at_us)
            else:
                due.append(wake.stream)
        found.opened += len(page)
        yield due
        if len(page) < RECOVER_PAGE or page[-1].stream <= after:
            return  # the end, or a damaged name that would lead back
        after = page[-1].stream


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
