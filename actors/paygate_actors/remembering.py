"""What pure functions made of things lately, so that whoever polls does not have it made again.

A payment is asked for again and again until it is over, and is the same most times. What is kept
can never be out of date: it is given out for the very thing that it was made of, or for an equal
one, and for no other.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

S = TypeVar("S")
M = TypeVar("M")

# As many as are polled at a time: some 2 MB, or 50 where each has all the metadata it may.
KEPT_MAX: Final = 500


class Remembered(Generic[S, M]):
    """`make`, which must be pure, with its newest results, one for each name."""

    __slots__ = ("_kept", "_kept_max", "_make")

    def __init__(self, make: Callable[[S], M], *, kept_max: int = KEPT_MAX) -> None:
        self._make = make
        self._kept_max = kept_max
        self._kept: dict[str, tuple[S, M]] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def of(self, name: str, source: S) -> M:
        """What `make` makes of the source. Raises what it raises."""
        kept = self._kept.get(name)
        # The same object is the usual case, and is seen without a look at its fields.
        if kept is not None and (kept[0] is source or kept[0] == source):
            return kept[1]
        made = self._make(source)
        self._kept.pop(name, None)
        if len(self._kept) >= self._kept_max:
            # The oldest one: a dictionary keeps the order in which they came.
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (source, made)
        return made
