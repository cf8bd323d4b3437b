"""Reads every row of the store once a day, so that damage is found before the row is needed.

Disks spoil what is rarely read, and a payment of last year is rarely read. A damaged event sets
its payment aside; any other damaged row is named.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol, cast

import structlog
from msgspec import Struct

from paygate_actors.damage import DamageBook
from paygate_engine.actor import LoopActor, Parent, handles
from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import Store
from paygate_engine.stores.row_check import Damage, Looked, Place
from paygate_engine.stores.sqlite import SqliteStore
from paygate_engine.system import ActorSystem

# A page takes some 4 ms of the reader, and everybody's reads wait for it.
PAGE: Final = 500
# With the page above: 10,000 rows a second, a tenth of a core at the most.
PAUSE_S: Final = 0.05
# Between two walks: a disk's own scrubbing is a matter of weeks.
EVERY_S: Final = 24 * 3_600.0

_log = structlog.get_logger("paygate.scrubber")


class Checked(Protocol):
    """A store whose rows can be held against their checksums."""

    async def check_rows(self, place: Place, *, limit: int = 1_000) -> Looked:
        """Look at the next rows; start at `Place()`."""
        ...


def as_checked(store: Store) -> Checked | None:
    """The store as one whose rows can be checked; None for one that is in memory alone."""
    return cast("Checked", store) if hasattr(store, "check_rows") else None


async def damaged_rows(store: Checked) -> AsyncIterator[Damage]:
    """Every damaged row there is, for commands that look at a store once."""
    place: Place | None = Place()
    while place is not None:
        looked = await store.check_rows(place)
        for damage in looked.damage:
            yield damage
        place = looked.following


class Scrub(Struct, frozen=True, kw_only=True):
    """Read the next page of rows."""

    place: Place


class Scrubber(LoopActor):
    """Walks all rows. `set_aside` hears of each stream that has a damaged event.

    `rows` is how many rows this walk has seen, `walks` how many have come to their end.
    """

    __slots__ = ("_book", "_set_aside", "_store", "rows", "walks")

    def __init__(
        self,
        system: ActorSystem,
        key: str,
        *,
        store: SqliteStore,
        book: DamageBook,
        set_aside: Callable[[str, Corrupt], None],
        parent: Parent | None = None,
    ) -> None:
        super().__init__(system, key, parent)
        self._store = store
        self._book = book
        self._set_aside = set_aside
        self.rows = 0
        self.walks = 0

    def on_start(self) -> None:
        """Begin at once: a machine that was down may have been down for a reason."""
        self.actor_ref.tell(Scrub(place=Place()))

    @handles(Scrub)
    async def on_scrub(self, message: Scrub) -> None:
        """Read a page, and the next one after a pause."""
        looked = await self._store.check_rows(message.place, limit=PAGE)
        self.rows += looked.rows
        for damage in looked.damage:
            self._found(damage)
        if looked.following is not None:
            self.system.after(PAUSE_S, self._again, looked.following)
            return
        _log.info("scrubbed", rows=self.rows, damaged=len(self._book.rows))
        self.walks += 1
        self.rows = 0
        self.system.after(EVERY_S, self._again, Place())

    def _found(self, damage: Damage) -> None:
        self._book.note(damage.table, damage.name)
        if damage.table == "events":
            seq = damage.name.rpartition(" ")[2]
            text = f"stream {damage.stream}: event {seq} is not what was written there"
            self._set_aside(damage.stream, Corrupt(text))

    def _again(self, place: Place) -> None:
        if self.alive:
            self.actor_ref.tell(Scrub(place=place))
