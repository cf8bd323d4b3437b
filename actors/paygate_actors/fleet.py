"""A node's life among others: it joins, takes over what the dead had open, hears what is new.

What others had open is adopted a page at a time: the database gives each stream to one adopter.
Then each is looked at as after a restart: asked about first, sent again only by the contract's
rules. When a node dies its streams are adopted at once, and now and then in any case; payments
that are in memory here and that it followed are looked at too.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog

from paygate_actors.among import OneOfMany
from paygate_actors.config import Database
from paygate_actors.letters import Letters
from paygate_actors.nodes import as_shared
from paygate_actors.payment import PaymentActor
from paygate_actors.recovering import look_at
from paygate_actors.sums import unresolved
from paygate_engine.cluster_clock import ClusterClock
from paygate_engine.errors import EngineError, Fenced, Overloaded
from paygate_engine.membership import Membership
from paygate_engine.region import Region
from paygate_engine.stores.base import Store, Wake
from paygate_engine.stores.shared import ADOPT_MAX, BEAT_S, LEASE_S, SharedStore
from paygate_engine.system import ActorSystem

# Streams that were given back, or whose node nobody saw die, are found within this time.
ADOPT_EVERY_S: Final = 10.0
# The number of open payments on the metrics page may be this old: it is a count over an index.
COUNT_EVERY_S: Final = 15.0

_log = structlog.get_logger("paygate.nodes")


class Ear(Protocol):
    """Who wants to know what happens to other nodes, or is said by them."""

    def configuration_changed(self) -> None:
        """Another node may have changed what is kept in memory: switches, endpoints."""
        ...

    def node_gone(self) -> None:
        """Another node is over."""
        ...

    def may_act_again(self) -> None:
        """The node was paused, and is not any more."""
        ...

    def heard(self, words: Iterable[str]) -> None:
        """Other nodes said this."""
        ...


class Fleet:
    """A node's membership and what follows from it. Make one with `join`; `recover` adopts."""

    def __init__(
        self,
        store: SharedStore,
        *,
        system: ActorSystem,
        clock: ClusterClock,
        beat_s: float,
        lease_s: float,
    ) -> None:
        self._store = store
        self._system = system
        self._ear: Ear | None = None
        self._unheard = False  # what changed before there was an ear
        self._payments: Region[PaymentActor] | None = None
        self._letters: Letters | None = None
        self._adopting = asyncio.Lock()
        self._ended = False
        self.adopted = 0
        """Open streams taken over."""
        self._owned = 0
        self.membership = Membership(
            store,
            clock=clock,
            after=system.after,
            spawn=system.spawn_task,
            on_paused=self._paused,
            on_resumed=self._resumed,
            on_dead=self._dead,
            on_fenced=system.fail,
            on_bulletin=self._bulletin,
            beat_s=beat_s,
            lease_s=lease_s,
        )
        self.nodes = OneOfMany(
            store,
            epoch=0,
            lives=self.membership.lives,
            may_act=lambda: self.membership.may_act,
            clock=clock,
        )

    async def join(self, name: str) -> None:
        """Take a seat. Raises what the store raises."""
        seat = await self.membership.join(name)
        self.nodes.epoch = seat.epoch
        _log.info("joined", seat=seat.seat, epoch=seat.epoch, name=name)

    def serve(self, payments: Region[PaymentActor], ear: Ear, letters: Letters) -> None:
        """Tell these from now on."""
        self._payments, self._ear, self._letters = payments, ear, letters
        if self._unheard:
            ear.configuration_changed()

    async def recover(self) -> int:
        """Adopt everything that nobody alive owns; how much that was. Then go on doing so."""
        count = await self.adopt()
        self._system.after(ADOPT_EVERY_S, self._adopt_again, None)
        self._system.spawn_task(self._hear())
        self._count_later(None)
        return count

    async def adopt(self) -> int:
        """Take over what is nobody's, page by page, and look at what is due; how much it was.

        Raises `Overloaded` where the database cannot be reached.
        """
        count = 0
        async with self._adopting:
            while not self._ended:
                page = await self._store.adopt()
                count += len(page)
                self.adopted += len(page)
                await asyncio.gather(*(self._take(wake) for wake in page))
                if len(page) < ADOPT_MAX:
                    break
        if count:
            _log.info("adopted", streams=count)
        return count

    async def leave(self) -> None:
        """Give the seat back, so that others go on at once with what is open."""
        self._ended = True
        with suppress(EngineError):
            await self.membership.leave()

    def gauges(self) -> Mapping[str, float]:
        """Numbers for the metrics page."""
        member = self.membership
        return {
            "paygate_node_epoch": member.epoch,
            "paygate_node_seat": 0 if member.seat is None else member.seat.seat,
            "paygate_node_lease_seconds": member.lease_s,
            "paygate_node_open_payments": self._owned,
            "paygate_node_paused": float(not member.may_act),
            "paygate_node_paused_seconds_total": member.paused_s,
            "paygate_node_beats_total": member.beats,
            "paygate_node_beats_failed_total": member.failures,
            "paygate_node_beats_late_total": member.beats_late,
            "paygate_node_buried_total": member.buried,
            "paygate_node_adopted_total": self.adopted,
            "paygate_node_duties": self.nodes.duties,
            "paygate_nodes_live": len(member.live),
        }

    # ------------------------------------------------------------------ private

    async def _take(self, wake: Wake) -> None:
        assert self._payments is not None
        assert self._letters is not None
        now_us = self._system.clock.now_us()
        if wake.at_us is not None and wake.at_us > now_us and wake.sound:
            self._letters.at(wake.stream, wake.at_us)
            return
        if not await look_at(self._payments, wake.stream):
            self._letters.look(wake.stream)

    def _adopt_again(self, _: object) -> None:
        if not self._ended:
            self._system.spawn_task(self._adopt_once())
            self._system.after(ADOPT_EVERY_S, self._adopt_again, None)

    async def _adopt_once(self) -> None:
        await self.nodes.give_back()
        if self._payments is None or self._adopting.locked():
            return
        try:
            await self.adopt()
        except Overloaded:
            return  # the next round finds them
        except Fenced as error:
            self._system.fail(error)

    def _count_later(self, _: object) -> None:
        if not self._ended:
            self._system.spawn_task(self._count())
            self._system.after(COUNT_EVERY_S, self._count_later, None)

    async def _count(self) -> None:
        with suppress(Overloaded):  # the number is as old as the outage
            own = [row for row in await self._store.nodes() if row.epoch == self.nodes.epoch]
            self._owned = sum(row.open_streams for row in own)

    async def _hear(self) -> None:
        while not self._ended:
            words = await self._store.hear()
            if words and self._ear is not None:
                self._ear.heard(words)

    def _paused(self) -> None:
        _log.warning("paused", why="the lease ran out before a beat was answered")

    def _resumed(self) -> None:
        _log.warning("resumed", paused_s=round(self.membership.paused_s, 3))
        if self._ear is not None:
            self._ear.may_act_again()

    def _dead(self, epochs: tuple[int, ...]) -> None:
        _log.warning("nodes_gone", epochs=epochs)
        self.nodes.somebody_left()
        self._system.spawn_task(self._adopt_once())
        if self._payments is None or self._ear is None or self._letters is None:
            return
        for payment in self._payments.live():
            if payment.payment is not None and _followed_by(epochs, payment):
                self._letters.look(payment.key)
        self._ear.node_gone()

    def _bulletin(self, _: int) -> None:
        if self._ear is None:
            self._unheard = True
        else:
            self._ear.configuration_changed()


async def joined(
    settings: Database, store: Store, *, system: ActorSystem, clock: ClusterClock
) -> Fleet:
    """A node of this store, which must be a shared one. Raises what the store raises."""
    many = as_shared(store)
    assert many is not None, "who has a common clock has a common store"
    beat_s = settings.lease_s * BEAT_S / LEASE_S
    fleet = Fleet(many, system=system, clock=clock, beat_s=beat_s, lease_s=settings.lease_s)
    await fleet.join(settings.node)
    return fleet


def _followed_by(epochs: Iterable[int], payment: PaymentActor) -> bool:
    assert payment.payment is not None
    return any(call.epoch in epochs for call in unresolved(payment.payment))
