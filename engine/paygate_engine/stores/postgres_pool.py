"""Reading from PostgreSQL: a few connections, a deadline for each read, and another try.

Only for what may be executed twice: reads, and writes that come to the same the second time.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from paygate_engine.errors import Fenced, Overloaded, StoreDamaged, StoreFailed
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

# Connections for everything but groups and beats. Each is a process of the server's, and reads are
# short.
READERS = 4
# Whoever waits longer for a connection than this is better told to come back.
WAIT_S = 2.0
# A read walks at most a page along an index; what takes this long will not end well.
READ_S = 5.0
# The first connection may be of before a failover; the second one looks for the new primary. A
# failover takes longer than any caller waits, so there is no point in a fourth try.
TRIES_MAX = 3
PAUSE_S = 0.1

# What a read may meet in the midst of other work, of a failover, or of somebody's hand: again.
# 57: cancelled or shut down; 40: deadlock; 53: no memory, no room for sorting; 55: a lock in use;
# 25: the server is a standby now; 08: a pooler that lost its server.
_PASSING = frozenset({"57", "40", "53", "55", "25", "08"})
_IN_USE = "all connections to the database are in use"
# XX001, XX002: a page or an index is not what was written.
_DAMAGE = "XX"


class Pool:
    """A bounded number of connections that statements are run on, one each.

    One more is kept for what keeps the node alive: no crowd of readers may let its lease run out.
    """

    def __init__(
        self, links: Links, rng: random.Random, *, size: int = READERS, read_s: float = READ_S
    ) -> None:
        self._links = links
        self._rng = rng
        self._read_s = read_s
        self._places = asyncio.Semaphore(size)
        self._kept_place = asyncio.Semaphore(1)
        self._idle: list[Link] = []
        self._kept: list[Link] = []
        self._freed = asyncio.Event()

    async def run(
        self, statement: str, *arguments: Any, tries_max: int = TRIES_MAX, kept: bool = False
    ) -> Rows:
        """The rows of a statement. Raises `Overloaded`: nothing came back; `StoreFailed`.

        With `tries_max` 1 for what must not be executed a second time. `kept`: over the connection
        that is kept for joining and beating.
        """
        reason: Exception | None = None
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._read_s
        for tried in range(tries_max):
            if tried:
                await asyncio.sleep(PAUSE_S * tried * (1 + self._rng.random()))
            if loop.time() >= until_s:
                break
            try:
                async with self._link(kept=kept) as link:
                    rows = await link.fetch(statement, *arguments, deadline_s=self._read_s)
                    warned = link.warned
                self._links.away = False
            except Answered as error:
                _check_passing(error)
                reason = error
            except (Lost, Unreachable) as error:
                if isinstance(error, Lost):
                    self._links.doubt()
                self._forget_idle()
                reason = error
            else:
                if warned is None or not warned.certain:
                    return rows
                # An epoch that a failover forgets would be given twice; all else may be done twice.
                reason = Lost(warned.text)
        raise Overloaded(f"the database cannot be reached: {reason}") from reason

    def close(self) -> None:
        """Drop all connections that nobody is using."""
        self._forget_idle()

    @asynccontextmanager
    async def _link(self, *, kept: bool) -> AsyncGenerator[Link]:
        until_s = asyncio.get_running_loop().time() + WAIT_S
        places, idle = (self._kept_place, self._kept) if kept else (self._places, self._idle)
        try:
            async with asyncio.timeout_at(until_s):
                await places.acquire()
        except TimeoutError as error:
            raise Overloaded(_IN_USE) from error
        try:
            link = await self._idle_or_fresh(idle, until_s)
            try:
                yield link
            finally:
                if link.usable:
                    idle.append(link)
                    self._freed.set()
        finally:
            places.release()

    async def _idle_or_fresh(self, idle: list[Link], until_s: float) -> Link:
        """A connection; where the server has no place for one more, as soon as there is one."""
        tried = 0
        while (link := _newest(idle)) is None:
            try:
                return await self._links.connect()
            except Crowded as error:
                # What is kept may have been lost: then any other is as good.
                if (link := _newest(self._idle)) is not None:
                    break
                tried += 1
                again_s = asyncio.get_running_loop().time() + PAUSE_S * tried
                if again_s >= until_s:
                    raise Overloaded(_IN_USE) from error
                self._freed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(again_s):
                        await self._freed.wait()
        return link

    def _forget_idle(self) -> None:
        """After one connection broke, its peers are of the same server: they are not tried."""
        for idle in (self._idle, self._kept):
            while idle:
                idle.pop().end()


def _newest(idle: list[Link]) -> Link | None:
    """The one that was used last of those that are still connected."""
    while idle:
        link = idle.pop()
        if link.usable:
            return link
    return None


def _check_passing(error: Answered) -> None:
    """Raise `StoreFailed` for an answer that would be the same another time."""
    if error.sqlstate.startswith(_DAMAGE):
        raise StoreDamaged(
            f"the database is damaged ({error}): nothing more is served from it; promote a standby,"
            " or restore a backup"
        ) from error
    if error.sqlstate == FENCED:
        raise Fenced(f"{error}: another node has taken its work") from error
    if error.sqlstate[:2] not in _PASSING:
        raise StoreFailed(f"PostgreSQL: {error}") from error
