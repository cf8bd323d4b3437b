"""What a store promises that several processes write to: nodes, epochs, leases, adoption, duties.

Theory of operation. Every process that writes is a node. It *joins*, and gets a seat (which names
its audit chain; a seat that was given back or lost is taken again) and an epoch (a number that no
other node ever had or gets). It keeps its epoch alive by *beats*; all times are the database's, so
no node's clock decides anything. An epoch that did not beat for the length of a lease may be
*buried* by another node, and then it is over for ever: nothing that bears it is committed any
more, however late it comes. What it had open is *adopted*, a few streams at a time, by whoever
takes them first.

Nothing that is safe rests on a lease. `(stream, seq)` and claims are unique whoever is alive, and
what a frozen node sends when it wakes cannot be stopped by anybody here. Leases decide who works
on what, so that work is not done twice as a rule, and is done by somebody in any case.

Promises, beside those of `base.py`:

* `commit` writes nothing under an epoch that is buried: it raises `Fenced`.
* An error of the database after a group was sent says nothing about the group. `commit` then asks
  the database, on a fresh connection, for as long as it takes: it returns only what is so for
  certain, and durable as any commit is: also what is in the way of a unit that conflicts. It is
  never cancelled by its own deadline. `away` is true meanwhile, and whenever the database cannot
  be reached.
* Reads raise `Overloaded` where the database cannot be reached for a while: nothing was done.
* `open_streams`, feeds, queues and documents are everybody's; `audit_rows` and `audit_head` are of
  the own chain unless another one is named.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from paygate_engine.stores.base import AuditRow, Store, Wake

# How long an epoch lives without a beat. A node that is merely slow must not be taken for dead, and
# callers of a dead one should not wait for long: a failover of the database takes a few seconds.
LEASE_S = 10.0
# Three beats may be lost before the fourth is late.
BEAT_S = 2.5
# Streams adopted at once: each is then read and looked at, some milliseconds each.
ADOPT_MAX = 100

NodeState = Literal["live", "late", "buried", "left"]


class Seat(Struct, frozen=True, kw_only=True):
    """A node's place: `chain` names its audit chain; `now_us` is the database's time."""

    seat: int
    epoch: int
    chain: str
    now_us: int


class NodeRow(Struct, frozen=True, kw_only=True):
    """A seat as the database has it. `late`: its lease ran out, and nobody has buried it yet.

    `open_streams` are those that it owns. Times are the database's, UTC, microseconds.
    """

    seat: int
    epoch: int
    name: str
    state: NodeState
    joined_us: int
    beat_us: int
    lease_until_us: int
    open_streams: int = 0


class Beat(Struct, frozen=True, kw_only=True):
    """What a beat brings home: the database's time, who lives, and what has changed.

    `live` are the epochs that are neither buried nor left, the own one among them; `newest` is the
    highest that was ever given, so that one given since is not taken for dead. `bulletin` grows
    whenever a document of a kind was committed that nodes keep in memory (`watched`).
    """

    now_us: int
    live: frozenset[int]
    newest: int
    bulletin: int


class SharedStore(Store, Protocol):
    """A `Store` for many nodes. All methods are called on the loop's thread.

    Before `join` it can be read, and not be written to. Made with `watched`: kinds of documents
    whose every commit moves the bulletin.
    """

    @property
    def seat(self) -> Seat | None:
        """The own place, once joined."""
        ...

    async def join(self, name: str) -> Seat:
        """Take a free seat, or a new one, under a new epoch. `name` is for people to read."""
        ...

    async def leave(self) -> None:
        """Give the seat back: what is open may be adopted at once. Idempotent; never waits long."""
        ...

    async def beat(self) -> Beat:
        """Prolong the own lease. Raises `Fenced` where it was buried, `Overloaded` when away."""
        ...

    async def bury(self) -> list[int]:
        """End every epoch whose lease ran out; those that this call ended.

        Only a node that has itself beaten without a pause for the length of a lease may judge
        others: after an outage of the database everybody is late, and nobody is dead.
        """
        ...

    async def adopt(self, *, limit: int = ADOPT_MAX) -> list[Wake]:
        """Take over open streams whose owner is buried or left, or never was; at most `limit`.

        Whoever commits to an open stream owns it from then on. Streams that somebody else is
        adopting at the same time are skipped, not waited for.
        """
        ...

    async def take_duty(self, name: str) -> bool:
        """Whether the named duty is the own now: it was, or it was nobody's who lives."""
        ...

    async def drop_duty(self, name: str) -> None:
        """Give a duty back."""
        ...

    async def nodes(self) -> list[NodeRow]:
        """All seats, by number."""
        ...

    async def chains(self) -> list[str]:
        """The names of all audit chains, in order."""
        ...

    async def audit_rows(
        self, *, after_n: int = 0, limit: int = 1_000, chain: str | None = None
    ) -> list[AuditRow]:
        """A chain in order, a page at a time; None: the own one."""
        ...

    async def audit_head(self, *, chain: str | None = None) -> tuple[int, bytes]:
        """Number and hash of a chain's newest row; (0, 32 zero bytes) for an empty chain."""
        ...

    async def tally(self, stream: str) -> tuple[int, int] | None:
        """A stream's limit and what is used of it; None where nothing was ever tallied."""
        ...

    async def hear(self) -> Sequence[str]:
        """Wait for news and return it: words that other nodes said, each at least once or never.

        Only a hint to look: whoever rests on being told will wait for ever behind a pooler.
        """
        ...

    def say(self, *words: str) -> None:
        """Let the other nodes hear these words soon, if they can be reached. Never waits."""
        ...
