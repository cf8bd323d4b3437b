"""Events whose payment nobody knows yet, found by what they wait for.

They lie in the store as well: this is the short way for those that came not too long ago.
"""

from typing import Final

from msgspec import Struct

from paygate_actors.providers.base import ProviderEvent

# Each is about a kilobyte; the others are found by the sweep alone.
PARKED_MAX: Final = 10_000


class Stored(Struct, frozen=True, kw_only=True):
    """An event as it lies in the inbox."""

    provider: str
    event: ProviderEvent


class Parked(Struct, frozen=True, kw_only=True):
    """An event that waits, and since when (UTC microseconds)."""

    stored: Stored
    since_us: int


# A provider, and an id that it gave.
Place = tuple[str, str]


def places(stored: Stored) -> list[Place]:
    """The ids by which an event may find its payment: the charge's it belongs to, and its own.

    The charge's comes first: it is nearly always known, where a refund that the provider made by
    itself never is.
    """
    named = dict.fromkeys((stored.event.parent_txn_id, stored.event.provider_txn_id))
    return [(stored.provider, name) for name in named if name]


class Parking:
    """At most `PARKED_MAX` events by what they wait for."""

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}
        self._waiting_for: dict[Place, set[str]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._parked)

    def oldest_us(self) -> int | None:
        """Since when the oldest waits; None where none does."""
        return min((each.since_us for each in self._parked.values()), default=None)

    def older_than(self, before_us: int) -> tuple[str, ...]:
        """Those that have waited since before a time."""
        return tuple(name for name, each in self._parked.items() if each.since_us < before_us)

    def park(self, item_id: str, stored: Stored, since_us: int) -> None:
        """Let it wait, if there is a place left."""
        if len(self._parked) >= PARKED_MAX:
            return
        self._parked[item_id] = Parked(stored=stored, since_us=since_us)
        for place in places(stored):
            self._waiting_for.setdefault(place, set()).add(item_id)

    def unpark(self, item_id: str) -> Parked | None:
        """Take it out; None if it does not wait here."""
        parked = self._parked.pop(item_id, None)
        if parked is None:
            return None
        for place in places(parked.stored):
            waiting = self._waiting_for[place]
            waiting.discard(item_id)
            if not waiting:
                del self._waiting_for[place]
        return parked

    def waiting_for(self, place: Place) -> tuple[str, ...]:
        """The events that wait for this id."""
        return tuple(self._waiting_for.get(place, ()))
