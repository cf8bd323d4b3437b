"""What a store promises: streams, documents, claims, queues, feeds, an audit chain; one commit.

A store knows bytes under names. That they are payments, idempotency keys or webhooks is the
business of whoever writes them. Every store passes `tests/conformance/store_suite.py`.

Promises:

* `commit` is one transaction: after it returns everything in it is durable, and a crash at any
  moment leaves all of it or nothing of it.
* `(stream, seq)`, claim names and `(queue, id)` are unique. A unit that breaks one of these is
  left out whole and answered with a `Conflict`; the other units of the group are committed.
* What one caller was told is committed, every later read sees.
* Posts of a feed are numbered from 1 without a gap, in the order of their commits. Who reads a
  feed up to a number and goes on behind it misses nothing, whatever is committed meanwhile.
* A row whose bytes are not what was written is noticed by every read: an event makes its stream
  `Corrupt`; a document, claim, item, post or wake is given with `sound` False, and nothing in it
  may be believed, the name that it was found by included. Whoever writes leaves `sound` alone.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from paygate_engine.errors import Corrupt

# A list or a scan never returns more than this: a page must fit a reply and a lock's hold time.
PAGE_MAX = 1_000
# Facets are fixed columns; four are what the widest kind needs.
FACETS_MAX = 4


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """One recorded fact of one stream. `seq` counts from 1 without a gap; `at_us` is UTC.

    `epoch` is that of the node which recorded it (`stores/shared.py`); 0 where there is one alone.
    """

    stream: str
    seq: int
    at_us: int
    kind: str
    body: bytes
    epoch: int = 0


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of document and the names of its facets, in the order in which documents give them.

    A facet is a short word that lists are filtered by; the first one is indexed, the others
    narrow down a scan. `FACETS_MAX` at the most.
    """

    name: str
    facets: tuple[str, ...] = ()


class Document(Struct, frozen=True, kw_only=True, gc=False):
    """The newest view of something: written over by (kind, id), listed newest id first.

    `scope` is the tenant that may see it (empty: nobody's). `links` are (name, value) pairs that
    it is found by; they are only ever added to, and are not given back by reads (`links` is empty
    there). Ids of a kind sort by the time of their making. `sound`: see above.
    """

    kind: str
    id: str
    scope: str = ""
    facets: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    body: bytes
    sound: bool = True


class Claim(Struct, frozen=True, kw_only=True, gc=False):
    """A name that one stream alone may hold. `replaces` names the stream it is taken over from.

    A name that nobody holds is free, also for who would have taken it over. Reads give the holder,
    and `replaces` as None. `sound`: see above.
    """

    name: str
    stream: str
    body: bytes
    replaces: str | None = None
    sound: bool = True


class Item(Struct, frozen=True, kw_only=True, gc=False):
    """Something that waits in a queue until it is done. `(queue, id)` is taken for ever.

    `sound`: see above.
    """

    queue: str
    id: str
    key: str
    at_us: int
    body: bytes
    sound: bool = True


class Done(Struct, frozen=True, kw_only=True, gc=False):
    """An item that needs no more work; its id stays taken, so that it is not taken in again.

    The first time counts. An item that is not there (any more) is no error.
    """

    queue: str
    id: str
    at_us: int


class Wake(Struct, frozen=True, kw_only=True, gc=False):
    """A stream is open and wants to be looked at from `at_us` on; None: it is closed.

    `sound`: see above.
    """

    stream: str
    at_us: int | None
    sound: bool = True


class Post(Struct, frozen=True, kw_only=True, gc=False):
    """Something to be told in a feed. The store gives it the feed's next number."""

    feed: str
    at_us: int
    body: bytes


class Posted(Struct, frozen=True, kw_only=True, gc=False):
    """A post as the feed has it: its number counts from 1. `sound`: see above."""

    feed: str
    n: int
    at_us: int
    body: bytes
    sound: bool = True


class FeedEnds(Struct, frozen=True, kw_only=True):
    """The numbers of a feed's oldest post that is kept and of its newest one ever.

    `first` is `last` + 1 where none is kept; `last` is 0 where there never was one.
    """

    first: int
    last: int


class Tally(Struct, frozen=True, kw_only=True, gc=False):
    """A stream's two sums move by these amounts; what is used must not exceed the limit.

    A second lock behind the stream's own rules: a shared store (`stores/shared.py`) adds the
    amounts up itself, and leaves a unit out that would break the rule. An embedded store, whose
    one writer decides with the whole stream in hand, keeps no tallies.
    """

    stream: str
    limit: int
    used: int


class AuditEntry(Struct, frozen=True, kw_only=True, gc=False):
    """Who did what to which stream and why; the chain adds number, digest and hash."""

    at_us: int
    who: str
    what: str
    stream: str
    why: str = ""


class AuditRow(Struct, frozen=True, kw_only=True, gc=False):
    """An entry in the chain: `hash` covers the row before, this entry, and `digest`.

    `digest` covers every byte of the events that the entry's unit adds to the entry's stream.
    `first_seq` and `events` say which those are; both are 0 where there are none.
    """

    n: int
    entry: AuditEntry
    first_seq: int
    events: int
    digest: bytes
    hash: bytes


class Unit(Struct, frozen=True, kw_only=True, gc=False):
    """Everything that one decision changes: all of it is committed, or nothing."""

    events: tuple[Event, ...] = ()
    documents: tuple[Document, ...] = ()
    claims: tuple[Claim, ...] = ()
    items: tuple[Item, ...] = ()
    done: tuple[Done, ...] = ()
    wakes: tuple[Wake, ...] = ()
    posts: tuple[Post, ...] = ()
    tallies: tuple[Tally, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


class Conflict(Struct, frozen=True, kw_only=True):
    """A unit was left out because somebody else holds `name` (`what`: event, claim or item).

    Or because a stream's tally would break its limit (`what`: tally).
    """

    what: str
    name: str


class Query(Struct, frozen=True, kw_only=True):
    """A page of documents of one kind, newest id first.

    `where` holds facets by name, `link` one (name, value). `id_from` is inclusive, `id_before`
    exclusive. `limit` is at most `PAGE_MAX`.
    """

    kind: str
    scope: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    link: tuple[str, str] | None = None
    id_from: str | None = None
    id_before: str | None = None
    limit: int = 20


class Store(Protocol):
    """Where everything is kept. All methods are called on the loop's thread.

    `commit` is called by one caller at a time (the journal). Any method raises `StoreFailed`
    where the disk or the database failed: then nothing is known of a commit that was under way,
    and the process must stop and recover. `StoreFull` says that there is no room and that the
    transaction was rolled back for certain.
    """

    @property
    def log_bytes(self) -> int:
        """Bytes of the log that waits to become part of the database; 0 where there is none.

        It stays small; one that only grows says that the disk refuses what nobody waits for.
        """
        ...

    @property
    def away(self) -> bool:
        """Whether it cannot be reached just now; never so of one in this process."""
        ...

    async def open(self) -> None:
        """Open or create; bring the schema up to date; take the lock. Raises `StoreRefused`."""
        ...

    async def close(self) -> None:
        """Give everything back. Idempotent."""
        ...

    async def commit(
        self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]
    ) -> list[Conflict | None]:
        """Commit a group; one answer for each unit. `audit` are the linked rows of each unit.

        The rows of a group are linked one behind the other, so a conflict in one unit would break
        the chain: then nothing at all is written and every answer that is not None is a conflict
        (the journal drops those units, links the others again and commits again).
        """
        ...

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        """Events of a stream behind a number, in order; empty if there is none. Raises `Corrupt`.

        Those up to `after_seq` are not looked at.
        """
        ...

    async def read_streams(self, streams: Collection[str]) -> dict[str, list[Event] | Corrupt]:
        """Many streams at once, each whole, or why it is not; at most `PAGE_MAX` of them."""
        ...

    async def read_document(self, kind: str, id: str) -> Document | None:  # noqa: A002
        """The document as committed, or None."""
        ...

    def peek_document(self, kind: str, id: str) -> Document | None:  # noqa: A002
        """The same where it can be said at once; None says nothing: ask `read_document`.

        It is given as `read_document` gives it, with `sound` False where it is damaged.
        """
        ...

    async def query(self, query: Query) -> list[Document]:
        """The page that the query asks for."""
        ...

    async def read_claim(self, name: str) -> Claim | None:
        """Who holds the name."""
        ...

    async def waiting(self, queue: str, *, after_id: str = "", limit: int = 500) -> list[Item]:
        """Items of a queue that are not done, by id."""
        ...

    async def open_streams(self, *, after: str = "", limit: int = 1_000) -> list[Wake]:
        """Open streams by name, a page at a time."""
        ...

    async def audit_rows(self, *, after_n: int = 0, limit: int = 1_000) -> list[AuditRow]:
        """The chain in order, a page at a time."""
        ...

    async def audit_head(self) -> tuple[int, bytes]:
        """Number and hash of the newest audit row; (0, 32 zero bytes) for an empty chain."""
        ...

    async def event_count(self) -> int:
        """How many events there are in all streams: an audit holds it against its rows."""
        ...

    async def forget(self, *, queue: str, done_before_us: int, limit: int = 1_000) -> int:
        """Delete items done before a time; how many went."""
        ...

    async def read_feed(self, feed: str, *, after_n: int = 0, limit: int = 100) -> list[Posted]:
        """Posts behind a number, the oldest first; those that were forgotten are not among them."""
        ...

    async def feed_ends(self, feed: str) -> FeedEnds:
        """Where the feed begins and ends."""
        ...

    async def feeds(self, *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of all feeds that ever had a post, in order, a page at a time."""
        ...

    async def forget_posts(self, *, feed: str, before_us: int, limit: int = 1_000) -> int:
        """Delete a feed's oldest posts, as far as all are older than a time; how many went."""
        ...

    async def forget_documents(
        self, *, kind: str, id_before: str, facet: str | None = None, limit: int = 1_000
    ) -> int:
        """Delete documents with smaller ids, the oldest first; how many went.

        `facet`: only those whose first facet it is. For kinds whose documents have no links.
        """
        ...
