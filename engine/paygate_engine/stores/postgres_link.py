"""Connections to PostgreSQL, and statements with a deadline that ends the connection.

A statement is never cancelled: a cancelled commit may be a commit, and the server would say that it
succeeded. Where a deadline passes the connection is dropped, and what became of the statement is
asked on another one. Nothing here rests on a session: no setting, no lock, no prepared statement
that a pooler in between could give to somebody else.

asyncpg comes with the extra `postgres`, and is looked for when a store is opened.
"""

import asyncio
import importlib
import logging
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from paygate_engine.errors import StoreRefused
from paygate_engine.stores.postgres_durability import NoticeLog, Warned, warned_by
from paygate_engine.stores.postgres_text import from_server, original, to_server

T = TypeVar("T")

# A host that is gone does not answer at all; one that is up does within milliseconds.
CONNECT_S = 3.0
# What a server that is shutting down, starting up or not the primary says to whoever connects; the
# next host, or the next try, may do better.
_CROWDED = "53300"  # all its connections, or those of our role or database, are in use
_PASSING = frozenset({"57P01", "57P02", "57P03", _CROWDED, "25006"})

# What our functions answer where an epoch is over; the class PY is ours (schema/postgres).
FENCED = "PY001"

Row = tuple[Any, ...]
Rows = Sequence[Any]

_log = logging.getLogger(__name__)


class Lost(Exception):
    """The connection ended before the answer: whether the statement was executed is not known."""


class Unreachable(Exception):
    """No host takes a connection just now: nothing was sent.

    `refused`: a server that is well does not let us in, and trying again may not help.
    """

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused


class Crowded(Unreachable):
    """The server has no place for one more connection now, while those that we have go on."""

    def __init__(self, text: str) -> None:
        super().__init__(text, refused=False)


class Answered(Exception):
    """The server answered with an error, and goes on; `sqlstate` is its code of five letters."""

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(f"{sqlstate}: {text}")
        self.sqlstate = sqlstate


class Link:
    """One connection. `warned`: why what the newest statement committed may be on no standby."""

    __slots__ = ("__weakref__", "_connection", "_driver", "_notices", "ended", "warned")

    def __init__(self, driver: Any, connection: Any, notices: NoticeLog) -> None:
        self._driver = driver
        self._connection = connection
        self._notices = notices
        self.ended = False
        self.warned: Warned | None = None
        connection.add_log_listener(self._on_notice)

    async def fetch(self, statement: str, *arguments: Any, deadline_s: float) -> Rows:
        """Run one statement and give its rows. Raises `Answered` and `Lost`.

        `ValueError` for an argument that is no value of its type; then nothing was sent. Whoever
        is cancelled meanwhile ends the connection.
        """
        sent = map(to_server, arguments)
        return from_server(await self._until(deadline_s, self._connection.fetch(statement, *sent)))

    async def run_script(self, text: str, *, deadline_s: float) -> None:
        """Run many statements, without arguments. Raises as `fetch` does."""
        await self._until(deadline_s, self._connection.execute(text))

    async def copy(
        self, table: str, columns: Sequence[str], rows: Sequence[Row], *, deadline_s: float
    ) -> None:
        """Put rows into one of our tables, all or none of them. Raises as `fetch` does."""
        sent = [tuple(map(to_server, row)) for row in rows]
        work = self._connection.copy_records_to_table(
            table, schema_name="paygate", columns=columns, records=sent
        )
        await self._until(deadline_s, work)

    async def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Have `heard` called with what is notified on the channel. Raises `Answered`, `Lost`."""

        def on_notification(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
            heard(original(str(payload)))

        await self._until(CONNECT_S, self._connection.add_listener(channel, on_notification))

    def on_end(self, ended: Callable[[], None]) -> None:
        """Have `ended` called when the connection is gone, whoever ended it."""

        def on_termination(_connection: Any) -> None:
            self.ended = True
            ended()

        self._connection.add_termination_listener(on_termination)

    def transaction(self) -> Any:
        """A transaction for `async with`: for migrations alone, never for a group."""
        return self._connection.transaction()

    def end(self) -> None:
        """Drop the connection, whatever is on its way. Idempotent."""
        self.ended = True
        self._connection.terminate()

    @property
    def usable(self) -> bool:
        """Whether it looks as if it were still connected."""
        return not self.ended and not self._connection.is_closed()

    async def _until(self, deadline_s: float, answer: Awaitable[T]) -> T:
        """What the driver answers; at the deadline the connection is ended, and so the wait."""
        self.warned = None
        timer = asyncio.get_running_loop().call_later(deadline_s, self.end)
        try:
            return await answer
        except self._driver.PostgresError as error:
            if isinstance(error, self._driver.DataError) and error.severity_en is None:
                # The driver's own, by the name of a server's: found before anything was sent.
                raise ValueError(str(error)) from error
            if error.severity_en != "ERROR" or error.sqlstate is None:
                raise self._lost(error) from error
            raise Answered(error.sqlstate, str(error)) from error
        except (self._driver.InterfaceError, self._driver.InternalClientError, OSError) as error:
            raise self._lost(error) from error
        except AttributeError as error:
            if not self.ended:
                self.end()
                raise
            # A process that stood still finds the deadline beside the answer to the first half of
            # a statement: the driver goes on with a connection that is not there any more.
            raise self._lost(error) from error
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()

    def _lost(self, error: BaseException) -> Lost:
        self.end()
        return Lost(f"{type(error).__name__}: {error}")

    def _on_notice(self, _connection: Any, notice: Any) -> None:
        warned = warned_by(notice)
        if warned is not None and (self.warned is None or warned.certain):
            self.warned = warned
        self._notices.add(notice, asyncio.get_running_loop().time())


class Links:
    """Makes connections: to the first host that is the primary, the last good one before others.

    `statements` are kept prepared by each connection; 0 behind a pooler. `away` says whether the
    newest try found nobody; a server that is only full is not away while others of ours work.
    """

    def __init__(
        self, dsn: str, *, statements: int = 0, writes: bool = True, connect_s: float = CONNECT_S
    ) -> None:
        self._dsns = each_host(dsn)
        self._statements = statements
        self._connect_s = connect_s
        # A role that may only read is refused as "read-write" on the primary itself.
        self._target = "read-write" if writes else "primary"
        self._driver: Any = None
        self._notices = NoticeLog()
        self._made: weakref.WeakSet[Link] = weakref.WeakSet()
        self._crowded = False
        self.away = False

    async def connect(self) -> Link:
        """A fresh connection to the primary. Raises `Unreachable`, and `Crowded` as one of it."""
        driver = self._load()
        reason: BaseException | None = None
        full: BaseException | None = None
        for dsn in tuple(self._dsns):
            try:
                connection = await driver.connect(
                    dsn,
                    timeout=self._connect_s,
                    statement_cache_size=self._statements,
                    target_session_attrs=self._target,
                )
            except (
                OSError,
                driver.InterfaceError,
                driver.InternalClientError,
                driver.PostgresError,
            ) as error:
                reason = error
                # A standby beside it, which says what it is, does not make it less full.
                if getattr(error, "sqlstate", None) == _CROWDED:
                    full = error
            else:
                self._dsns.remove(dsn)
                self._dsns.insert(0, dsn)
                return self._welcome(Link(driver, connection, self._notices))
        if full is not None and any(link.usable for link in self._made):
            raise self._turned_away(full) from full
        self.away = True
        refused = _is_refusal(reason)
        raise Unreachable(f"{type(reason).__name__}: {reason}", refused=refused) from reason

    def _welcome(self, link: Link) -> Link:
        self._made.add(link)
        self.away = False
        if self._crowded:
            self._crowded = False
            _log.info("the server takes connections again")
        return link

    def _turned_away(self, reason: BaseException) -> Crowded:
        if not self._crowded:
            self._crowded = True
            _log.warning("the server takes no more connections; ours go on: %s", reason)
        return Crowded(f"the server takes no more connections: {reason}")

    def doubt(self) -> None:
        """Ask the newest host last: it takes connections, and does not answer.

        A primary that was cut off from its standby still looks like one; another host may be it.
        """
        self._dsns.append(self._dsns.pop(0))

    def _load(self) -> Any:
        if self._driver is None:
            try:
                self._driver = importlib.import_module("asyncpg")
            except ImportError as error:
                raise StoreRefused(
                    "PostgreSQL needs the driver asyncpg: pip install paygate[postgres]"
                ) from error
        return self._driver


def each_host(dsn: str) -> list[str]:
    """The address of each host of a DSN, in order; each is then tried within its own time.

    `postgresql://user@one:5432,two:5432/paygate` gives two. Raises `StoreRefused`.
    """
    parts = urlsplit(dsn)
    if parts.scheme not in ("postgresql", "postgres"):
        raise StoreRefused("the address of the database must begin with postgresql://")
    login, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


def _is_refusal(error: BaseException | None) -> bool:
    """Whether a server that is well says no for good: trying again would not help."""
    sqlstate = getattr(error, "sqlstate", None)
    if not isinstance(sqlstate, str) or sqlstate in _PASSING:
        return False
    # 28: no such user or password; 3D: no such database; 42: no right to connect.
    return sqlstate[:2] in ("28", "3D", "42")
