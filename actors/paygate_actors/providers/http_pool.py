"""The connections to one provider: so many at a time, kept for a while, the latest used first."""

import asyncio
import ssl
from functools import cache
from typing import Final

# aiohttp brings it, and connects by it.
import aiohappyeyeballs
from yarl import URL

from paygate_actors.providers.http_addresses import HostAddresses
from paygate_actors.providers.http_connection import Connection

# Providers' load balancers close idle connections after a minute or so: be first.
KEEPALIVE_S: Final = 30.0
# RFC 8305's own: the next address is tried if one has not answered by then.
_NEXT_ADDRESS_S: Final = 0.25


class Pool:
    """Gives out connections to whoever holds one of its permits; belongs to the running loop.

    So never more than `connections_max` are open: whoever takes one that is kept, or opens one
    where none is, holds a permit for it. `tls`: how, for https.
    """

    def __init__(self, url: URL, *, connections_max: int, tls: ssl.SSLContext | None) -> None:
        host, port = url.raw_host, url.port
        if not host or port is None:
            raise ValueError("a provider's url must have a host")
        self._loop = asyncio.get_running_loop()
        # Certificates name a host without the last dot that a name may have.
        self._host = host.rstrip(".")
        self._tls = tls
        self._addresses = HostAddresses(host, port)
        self._open: set[Connection] = set()
        # With the time since when nobody uses it; the oldest first.
        self._kept: dict[Connection, float] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.permits: Final = asyncio.Semaphore(connections_max)

    def take(self) -> Connection | None:
        """Give the kept connection that was used last, if one is fit to be used."""
        while self._kept:
            connection, since = self._kept.popitem()
            if self._loop.time() - since < KEEPALIVE_S and connection.is_quiet():
                return connection
            connection.abort()
        return None

    async def open(self) -> Connection:
        """Open one, by TLS if the url says so. Raises `OSError`, `UnicodeError`."""
        addresses = await self._addresses.find()
        try:
            sock = await aiohappyeyeballs.start_connection(  # pyright: ignore[reportUnknownMemberType]  # bare tuples
                addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
            )
        except OSError:
            self._addresses.doubt()
            raise
        connection = Connection(self._loop, self._open)
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            # First from under the loop: given up with its handshake just done, it says goodbye by
            # TLS for half a minute, and would listen at whatever gets its socket's number next.
            connection.abort()
            sock.close()
            raise
        if self._is_closed:
            connection.abort()
            raise ConnectionAbortedError
        return connection

    def keep(self, connection: Connection) -> None:
        """Take a connection back after its answer: for the next call, if it is fit for one."""
        if not connection.is_reusable:
            connection.abort()
            return
        self._kept[connection] = self._loop.time()
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEEPALIVE_S, self._sweep)

    async def close(self) -> None:
        """End all connections, also those in use, and wait until their sockets are closed."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._addresses.close()
        self._kept.clear()
        ending = list(self._open)
        for connection in ending:
            connection.abort()
        await asyncio.gather(*(each.lost for each in ending))

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._loop.time()
        for connection, since in list(self._kept.items()):
            if connection.is_reusable and now - since < KEEPALIVE_S:
                self._sweeping = self._loop.call_at(since + KEEPALIVE_S, self._sweep)
                return
            del self._kept[connection]
            connection.abort()


@cache
def default_tls() -> ssl.SSLContext:
    """Believe the machine's own list of certificates; read once, which takes a moment."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
