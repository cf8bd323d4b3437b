"""How often Adyen is told of one payer, who has an address that was signed for good.

The address proves that its payer was sent away once, and nothing about how often it is opened, or
with which result. So of one payment one result is told at a time, and few in all. Whoever comes
beyond that goes on as everybody does, and Adyen is not asked for them.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

# A payer is sent away once, at times twice, and opens the page again when it was slow.
CALLS_MAX: Final = 5
# Payers of the last hours, at some 200 bytes each. Who wants to be forgotten has to pay as often.
REFERENCES_MAX: Final = 10_000


class Visits:
    """Counts in memory. After a restart everybody may come anew."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._under_way: set[str] = set()

    @contextmanager
    def visit(self, reference: str) -> Generator[bool]:
        """Whether Adyen may be told of this payment now; while this is open, no second time."""
        if reference in self._under_way or self._calls.get(reference, 0) >= CALLS_MAX:
            yield False
            return
        # At the end again: those who came last are remembered longest.
        self._calls[reference] = self._calls.pop(reference, 0) + 1
        while len(self._calls) > REFERENCES_MAX:
            del self._calls[next(iter(self._calls))]
        self._under_way.add(reference)
        try:
            yield True
        finally:
            self._under_way.discard(reference)

    def unsaid(self, reference: str) -> None:
        """Nothing left for Adyen: this time counts for nothing."""
        calls = self._calls.get(reference, 0)
        if calls > 0:
            self._calls[reference] = calls - 1
