"""The last look before a request leaves: whether this node may still act on the world.

Whoever starts a call has looked. But a call may have to wait inside of its adapter, for an access
token, for the answer to its first step, for a connection, and its node may lose its place among
the others meanwhile. So the HTTP client looks again when it is about to write the first byte.

It is a context variable, not an argument: no adapter, ours or a stranger's, has to hand it on, and
none can forget to.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# Of nodes, not of providers: nothing is wrong there.
BARRED: Final = "This node may not act just now: the request was not sent."

_may_act: ContextVar[Callable[[], bool]] = ContextVar("may_act", default=lambda: True)


class Barred(Exception):
    """The request was about to leave, and was kept back."""


@contextmanager
def only_while(may_act: Callable[[], bool]) -> Generator[None]:
    """Send nothing within the block unless `may_act` says yes when it is about to leave."""
    outer = _may_act.set(may_act)
    try:
        yield
    finally:
        _may_act.reset(outer)


def may_leave() -> bool:
    """Whether a request may leave at this moment; without `only_while` it always may."""
    return _may_act.get()()
