"""The listening socket and the server behind it: opened, named by URL, drained in time."""

import asyncio
import socket
import ssl

from aiohttp import web

from paygate_http.configure import ConfigInvalid

# Connections that the kernel holds while the loop is busy: a second's worth at the rate that one
# process accepts new ones.
_BACKLOG = 1_024


# Of the time for a drain, what requests in hand may use to finish; in the rest those that did not
# are cancelled and unwind.
_FINISH_SHARE = 0.9


def shutdown_timeout(drain_s: float) -> float:
    """Give the `shutdown_timeout` of a runner that is to be drained within `drain_s`.

    aiohttp waits for it twice: for the request to end, and again before it cancels the handler.
    """
    return drain_s * _FINISH_SHARE / 2


class Doors:
    """One HTTP server on one address."""

    def __init__(self, runner: web.AppRunner, url: str) -> None:
        self._runner = runner
        self.url = url

    @classmethod
    async def open(
        cls,
        runner: web.AppRunner,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> "Doors":
        """Listen; port 0 takes any free one. Raises OSError where the address cannot be had."""
        listener = await _listen(host, port)
        try:
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=tls, backlog=_BACKLOG).start()
        except BaseException:
            listener.close()
            await runner.cleanup()
            raise
        scheme = "http" if tls is None else "https"
        return cls(runner, f"{scheme}://{_authority(listener)}")

    async def drain(self, within_s: float) -> bool:
        """Stop accepting and let requests in hand finish; False: some had to be cut off.

        Not longer than `within_s`, whatever the runner's own time is. Idempotent.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(within_s):
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


async def _listen(host: str, port: int) -> socket.socket:
    # One address, the first that the name stands for: with port 0 two would get two ports.
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address, family=family, backlog=_BACKLOG)


def _authority(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
