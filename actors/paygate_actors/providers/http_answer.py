"""Reads the answer to one request, by aiohttp's own parser, within bounds.

A parser for each answer, so that nothing of one is left over for the next. What a parser lets pass
and two readers may understand differently is no answer here: lengths that are said twice, a length
beside chunks, codings that nobody asked for, more than one answer. aiohttp has its parser in C and
in Python, which differ in such things; `tests/actors/test_http_answer.py` reads by both.
"""

import asyncio
from typing import Final

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage
from aiohttp.streams import StreamReader
from msgspec import Struct

from paygate_actors.bounded_heads import HEAD_BYTES_MAX
from paygate_actors.providers.line_trouble import NO_HTTP

# aiohttp's own bounds, said here because they are leant on.
LINE_BYTES_MAX: Final = 8190
HEADERS_MAX: Final = 128
# What frames the chunks of an honest body is shorter than the body, but for the shortest chunks.
FRAMED_TIMES_MAX: Final = 8
# Only sizes the buffer that is read as soon as it fills.
_BUFFER_BYTES: Final = 64 * 1024
_FINAL_MIN: Final = 200
_SWITCHING: Final = 101
_HTTP_1_0: Final = (1, 0)
_HTTP_1_1: Final = (1, 1)
# A reply that nobody sends, and what a parser makes of it that has nothing else before it.
_PROBE: Final = b"HTTP/1.1 187 \r\n\r\n"
_PROBED: Final = (187, "", ())


class Answered(Struct, frozen=True, kw_only=True):
    """A complete answer. `retry_after`: the header as it came."""

    status: int
    body: bytes
    retry_after: str | None = None


class Garbage(Exception):
    """What came is no answer. Its text is a sentence that merchants may read."""

    def __init__(self, sentence: str = NO_HTTP) -> None:
        super().__init__(sentence)


class _Unhurried(BaseProtocol):
    """What aiohttp's buffers hold back when they are full: nobody, for they are emptied at once."""

    def pause_reading(self) -> None:
        """Go on."""

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  # its own
        """Go on."""


class AnswerReader:
    """The answer to one request. `is_head`: to one that is answered without a body."""

    __slots__ = ("_body", "_body_bytes_max", "_head", "_parser", "_seen")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, is_head: bool, body_bytes_max: int
    ) -> None:
        self._body_bytes_max = body_bytes_max
        self._parser = HttpResponseParser(
            _Unhurried(loop),
            loop,
            _BUFFER_BYTES,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            response_with_body=not is_head,
            read_until_eof=True,
            # A compressed bomb must not grow beyond the bound that is read.
            auto_decompress=False,
        )
        self._seen = 0
        self._head: RawResponseMessage | None = None
        self._body: StreamReader | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything came."""
        return self._seen > 0

    def feed(self, data: bytes) -> Answered | None:
        """Read on: the answer, if it is complete. Raises `Garbage`."""
        self._seen += len(data)
        try:
            messages, _, _ = self._parser.feed_data(data)
        except Exception as error:
            # Whatever a parser stumbles over: a stranger sent it.
            raise Garbage from error
        for message, body in messages:
            self._note(message, body)
        return self._answer()

    def feed_eof(self) -> Answered | None:
        """Hear that nothing more comes, which ends a body of no known length. Raises `Garbage`."""
        if self._body is None:
            return None
        try:
            self._parser.feed_eof()
        except Exception:  # noqa: BLE001  # it is not complete, and says so in many ways
            return None
        return self._answer()

    def leaves_clean(self) -> bool:
        """Whether the connection of a complete answer may carry the next one.

        Not where either side is to close it, nor where one byte more came than the answer has: a
        reply that nobody sends must be the next thing that the parser reads.
        """
        if self._head is None or self._head.should_close or self._head.upgrade:
            return False
        try:
            messages, _, _ = self._parser.feed_data(_PROBE)
        except Exception:  # noqa: BLE001  # something lay before it
            return False
        return [(each.code, each.reason, each.raw_headers) for each, _ in messages] == [_PROBED]

    def _note(self, message: RawResponseMessage, body: StreamReader) -> None:
        if self._head is not None:
            raise Garbage
        if message.code < _FINAL_MIN:
            if message.code == _SWITCHING or message.code < 100:  # noqa: PLR2004  # what 1xx is
                raise Garbage
            return
        headers = message.headers
        lengths = headers.getall(hdrs.CONTENT_LENGTH, ())
        codings = headers.getall(hdrs.TRANSFER_ENCODING, ())
        is_new = message.version == _HTTP_1_1
        if len(lengths) > 1 or not (is_new or message.version == _HTTP_1_0):
            raise Garbage
        if codings and (lengths or not is_new or not message.chunked):
            raise Garbage
        if codings and [each.lower() for each in codings] != ["chunked"]:
            raise Garbage
        self._head, self._body = message, body

    def _answer(self) -> Answered | None:
        head, body = self._head, self._body
        if head is None or body is None:
            if self._seen > HEAD_BYTES_MAX:
                raise Garbage
            return None
        if body.exception() is not None:
            raise Garbage
        if body.total_bytes > self._body_bytes_max:
            raise Garbage(f"over {self._body_bytes_max} bytes")
        if body.is_eof():
            return Answered(
                status=head.code,
                body=body.read_nowait(),
                retry_after=head.headers.get(hdrs.RETRY_AFTER),
            )
        if self._seen > HEAD_BYTES_MAX + FRAMED_TIMES_MAX * self._body_bytes_max:
            raise Garbage
        return None
