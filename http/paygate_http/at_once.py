"""Answers that are written while their request is being read, without a task for each.

For each request aiohttp wakes the task of its connection, which makes a request object and another
task that handles it. Where the answer is there already, that is most of what it costs. So on a
connection that is idle (its task waits for a request, and for nothing else) what comes is parsed
with the task's waiter out of sight, and nobody is woken. If it is one request that `answer` can
answer, that is done here and now. If not it stays where aiohttp put it, and the waiter is put back
and woken as aiohttp does it: nobody can tell the difference.

So whatever is unusual goes the ordinary way, in its order: a body, a second request behind the
first, bad HTTP, an upgrade, HTTP/1.0, the last request of a connection, and all requests of a peer
that is slow to take its answers: it is waited for there.

This leans on names that aiohttp keeps to itself. They are looked for when a server is made; where
one is missing, all requests go the ordinary way: slower, not wrong.
"""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import EMPTY_PAYLOAD, HttpVersion11, web
from aiohttp.http import HttpRequestParser, RawRequestMessage
from multidict import MultiMapping

from paygate_http.incoming import Peer

# For a path as it came, the headers, and whom the connection is to: the whole answer, or None.
AnswerAtOnce = Callable[[str, MultiMapping[str], Peer], bytes | None]

# What is used of a connection and of its parser.
LEANED_ON: Final = (
    "_waiter",
    "_messages",
    "_parser",
    "_manager",
    "_loop",
    "_next_keepalive_close_time",
)
LEANED_ON_OF_PARSER: Final = ("message_consumed",)


def missing_names() -> tuple[str, ...]:
    """Those of aiohttp's names that are not there any more."""
    held = {name for each in web.RequestHandler.__mro__ for name in getattr(each, "__slots__", ())}
    return (
        *(name for name in LEANED_ON if name not in held),
        *(name for name in LEANED_ON_OF_PARSER if not hasattr(HttpRequestParser, name)),
    )


class AtOnceProtocol(web.RequestHandler):
    """A connection whose requests are answered at once where `answer` can; None: never."""

    __slots__ = ("_answer",)

    def __init__(self, manager: web.Server, *, answer: AnswerAtOnce | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self._answer = answer

    def data_received(self, data: bytes) -> None:
        """Take what came: answer it, or have it answered."""
        waiter = self._waiter if self._answer is not None else None
        # One that is done was woken for what came before, and goes first.
        if waiter is None or waiter.done() or self.writing_paused:
            super().data_received(data)
            return
        self._waiter = None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        # A connection that is being closed has taken nothing in.
        if self._messages and not self._is_answered():
            waiter.set_result(None)

    def _is_answered(self) -> bool:
        """Answer what came, if it is one such request."""
        messages, answer = self._messages, self._answer
        message, payload = messages[0]
        if (
            answer is None
            or len(messages) > 1
            or payload is not EMPTY_PAYLOAD
            or not isinstance(message, RawRequestMessage)
            or not _is_plain(message)
        ):
            return False
        whole = answer(message.path, message.headers, self.peername)
        if whole is None:
            return False
        parser, manager, transport = self._parser, self._manager, self.transport
        assert parser is not None
        assert manager is not None
        assert transport is not None
        # What the connection's task does about a request, in the same order.
        messages.popleft()
        parser.message_consumed()
        manager.requests_count += 1
        transport.write(whole)
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        return True


def _is_plain(message: RawRequestMessage) -> bool:
    """Whether it is a GET that asks HTTP for nothing special; another request may follow it."""
    return (
        message.method == "GET"
        and message.version == HttpVersion11
        and not message.should_close
        and not message.upgrade
        and "Expect" not in message.headers
    )
