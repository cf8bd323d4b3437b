"""Statements that read from PostgreSQL, and how their rows become records.

Each read is one statement, and so sees the database as it stood at one moment.
"""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from paygate_engine.errors import Corrupt
from paygate_engine.stores.base import (
    AuditRow,
    Claim,
    Document,
    Event,
    FeedEnds,
    Item,
    Posted,
    Query,
    Wake,
)
from paygate_engine.stores.checksums import event_crc, told_crc
from paygate_engine.stores.row_reading import (
    Row,
    to_audit_row,
    to_claim,
    to_document,
    to_item,
    to_wake,
)
from paygate_engine.stores.rules import page_size, whole

# The end of a chain that has no rows.
GENESIS = (0, bytes(32))
_DOCUMENT = (
    "SELECT d.kind, d.id, d.scope, d.f1, d.f2, d.f3, d.f4, d.body, d.crc FROM paygate.documents d"
)
# OFFSET 0: the links are walked in their own order, which is that of the ids, and each of their
# documents is looked up. Left alone, PostgreSQL may walk all documents of a tenant instead.
_LINKED = (
    "SELECT d.kind, d.id, d.scope, d.f1, d.f2, d.f3, d.f4, d.body, d.crc FROM paygate.links l"
    " CROSS JOIN LATERAL (SELECT * FROM paygate.documents"
    " WHERE kind = l.kind AND id = l.id OFFSET 0) AS d"
)
_FACET_COLUMNS = ("f1", "f2", "f3", "f4")
_AUDIT = "SELECT n, at_us, who, what, stream, why, first_seq, events, digest, hash"


class Run(Protocol):
    """Runs a statement that comes to the same twice, again where need be."""

    def __call__(self, statement: str, *arguments: Any) -> Awaitable[Sequence[Any]]:
        """The rows of the statement."""
        ...


async def stream_events(run: Run, stream: str, after_seq: int) -> list[Event]:
    """Events behind a number, in order; raises `Corrupt` for one that is changed or missing."""
    rows = await run(
        "SELECT stream, seq, at_us, kind, body, epoch, crc FROM paygate.events"
        " WHERE stream = $1 AND seq > $2 ORDER BY seq",
        stream,
        after_seq,
    )
    return whole(map(to_event, rows), stream, after_seq=after_seq)


async def events_of_streams(run: Run, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
    """Of each stream its events, or why they cannot be read."""
    rows = await run(
        "SELECT stream, seq, at_us, kind, body, epoch, crc FROM paygate.events"
        " WHERE stream = ANY($1) ORDER BY stream, seq",
        list(streams),
    )
    read: dict[str, list[tuple[Event, bool]]] = {stream: [] for stream in streams}
    for row in rows:
        read[row[0]].append(to_event(row))
    found: dict[str, list[Event] | Corrupt] = {}
    for stream, events in read.items():
        try:
            found[stream] = whole(events, stream)
        except Corrupt as error:
            found[stream] = error
    return found


async def document(run: Run, kind: str, of_id: str) -> Document | None:
    """The document of this kind and id."""
    rows = await run(f"{_DOCUMENT} WHERE d.kind = $1 AND d.id = $2", kind, of_id)
    return to_document(rows[0]) if rows else None


async def page_of(run: Run, query: Query, demanded: Mapping[int, str]) -> list[Document]:
    """The page that the query asks for; `demanded` are its facets by position."""
    statement, parameters = page_statement(query, demanded)
    return [to_document(row) for row in await run(statement, *parameters)]


def page_statement(query: Query, demanded: Mapping[int, str]) -> tuple[str, list[Any]]:
    """The statement of a page and its parameters. No value is ever part of the text."""
    conditions: list[str] = []
    parameters: list[Any] = []

    def demand(condition: str, *values: Any) -> None:
        numbers = range(len(parameters) + 1, len(parameters) + len(values) + 1)
        conditions.append(condition.format(*(f"${number}" for number in numbers)))
        parameters.extend(values)

    key = "d" if query.link is None else "l"
    demand(f"{key}.kind = {{}}", query.kind)
    if query.link is not None:
        demand("l.name = {} AND l.value = {}", *query.link)
    if query.scope is not None:
        demand("d.scope = {}", query.scope)
    for position, value in sorted(demanded.items()):
        demand(f"d.{_FACET_COLUMNS[position]} = {{}}", value)
    if query.id_from is not None:
        demand(f"{key}.id >= {{}}", query.id_from)
    if query.id_before is not None:
        demand(f"{key}.id < {{}}", query.id_before)
    parameters.append(page_size(query.limit))
    start = _DOCUMENT if query.link is None else _LINKED
    where = " AND ".join(conditions)
    return f"{start} WHERE {where} ORDER BY {key}.id DESC LIMIT ${len(parameters)}", parameters


async def claim(run: Run, name: str) -> Claim | None:
    """Who holds the name."""
    rows = await run("SELECT name, stream, body, crc FROM paygate.claims WHERE name = $1", name)
    return to_claim(rows[0]) if rows else None


async def waiting_items(run: Run, queue: str, after_id: str, limit: int) -> list[Item]:
    """Items of a queue that are not done, by id."""
    rows = await run(
        "SELECT queue, id, key, at_us, body, crc FROM paygate.items"
        " WHERE queue = $1 AND done_us IS NULL AND id > $2 ORDER BY id LIMIT $3",
        queue,
        after_id,
        page_size(limit),
    )
    return [to_item(row) for row in rows]


async def open_wakes(run: Run, after: str, limit: int) -> list[Wake]:
    """Open streams by name, whoever owns them."""
    rows = await run(
        "SELECT stream, at_us, crc FROM paygate.wakes WHERE stream > $1 ORDER BY stream LIMIT $2",
        after,
        page_size(limit),
    )
    return [to_wake(row) for row in rows]


async def audit_page(run: Run, chain: str, after_n: int, limit: int) -> list[AuditRow]:
    """A chain in order, behind row `after_n`."""
    rows = await run(
        f"{_AUDIT} FROM paygate.audit WHERE chain = $1 AND n > $2 ORDER BY n LIMIT $3",
        chain,
        after_n,
        page_size(limit),
    )
    return [to_audit_row(row) for row in rows]


async def audit_end(run: Run, chain: str) -> tuple[int, bytes]:
    """Number and hash of a chain's newest row."""
    rows = await run(
        "SELECT n, hash FROM paygate.audit WHERE chain = $1 ORDER BY n DESC LIMIT 1", chain
    )
    return (rows[0][0], rows[0][1]) if rows else GENESIS


async def event_count(run: Run) -> int:
    """How many events there are: the time is that of a walk through all of them."""
    return (await run("SELECT count(*) FROM paygate.events"))[0][0]


async def feed_page(run: Run, feed: str, after_n: int, limit: int) -> list[Posted]:
    """Posts of a feed behind a number, the oldest first."""
    rows = await run(
        "SELECT feed, n, at_us, body, crc FROM paygate.posts"
        " WHERE feed = $1 AND n > $2 ORDER BY n LIMIT $3",
        feed,
        after_n,
        page_size(limit),
    )
    return [to_post(row) for row in rows]


async def feed_ends(run: Run, feed: str) -> FeedEnds:
    """Where a feed begins and ends; one statement, so that both are of one moment."""
    rows = await run(
        "SELECT coalesce((SELECT n FROM paygate.feeds WHERE feed = $1), 0),"
        " (SELECT min(n) FROM paygate.posts WHERE feed = $1)",
        feed,
    )
    last, first = rows[0]
    return FeedEnds(first=last + 1 if first is None else first, last=last)


async def feed_names(run: Run, after: str, limit: int) -> list[str]:
    """Names of feeds, in order."""
    rows = await run(
        "SELECT feed FROM paygate.feeds WHERE feed > $1 ORDER BY feed LIMIT $2",
        after,
        page_size(limit),
    )
    return [row[0] for row in rows]


async def tally(run: Run, stream: str) -> tuple[int, int] | None:
    """A stream's limit and what is used of it."""
    rows = await run('SELECT "limit", used FROM paygate.tallies WHERE stream = $1', stream)
    return (rows[0][0], rows[0][1]) if rows else None


def to_event(row: Row) -> tuple[Event, bool]:
    """The event in (stream, seq, at_us, kind, body, epoch, crc), and whether it is sound."""
    stream, seq, at_us, kind, body, epoch, crc = row
    event = Event(stream=stream, seq=seq, at_us=at_us, kind=kind, body=body, epoch=epoch)
    return event, event_crc(event) == crc


def to_post(row: Row) -> Posted:
    """The post in (feed, n, at_us, body, crc)."""
    feed, n, at_us, body, crc = row
    found = Posted(feed=feed, n=n, at_us=at_us, body=body)
    sound = told_crc(feed, at_us, body) == crc ^ n
    return found if sound else replace(found, sound=False)
