"""One connection to a provider: one request at a time, and whether it may carry another one.

It is used again only after a complete answer with nothing behind it, and while the other side has
said nothing since: not a byte, not its end. Everything else cuts it, a call that was given up
first of all, since its answer may still come.
"""

import asyncio
import select
from typing import Final, cast

from msgspec import Struct

from paygate_actors.outcomes import UnknownReason
from paygate_actors.providers.http_answer import Answered, AnswerReader, Garbage
from paygate_actors.providers.line_trouble import BROKE


class Cut(Struct, frozen=True, kw_only=True):
    """No complete answer came. `has_begun`: some of it did. `detail` is a sentence."""

    reason: UnknownReason
    detail: str
    has_begun: bool


class Connection(asyncio.Protocol):
    """A connection, from when it is made. It is in `company` as long as its socket is open."""

    def __init__(self, loop: asyncio.AbstractEventLoop, company: "set[Connection]") -> None:
        self._loop = loop
        self._company = company
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self._is_clean = True
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[Answered | Cut] | None = None
        self._line = select.poll()
        # Done when its socket is closed; aborted, that is within turns of the loop.
        self.lost: Final[asyncio.Future[None]] = loop.create_future()

    @property
    def is_open(self) -> bool:
        """Whether nobody has ended it, as far as is known."""
        return self._is_open

    @property
    def is_reusable(self) -> bool:
        """Whether all that came until now was complete answers."""
        return self._is_open and self._is_clean

    def is_quiet(self) -> bool:
        """Whether nothing lies in its socket unread, by a look at it: no byte, no end, no reset.

        The loop may not have come to it yet; and a request over a connection that is dead counts
        as sent.
        """
        return self.is_reusable and not self._line.poll(0)

    async def exchange(self, request: bytes, reader: AnswerReader) -> Answered | Cut:
        """Send a request that has not been sent yet, and read its answer.

        Whoever is cancelled here must `abort` the connection.
        """
        transport = self._transport
        assert transport is not None
        assert self._answer is None
        self._is_clean = False
        self._reader, self._answer = reader, self._loop.create_future()
        transport.write(request)
        try:
            return await self._answer
        finally:
            self._reader = self._answer = None

    def abort(self) -> None:
        """End it at once. Idempotent."""
        self._is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there, and its handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_open = True
        self._company.add(self)
        self._line.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Read on; what comes unasked ends the connection."""
        answer, reader = self._answer, self._reader
        if answer is None or reader is None or answer.done():
            self.abort()
            return
        try:
            answered = reader.feed(data)
        except Garbage as garbage:
            self.abort()
            answer.set_result(_garbage(garbage))
            return
        if answered is not None:
            self._is_clean = reader.leaves_clean()
            answer.set_result(answered)

    def eof_received(self) -> None:
        """Nothing more comes: an answer without a length is complete. The transport closes."""
        self._is_open = False
        answer, reader = self._answer, self._reader
        if answer is None or reader is None or answer.done():
            return
        try:
            answered = reader.feed_eof()
        except Garbage as garbage:
            answer.set_result(_garbage(garbage))
            return
        if answered is not None:
            answer.set_result(answered)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, its socket closed."""
        self._is_open = False
        self._transport = None
        self._company.discard(self)
        self.lost.set_result(None)
        if self._answer is not None and not self._answer.done():
            has_begun = self._reader is not None and self._reader.has_begun
            self._answer.set_result(Cut(reason="reset", detail=BROKE, has_begun=has_begun))


def _garbage(garbage: Garbage) -> Cut:
    return Cut(reason="garbage", detail=str(garbage), has_begun=True)
