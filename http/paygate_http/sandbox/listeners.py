"""Who watches the webhooks go out: `paygate listen`, the conformance kit, anybody with `curl -N`.

A listener sees each webhook once, as it is sent for the first time: its bytes and genuine headers.
"""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Final

from paygate_http.sandbox.wire import Wire

# A person, a test and a dashboard; more are connections that somebody forgot to close.
LISTENERS_MAX: Final = 16
# A listener that is this far behind does not read: it is cut off, and asks again.
BEHIND_MAX: Final = 10_000


EVENT_TYPES: Final = (
    "payment.succeeded",
    "payment.authorized",
    "payment.approved",
    "payment.failed",
    "payment.cancelled",
    "refund.succeeded",
    "refund.failed",
    "dispute.opened",
    "dispute.closed",
)
"""What the sandbox tells of, in its own words."""


class TooManyListeners(Exception):
    """There is no room for another one."""


class Sent(Wire, frozen=True, kw_only=True):
    """A webhook on its way. `event_type` is the sandbox's own word, whatever the account speaks."""

    id: str
    provider: str
    event_type: str
    at: str
    headers: dict[str, str]
    body: str


class Listeners:
    """Those who listen now."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Sent | None]] = set()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def tell(self, sent: Sent) -> None:
        """Hand a webhook to all of them; whoever does not read is cut off."""
        for queue in tuple(self._queues):
            if queue.qsize() >= BEHIND_MAX:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(sent)

    def close(self) -> None:
        """Let all of them go."""
        for queue in self._queues:
            queue.put_nowait(None)
        self._queues.clear()

    @contextmanager
    def join(self) -> Generator[AsyncIterator[Sent]]:
        """Listen from now on, until the sandbox stops. Raises `TooManyListeners`."""
        if len(self._queues) >= LISTENERS_MAX:
            raise TooManyListeners
        queue: asyncio.Queue[Sent | None] = asyncio.Queue()
        self._queues.add(queue)

        async def heard() -> AsyncIterator[Sent]:
            while (sent := await queue.get()) is not None:
                yield sent

        try:
            yield heard()
        finally:
            self._queues.discard(queue)
