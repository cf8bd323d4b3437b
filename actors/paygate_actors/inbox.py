"""The inbox of webhooks: stored once, acknowledged, told to the payment, kept until it applied.

An event is durable before its provider hears 200, with the bytes that it was read from, and done
only in the same commit as what follows from it. What finds no payment yet is parked; it is tried
again when a payment learns of the provider's id, after every restart, and now and then. It is
never dropped. An event that names nothing at all can never find one: it is kept, and done at once.

Between an event's arrival and its delivery it has one of `BUSY_MAX` places: who finds none is
refused before anything is written, and comes again. So a storm costs the provider patience and us
no memory.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from paygate_actors.addressees import Addressees
from paygate_actors.damage import Mender
from paygate_actors.parking import Parking, Stored, places
from paygate_actors.payment_messages import Reported
from paygate_actors.projection import INBOX, RAW
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.raw_webhooks import KEEP_US, RawWebhook, forget_raws, raw_item
from paygate_engine.errors import Corrupt, Overloaded
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Done, Item, Store, Unit
from paygate_engine.system import ActorSystem

# Often enough that a lost message is noticed before anybody is alerted, and next to free.
SWEEP_S: Final = 30.0
# A sweep reads this many at a time, and so many times: the next one goes on behind them.
SWEEP_PAGE: Final = 500
SWEEP_PAGES_MAX: Final = 4
# Events between arrival and delivery. Each costs the loop about a millisecond, so this is work for
# a second, and who is refused comes again after a second: fewer places would leave the loop idle
# until then, and more would let those wait who read payments meanwhile.
BUSY_MAX: Final = 1_000
# Ids of events that were stored not long ago: a provider's own repeats mostly follow at once, and
# each that is known here is a group of the journal that need not be written twice. Some 3 MB.
RECENT_MAX: Final = 20_000
# Too many payments may wait to be read back for their events. A tenth of a second makes room for
# hundreds; after ten seconds the store is away, and the sweep brings what is left. An event that
# waits so keeps its place, so that a storm of those is the provider's to wait out.
ROOM_S: Final = 0.1
TELLS_MAX: Final = 100
# One payment that takes nothing keeps no other's events back; so many are a store that is away.
FULL_MAX: Final = 3
# Rows of events that are long done, forgotten by one sweep: 300 a second, more than ever come.
FORGET_PAGE: Final = 1_000
FORGET_PAGES_MAX: Final = 10
# Raw bytes are whole rows to look at, and a week is not a matter of minutes.
FORGET_RAW_US: Final = 600 * 1_000_000
# What the id of an event ends with that is stored again, because its first row was damaged.
AGAIN: Final = "#again"
KEEP_DONE_US: Final = KEEP_US

_log = structlog.get_logger("paygate.inbox")


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Stored)


def read_stored(item: Item) -> Stored:
    """The event in an item of the inbox."""
    return _decoder.decode(item.body)


class Inbox:
    """Takes events in and brings them to their payments. `tell(payment_id, message)`."""

    def __init__(
        self,
        *,
        system: ActorSystem,
        store: Store,
        journal: Journal,
        tell: Callable[[str, Any], None],
        is_known: Callable[[str], bool],
        mender: Mender,
    ) -> None:
        self._system = system
        self._store = store
        self._journal = journal
        self._tell = tell
        self._mender = mender
        self._addressees = Addressees(store, mender, is_known)
        self._unreadable: set[str] = set()
        self._parking = Parking()
        self._recent: dict[str, None] = {}
        self._delivers = False
        self._swept_to = ""
        self._raws_seen_us = 0
        self.busy = 0
        """Events between arrival and delivery."""
        self.received = 0
        self.repeated = 0
        self.refused = 0

    @property
    def parked(self) -> int:
        """How many events wait for a payment that nobody knows yet, as far as they are indexed."""
        return len(self._parking)

    @property
    def full(self) -> bool:
        """Whether the next event would be refused."""
        return self.busy >= BUSY_MAX

    @property
    def unreadable(self) -> int:
        """How many stored events are damaged: they wait until their provider sends them again."""
        return len(self._unreadable)

    def oldest_parked_s(self) -> float:
        """How long the oldest of them has waited, in seconds; 0 if there is none."""
        oldest_us = self._parking.oldest_us()
        if oldest_us is None:
            return 0.0
        return (self._system.clock.now_us() - oldest_us) / 1_000_000

    async def take(
        self, provider: str, events: Sequence[ProviderEvent], raw: RawWebhook | None = None
    ) -> int:
        """Store verified events of one body in one commit; returns how many were new.

        It is durable when this returns. What was seen before has no effect; `raw` is stored with
        what is new, and alone where there is no event. Raises `Overloaded` with nothing stored,
        `StoreFull` or `StoreFailed` as the journal does.
        """
        if self.busy + len(events) > BUSY_MAX:
            self.refused += 1
            raise Overloaded(f"{self.busy} events are on their way to their payments")
        self.busy += len(events)
        try:
            return await self._take(provider, events, raw)
        finally:
            self.busy -= len(events)

    async def _take(
        self, provider: str, events: Sequence[ProviderEvent], raw: RawWebhook | None
    ) -> int:
        named = {f"{provider}/{event.event_id}": event for event in events}
        new = {name: event for name, event in named.items() if not self._is_known(name)}
        arrived = [
            self._arrival(name, Stored(provider=provider, event=event))
            for name, event in new.items()
        ]
        if arrived or not events:
            arrived = await self._store_all(arrived, raw)
        self.repeated += len(events) - len(arrived)
        self.received += len(arrived)
        self._spawn_delivery([each for each in arrived if not each.names_nothing])
        return len(arrived)

    async def correct(self, provider: str, event: ProviderEvent, *, suffix: str, by: str) -> bool:
        """Bring an event that is read otherwise now to its payment; False: that was done before.

        It lies under its own id and `suffix`, so that the same reading is brought once. Raises as
        `take` does.
        """
        stored = Stored(provider=provider, event=event)
        arrival = self._arrival(f"{provider}/{event.event_id}{suffix}", stored, who=by)
        if not await self._store_all([arrival], None):
            return False
        self.received += 1
        self._spawn_delivery([arrival])
        return True

    async def payment_of(self, provider: str, event: ProviderEvent) -> str | None:
        """The payment that the event is about, as far as is known now."""
        return await self._payment_of(Stored(provider=provider, event=event))

    def _is_known(self, name: str) -> bool:
        # One whose row was damaged since is wanted again, however well we remember its name.
        return name in self._recent and name not in self._unreadable

    def _arrival(self, name: str, stored: Stored, *, who: str = "") -> "_Arrival":
        at_us = self._system.clock.now_us()
        event = stored.event
        done: list[Done] = []
        item_id = name
        if name in self._unreadable:
            # What lies under this id is damaged: this is the same event, whole.
            done.append(Done(queue=INBOX, id=name, at_us=at_us))
            item_id = name + AGAIN
        item = Item(
            queue=INBOX, id=item_id, key=event.provider_txn_id, at_us=at_us, body=_encode(stored)
        )
        if not places(stored) and event.reference is None:
            done.append(Done(queue=INBOX, id=item_id, at_us=at_us))
        entry = AuditEntry(
            at_us=at_us,
            who=who or f"provider:{stored.provider}",
            what=f"{'replayed' if who else 'received'} {event.event_type}",
            stream=item_id,
        )
        return _Arrival(name=name, stored=stored, item=item, done=tuple(done), entry=entry)

    async def _store_all(
        self, arrived: list["_Arrival"], raw: RawWebhook | None
    ) -> list["_Arrival"]:
        """Commit them together, without those that are known; gives what was not."""
        bytes_item = None if raw is None else raw_item(raw)
        while arrived or bytes_item is not None:
            kept = () if bytes_item is None else (bytes_item,)
            unit = Unit(
                items=(*kept, *(each.item for each in arrived)),
                done=tuple(done for each in arrived for done in each.done),
                audit=tuple(each.entry for each in arrived),
            )
            conflict = await self._journal.append_wait(unit)
            if conflict is None:
                break
            if bytes_item is not None and conflict.name == f"{RAW}/{bytes_item.id}":
                bytes_item = None  # the same body at the same time: it is kept already
                continue
            known = [each for each in arrived if conflict.name == f"{INBOX}/{each.item.id}"]
            if not known:
                raise RuntimeError(f"an event cannot conflict with {conflict.what}")
            self._remember(known)
            arrived = [each for each in arrived if each not in known]
            if not arrived:
                break  # nothing but repeats: their bytes are kept since the first time
        self._remember(arrived)
        return arrived

    def _remember(self, arrived: Iterable["_Arrival"]) -> None:
        for each in arrived:
            self._unreadable.discard(each.name)
            self._recent[each.item.id] = None
        while len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def _spawn_delivery(self, arrived: list["_Arrival"]) -> None:
        # Before recovery nobody is told anything: it will bring what is stored.
        if arrived and self._delivers:
            self.busy += len(arrived)
            self._system.spawn_task(self._deliver_all(arrived))

    async def _deliver_all(self, arrived: list["_Arrival"]) -> None:
        try:
            for each in arrived:
                await self._deliver_if_may(each.item.id, each.stored, each.item.at_us)
        finally:
            self.busy -= len(arrived)

    def appeared(self, provider: str, provider_txn_id: str) -> None:
        """A payment knows this provider id now: bring it what waited for that."""
        for item_id in self._parking.waiting_for((provider, provider_txn_id)):
            parked = self._parking.unpark(item_id)
            if parked is not None:
                self._system.spawn_task(
                    self._deliver_if_may(item_id, parked.stored, parked.since_us)
                )

    async def recover(self, *, bring: bool = True) -> None:
        """Bring everything that is not done to its payment, again; or leave that to another node.

        From here on what is stored is told.
        """
        self._delivers = True
        if bring:
            with suppress(Overloaded):  # the sweep brings what is left
                await self.bring_all()

    def leave_parked(self) -> None:
        """Forget what has been parked here for two sweeps: the node that sweeps has found it.

        It is told there when its payment appears, and nobody would say so here.
        """
        before_us = self._system.clock.now_us() - round(2 * SWEEP_S * 1_000_000)
        for item_id in self._parking.older_than(before_us):
            self._parking.unpark(item_id)

    async def bring_all(self) -> None:
        """Bring everything that is not done to its payment, however new it is."""
        while await self._bring(self._system.clock.now_us() + 1):
            pass

    async def sweep(self) -> None:
        """See to what got lost between the journal and a payment, and forget what is long done.

        Of very many that wait, the next sweep goes on where this one ended.
        """
        now_us = self._system.clock.now_us()
        await self._bring(now_us - round(SWEEP_S * 1_000_000))
        for _ in range(FORGET_PAGES_MAX):
            gone = await self._store.forget(
                queue=INBOX, done_before_us=now_us - KEEP_DONE_US, limit=FORGET_PAGE
            )
            if gone < FORGET_PAGE:
                break
        if now_us - self._raws_seen_us >= FORGET_RAW_US:
            self._raws_seen_us = now_us
            await forget_raws(self._store, self._journal, now_us=now_us)

    async def _bring(self, before_us: int) -> bool:
        """Bring some of what waits; False when that was the last of it."""
        after = self._swept_to
        full: set[str] = set()
        for _ in range(SWEEP_PAGES_MAX):
            items = await self._store.waiting(INBOX, after_id=after, limit=SWEEP_PAGE)
            for item in items:
                if not item.sound:
                    self._unreadable.add(item.id)
                    self._mender.book.note("items", f"{INBOX} {item.id}")
                elif item.at_us < before_us:
                    self._parking.unpark(item.id)
                    await self._deliver(item.id, read_stored(item), item.at_us, full)
            if len(items) < SWEEP_PAGE or items[-1].id <= after:
                self._swept_to = ""
                return False  # the end, or a damaged name that would lead back
            after = items[-1].id
        self._swept_to = after
        return True

    async def _deliver_if_may(self, item_id: str, stored: Stored, since_us: int) -> None:
        """Bring it to its payment; where the store is away, the sweep does so later."""
        try:
            await self._deliver(item_id, stored, since_us, set())
        except Overloaded:
            _log.warning("webhook_waits", item=item_id)

    async def _deliver(self, item_id: str, stored: Stored, since_us: int, full: set[str]) -> None:
        """Bring it to its payment, unless that is `full`, where it is put if it takes nothing."""
        payment_id = await self._payment_of(stored)
        if payment_id is None:
            self._parking.park(item_id, stored, since_us)
            # It may have appeared while we looked.
            payment_id = await self._payment_of(stored)
            if payment_id is None or self._parking.unpark(item_id) is None:
                return
        message = Reported(provider=stored.provider, item_id=item_id, event=stored.event)
        if payment_id in full or await self._tells(payment_id, message):
            return
        _log.warning("webhook_waits", item=item_id)  # the sweep brings it again
        full.add(payment_id)
        if len(full) >= FULL_MAX:
            raise Overloaded("no room to read payments back for their events")

    async def _tells(self, payment_id: str, message: Reported) -> bool:
        """Tell it to its payment as soon as there is room; False: there was none for long."""
        for _ in range(TELLS_MAX):
            try:
                self._tell(payment_id, message)
            except Overloaded:
                room = asyncio.Event()
                self._system.after(ROOM_S, asyncio.Event.set, room)
                await room.wait()
            else:
                return True
        return False

    async def _payment_of(self, stored: Stored) -> str | None:
        try:
            return await self._addressees.find(stored)
        except Corrupt as error:
            _log.error("webhook_waits", error=str(error))
            return None  # its payment is damaged: the event waits as for one that nobody knows


class _Arrival(Struct, frozen=True, kw_only=True):
    """An event on its way into the store; `done` finishes what needs no delivery."""

    name: str
    stored: Stored
    item: Item
    done: tuple[Done, ...]
    entry: AuditEntry

    @property
    def names_nothing(self) -> bool:
        return any(each.id == self.item.id for each in self.done)
