"""The audit actors: one walks the chain in the background, one publishes its signed ends.

The rows themselves are linked and committed by the journal, in the transaction that they are
about. What is left to do is to notice when somebody changed them, and to leave signed ends of the
chain outside the database, so that cutting it short is noticed too.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec import Struct

from paygate_actors.vault import Vault
from paygate_engine import chain
from paygate_engine.actor import BlockingActor, LoopActor, Parent, handles
from paygate_engine.errors import Corrupt, Overloaded
from paygate_engine.heads import SignedHead, append_head, mend_heads, read_heads
from paygate_engine.stores.base import Store
from paygate_engine.system import ActorSystem

# A change of new rows is found within this time, and one of old rows after a start.
WALK_EVERY_S: Final = 60.0
# Between two pages others have their turn: a page of rows takes some 10 ms, and a chain of two
# million rows some minutes, in which nobody waits for it.
WALK_PAUSE_S: Final = 0.01
# The file of published ends, in the data folder; operators copy it to where nobody can change it.
HEADS_FILE: Final = "audit.heads"

# And those of one chain of several: nodes may share a folder, and a seat may move to another one.
_HEADS_OF: Final = "audit-{}.heads"

_log = structlog.get_logger("paygate.audit")


def head_key(vault: Vault) -> bytes:
    """The key that ends of the chain are signed with: derived, so that there is none to lose."""
    return vault.mac("audit-heads", b"signing key")


def heads_file(chain_name: str) -> str:
    """The file of published ends of a chain; the only chain that there is has no name."""
    return _HEADS_OF.format(chain_name) if chain_name else HEADS_FILE


def published_by_chain(folder: Path, vault: Vault) -> dict[str, dict[int, bytes]]:
    """As `published`, of every chain of which this folder has ends; raises `BadHead`."""
    prefix, suffix = _HEADS_OF.split("{}")
    found = {"": published(folder, vault)}
    for path in sorted(folder.glob(_HEADS_OF.format("*"))):
        name = path.name.removeprefix(prefix).removesuffix(suffix)
        found[name] = published(folder, vault, name)
    return {name: heads for name, heads in found.items() if heads}


def published(folder: Path, vault: Vault, chain_name: str = "") -> dict[int, bytes]:
    """The hashes that were published for this folder, by row; raises `BadHead` for a forged one."""
    path = folder / heads_file(chain_name)
    if not path.exists():
        return {}
    with path.open("rb") as lines:
        return read_heads(head_key(vault), lines)


class Walk(Struct, frozen=True, kw_only=True):
    """Walk the rows that came since the last walk."""


class Verifier(LoopActor):
    """Walks the chain, from its first row after a start, then what is new.

    `fault` is the first bad row that it found; `verified` the newest sound one. Events that are
    damaged are no fault of the chain: `set_aside` hears of their stream, and the walk goes on.
    """

    __slots__ = ("_head", "_set_aside", "_store", "fault")

    def __init__(
        self,
        system: ActorSystem,
        key: str,
        store: Store,
        *,
        set_aside: Callable[[str, Corrupt], None],
        parent: Parent | None = None,
    ) -> None:
        super().__init__(system, key, parent)
        self._store = store
        self._set_aside = set_aside
        self._head = chain.Head()
        self.fault: chain.Fault | None = None

    @property
    def verified(self) -> int:
        """The number of the newest row that was found sound."""
        return self._head.n

    def on_start(self) -> None:
        """Walk at once, and then every `WALK_EVERY_S`."""
        self.actor_ref.tell(Walk())

    @handles(Walk)
    async def on_walk(self, message: Walk) -> None:
        """Walk on; the first fault ends the walking and is shouted about."""
        walked = chain.Walked(self._store, pause=_pause)
        try:
            found = await chain.verify(
                walked.rows(self._head.n),
                walked.events_of,
                start=self._head,
                on_corrupt=self._set_aside,
            )
        except Overloaded:
            # The database is away: what was walked is walked once more.
            self.system.after(WALK_EVERY_S, self._again, None)
            return
        if isinstance(found, chain.Fault):
            self.fault = found
            _log.critical("audit_chain_broken", row=found.n, what=found.text)
            return
        self._head = found
        self.system.after(WALK_EVERY_S, self._again, None)

    def _again(self, _: object) -> None:
        if self.alive:
            self.actor_ref.tell(Walk())


async def _pause() -> None:
    await asyncio.sleep(WALK_PAUSE_S)


class HeadPublisher(BlockingActor):
    """Appends signed ends to the file and syncs it, on a thread of its own."""

    def __init__(
        self, system: ActorSystem, key: str, path: Path, parent: Parent | None = None
    ) -> None:
        super().__init__(system, key, parent)
        self._path = path

    def on_start(self) -> None:
        """Mend what a crash left behind."""
        mend_heads(self._path)

    def on_receive(self, message: Any) -> None:
        """Publish one end."""
        assert isinstance(message, SignedHead)
        append_head(self._path, message)
