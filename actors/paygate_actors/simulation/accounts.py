"""What a world needs of a provider's account, whoever plays it.

`SimulatedProvider` plays those of the sandbox's own protocol. Others may be played by something
that speaks a real provider's language, so that the real adapter takes part: then these are what
the world's promises are held against.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Protocol

from msgspec import Struct

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.base import Provider
from paygate_actors.simulation.books import Charge, Operation
from paygate_actors.simulation.faults import Dice, Options
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.notices import Post
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import SimulatedClock, VirtualLoop


class AccountBooks(Protocol):
    """An account's books as the ground truth."""

    def of_keys(self, prefix: str) -> list[Charge]:
        """The charges that were made under keys of one transaction."""
        ...

    def ever(self, key: str) -> bool:
        """Whether anything was ever asked for under this key."""
        ...


class Account(Protocol):
    """One account."""

    @property
    def books(self) -> AccountBooks:
        """What it did."""
        ...

    @property
    def blind(self) -> bool:
        """Whether nobody can look at what it did: only what it tells by itself is ever known."""
        ...

    @property
    def under_way(self) -> int:
        """How many things it will still do by itself, holds that run out left aside."""
        ...


class News(Protocol):
    """One account's webhooks: those that were acknowledged, are under way, were ever made."""

    acknowledged: set[str]

    @property
    def under_way(self) -> int:
        """How many are on their way."""
        ...

    @property
    def made(self) -> int:
        """How many there ever were."""
        ...


class Ground(Struct, frozen=True, kw_only=True):
    """What a world lends to those who play accounts in it. `spawn` runs outside of all processes.

    `effect` hears of each movement of money as it happens; `post` takes a webhook to the gateway.
    `clock` is the gateway's, which may be wrong. `sent` hears of each request under a key of ours.
    """

    options: Options
    loop: VirtualLoop
    clock: SimulatedClock
    outside: Context
    dice: Dice
    trace: Trace
    effect: Callable[[str, Operation, Charge], None]
    sent: Callable[[str, str], None]
    post: Post
    spawn: Callable[[Coroutine[Any, Any, None]], Any]


class Players(Protocol):
    """Plays accounts that `SimulatedProvider` does not. `names`: theirs, the first goes first."""

    names: tuple[str, ...]

    def configs(self) -> tuple[ProviderConfig, ...]:
        """How the gateway is told of them."""
        ...

    def furnish(self, ground: Ground, links: Mapping[str, tuple[Link, Link]]) -> None:
        """Settle in. `links`: the way there and the way back of each account."""
        ...

    def start(self) -> None:
        """Begin to work, on the world's loop, which runs now."""
        ...

    def accounts(self) -> Mapping[str, Account]:
        """Each account by its name."""
        ...

    def news(self) -> Mapping[str, News]:
        """Each account's webhooks by its name."""
        ...

    def adapter(self, name: str) -> Provider:
        """A new life's adapter of the account."""
        ...

    async def close(self) -> None:
        """End it all."""
        ...
