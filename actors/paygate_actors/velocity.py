"""How often a card, a customer and an IP address have paid of late: exact sliding windows.

Kept in memory alone: a restart forgets at most one window, and the rules that block (the lists)
do not depend on it. Asking and counting are two calls, because a fraud check must not count.
"""

import functools
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from paygate_actors.config import Fraud
from paygate_actors.fraud_lists import ADDRESSES_KEPT, parse_ip
from paygate_actors.messages import ScoreRequest

# A window of an hour at a million payments a day holds 42,000 of them. At most 18 MB for cards,
# 26 MB for customers and 50 MB for addresses, when each has used up its limit.
KEYS_MAX = 100_000

# How much of an IPv6 address names a household: it chooses the other 64 bits freely.
_IPV6_PREFIX_BITS = 64
_IPV6_BITS = 128
_IPV6 = 6

# Two go for each that comes, so that what is over never outgrows what is live.
_SWEEP_PER_COUNT = 2


class Excess(NamedTuple):
    """Which limits one more payment would exceed."""

    card: bool = False
    customer: bool = False
    ip: bool = False


class SlidingWindow:
    """Tells whether a key has used up `count_max` in the last `window_us` microseconds.

    Keeps the times of the last `count_max` payments of each key: the oldest of them decides, so
    that both calls take constant time and the edge of the window is exact. Beyond `keys_max`
    keys the one that was quiet longest is forgotten (`evicted` counts those still in the window).
    """

    def __init__(self, *, window_us: int, count_max: int, keys_max: int = KEYS_MAX) -> None:
        if min(window_us, count_max, keys_max) < 1:
            raise ValueError("a velocity window, its limit and its keys must be at least 1")
        self._window_us = window_us
        self._count_max = count_max
        self._keys_max = keys_max
        # Sorted by the time of the last payment: the quiet ones are at the front.
        # Most keys come once: a number alone takes a quarter of an array with one in it.
        self._times: OrderedDict[str, array[int] | int] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._times)

    def is_used_up(self, key: str, *, now_us: int) -> bool:
        """Tell whether one more payment now would exceed the limit. Counts nothing."""
        times = self._times.get(key)
        if isinstance(times, int):
            times = (times,)
        if times is None or len(times) < self._count_max:
            return False
        return times[0] > now_us - self._window_us

    def count(self, key: str, *, now_us: int) -> None:
        """Count one payment."""
        times = self._times.get(key)
        if times is None:
            self._times[key] = now_us
        else:
            self._times.move_to_end(key)
            if isinstance(times, int):
                times = self._times[key] = array("q", (times,))
            if len(times) == self._count_max:
                del times[0]
            times.append(now_us)
        self._sweep(now_us)

    def _sweep(self, now_us: int) -> None:
        for _ in range(_SWEEP_PER_COUNT):
            key, times = next(iter(self._times.items()))
            newest_us = times if isinstance(times, int) else times[-1]
            over = newest_us <= now_us - self._window_us
            if not over and len(self._times) <= self._keys_max:
                return
            del self._times[key]
            self.evicted += not over


class Velocity:
    """The three windows of the fraud rules.

    A card counts across merchants, for card testers spread their tries; a customer's id is its
    merchant's own and counts there alone; an IPv6 address counts as its /64.
    """

    def __init__(self, config: Fraud, *, keys_max: int = KEYS_MAX) -> None:
        window_us = config.velocity_window_s * 1_000_000
        limits = (config.velocity_card_max, config.velocity_customer_max, config.velocity_ip_max)
        self._windows = tuple(
            SlidingWindow(window_us=window_us, count_max=limit, keys_max=keys_max)
            for limit in limits
        )

    def excess(self, request: ScoreRequest, *, now_us: int) -> Excess:
        """Tell which limits this payment would exceed. Counts nothing."""
        return Excess(
            *(
                key is not None and window.is_used_up(key, now_us=now_us)
                for window, key in self._keyed(request)
            )
        )

    def count(self, request: ScoreRequest, *, now_us: int) -> None:
        """Count one payment by its card, its customer and its address, where it has them."""
        for window, key in self._keyed(request):
            if key is not None:
                window.count(key, now_us=now_us)

    @property
    def evicted(self) -> int:
        """How many keys were forgotten before their window was over, since the start."""
        return sum(window.evicted for window in self._windows)

    def _keyed(self, request: ScoreRequest) -> Iterator[tuple[SlidingWindow, str | None]]:
        customer = request.customer_id
        keys = (
            request.fingerprint,
            None if customer is None else f"{request.merchant}/{customer}",
            None if request.customer_ip is None else _ip_key(request.customer_ip),
        )
        return zip(self._windows, keys, strict=True)


@functools.lru_cache(maxsize=ADDRESSES_KEPT)
def _ip_key(text: str) -> str:
    address = parse_ip(text)
    if address is None:
        return text
    if address.version == _IPV6:
        return str(int(address) >> (_IPV6_BITS - _IPV6_PREFIX_BITS))
    return str(address)
