"""Reads a merchant's feed: pages behind a cursor, in the order of commits, and never a gap.

A cursor names a number and what stands there. Both must still be so: numbers alone would lie after
the data folder was restored from a backup, when other events come under numbers that a consumer
has read already. Whoever cannot be served without a gap is told so.
"""

import base64
import binascii
from typing import Final, NamedTuple
from zlib import crc32

from paygate_actors.damage import DamageBook
from paygate_actors.endpoints import feed_of
from paygate_actors.merchant_events import read_event
from paygate_actors.messages import Fault, Refusal
from paygate_actors.notice_messages import FeedPage
from paygate_engine.stores.base import Posted, Store

# A feed's number has at most so many digits; longer cursors were made by somebody else.
_DIGITS_MAX: Final = 15
_WORD: Final = "feed"
_PARTS: Final = 3
# What stands at a number of which nothing is kept, or that was never given.
_NOTHING: Final = "-"

BAD_CURSOR: Final = Refusal(
    code="validation_failed",
    detail="The cursor is not valid.",
    faults=(Fault(pointer="/after", code="bad_cursor", detail="Not a cursor of this feed."),),
)
EXPIRED: Final = Refusal(
    code="cursor_expired",
    detail="What followed this cursor is not here any more: read what concerns you anew, then"
    " start without a cursor.",
)


class Place(NamedTuple):
    """A number of a feed, and what stands there."""

    n: int
    tail: str


class EventFeed:
    """The reading half of feeds; damaged rows are noted in the book, and passed over."""

    def __init__(self, store: Store, book: DamageBook) -> None:
        self._store = store
        self._book = book

    async def page(self, merchant: str, *, after: str | None, limit: int) -> FeedPage | Refusal:
        """Events behind a cursor; None: from the oldest that is kept."""
        name = feed_of(merchant)
        place = await self._beginning(name) if after is None else _read_place(after)
        if place is None:
            return BAD_CURSOR
        page = await self._behind(name, place, limit, began=after is None)
        if isinstance(page, Refusal):
            return page
        shown = page[:limit]
        for posted in shown:
            if not posted.sound:
                self._book.note("posts", f"{name} {posted.n}")
        end = _place_of(shown[-1]) if shown else place
        return FeedPage(
            items=tuple(read_event(each.body) for each in shown if each.sound),
            has_more=len(page) > limit,
            next_cursor=cursor_text(f"{_WORD} {end.n} {end.tail}"),
        )

    async def _beginning(self, name: str) -> Place:
        return Place((await self._store.feed_ends(name)).first - 1, _NOTHING)

    async def _behind(
        self, name: str, place: Place, limit: int, *, began: bool
    ) -> list[Posted] | Refusal:
        """What stands behind a place, and one more than the limit where there is more."""
        found = await self._read(name, place, limit)
        if not found:
            last = (await self._store.feed_ends(name)).last
            if place.n > last:
                # Made by somebody else, or before a backup was restored.
                return BAD_CURSOR if place.tail == _NOTHING else EXPIRED
            if place.n < last:
                # It came after the look, and is there now; or it is kept no more.
                found = await self._read(name, place, limit)
                if not found and not began:
                    return EXPIRED
        if (
            found
            and found[0].n == place.n
            and place.tail not in (_NOTHING, _place_of(found[0]).tail)
        ):
            return EXPIRED
        page = [posted for posted in found if posted.n > place.n]
        if page and not began and page[0].n != place.n + 1:
            return EXPIRED
        return page

    async def _read(self, name: str, place: Place, limit: int) -> list[Posted]:
        # From the cursor's own post on, so that both are seen at one moment.
        return await self._store.read_feed(name, after_n=max(0, place.n - 1), limit=limit + 2)


def cursor_text(inner: str) -> str:
    """What a cursor says, as callers carry it."""
    return base64.urlsafe_b64encode(inner.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str | None:
    """What the cursor says; None for what is none."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None


def _place_of(posted: Posted) -> Place:
    return Place(posted.n, f"{crc32(posted.body):08x}")


def _read_place(cursor: str) -> Place | None:
    parts = (read_cursor(cursor) or "").split(" ")
    if len(parts) != _PARTS or parts[0] != _WORD:
        return None
    digits = parts[1]
    if not (digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    return Place(int(digits), parts[2])
