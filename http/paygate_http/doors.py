"""The listening socket and the server behind it: opened, named by URL, drained in time."""

import asyncio
import socket
import ssl

from aiohttp import web

from paygate_http.configure import ConfigInvalid
from paygate_http.runner import EdgeRunner

# Connections that the kernel holds while the loop is busy: a second's worth at the rate that one
# process accepts new ones.
_BACKLOG = 1_024


# Of the time for a drain, what clients get to hear that their connections end: a second of ten, in
# which whoever is not idle comes by.
_PART_SHARE = 0.1
# What requests in hand may use to finish after that; in the rest those that did not are cancelled
# and unwind.
_FINISH_SHARE = 0.8


def shutdown_timeout(drain_s: float) -> float:
    """Give the `shutdown_timeout` of a runner that is to be drained within `drain_s`.

    aiohttp waits for it twice: for the request to end, and again before it cancels the handler.
    """
    return drain_s * _FINISH_SHARE / 2


class Doors:
    """One HTTP server, on one address or several. `url` is that of the one opened last."""

    def __init__(self, runner: web.AppRunner, *, tls: ssl.SSLContext | None = None) -> None:
        self._runner = runner
        self._tls = tls
        self.url = ""

    @classmethod
    async def open(
        cls,
        runner: web.AppRunner,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> "Doors":
        """Listen on one address; port 0 takes any free one. Raises OSError as `listen` does."""
        doors = cls(runner, tls=tls)
        try:
            await doors.listen(host, port)
        except BaseException:
            await runner.cleanup()
            raise
        return doors

    async def listen(self, host: str, port: int, *, shared: bool = False) -> None:
        """Take connections there too; port 0: any free one. Raises OSError where it is taken.

        `shared`: other processes listen there as well, and the kernel deals connections out.
        """
        listener = await bound(host, port, shared=shared)
        try:
            if self._runner.server is None:
                await self._runner.setup()
            site = web.SockSite(self._runner, listener, ssl_context=self._tls, backlog=_BACKLOG)
            await site.start()
        except BaseException:
            listener.close()
            raise
        self.url = url_at(listener, tls=self._tls)

    async def drain(self, within_s: float) -> bool:
        """Stop accepting and let requests in hand finish; False: some had to be cut off.

        Not longer than `within_s`, whatever the runner's own time is. Idempotent.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(within_s):
                if isinstance(self._runner, EdgeRunner):
                    await self._runner.part(within_s * _PART_SHARE)
                    began_s = loop.time()
                await self._runner.cleanup()
        except TimeoutError:
            return False
        return loop.time() - began_s < within_s * _FINISH_SHARE


def tls_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """Make the context of a server; None: plain HTTP. Raises `ConfigInvalid` for bad files."""
    if cert is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigInvalid(
            f"server.tls_cert, server.tls_key: {cert} and {key} are no usable pair: {error}"
        ) from error
    return context


async def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Listen on the first address that the name stands for. Raises OSError.

    One address: with port 0 two would get two ports. `shared`: together with others.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=shared)


def url_at(listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> str:
    """The URL of a server on this socket."""
    host, port = listener.getsockname()[:2]
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{'http' if tls is None else 'https'}://{authority}"
