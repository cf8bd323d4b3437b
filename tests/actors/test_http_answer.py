"""Answers as they come over the wire, in any pieces, read by both of aiohttp's parsers."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp import http_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from paygate_actors.bounded_heads import HEAD_BYTES_MAX
from paygate_actors.providers import http_answer
from paygate_actors.providers.http_answer import (
    HEADERS_MAX,
    LINE_BYTES_MAX,
    Answered,
    AnswerReader,
    Garbage,
)

# The one in use is C where aiohttp's extensions are there, as they are in its wheels.
PARSERS = {"in use": http_parser.HttpResponseParser, "python": http_parser.HttpResponseParserPy}
BODY_BYTES_MAX = 1_000

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = Answered(status=200, body=b"hello")
PLAIN = OK + b"Content-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n"
HINTED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN


@pytest.fixture(params=sorted(PARSERS), autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_answer, "HttpResponseParser", PARSERS[request.param])


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def reader(loop: asyncio.AbstractEventLoop, *, is_head: bool = False) -> AnswerReader:
    return AnswerReader(loop, is_head=is_head, body_bytes_max=BODY_BYTES_MAX)


def with_headers(*lines: bytes, body: bytes = b"hello", start: bytes = OK) -> bytes:
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


LENGTH = b"Content-Length: 5"
CODED = b"Transfer-Encoding: chunked"
ONE_CHUNK = b"5\r\nhello\r\n0\r\n\r\n"

# What is one answer and nothing else: and whether its connection may carry another one.
WHOLE = [
    (PLAIN, HELLO, True),
    (CHUNKED, HELLO, True),
    (HINTED, HELLO, True),
    (PLAIN.replace(b"Content-Length", b"cOnTent-lengtH"), HELLO, True),
    (with_headers(b"X-Folded: a", b"  b", LENGTH), HELLO, True),
    (with_headers(CODED.upper(), body=ONE_CHUNK), HELLO, True),
    (with_headers(LENGTH, b"Connection: close"), HELLO, False),
    (with_headers(CODED, b"Connection: close", body=ONE_CHUNK), HELLO, False),
    (with_headers(LENGTH, start=b"HTTP/1.0 200 OK\r\n"), HELLO, False),
    (
        with_headers(LENGTH, b"Connection: keep-alive", start=b"HTTP/1.0 200 OK\r\n"),
        HELLO,
        True,
    ),
    (OK + b"Content-Length: 0\r\n\r\n", Answered(status=200, body=b""), True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Answered(status=204, body=b""), True),
    (b"HTTP/1.1 204 X\r\nContent-Length: 7\r\n\r\n", Answered(status=204, body=b""), True),
    (b"HTTP/1.1 304 X\r\nContent-Length: 7\r\n\r\n", Answered(status=304, body=b""), True),
    (
        with_headers(LENGTH, b"retry-after:  7 ", start=b"HTTP/1.1 503 Busy\r\n"),
        Answered(status=503, body=b"hello", retry_after="7"),
        True,
    ),
]

GARBAGE = [
    b"SSH-2.0-OpenSSH_9\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    with_headers(LENGTH, b"Content-Length: 6"),
    with_headers(LENGTH, LENGTH),
    with_headers(b"Content-Length: 5, 5"),
    with_headers(b"Content-Length: +5"),
    with_headers(b"Content-Length: -5"),
    with_headers(b"Content-Length: 5x"),
    with_headers(b"Content-Length:"),
    with_headers(LENGTH, CODED, body=ONE_CHUNK),
    with_headers(CODED, LENGTH, body=ONE_CHUNK),
    with_headers(CODED, CODED, body=ONE_CHUNK),
    with_headers(b"Transfer-Encoding: gzip, chunked", body=ONE_CHUNK),
    with_headers(b"Transfer-Encoding: gzip"),
    with_headers(b"Transfer-Encoding: identity"),
    with_headers(CODED, b"Connection: keep-alive", body=ONE_CHUNK, start=b"HTTP/1.0 200 OK\r\n"),
    with_headers(CODED, body=b"g\r\nhello\r\n0\r\n\r\n"),
    with_headers(CODED, body=b"-5\r\nhello\r\n0\r\n\r\n"),
    with_headers(CODED, body=b"5\r\nhello?\r\n0\r\n\r\n"),
    with_headers(b"X: a\0b", LENGTH),
    with_headers(b"X: " + b"x" * LINE_BYTES_MAX, LENGTH),
    with_headers(*[b"X: y"] * (HEADERS_MAX + 1), LENGTH),
    PLAIN + PLAIN,
    PLAIN + HINTED,
    with_headers(LENGTH.replace(b"5", b"%d" % (BODY_BYTES_MAX + 1)), body=b"x" * 1_001),
    with_headers(CODED, body=b"1\r\nx\r\n" * (BODY_BYTES_MAX + 1)),
    with_headers(body=b"x" * (BODY_BYTES_MAX + 1)),
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * (HEAD_BYTES_MAX // 27),
    # Twenty bytes of body, in frames that are longer than any honest ones.
    with_headers(CODED, body=b"1;%b\r\nx\r\n" % (b"x" * 4_000) * 20),
]


@pytest.mark.parametrize(("raw", "answer", "is_clean"), WHOLE)
def test_an_answer_is_read_in_one_piece_and_in_single_bytes(
    loop: asyncio.AbstractEventLoop, raw: bytes, answer: Answered, *, is_clean: bool
) -> None:
    at_once, slowly = reader(loop), reader(loop)

    found = [slowly.feed(raw[at : at + 1]) for at in range(len(raw))]

    assert at_once.feed(raw) == answer
    assert at_once.leaves_clean() is is_clean
    assert found == [None] * (len(raw) - 1) + [answer]
    assert slowly.leaves_clean() is is_clean


@pytest.mark.parametrize("raw", [raw for raw, _, _ in WHOLE])
def test_an_answer_that_is_cut_at_any_byte_is_none(
    loop: asyncio.AbstractEventLoop, raw: bytes
) -> None:
    for at in range(len(raw)):
        cut = reader(loop)
        assert (cut.feed(raw[:at]), cut.feed_eof()) == (None, None), at


@pytest.mark.parametrize("raw", GARBAGE)
def test_what_two_readers_may_understand_differently_is_garbage(
    loop: asyncio.AbstractEventLoop, raw: bytes
) -> None:
    with pytest.raises(Garbage):
        reader(loop).feed(raw)


@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_in_single_bytes_is_never_an_answer_that_leaves_its_connection_clean(
    loop: asyncio.AbstractEventLoop, raw: bytes
) -> None:
    """Two answers in a row are one, for who has not read on; then more comes than was asked."""
    slowly = reader(loop)
    with pytest.raises(Garbage):  # noqa: PT012  # wherever it is noticed
        for at in range(len(raw)):
            if slowly.feed(raw[at : at + 1]) is not None:
                assert raw[at + 1 :], "an answer, and it was the end"
                raise Garbage


def test_an_answer_without_a_length_ends_with_its_connection(
    loop: asyncio.AbstractEventLoop,
) -> None:
    endless = reader(loop)

    assert endless.feed(OK + b"\r\nhel") is None
    assert endless.feed(b"lo") is None
    assert endless.feed_eof() == HELLO
    assert not endless.leaves_clean()


def test_an_answer_to_head_has_no_body_whatever_it_says(loop: asyncio.AbstractEventLoop) -> None:
    for headers in (LENGTH, CODED, b"X: y"):
        asked = reader(loop, is_head=True)
        assert asked.feed(with_headers(headers, body=b"")) == Answered(status=200, body=b"")


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED])
@pytest.mark.parametrize(
    "behind", [b"H", b"HTTP/1.1 2", PLAIN[:40], b"HTTP/1.1 187 \r\nX: y", b"HTTP/1.1 187"]
)
def test_a_piece_of_something_behind_an_answer_takes_its_connection_away(
    loop: asyncio.AbstractEventLoop, raw: bytes, behind: bytes
) -> None:
    dirty = reader(loop)

    assert dirty.feed(raw + behind) == HELLO
    assert not dirty.leaves_clean()


def test_what_trails_a_chunked_answer_is_not_read(loop: asyncio.AbstractEventLoop) -> None:
    """Whether its connection is used again is left to the parser: C's keeps the trailer in mind."""
    trailed = CHUNKED[:-2] + b"Retry-After: 7\r\n\r\n"

    assert reader(loop).feed(trailed) == HELLO


def test_a_body_as_long_as_it_may_be_is_read(loop: asyncio.AbstractEventLoop) -> None:
    body = b"x" * BODY_BYTES_MAX
    in_chunks = with_headers(CODED, body=b"1\r\nx\r\n" * BODY_BYTES_MAX + b"0\r\n\r\n")
    plain = with_headers(b"Content-Length: %d" % BODY_BYTES_MAX, body=body)

    for raw in (in_chunks, plain):
        assert reader(loop).feed(raw) == Answered(status=200, body=body)


def test_a_trailer_without_end_is_garbage(loop: asyncio.AbstractEventLoop) -> None:
    endless = reader(loop)
    endless.feed(with_headers(CODED, body=b"0\r\n"))

    with pytest.raises(Garbage):  # noqa: PT012  # wherever it is noticed
        for _ in range(HEAD_BYTES_MAX):
            endless.feed(b"X: y\r\n")


def test_a_coding_that_not_every_parser_takes_for_chunks_never_lasts_until_the_end(
    loop: asyncio.AbstractEventLoop,
) -> None:
    """The parser in C takes no `chunked` with a tab behind it; that in Python does."""
    odd = reader(loop)
    try:
        found = odd.feed(with_headers(CODED + b"\t", body=ONE_CHUNK))
    except Garbage:
        return
    assert found == HELLO


# Pieces that answers are made of, put together as nobody would.
PIECES = st.sampled_from(
    [
        OK,
        b"HTTP/1.1 204 X\r\n",
        b"HTTP/1.1 100 X\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n",
        LENGTH + b"\r\n",
        b"Content-Length: 3\r\n",
        CODED + b"\r\n",
        CODED + b"\t\r\n",
        b"X: y\r\n",
        b" folded\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"\n",
        b"hello",
        b"5\r\n",
        b"0\r\n",
        b"\0",
        b": ",
    ]
)


@settings(max_examples=400, deadline=None)
@given(raw=st.lists(PIECES, max_size=12).map(b"".join), cuts=st.lists(st.integers(0, 150)))
def test_both_parsers_give_the_same_answer_in_any_pieces_or_one_has_none(
    raw: bytes, cuts: list[int]
) -> None:
    """And whatever comes, nothing is raised but `Garbage`."""
    loop = asyncio.new_event_loop()
    pieces = [
        raw[start:end]
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(raw)], strict=True)
    ]
    try:
        found = [
            _read(http_parser.HttpResponseParser, loop, [raw]),
            _read(http_parser.HttpResponseParser, loop, pieces),
            _read(http_parser.HttpResponseParserPy, loop, [raw]),
            _read(http_parser.HttpResponseParserPy, loop, pieces),
        ]
    finally:
        loop.close()

    assert len({each for each in found if each is not None}) <= 1, found


def _read(
    parser: type[http_parser.HttpResponseParserPy],
    loop: asyncio.AbstractEventLoop,
    pieces: list[bytes],
) -> tuple[int, bytes] | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_answer, "HttpResponseParser", parser)
        asked = reader(loop)
    try:
        for piece in pieces:
            if piece and (answer := asked.feed(piece)):
                return answer.status, answer.body
    except Garbage:
        return None
    return None
