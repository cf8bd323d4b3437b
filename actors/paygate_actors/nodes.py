"""The nodes of a gateway as operators see them: those of a shared store, or this process alone."""

from typing import Final, cast

from msgspec import Struct

from paygate_engine.clock import Clock
from paygate_engine.stores.base import Store
from paygate_engine.stores.shared import NodeRow, NodeState, SharedStore

# A process whose store is its own has no seat to take, and no lease that could run out.
ALONE_SEAT: Final = 1
_PAGE: Final = 1_000


class NodeView(Struct, frozen=True, kw_only=True):
    """A node. Times are the database's, UTC microseconds; `lease_until_us` None: for ever.

    `open_payments` are those that it answers for; `is_self`: it is the one that was asked.
    """

    seat: int
    epoch: int
    name: str
    state: NodeState
    joined_us: int
    beat_us: int
    lease_until_us: int | None
    open_payments: int
    is_self: bool


def as_shared(store: Store) -> SharedStore | None:
    """The store as one that several processes write to; None where it belongs to one alone."""
    return cast("SharedStore", store) if hasattr(store, "take_duty") else None


class Nodes:
    """Who there is. `name` is what a store without seats calls this process."""

    def __init__(self, store: Store, *, clock: Clock, name: str) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._started_us = clock.now_us()

    @property
    def share_a_store(self) -> bool:
        """Whether others may write to the store as well."""
        return as_shared(self._store) is not None

    async def all(self) -> tuple[NodeView, ...]:
        """Every seat, by number. Raises `Overloaded` where the database cannot be reached."""
        shared = as_shared(self._store)
        if shared is None:
            return (await self._alone(),)
        own = shared.seat
        epoch = None if own is None else own.epoch
        return tuple(_view(row, is_self=row.epoch == epoch) for row in await shared.nodes())

    async def _alone(self) -> NodeView:
        return NodeView(
            seat=ALONE_SEAT,
            epoch=0,
            name=self._name,
            state="live",
            joined_us=self._started_us,
            beat_us=self._clock.now_us(),
            lease_until_us=None,
            open_payments=await self._open(),
            is_self=True,
        )

    async def _open(self) -> int:
        count, after = 0, ""
        while page := await self._store.open_streams(after=after, limit=_PAGE):
            count += len(page)
            if page[-1].stream <= after:
                break  # a damaged name that would lead back
            after = page[-1].stream
        return count


def _view(row: NodeRow, *, is_self: bool) -> NodeView:
    return NodeView(
        seat=row.seat,
        epoch=row.epoch,
        name=row.name,
        state=row.state,
        joined_us=row.joined_us,
        beat_us=row.beat_us,
        lease_until_us=row.lease_until_us,
        open_payments=row.open_streams,
        is_self=is_self,
    )
