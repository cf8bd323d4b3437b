"""The inbox of webhooks: stored once, acknowledged, told to the payment, kept until it applied.

An event is durable before its provider hears 200, and done only in the same commit as what
follows from it. What finds no payment yet is parked; it is tried again when a payment learns of
the provider's id, after every restart, and now and then. It is never dropped.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from paygate_actors.damage import Mender
from paygate_actors.draft import payment_of_first
from paygate_actors.payment_messages import Reported
from paygate_actors.projection import INBOX, TRANSACTION, charge_link, read_transaction
from paygate_actors.providers.base import ProviderEvent
from paygate_engine.errors import Corrupt, Overloaded
from paygate_engine.journal import Journal
from paygate_engine.stores.base import AuditEntry, Done, Item, Query, Store, Unit
from paygate_engine.system import ActorSystem

# Often enough that a lost message is noticed before anybody is alerted, and next to free.
SWEEP_S: Final = 30.0
# A sweep reads this many at a time.
SWEEP_PAGE: Final = 500
# What the id of an event ends with that is stored again, because its first row was damaged.
AGAIN: Final = "#again"
# Ids that providers give; ours are 32 characters. Longer ones are no ids.
REFERENCE_MAX: Final = 64
# A provider repeats an event for days; its signature is too old after minutes. A week is both.
KEEP_DONE_US: Final = 7 * 24 * 3_600 * 1_000_000

_log = structlog.get_logger("paygate.inbox")


class Stored(Struct, frozen=True, kw_only=True):
    """An event as it lies in the inbox."""

    provider: str
    event: ProviderEvent


# A provider, and an id that it gave.
Place = tuple[str, str]

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
        is_active: Callable[[str], bool],
        mender: Mender,
    ) -> None:
        self._system = system
        self._store = store
        self._journal = journal
        self._tell = tell
        self._is_active = is_active
        self._mender = mender
        self._unreadable: set[str] = set()
        self._parked: dict[str, _Parked] = {}
        self._waiting_for: dict[Place, set[str]] = {}
        self.received = 0
        self.repeated = 0

    @property
    def parked(self) -> int:
        """How many events wait for a payment that nobody knows yet."""
        return len(self._parked)

    @property
    def unreadable(self) -> int:
        """How many stored events are damaged: they wait until their provider sends them again."""
        return len(self._unreadable)

    def oldest_parked_s(self) -> float:
        """How long the oldest of them has waited, in seconds; 0 if there is none."""
        if not self._parked:
            return 0.0
        now_us = self._system.clock.now_us()
        return (now_us - min(each.since_us for each in self._parked.values())) / 1_000_000

    async def take(self, provider: str, event: ProviderEvent) -> None:
        """Store a verified event; returns when it is durable. One seen before has no effect.

        Raises `Overloaded`, `StoreFull` or `StoreFailed` as the journal does.
        """
        now_us = self._system.clock.now_us()
        stored = Stored(provider=provider, event=event)
        item = Item(
            queue=INBOX,
            id=f"{provider}/{event.event_id}",
            key=event.provider_txn_id,
            at_us=now_us,
            body=_encode(stored),
        )
        entry = AuditEntry(
            at_us=now_us,
            who=f"provider:{provider}",
            what=f"received {event.event_type}",
            stream=item.id,
        )
        done: tuple[Done, ...] = ()
        if item.id in self._unreadable:
            # What lies under this id is damaged: this is the same event, whole.
            done = (Done(queue=INBOX, id=item.id, at_us=now_us),)
            item = replace(item, id=item.id + AGAIN)
        conflict = await self._journal.append_wait(Unit(items=(item,), done=done, audit=(entry,)))
        self._unreadable.discard(item.id.removesuffix(AGAIN))
        if conflict is not None:
            self.repeated += 1
            return
        self.received += 1
        self._system.spawn_task(self._deliver(item.id, stored, now_us))

    def appeared(self, provider: str, provider_txn_id: str) -> None:
        """A payment knows this provider id now: bring it what waited for that."""
        for item_id in tuple(self._waiting_for.get((provider, provider_txn_id), ())):
            parked = self._unpark(item_id)
            if parked is not None:
                self._system.spawn_task(self._deliver(item_id, parked.stored, parked.since_us))

    async def recover(self) -> None:
        """Bring everything that is not done to its payment, again."""
        await self._bring(self._system.clock.now_us() + 1)

    async def sweep(self) -> None:
        """See to what got lost between the journal and a payment, and forget what is long done."""
        now_us = self._system.clock.now_us()
        await self._bring(now_us - round(SWEEP_S * 1_000_000))
        await self._store.forget(queue=INBOX, done_before_us=now_us - KEEP_DONE_US)

    async def _bring(self, before_us: int) -> None:
        after = ""
        while True:
            items = await self._store.waiting(INBOX, after_id=after, limit=SWEEP_PAGE)
            for item in items:
                if not item.sound:
                    self._unreadable.add(item.id)
                    self._mender.book.note("items", f"{INBOX} {item.id}")
                elif item.at_us < before_us:
                    self._unpark(item.id)
                    await self._deliver(item.id, read_stored(item), item.at_us)
            if len(items) < SWEEP_PAGE or items[-1].id <= after:
                return  # the end, or a damaged name that would lead back
            after = items[-1].id

    def _park(self, item_id: str, stored: Stored, since_us: int) -> None:
        self._parked[item_id] = _Parked(stored=stored, since_us=since_us)
        for place in _places(stored):
            self._waiting_for.setdefault(place, set()).add(item_id)

    def _unpark(self, item_id: str) -> "_Parked | None":
        parked = self._parked.pop(item_id, None)
        if parked is None:
            return None
        for place in _places(parked.stored):
            waiting = self._waiting_for[place]
            waiting.discard(item_id)
            if not waiting:
                del self._waiting_for[place]
        return parked

    async def _deliver(self, item_id: str, stored: Stored, since_us: int) -> None:
        payment_id = await self._payment_of(stored)
        if payment_id is None:
            self._park(item_id, stored, since_us)
            # It may have appeared while we looked.
            payment_id = await self._payment_of(stored)
            if payment_id is None or self._unpark(item_id) is None:
                return
        message = Reported(provider=stored.provider, item_id=item_id, event=stored.event)
        try:
            self._tell(payment_id, message)
        except Overloaded:
            _log.warning("webhook_waits", item=item_id)  # the sweep brings it again

    async def _payment_of(self, stored: Stored) -> str | None:
        try:
            return await self._looked_up(stored)
        except Corrupt as error:
            _log.error("webhook_waits", error=str(error))
            return None  # its payment is damaged: the event waits as for one that nobody knows

    async def _looked_up(self, stored: Stored) -> str | None:
        event = stored.event
        if event.reference is not None and len(event.reference) <= REFERENCE_MAX:
            transaction_id = event.reference.rpartition("-")[0]
            if transaction_id.startswith("txn_"):
                first = payment_of_first(transaction_id)
                if self._is_active(first):
                    return first
                document = await self._mender.read(TRANSACTION, transaction_id)
                if document is not None:
                    return read_transaction(document).payment_id
        for provider, named in _places(stored):
            query = Query(kind=TRANSACTION, link=(charge_link(provider), named), limit=1)
            for document in await self._store.query(query):
                whole = await self._mender.mended(document)
                if whole is not None:
                    return read_transaction(whole).payment_id
        return None


class _Parked(Struct, frozen=True, kw_only=True):
    stored: Stored
    since_us: int


def _places(stored: Stored) -> list[Place]:
    # Under its own id, and under that of the charge it belongs to: either may be known first.
    named = dict.fromkeys((stored.event.provider_txn_id, stored.event.parent_txn_id))
    return [(stored.provider, name) for name in named if name]
