"""How often providers approve of late, by the rule that sent the payments there. In memory only.

A sliding window of the newest charges of each rule and target, so that what was good once does
not hide what is bad now. An empty window counts as one that half of the payers liked: a target
that nobody knows is tried before one that is known to be bad.
"""

from collections import OrderedDict, deque
from typing import Final

_MILLI: Final = 1_000
# Rules times targets: more pairs than this are not configured, and what is quiet longest goes.
PAIRS_MAX: Final = 25_000


class SuccessRates:
    """Windows of the newest `window` charges of each (rule, provider). Both calls are O(1)."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._pairs: OrderedDict[tuple[str, str], deque[bool]] = OrderedDict()
        self._approved: dict[tuple[str, str], int] = {}

    def learn(self, rule: str, provider: str, *, approved: bool) -> None:
        """Note the end of one charge: approved, or declined by whoever declined it."""
        pair = (rule, provider)
        seen = self._pairs.get(pair)
        if seen is None:
            seen = self._pairs[pair] = deque()
            self._approved[pair] = 0
            if len(self._pairs) > PAIRS_MAX:
                gone, _ = self._pairs.popitem(last=False)
                del self._approved[gone]
        self._pairs.move_to_end(pair)
        seen.append(approved)
        self._approved[pair] += approved
        while len(seen) > self._window:
            self._approved[pair] -= seen.popleft()

    def milli(self, rule: str, provider: str) -> int:
        """The share that was approved, in thousandths, with one of each kind added."""
        seen = self._pairs.get((rule, provider), ())
        return _MILLI * (self._approved.get((rule, provider), 0) + 1) // (len(seen) + 2)

    def resize(self, window: int) -> None:
        """Look at so many of the newest charges from now on; rules may have been changed."""
        self._window = window
