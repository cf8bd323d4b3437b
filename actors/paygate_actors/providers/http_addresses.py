"""The addresses of one host: one look-up for all who wait, believed for a few seconds."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

# As long as aiohttp's connector believes them: a burst of new connections looks up once, and a
# provider that moves is followed.
BELIEVED_S: Final = 10.0

# As `getaddrinfo` gives them.
Address = tuple[int, int, int, str, tuple[str | int | bytes, ...]]


class HostAddresses:
    """Where a host is to be reached, by the system's resolver. A literal address is its own."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._found: Sequence[Address] = ()
        self._found_at = 0.0
        self._looking: asyncio.Task[Sequence[Address]] | None = None

    async def find(self) -> Sequence[Address]:
        """Give them, in the order in which to try them. Raises `OSError`, `UnicodeError`."""
        loop = asyncio.get_running_loop()
        if self._found and loop.time() - self._found_at < BELIEVED_S:
            return self._found
        try:
            # No look-up, so no thread, which the resolver of somebody else's name may hold.
            return socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        except socket.gaierror:
            pass
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._look_up(loop))
        # Whoever gives up waiting does not end it for the others.
        return await asyncio.shield(self._looking)

    def doubt(self) -> None:
        """Believe them no longer: none of them could be reached."""
        self._found = ()

    def close(self) -> None:
        """Wait for no look-up any more."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look_up(self, loop: asyncio.AbstractEventLoop) -> Sequence[Address]:
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        self._found, self._found_at = found, loop.time()
        return self._found
