"""Committing to PostgreSQL: send a group, and where no answer comes ask until it is certain.

Theory of operation. Each sending of a group takes a turn, a number that grows. The statement puts
the turn into the node's row and fails unless it is newer than all before, and not barred. After an
answer all is known: it is committed, or the error is one that the server gives before it commits.
After anything else (a lost connection, a deadline, a server that shuts down, a warning that the
standbys were not waited for) nothing is known, and the turn is *settled* on a fresh connection:
it is barred, and the row says whether it had been the newest one. If not, the group is not there
and never will be, however late the old statement comes, and it is sent again under a new turn.

To bar writes the same row, so it waits for a back end that is still at the group; and it is a
commit, so under synchronous replication its answer is as durable as that of a group. What makes
any answer so is in `postgres_durability.py`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from paygate_engine.errors import Fenced, StoreFailed, StoreFull
from paygate_engine.stores.base import AuditRow, Conflict, Unit
from paygate_engine.stores.checksums import event_crc
from paygate_engine.stores.postgres_durability import DURABLY
from paygate_engine.stores.postgres_link import (
    FENCED,
    Answered,
    Crowded,
    Link,
    Links,
    Lost,
    Rows,
    Unreachable,
)
from paygate_engine.stores.postgres_write import COMMIT, Prefetched, columns_of, watches
from paygate_engine.stores.rules import find_conflicts
from paygate_engine.stores.shared import Seat

# A group takes milliseconds. Longer than this it is the database or the way to it that hangs, and
# the outcome is asked for over a new connection; a commit that waits for its standby goes on there.
# From then on new callers hear that the database is away, instead of waiting in silence.
COMMIT_S = 5.0
# How long one question after a turn's outcome may take: more than the server waits for the lock.
SETTLE_S = 10.0
# A group that the server rolled back, though nothing stands in its way: another node was at the
# same rows. Twenty times in a row would be a fault of ours.
TRIES_MAX = 20
# A group that got lost on its way although the database answers in between: the statement itself
# must be what ends the connection, and would for ever.
LOST_MAX = 100
PAUSE_S = 0.02
PAUSE_S_MAX = 2.0

# What a warning is about that does not say where it comes from is told by committing again. Of what
# still comes then, ten times in ten seconds, nobody will learn whether the standbys have anything.
UNTOLD_MAX = 10

SETTLE = f"SELECT newest, ended, {DURABLY} FROM paygate.settle_1($1, $2, $3)"  # noqa: S608 - of ours
ADOPT = (
    f"SELECT of_stream, due_us, row_crc, {DURABLY}"  # noqa: S608 - of ours
    " FROM paygate.adopt_1($1, $2, $3, $4)"
)
ADOPTED = "SELECT stream, at_us, crc FROM paygate.wakes WHERE owner = $1 AND adopted_turn = $2"

EVENTS_TAKEN = (
    "SELECT stream, seq, crc FROM paygate.events"
    " JOIN unnest($1::text[], $2::bigint[]) AS given (stream, seq) USING (stream, seq)"
)
ITEMS_TAKEN = (
    "SELECT queue, id FROM paygate.items"
    " JOIN unnest($1::text[], $2::text[]) AS given (queue, id) USING (queue, id)"
)

# Classes of errors that the server gives before it commits, and so instead of it: what was sent is
# rolled back. 22: a value; 23: a constraint; 40: deadlock; 42: the text of the statement; 53: no
# room; 54: a limit; PY: ours.
_ROLLED_BACK = frozenset({"22", "23", "40", "42", "53", "54", "PY"})
_IN_THE_WAY = frozenset({"23", "40"})
_HELD, _OUT_OF_TURN = "PY002", "PY003"

_log = logging.getLogger(__name__)


class Committer:
    """The one connection that groups go over. One caller at a time; none is ever cancelled.

    `asking`: what became of a group is being asked. `shut_out`: a group has been waiting for a
    connection for long, because the server is full; whoever comes now should not wait behind it.
    """

    def __init__(
        self, links: Links, rng: random.Random, *, watched: frozenset[str], commit_s: float
    ) -> None:
        self._links = links
        self._rng = rng
        self._watched = watched
        self._commit_s = commit_s
        self._link: Link | None = None
        self._turn = 0
        self._at_work = asyncio.Lock()
        self._closed = asyncio.Event()
        self.asking = False
        self.shut_out = False

    async def commit(
        self, seat: Seat, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Commit a group, or nothing of it and say which units conflict.

        Raises `Fenced`, `StoreFull`, and `StoreFailed`.
        """
        columns = columns_of(units, audit)
        is_watched = watches(units, self._watched)
        async with self._at_work:
            error: Rows | Answered | None = None
            for tried in range(TRIES_MAX):
                if columns is not None:
                    send = (COMMIT, (seat.chain, is_watched, *columns))
                    error = await self._turned(seat, send, lambda: self._belt(seat, units))
                    if not isinstance(error, Answered):
                        return [None] * len(units)
                    check_in_the_way(error)
                answers = await self._conflicts(units)
                if any(answers):
                    await self._outlives(seat)
                    return answers
                # Whoever was in the way is gone: it was rolled back.
                _log.info("a group was rolled back and is sent again: %s", error)
                await self._pause(tried)
            raise StoreFailed(f"{TRIES_MAX} times refused, but no unit conflicts: {error}")

    async def adopt(self, seat: Seat, limit: int) -> Rows:
        """Rows of the open streams that the epoch took over: (stream, at_us, crc)."""
        async with self._at_work:
            for tried in range(TRIES_MAX):
                found = await self._turned(seat, (ADOPT, (limit,)), None)
                if found is None:
                    return await self._ask(ADOPTED, seat.epoch, self._turn)
                if not isinstance(found, Answered):
                    return [row[:3] for row in found]
                check_in_the_way(found)
                await self._pause(tried)
        raise StoreFailed("streams could not be adopted: their rows are always in use")

    def begin(self) -> None:
        """Count turns from the start: a new epoch has none."""
        self._turn = 0

    def open(self) -> None:
        """Take calls."""
        self._closed.clear()

    def close(self) -> None:
        """End the connection and every wait; a commit that is under way raises `StoreFailed`."""
        self._closed.set()
        if self._link is not None:
            self._link.end()
            self._link = None

    async def _turned(
        self,
        seat: Seat,
        send: tuple[str, tuple[Any, ...]],
        belt: Callable[[], Awaitable[None]] | None,
    ) -> Rows | Answered | None:
        """Execute a statement in a turn of its own, once for certain.

        Its rows; None: it was executed, and its rows are lost; `Answered`: it was rolled back.
        """
        statement, arguments = send
        for lost in range(LOST_MAX):
            link = await self._connected()
            self._turn += 1
            try:
                rows = await link.fetch(
                    statement,
                    seat.seat,
                    seat.epoch,
                    self._turn,
                    *arguments,
                    deadline_s=self._commit_s,
                )
                if link.warned is None:
                    self._links.away = False
                    return rows
                reason: Exception = Lost(link.warned.text)
            except Answered as error:
                if error.sqlstate[:2] in _ROLLED_BACK:
                    return error
                reason = error
            except Lost as error:
                reason = error
            except ValueError as error:
                raise StoreFailed(f"PostgreSQL cannot take a value: {error}") from error
            _log.warning("the outcome of turn %s is not known: %s", self._turn, reason)
            if await self._settled(seat):
                return None
            if belt is not None:
                await belt()
            await self._pause(lost)
        raise StoreFailed(f"a group was lost {LOST_MAX} times on its way, though others are not")

    async def _settled(self, seat: Seat) -> bool:
        """Whether the newest turn was committed; if not, it never will be. As long as it takes."""
        self._drop()
        self.asking = True
        try:
            rows = await self._ask(SETTLE, seat.seat, seat.epoch, self._turn)
        finally:
            self.asking = False
        if not rows or rows[0][1] is not None:
            raise Fenced(f"epoch {seat.epoch} is over: another node has taken its work")
        newest: int = rows[0][0]
        if newest > self._turn:
            raise StoreFailed(f"epoch {seat.epoch} is at turn {newest}: two processes are one node")
        _log.info("turn %s was %scommitted", self._turn, "" if newest == self._turn else "not ")
        return newest == self._turn

    async def _outlives(self, seat: Seat) -> None:
        """Return once all that could be read so far is as durable as a commit.

        What is in the way may be on no standby: another node's, whose wait for them somebody
        cancelled, or whose server was started again meanwhile. A group of nothing comes behind it
        in the server's log, so what has that one has both.
        """
        nothing = columns_of((), ())
        assert nothing is not None, "nobody claims anything in it"
        found = await self._turned(seat, (COMMIT, (seat.chain, False, *nothing)), None)
        if isinstance(found, Answered):
            check_in_the_way(found)
            raise StoreFailed(f"a group of nothing was refused: {found}")

    async def _belt(self, seat: Seat, units: Sequence[Unit]) -> None:
        """Raise `StoreFailed` where a group is there although its turn says that it is not."""
        # Those under the own epoch alone: nobody else can have written the very same.
        sent = {
            (event.stream, event.seq): event_crc(event)
            for unit in units
            for event in unit.events
            if event.epoch == seat.epoch
        }
        if sent and sent == {
            (stream, seq): crc for stream, seq, crc in await self._ask_pairs(EVENTS_TAKEN, [*sent])
        }:
            raise StoreFailed(f"turn {self._turn} of epoch {seat.epoch} is there, and denied")

    async def _conflicts(self, units: Sequence[Unit]) -> list[Conflict | None]:
        """Which units are in the way of what is committed, or of each other."""
        events = [(event.stream, event.seq) for unit in units for event in unit.events]
        items = [(item.queue, item.id) for unit in units for item in unit.items]
        claims = list({claim.name for unit in units for claim in unit.claims})
        tallied = list({tally.stream for unit in units for tally in unit.tallies})
        held = claims and await self._ask(
            "SELECT name, stream FROM paygate.claims WHERE name = ANY ($1::text[])", claims
        )
        sums = tallied and await self._ask(
            'SELECT stream, "limit", used FROM paygate.tallies WHERE stream = ANY ($1::text[])',
            tallied,
        )
        taken = Prefetched(
            events=[row[:2] for row in await self._ask_pairs(EVENTS_TAKEN, events)],
            holders={str(row[0]): str(row[1]) for row in held},
            items=await self._ask_pairs(ITEMS_TAKEN, items),
            tallies={str(row[0]): (int(row[1]), int(row[2])) for row in sums},
        )
        return find_conflicts(units, taken, tallied=taken.tally)

    async def _ask_pairs(self, statement: str, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Those of the pairs that the statement finds."""
        if not pairs:
            return []
        first, second = zip(*pairs, strict=True)
        return [tuple(row) for row in await self._ask(statement, first, second)]

    async def _ask(self, statement: str, *arguments: Any) -> Rows:
        """The answer to a question, for as long as it takes; a warning is no answer."""
        tried = untold = 0
        while True:
            link = await self._connected()
            try:
                rows = await link.fetch(statement, *arguments, deadline_s=SETTLE_S)
                if link.warned is None:
                    return rows
                untold = 0 if link.warned.certain else untold + 1
                if untold == UNTOLD_MAX:
                    raise StoreFailed(
                        "whether the standbys have what is committed is not known: the server warns"
                        f" each time, and does not say where from ({link.warned.text})"
                    )
                reason: Exception = Lost(link.warned.text)
            except Lost as error:
                self._links.doubt()
                reason = error
            except Answered as error:
                if error.sqlstate[:2] in ("22", "42", "XX"):
                    raise StoreFailed(f"PostgreSQL: {error}") from error
                reason = error
            _log.warning("the database does not say what is committed: %s", reason)
            self._drop()
            await self._pause(tried)
            tried += 1

    async def _connected(self) -> Link:
        """The connection, or a fresh one, for as long as it takes. `StoreFailed` when closed."""
        tried = 0
        loop = asyncio.get_running_loop()
        patient_until_s = loop.time() + self._commit_s
        try:
            while True:
                if self._closed.is_set():
                    raise StoreFailed("the store was closed while it wrote")
                if self._link is not None and self._link.usable:
                    return self._link
                try:
                    self._link = await self._links.connect()
                except Unreachable as error:
                    self.shut_out = isinstance(error, Crowded) and loop.time() >= patient_until_s
                    if not isinstance(error, Crowded):
                        _log.warning("the database cannot be reached: %s", error)
                    await self._pause(tried)
                    tried += 1
        finally:
            self.shut_out = False

    def _drop(self) -> None:
        if self._link is not None:
            self._link.end()
            self._link = None

    async def _pause(self, tried: int) -> None:
        """Wait, longer each time, and never in step with another node; ends early when closed."""
        pause_s = min(PAUSE_S * 2 ** min(tried, 10), PAUSE_S_MAX) * (0.5 + self._rng.random())
        try:
            async with asyncio.timeout(pause_s):
                await self._closed.wait()
        except TimeoutError:
            return
        raise StoreFailed("the store was closed while it wrote")


def check_in_the_way(error: Answered) -> None:
    """Raise what a rollback means, unless it is that somebody else may have been faster."""
    if error.sqlstate == FENCED:
        raise Fenced(f"{error}: another node has taken its work") from error
    if error.sqlstate == _OUT_OF_TURN:
        raise StoreFailed("an audit row is out of turn: somebody else extends the chain") from error
    if error.sqlstate.startswith("53"):
        raise StoreFull(str(error)) from error
    if error.sqlstate != _HELD and error.sqlstate[:2] not in _IN_THE_WAY:
        raise StoreFailed(f"PostgreSQL: {error}") from error
