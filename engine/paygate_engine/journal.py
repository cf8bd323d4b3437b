"""The journal: units in, one transaction a group, answers in order.

Theory of operation. There is no timer. While one group is being written, units that arrive
collect; they are the next group. When nothing is being written, a unit is written at once,
together with whatever else is appended in the same turn of the loop. One commit is in flight at
any time, so groups are committed in the order of `append`, and the audit chain has one end.

What may come back, by unit: `None` (committed), `Conflict` (left out, somebody else was first),
`StoreFull` (rolled back for certain, the journal goes on), `StoreFailed` (nobody knows). After
the last one the journal refuses everything: the process must end and recover from the disk.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from msgspec import Struct

from paygate_engine.chain import Chain, Head
from paygate_engine.clock import Clock
from paygate_engine.errors import Overloaded, StoreFailed, StoreFull
from paygate_engine.stores.base import Conflict, Event, Store, Unit

if TYPE_CHECKING:
    from paygate_engine.system import ActorSystem

# A group of this many units (some six rows each) is written in about 30 ms: longer groups would
# save little more of the sync's cost, and everybody in a group waits for all of it.
GROUP_MAX = 512
# So often a group is looked at again as a whole because another node was first in between. Then
# those that are in the way are left out one after the other: who hears of a conflict asks again.
AGAIN_MAX = 20
# A chain's end is published after this many rows or seconds, whichever comes first: what an
# intruder could cut off unseen is what came after the newest published head.
HEAD_ROWS = 1_000
HEAD_S = 10.0
# What one decision writes is some kilobytes; a unit beyond this is a bug that would hold up all.
UNIT_BYTES_MAX = 4 * 1024 * 1024

Answer = Conflict | Exception | None
Waiter = Callable[[Answer], None]
AnyError = TypeVar("AnyError", bound=Exception)

_log = logging.getLogger(__name__)


class JournalStats(Struct, kw_only=True):
    """What the journal has done since it started; all counts but the last only grow."""

    groups: int = 0
    units: int = 0
    rows: int = 0
    conflicts: int = 0
    waiter_errors: int = 0
    last_group_units: int = 0


class Journal:
    """Group commit in front of a store. All methods belong to the loop's thread.

    `spawn` runs a coroutine and keeps it alive. `backlog_max` bounds the units that wait for
    their group. `on_fatal` is called once, when the store has failed. `on_head` gets the chain's
    end every `HEAD_ROWS` rows or `HEAD_S` seconds of committing, and at `drain`.
    """

    def __init__(
        self,
        store: Store,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        clock: Clock,
        backlog_max: int,
        on_fatal: Callable[[BaseException], None],
        on_head: Callable[[Head], None] | None = None,
    ) -> None:
        self.stats = JournalStats()
        self._store = store
        self._spawn = spawn
        self._clock = clock
        self._backlog_max = backlog_max
        self._on_fatal = on_fatal
        self._on_head = on_head
        self._chain: Chain | None = None
        self._published: Head = Head()
        self._published_s = clock.monotonic_s()
        self._backlog: list[tuple[Unit, Waiter]] = []
        self._idle: asyncio.Future[None] | None = None  # while writing; resolved when it stops
        self._failed: StoreFailed | None = None
        self._full = False
        self._encoder = msgspec.msgpack.Encoder()
        self._scratch = bytearray()

    @classmethod
    async def open(cls, store: Store, system: "ActorSystem", *, backlog_max: int = 10_000) -> Self:
        """Open the store and start a journal on it that fails with the system; for small houses."""
        await store.open()
        journal = cls(
            store,
            spawn=system.spawn_task,
            clock=system.clock,
            backlog_max=backlog_max,
            on_fatal=system.fail,
        )
        await journal.start()
        return journal

    @property
    def backlog(self) -> int:
        """Units that wait for their group; those being written are not counted."""
        return len(self._backlog)

    @property
    def failed(self) -> StoreFailed | None:
        """Why the journal refuses everything, or None."""
        return self._failed

    @property
    def away(self) -> bool:
        """The store cannot be reached just now: what is appended is refused, and nothing done."""
        return self._store.away

    @property
    def full(self) -> bool:
        """The newest group found no room. The next group that does clears it: keep appending."""
        return self._full

    async def start(self) -> None:
        """Find the end of the audit chain. Before this nothing can be appended."""
        try:
            n, digest = await self._store.audit_head()
        except StoreFailed as error:
            self._fail(error)
            raise
        self._chain = Chain(Head(n=n, hash=digest))
        self._published = self._chain.head

    def append(self, unit: Unit, done: Waiter) -> None:
        """Put a unit into the next group; `done` gets its answer, later, on the loop.

        Raises `Overloaded` (the backlog is full, or the store away: nothing was done),
        `StoreFailed`, and `ValueError` for a unit that no store could write (over
        `UNIT_BYTES_MAX`, lone surrogates).
        """
        if self._failed is not None:
            raise StoreFailed("the journal has failed before") from self._failed
        if self._chain is None:
            raise RuntimeError("append before start")
        if self._store.away:
            raise Overloaded("the store cannot be reached just now")
        if len(self._backlog) >= self._backlog_max:
            raise Overloaded(f"{self._backlog_max} units wait for the journal")
        self._check(unit)
        self._backlog.append((unit, done))
        if self._idle is None:
            self._idle = asyncio.get_running_loop().create_future()
            self._spawn(self._write(self._chain))

    async def append_wait(self, unit: Unit) -> Conflict | None:
        """Like `append`; returns when the unit is committed or left out, raises what it got.

        A caller that is cancelled meanwhile does not take the unit back.
        """
        answer: asyncio.Future[Conflict | None] = asyncio.get_running_loop().create_future()

        def done(result: Answer) -> None:
            if answer.done():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self.append(unit, done)
        return await answer

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Committed events behind a number. Raises `Corrupt`, and `StoreFailed`, which is fatal."""
        try:
            return await self._store.read_stream(stream, after_seq=after_seq)
        except StoreFailed as error:
            self._fail(error)
            raise

    async def drain(self) -> None:
        """Return when everything appended so far is answered; publishes the chain's end."""
        while self._idle is not None:
            await asyncio.shield(self._idle)
        if self._chain is not None and self._failed is None:
            self._publish(self._chain.head)

    def _check(self, unit: Unit) -> None:
        """Refuse what would make the store fail, while it still concerns its sender alone."""
        self._encoder.encode_into(unit, self._scratch)
        size = len(self._scratch)
        self._scratch.clear()
        if size > UNIT_BYTES_MAX:
            raise ValueError(f"a unit of {size} bytes; the limit is {UNIT_BYTES_MAX}")

    async def _write(self, chain: Chain) -> None:
        """Write group after group until nothing waits."""
        try:
            while self._backlog and self._failed is None:
                group = self._backlog[:GROUP_MAX]
                del self._backlog[:GROUP_MAX]
                await self._write_group(chain, group)
        finally:
            idle, self._idle = self._idle, None
            if idle is not None and not idle.done():
                idle.set_result(None)

    async def _write_group(self, chain: Chain, group: list[tuple[Unit, Waiter]]) -> None:
        """Commit one group and answer all of it in order, whatever happens."""
        answers: list[Answer] = [None] * len(group)
        try:
            await self._commit(chain, [unit for unit, _ in group], answers)
        except StoreFull as error:
            if not self._full:
                _log.error("no room on the disk: groups are refused until there is: %s", error)
            self._full = True
            # Also to who conflicts: who was first may be of this group, and is not there either.
            self._answer(group, (_caused(StoreFull(str(error)), error) for _ in group))
        except BaseException as error:
            # Also a cancellation: the commit may be on its way, and nobody knows how it ends.
            self._fail(error)
            self._answer(group, (self._failure() for _ in group))
            if not isinstance(error, Exception):
                raise
        else:
            self._answer(group, answers)
            self._publish_if_due(chain.head)
        finally:
            if self._failed is not None:
                rest, self._backlog = self._backlog, []
                self._answer(rest, (self._failure() for _ in rest))

    async def _commit(self, chain: Chain, units: list[Unit], answers: list[Answer]) -> None:
        """Commit all units but those that conflict, which get their answers.

        Who conflicts may do so with another unit of the group. Where that one falls out as well,
        because another node was first, nobody holds what was in the way, and all are looked at
        again.

        Ends: every round that is not the last leaves at least one unit out, but for `AGAIN_MAX`.
        """
        before = chain.head
        again = 0
        places = list(range(len(units)))
        while places:
            left = [units[place] for place in places]
            rows = chain.link(left)
            try:
                found = await self._store.commit(left, rows)
            except StoreFull:
                chain.head = before
                raise
            if not any(found):
                self._full = False
                self._count(left, chain.head.n - before.n)
                break
            chain.head = before
            for place, conflict in zip(places, found, strict=True):
                answers[place] = conflict
            if len(left) < len(units) and again < AGAIN_MAX:
                again += 1
                answers[:] = [None] * len(units)
            places = [place for place, answer in enumerate(answers) if answer is None]
        self.stats.conflicts += sum(answer is not None for answer in answers)

    def _count(self, units: list[Unit], audit_rows: int) -> None:
        stats = self.stats
        stats.groups += 1
        stats.units += len(units)
        stats.last_group_units = len(units)
        stats.rows += audit_rows + sum(
            len(unit.events)
            + len(unit.documents)
            + len(unit.claims)
            + len(unit.items)
            + len(unit.done)
            + len(unit.wakes)
            + len(unit.posts)
            for unit in units
        )

    def _answer(self, group: list[tuple[Unit, Waiter]], answers: Iterable[Answer]) -> None:
        """Tell every waiter; one that raises keeps nothing from the others."""
        for (_, done), answer in zip(group, answers, strict=True):
            try:
                done(answer)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever a stranger raises
                self.stats.waiter_errors += 1
                _log.exception("a waiter of the journal raised")

    def _fail(self, error: BaseException) -> None:
        """Refuse everything from now on; the first failure is the one that is told."""
        if self._failed is not None:
            return
        self._failed = (
            error
            if isinstance(error, StoreFailed)
            else _caused(StoreFailed(f"the commit ended in {error!r}"), error)
        )
        _log.critical("the journal has failed: %s", self._failed)
        try:
            self._on_fatal(self._failed)
        except Exception:  # noqa: BLE001 - the waiters must still be answered
            _log.exception("on_fatal raised")

    def _failure(self) -> StoreFailed:
        """An exception for one more waiter: shared, its traceback would grow by each."""
        return _caused(StoreFailed(str(self._failed)), self._failed)

    def _publish_if_due(self, head: Head) -> None:
        waited_s = self._clock.monotonic_s() - self._published_s
        if head.n - self._published.n >= HEAD_ROWS or waited_s >= HEAD_S:
            self._publish(head)

    def _publish(self, head: Head) -> None:
        if self._on_head is None or head.n == self._published.n:
            return
        self._published, self._published_s = head, self._clock.monotonic_s()
        try:
            self._on_head(head)
        except Exception:  # noqa: BLE001 - the group is committed, whatever this does
            _log.exception("on_head raised")


def _caused(error: AnyError, cause: BaseException | None) -> AnyError:
    error.__cause__ = cause
    return error
