"""Fetches providers' events where webhooks do not come: a missed webhook is only a delay.

A provider that lists its events (`Capabilities.feeds`) is asked for those since the last time:
often (`fetch_s`) while one of its transactions has been open for longer than that, and now and
then (`baseline_s`) in any case, since a dispute or a refund of the provider's own announces itself
to nobody. What comes goes through the inbox under the same ids as webhooks, so that each event is
applied once whoever brings it.

How far the list was read is written down when a round has reached its end, and within a round that
had to stop: (`through_us`, `cursor`, `began_us`). A round begins `OVERLAP_US` before the end of
the one before it, because a list may show an event a little after its time.
"""

import asyncio
from typing import Final, cast

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from paygate_actors.among import Alone, Among
from paygate_actors.inbox import Inbox
from paygate_actors.outcomes import Unknown
from paygate_actors.projection import FETCHED, TRANSACTION
from paygate_actors.provider_desk import Desk
from paygate_actors.providers.base import EventPage, FeedingProvider, ProviderEvent
from paygate_engine.errors import Overloaded, StoreFull
from paygate_engine.ids import Ids
from paygate_engine.journal import Journal
from paygate_engine.stores.base import Document, Query, Store, Unit
from paygate_engine.system import ActorSystem

# A list that shows an event later than this is lagging more than any provider admits.
OVERLAP_US: Final = 300 * 1_000_000
# Providers keep events for some 30 days; nothing older can be asked for.
BACK_US: Final = 30 * 24 * 3_600 * 1_000_000
# Where nothing was ever fetched: the webhooks of the last day may have been missed.
FIRST_BACK_US: Final = 24 * 3_600 * 1_000_000
# One round; the next one goes on behind it. Twenty pages of fifty are far more than a minute's.
PAGES_MAX: Final = 20
# After failures the pause doubles up to this.
PAUSE_S_MAX: Final = 900.0
# A list that was not read for so many of its turns, and for so long at least, calls a person; one
# that cannot be read calls after that time whatever its turns are.
OVERDUE_BASELINES: Final = 4
OVERDUE_S_MIN: Final = 3_600.0
# No two gateways of one account ask in step: each pause is longer by up to this share.
JITTER: Final = 0.2

_log = structlog.get_logger("paygate.fetching")


class Fetched(Struct, frozen=True, kw_only=True):
    """How far a provider's list was read.

    Everything up to `through_us` was taken in. `cursor` and `began_us` are set within a round that
    did not reach its end yet.
    """

    through_us: int
    cursor: str | None = None
    began_us: int | None = None


class EventFetcher:
    """Fetches one provider's events. `baseline_s`: how often in any case; 0: never."""

    def __init__(
        self,
        desk: Desk,
        *,
        system: ActorSystem,
        store: Store,
        journal: Journal,
        inbox: Inbox,
        baseline_s: float,
        nodes: Among | None = None,
    ) -> None:
        self.provider = desk.config.id
        self._desk = desk
        self._system = system
        self._store = store
        self._journal = journal
        self._inbox = inbox
        self._baseline_s = baseline_s
        self._nodes: Among = nodes or Alone()
        self._pause_s = max(desk.adapter.capabilities.fetch_s, 0.1)
        self._failures = 0
        self._failing_us: int | None = None
        self._stopped = False
        self._well_us = system.clock.now_us()
        self._asked = False
        self.fetched = 0
        """Events that were new."""
        self.failed = 0
        """Rounds that failed."""

    @property
    def age_s(self) -> float:
        """How long ago the list was last read to its end, in seconds; since the start, if never."""
        return (self._system.clock.now_us() - self._well_us) / 1_000_000

    @property
    def overdue_s(self) -> float:
        """As `age_s` where the list should have been read by now, in seconds; 0: all is well.

        Nobody is called to a provider that an operator took off.
        """
        if not self._desk.is_active:
            return 0.0
        age_s = self.age_s
        if self._baseline_s and age_s > max(OVERDUE_BASELINES * self._baseline_s, OVERDUE_S_MIN):
            return age_s
        failing_us = self._failing_us
        if failing_us is None:
            return 0.0
        failing_s = (self._system.clock.now_us() - failing_us) / 1_000_000
        return age_s if failing_s > OVERDUE_S_MIN else 0.0

    def start(self) -> None:
        """Look for the first time after one pause, and then for as long as the process lives."""
        self._next()

    def stop(self) -> None:
        """Begin no further round."""
        self._stopped = True

    def _next(self) -> None:
        pause_s = self._pause_s * 2 ** min(self._failures, 16)
        pause_s = min(pause_s, max(PAUSE_S_MAX, self._pause_s))
        jitter = 1 + JITTER * self._system.rng.random()
        self._system.after(pause_s * jitter, self._begin, None)

    def _begin(self, _: object) -> None:
        if not self._stopped:
            self._system.spawn_task(self._turn())

    async def _turn(self) -> None:
        try:
            if await self._is_due():
                await self._round()
        except Overloaded as error:
            self._note_failure(type(error).__name__)
        finally:
            self._next()

    async def _is_due(self) -> bool:
        if not self._desk.is_active:
            return False
        if not await self._nodes.mine(f"fetch {self.provider}"):
            # Another node fetches, and knows how old its list is.
            self._well_us = self._system.clock.now_us()
            return False
        health = self._desk.health
        if health.circuits["find"].holds_back or health.quiet_s > 0:
            return False
        if self._baseline_s and (not self._asked or self.age_s >= self._baseline_s):
            return True
        if self._failures:
            return True
        return await self._something_waits()

    async def _something_waits(self) -> bool:
        """Whether a transaction there has been open for longer than webhooks take."""
        before_us = self._system.clock.now_us() - round(self._pause_s * 1_000_000)
        query = Query(
            kind=TRANSACTION,
            where=(("status", "pending"), ("provider", self.provider)),
            id_before=Ids.floor("txn", max(0, before_us)),
            limit=1,
        )
        return bool(await self._store.query(query))

    async def _round(self) -> None:
        self._asked = True
        try:
            ended = await self._read_on(await self._read_state())
        except (Overloaded, StoreFull) as error:
            self._note_failure(type(error).__name__)
            return
        if ended is None:
            return
        self._failures = 0
        self._failing_us = None
        if ended:
            self._well_us = self._system.clock.now_us()

    async def _read_on(self, state: Fetched) -> bool | None:
        """Read pages; whether the end was reached, or None after a failure."""
        began_us = state.began_us or self._system.clock.now_us()
        oldest_us = self._system.clock.now_us() - BACK_US
        since_us = max(state.through_us - OVERLAP_US, oldest_us, 0)
        cursor = state.cursor
        for _ in range(PAGES_MAX):
            page = await self._page(since_us, cursor)
            if not isinstance(page, EventPage):
                self._note_failure(page.reason)
                if state.cursor is not None and cursor == state.cursor:
                    # A cursor may be too old to be taken: the round begins anew.
                    await self._write_state(replace(state, cursor=None, began_us=None))
                return None
            await self._take(page)
            if page.next_cursor is None:
                await self._write_state(Fetched(through_us=began_us))
                return True
            cursor = page.next_cursor
        await self._write_state(replace(state, cursor=cursor, began_us=began_us))
        return False

    async def _page(self, since_us: int, cursor: str | None) -> EventPage | Unknown:
        adapter = cast("FeedingProvider", self._desk.adapter)
        try:
            return await adapter.events(since_us=since_us, cursor=cursor)
        except Exception as error:  # noqa: BLE001 - an adapter may be a stranger's, and fail for ever
            return Unknown(reason="garbage", detail=type(error).__name__)

    async def _take(self, page: EventPage) -> None:
        if page.unreadable:
            _log.error("events_unreadable", provider=self.provider, count=page.unreadable)
        # One by one, in one group of the journal: most are known, and those must not hold up
        # the others.
        taken = await asyncio.gather(
            *(self._inbox.take(self.provider, (event,)) for event in page.events if _names(event)),
            return_exceptions=True,
        )
        for new in taken:
            if isinstance(new, BaseException):
                raise new
            self.fetched += new

    def _note_failure(self, why: str) -> None:
        self._failures += 1
        self.failed += 1
        if self._failing_us is None:
            self._failing_us = self._system.clock.now_us()
        _log.warning("events_not_fetched", provider=self.provider, why=why, times=self._failures)

    async def _read_state(self) -> Fetched:
        document = await self._store.read_document(FETCHED, self.provider)
        if document is None or not document.sound:
            # What is fetched once more is known; what was damaged says nothing.
            return Fetched(through_us=self._system.clock.now_us() - FIRST_BACK_US)
        return msgspec.json.decode(document.body, type=Fetched)

    async def _write_state(self, state: Fetched) -> None:
        document = Document(kind=FETCHED, id=self.provider, body=msgspec.json.encode(state))
        await self._journal.append_wait(Unit(documents=(document,)))


def _names(event: ProviderEvent) -> bool:
    # What names no transaction concerns no payment. As a webhook it would be kept for replay; of
    # the list its bytes are not ours to keep: the provider has them.
    return bool(event.provider_txn_id or event.parent_txn_id or event.reference)
