"""The audit chain finds whatever was changed, and its signed heads what was cut off."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from paygate_engine.chain import Chain, Fault, Head, events_digest, row_hash, verify
from paygate_engine.errors import Corrupt
from paygate_engine.heads import (
    BadHead,
    SignedHead,
    append_head,
    check_head,
    mend_heads,
    read_heads,
    sign_head,
)
from paygate_engine.stores.base import AuditEntry, AuditRow, Event, Unit

KEY = bytes(range(32))


def event(stream: str, seq: int, body: bytes = b"{}") -> Event:
    return Event(stream=stream, seq=seq, at_us=seq, kind="noted", body=body)


def unit(stream: str, *seqs: int, entries: int = 1) -> Unit:
    entry = AuditEntry(at_us=5, who="ann", what="noted", stream=stream, why="asked")
    return Unit(events=tuple(event(stream, seq) for seq in seqs), audit=(entry,) * entries)


UNITS = (unit("a", 1, 2), unit("b", 1, entries=2), unit("c"), unit("a", 3), unit("b", 2, 3))


class Books:
    """A chain and its streams, as an intruder finds them."""

    def __init__(self) -> None:
        chain = Chain(Head())
        self.rows = [row for rows in chain.link(UNITS) for row in rows]
        self.head = chain.head
        self.streams: dict[str, list[Event]] = {}
        for each in UNITS:
            for of_unit in each.events:
                self.streams.setdefault(of_unit.stream, []).append(of_unit)

    async def read(self) -> AsyncIterator[AuditRow]:
        for row in self.rows:
            yield row

    async def events_of(self, stream: str) -> Sequence[Event]:
        return self.streams[stream]

    async def verdict(self, heads: dict[int, bytes] | None = None) -> Head | Fault:
        return await verify(self.read(), self.events_of, heads)

    def relink(self, start: int) -> None:
        """Compute everything from the row at `start` on anew, as a thorough intruder does."""
        before = self.rows[start - 1].hash if start else Head().hash
        for at in range(start, len(self.rows)):
            row = replace(self.rows[at], n=at + 1)
            self.rows[at] = replace(row, hash=row_hash(before, row))
            before = self.rows[at].hash


async def test_a_sound_chain_is_verified_to_its_head() -> None:
    books = Books()

    assert await books.verdict() == books.head
    assert books.head.n == 6


def test_a_chain_that_was_written_by_an_older_version_still_verifies() -> None:
    """The bytes that are hashed may never change: this end of the chain was written down once."""
    assert (
        Books().head.hash.hex()
        == "4f0aebad5012abde1abd4889c9928e4cf0fad7ea7d73e6cd3a27063262b0492c"
    )


async def test_an_empty_chain_is_sound() -> None:
    books = Books()
    books.rows.clear()

    assert await books.verdict() == Head()


async def test_linking_group_by_group_gives_the_same_chain_as_linking_at_once() -> None:
    chain = Chain(Head())
    rows = [row for each in UNITS for rows in chain.link([each]) for row in rows]

    assert rows == Books().rows


async def test_an_entry_covers_the_events_of_its_own_stream() -> None:
    both = Unit(
        events=(event("a", 4), event("b", 7), event("b", 8)),
        audit=(*unit("a").audit, *unit("b").audit),
    )

    ((of_a, of_b),) = Chain(Head()).link([both])

    assert (of_a.first_seq, of_a.events) == (4, 1)
    assert (of_b.first_seq, of_b.events) == (7, 2)
    assert of_a.digest == events_digest([event("a", 4)])


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize(
    "change",
    [
        {"who": "eve"},
        {"what": "refunded"},
        {"why": ""},
        {"at_us": 6},
        {"stream": "c"},
        # The same text in other fields: lengths are hashed too.
        {"who": "ann" + "noted", "what": ""},
    ],
)
async def test_an_edited_entry_is_found_where_it_is(at: int, change: dict[str, object]) -> None:
    books = Books()
    row = books.rows[at]
    if replace(row.entry, **change) == row.entry:
        change = {"stream": "d"}
    books.rows[at] = replace(row, entry=replace(row.entry, **change))

    verdict = await books.verdict()

    assert isinstance(verdict, Fault) and verdict.n == at + 1


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "row 1 is not as it was written, or it is not the first row"),
        (2, "row 3 is not as it was written, or it does not follow from row 2"),
    ],
)
async def test_a_row_that_does_not_fit_is_told_with_where_it_should_have_stood(
    at: int, text: str
) -> None:
    books = Books()
    row = books.rows[at]
    books.rows[at] = replace(row, entry=replace(row.entry, who="eve"))

    assert await books.verdict() == Fault(n=at + 1, text=text)


def test_an_entry_without_events_covers_none() -> None:
    ((row,),) = Chain(Head()).link([unit("c")])

    assert (row.first_seq, row.events, row.digest) == (0, 0, events_digest([]))


@pytest.mark.parametrize("at", range(6))
async def test_an_edited_row_with_a_fitting_hash_breaks_the_next_one(at: int) -> None:
    books = Books()
    row = replace(books.rows[at], entry=replace(books.rows[at].entry, who="eve"))
    before = books.rows[at - 1].hash if at else Head().hash
    books.rows[at] = replace(row, hash=row_hash(before, row))

    verdict = await books.verdict({books.head.n: books.head.hash})

    # The last row has no next one: the published head gives it away.
    assert isinstance(verdict, Fault) and verdict.n == min(at + 2, 6)


@pytest.mark.parametrize("at", range(5))
async def test_a_deleted_row_is_found(at: int) -> None:
    books = Books()
    del books.rows[at]

    verdict = await books.verdict()

    assert verdict == Fault(
        n=at + 1, text=f"row {at + 1} is missing: row {at + 2} comes in its place"
    )


@pytest.mark.parametrize("at", range(6))
async def test_an_inserted_row_is_found(at: int) -> None:
    books = Books()
    books.rows.insert(at, books.rows[at])

    verdict = await books.verdict()

    assert isinstance(verdict, Fault) and verdict.n == at + 2


@pytest.mark.parametrize("at", range(5))
async def test_swapped_rows_are_found_even_when_they_swap_numbers_too(at: int) -> None:
    books = Books()
    one, two = books.rows[at], books.rows[at + 1]
    books.rows[at : at + 2] = [replace(two, n=one.n), replace(one, n=two.n)]

    verdict = await books.verdict()

    assert isinstance(verdict, Fault) and verdict.n == at + 1


@pytest.mark.parametrize("change", [{"body": b"{ }"}, {"kind": "paid"}, {"at_us": 99}])
@pytest.mark.parametrize(("stream", "seq", "row"), [("a", 2, 1), ("a", 3, 5), ("b", 3, 6)])
async def test_an_edited_event_is_found_by_the_row_that_covers_it(
    stream: str, seq: int, row: int, change: dict[str, object]
) -> None:
    books = Books()
    events = books.streams[stream]
    events[seq - 1] = replace(events[seq - 1], **change)

    verdict = await books.verdict()

    assert isinstance(verdict, Fault) and verdict.n == row
    assert f"of {stream}" in verdict.text


async def test_a_deleted_event_is_found() -> None:
    books = Books()
    books.streams["b"].pop()

    verdict = await books.verdict()

    text = "events 2 to 3 of b, which row 6 covers, are not as they were written"
    assert verdict == Fault(n=6, text=text)


async def test_a_stream_that_cannot_be_read_is_a_fault_and_not_a_crash() -> None:
    books = Books()

    async def events_of(stream: str) -> Sequence[Event]:
        raise Corrupt(f"stream {stream}: torn")

    verdict = await verify(books.read(), events_of)

    text = "events 1 to 2 of a, which row 1 covers, cannot be read: stream a: torn"
    assert verdict == Fault(n=1, text=text)


async def test_a_walk_goes_on_past_streams_that_somebody_sets_aside() -> None:
    books = Books()
    torn = Corrupt("torn")
    aside: list[tuple[str, Corrupt]] = []

    async def events_of(stream: str) -> Sequence[Event]:
        if stream == "a":
            raise torn
        return books.streams[stream]

    def set_aside(stream: str, error: Corrupt) -> None:
        aside.append((stream, error))

    verdict = await verify(books.read(), events_of, on_corrupt=set_aside)

    assert verdict == books.head
    assert aside == [("a", torn), ("a", torn)], "its rows 1 and 5"

    books.rows[5] = replace(books.rows[5], hash=bytes(32))
    verdict = await verify(books.read(), events_of, on_corrupt=set_aside)
    assert isinstance(verdict, Fault) and verdict.n == 6, "the other rows still count"


def test_the_digest_tells_where_one_field_ends_and_the_next_begins() -> None:
    one = Event(stream="ab", seq=1, at_us=1, kind="c", body=b"d")

    digests = {
        events_digest([one]),
        events_digest([replace(one, stream="a", kind="bc")]),
        events_digest([replace(one, kind="cd", body=b"")]),
        events_digest([one, one]),
        events_digest([]),
    }

    assert len(digests) == 5


async def test_a_chain_that_was_cut_short_misses_a_published_head() -> None:
    books = Books()
    heads = {books.head.n: books.head.hash}
    del books.rows[4:]

    verdict = await books.verdict(heads)

    assert isinstance(verdict, Fault) and verdict.n == 5 and "cut short" in verdict.text
    assert isinstance(await books.verdict(), Head), "nothing but the head can tell"


async def test_a_chain_that_was_computed_anew_misses_a_published_head() -> None:
    books = Books()
    heads = {4: books.rows[3].hash}
    books.rows[1] = replace(books.rows[1], entry=replace(books.rows[1].entry, who="eve"))
    books.relink(1)

    verdict = await books.verdict(heads)

    assert isinstance(verdict, Fault) and verdict.n == 4 and "anew" in verdict.text
    assert isinstance(await books.verdict(), Head), "nothing but the head can tell"


def test_a_head_is_ours_only_as_it_was_signed() -> None:
    head = Books().head
    signed = sign_head(KEY, head, 77)

    assert check_head(KEY, signed) == head
    forgeries = [
        replace(signed, n=5),
        replace(signed, at_us=78),
        replace(signed, hash=bytes(32)),
        replace(signed, signature=signed.signature[:-1]),
        sign_head(bytes(32), head, 77),
    ]
    for forgery in forgeries:
        with pytest.raises(BadHead):
            check_head(KEY, forgery)


def test_a_short_key_signs_nothing() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sign_head(b"short", Head(), 1)


def test_heads_are_read_back_from_their_file_but_for_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    for n in (1, 2):
        append_head(path, sign_head(KEY, Head(n=n, hash=bytes([n]) * 32), n))
    with path.open("ab") as file:
        file.write(b'{"n":3')

    with path.open("rb") as lines:
        heads = read_heads(KEY, lines)

    assert heads == {1: b"\x01" * 32, 2: b"\x02" * 32}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"\xff\n", b'{"n":1}\n'])
def test_a_line_that_is_no_head_is_told_by_number(line: bytes) -> None:
    with pytest.raises(BadHead, match="line 1"):
        read_heads(KEY, [line])


def test_one_row_published_with_two_hashes_is_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    signed: list[SignedHead] = [
        sign_head(KEY, Head(n=1, hash=bytes([fork]) * 32), 1) for fork in (1, 2)
    ]
    for each in signed:
        append_head(path, each)

    with path.open("rb") as lines, pytest.raises(BadHead, match="two hashes"):
        read_heads(KEY, lines)


def test_a_torn_end_is_mended_before_the_next_one_is_published(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    first = sign_head(KEY, Head(n=1, hash=bytes(32)), 1)
    second = sign_head(KEY, Head(n=2, hash=bytes([1]) * 32), 2)
    append_head(path, first)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])

    mend_heads(path)
    append_head(path, second)

    assert read_heads(KEY, path.read_bytes().splitlines(keepends=True)) == {
        1: first.hash,
        2: second.hash,
    }


def test_mending_touches_neither_a_whole_file_nor_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    mend_heads(path)
    append_head(path, sign_head(KEY, Head(n=1, hash=bytes(32)), 1))
    whole = path.read_bytes()

    mend_heads(path)

    assert path.read_bytes() == whole
