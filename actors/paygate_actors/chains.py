"""The audit chains of a store: the one that there is, or one for each seat.

A chain is named as the store names it; the only one of a store that belongs to one process has no
name. Reads only, a page at a time, beside running nodes too.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from msgspec import Struct

from paygate_actors.nodes import as_shared
from paygate_engine import chain
from paygate_engine.stores.base import AuditRow, Store

ONLY: Final = ""
"""The name of a chain beside which there is no other."""


class Walked(Struct, frozen=True, kw_only=True):
    """What a walk over all chains found: the head of each, or the first fault and its chain."""

    heads: Mapping[str, chain.Head] = {}
    fault: chain.Fault | None = None
    chain: str = ONLY

    @property
    def rows(self) -> int:
        """How many rows there are in all chains."""
        return sum(head.n for head in self.heads.values())


async def chains_of(store: Store) -> list[str]:
    """The names of all chains, in order."""
    shared = as_shared(store)
    return [ONLY] if shared is None else await shared.chains()


def own_chain(store: Store) -> str:
    """The name of the chain that this process writes."""
    shared = as_shared(store)
    return ONLY if shared is None or shared.seat is None else shared.seat.chain


async def rows_of(store: Store, name: str) -> AsyncIterator[AuditRow]:
    """A chain from its first row."""
    shared, n = as_shared(store), 0
    while True:
        if shared is None:
            page = await store.audit_rows(after_n=n)
        else:
            page = await shared.audit_rows(after_n=n, chain=name)
        if not page:
            return
        for row in page:
            yield row
        n = page[-1].n


async def rows_count(store: Store) -> int:
    """How many audit rows there are, by the heads of all chains."""
    shared = as_shared(store)
    if shared is None:
        return (await store.audit_head())[0]
    heads = [await shared.audit_head(chain=name) for name in await shared.chains()]
    return sum(n for n, _ in heads)


async def walk_chains(store: Store, published: Mapping[str, Mapping[int, bytes]]) -> Walked:
    """Walk every chain; also events that no row covers are a fault.

    `published` are the ends that were published, by chain; also one of a chain that is not there
    is a fault.
    """
    # Counted first: running nodes add both, and add them together.
    events = await store.event_count()
    covered = 0

    async def counted(name: str) -> AsyncIterator[AuditRow]:
        nonlocal covered
        async for row in rows_of(store, name):
            covered += row.events
            yield row

    heads: dict[str, chain.Head] = {}
    for name in [*(names := await chains_of(store)), *sorted(published.keys() - set(names))]:
        found = await chain.verify(counted(name), store.read_stream, published.get(name, {}))
        if isinstance(found, chain.Fault):
            return Walked(heads=heads, fault=found, chain=name)
        heads[name] = found
    if covered < events:
        # Of which chain cannot be known; of the only one it is its end.
        text = f"{events} events are stored, and the rows cover {covered}: rows were cut off"
        cut = chain.Fault(n=heads[ONLY].n + 1 if ONLY in heads else 0, text=text)
        return Walked(heads=heads, fault=cut)
    return Walked(heads=heads)
