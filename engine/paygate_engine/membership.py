"""A node's own side of being one of many: its beats, whether it may act, and who has died.

Theory of operation. A node beats every `beat_s`; all durations are measured on its monotonic
clock. Others may bury it once a lease has passed since a beat *arrived*; the node counts from the
moment at which it *sent* its last good one, less a margin, so it stops acting (`may_act`) before
anybody may take its place. That is a courtesy and not a lock: what is already on its way cannot be
called back, and the store refuses what comes under an epoch that is over.

It judges others only while its own beats are answered in step. A database that stands still for a
while (its standby does, say) holds everybody's beats up; the one that is answered first afterwards
had come in time, and by it all the others would be late.

What it hears it passes on: `on_paused` and `on_resumed` in turn, `on_dead` with epochs that are
over (buried by this node or another, or left), `on_bulletin` when a watched document changed, and
`on_fenced` once, after which nothing happens any more. Beats go on whatever else goes wrong.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from paygate_engine.cluster_clock import ClusterClock
from paygate_engine.errors import Fenced, Overloaded
from paygate_engine.stores.shared import BEAT_S, LEASE_S, Beat, Seat, SharedStore

# Between asking `may_act` and being heard by a provider lies a turn of the loop, and two machines'
# seconds differ by less than a thousandth. A tenth of a lease is plenty for both.
MARGIN_SHARE = 0.1
# A beat that failed is sent again after this, or after `beat_s` where that is less: soon enough to
# be back within a second of the database, and seldom enough that a thousand nodes do not drown it.
AGAIN_S = 0.5
# Two answers that lie further apart than this many beats say that something stood still. By then
# no other node that beats can be late: that takes four.
IN_STEP_BEATS = 2.0
# An answer that took longer tells too vaguely what time it is: a frozen process gets old ones.
ROUND_TRIP_S_MAX = 1.0

_log = logging.getLogger(__name__)


class Membership:
    """One node among others: `join` first; it beats until it is fenced or leaves.

    `after(delay_s, fn, arg)` and `spawn(coroutine)` are the actor system's. Whoever is told must
    return at once; one that raises is logged and keeps nothing from the others. Public attributes
    are for people and metrics; counts only grow.
    """

    def __init__(
        self,
        store: SharedStore,
        *,
        clock: ClusterClock,
        after: Callable[[float, Callable[[Any], object], Any], None],
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[Any]"],
        on_paused: Callable[[], object],
        on_resumed: Callable[[], object],
        on_dead: Callable[[tuple[int, ...]], object],
        on_fenced: Callable[[Fenced], object],
        on_bulletin: Callable[[int], object],
        beat_s: float = BEAT_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self.seat: Seat | None = None
        self.beats = 0  # good ones
        self.beats_late = 0  # those of them that one was lost before, or as good as
        self.failures = 0  # of beats and burials
        self.buried = 0  # epochs that this node ended
        self.live: frozenset[int] = frozenset()
        self._newest = 0
        self._store = store
        self._clock = clock
        self._after = after
        self._spawn = spawn
        self._on_paused = on_paused
        self._on_resumed = on_resumed
        self._on_dead = on_dead
        self._on_fenced = on_fenced
        self._on_bulletin = on_bulletin
        self._beat_s = beat_s
        self._lease_s = lease_s
        self._acts_s = lease_s * (1 - MARGIN_SHARE)
        self._act_until_s = -math.inf
        self._good_s = 0.0  # when the newest good beat was sent
        self._answered_s = -math.inf  # and when it was answered
        self._in_step_s = 0.0  # since when answers have come in step
        self._bulletin: int | None = None
        self._paused_at_s: float | None = None
        self._paused_s = 0.0
        self._beating: asyncio.Task[Any] | None = None

    @property
    def epoch(self) -> int:
        """The own epoch; 0 before `join`."""
        return 0 if self.seat is None else self.seat.epoch

    @property
    def may_act(self) -> bool:
        """Whether nobody can have taken this node's place yet. Ask it right before acting."""
        return self._clock.monotonic_s() < self._act_until_s

    @property
    def lease_s(self) -> float:
        """For how many seconds it may act from now on, if no beat is answered; 0: it may not."""
        return max(0.0, self._act_until_s - self._clock.monotonic_s())

    @property
    def paused(self) -> bool:
        """Whether `on_paused` was called last, and not `on_resumed`."""
        return self._paused_at_s is not None

    @property
    def paused_s(self) -> float:
        """For how many seconds this node did not act, in all."""
        if self._paused_at_s is None:
            return self._paused_s
        return self._paused_s + self._clock.monotonic_s() - self._paused_at_s

    def lives(self, epoch: int) -> bool:
        """Whether an epoch is not over, as far as the newest good beat told.

        One that was given since then lives: nobody has said otherwise.
        """
        return epoch in self.live or epoch > self._newest

    async def join(self, name: str) -> Seat:
        """Take a seat, learn the time and who lives, and beat from now on.

        Documents that are read after this are new enough until `on_bulletin` is called. Raises
        what the store's `join` and `beat` raise; then this one is of no more use.
        """
        self.seat = seat = await self._store.join(name)
        self._clock.set(seat.now_us, at_s=self._clock.monotonic_s())
        sent_s = self._clock.monotonic_s()
        beat = await self._store.beat()
        self.live, self._newest, self._bulletin = beat.live, beat.newest, beat.bulletin
        self._take_in(beat, sent_s)
        self._beating = self._spawn(self._beat_on())
        return seat

    async def leave(self) -> None:
        """Act no more, beat no more, and give the seat back. Idempotent."""
        self._end()
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        await self._store.leave()

    async def _beat_on(self) -> None:
        """Beat until this node is fenced, or the task is cancelled."""
        delay_s = self._beat_s
        while True:
            await self._wait(delay_s)
            sent_s = self._clock.monotonic_s()
            try:
                await self._beat(sent_s)
                delay_s = sent_s + self._beat_s - self._clock.monotonic_s()
            except Fenced as error:
                self._end()
                self._tell(self._on_fenced, error)
                return
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled():
                    raise
                self._failed(error)
                delay_s = AGAIN_S
            delay_s = max(min(AGAIN_S, self._beat_s), delay_s)

    async def _beat(self, sent_s: float) -> None:
        beat = await self._store.beat()
        self._take_in(beat, sent_s)
        over, self.live = self.live - beat.live, beat.live
        self._newest = beat.newest
        if beat.bulletin != self._bulletin:
            self._bulletin = beat.bulletin
            self._tell(self._on_bulletin, beat.bulletin)
        buried = await self._bury()
        self.live -= buried
        if over or buried:
            self._tell(self._on_dead, tuple(sorted(over | buried)))

    async def _bury(self) -> frozenset[int]:
        """Bury who is late; nobody where that fails, since the next beat comes by again.

        And nobody before the own beats were in step for the length of a lease.
        """
        if self._answered_s - self._in_step_s < self._lease_s:
            return frozenset()
        try:
            buried = frozenset(await self._store.bury())
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001 - the beat was good, and who it told of is dead
            self._failed(error)
            return frozenset()
        self.buried += len(buried)
        return buried

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        if not isinstance(error, Overloaded):
            _log.error("a beat failed", exc_info=error)

    def _take_in(self, beat: Beat, sent_s: float) -> None:
        """A good answer has come to what was sent at `sent_s`: note the time, and act longer."""
        answered_s = self._clock.monotonic_s()
        if answered_s - sent_s <= ROUND_TRIP_S_MAX:
            self._clock.set(beat.now_us, at_s=(sent_s + answered_s) / 2)
        self.beats += 1
        if self.beats > 1 and sent_s - self._good_s >= 2 * self._beat_s:
            self.beats_late += 1
        self._good_s = sent_s
        if answered_s - self._answered_s > IN_STEP_BEATS * self._beat_s:
            self._in_step_s = answered_s
        self._answered_s = answered_s
        self._act_until_s = sent_s + self._acts_s
        self._notice(None)
        self._after(max(0.0, self._act_until_s - answered_s), self._notice, None)

    def _notice(self, _: None) -> None:
        """Tell whether this node may act, where that has changed."""
        now_s = self._clock.monotonic_s()
        if self._paused_at_s is None and now_s >= self._act_until_s > -math.inf:
            self._paused_at_s = self._act_until_s
            self._tell(self._on_paused)
        elif self._paused_at_s is not None and now_s < self._act_until_s:
            self._paused_s += now_s - self._paused_at_s
            self._paused_at_s = None
            self._tell(self._on_resumed)

    def _end(self) -> None:
        """Act no more, for good. Nobody is paused by that: it is over."""
        self._act_until_s = -math.inf
        self.live -= {self.epoch}

    def _tell(self, listener: Callable[..., object], *news: object) -> None:
        try:
            listener(*news)
        except Exception:  # noqa: BLE001 - whatever a stranger raises, the beats must go on
            _log.exception("a listener of the membership raised")

    async def _wait(self, delay_s: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._after(delay_s, _wake, woken)
        await woken


def _is_cancelled() -> bool:
    """Whether somebody wants this task to end: a store's own cancellation is just a failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
