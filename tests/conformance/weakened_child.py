"""Runs a Python command line with a promise of the journal taken away: negative controls.

    python weakened_child.py WEAKNESS python -m paygate_http serve ...

None of this ships. Each weakness is one that a test by `kill -9` cannot see.
"""

# A planted weakness reaches into what it breaks.
# pyright: reportPrivateUsage=false

import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from paygate_engine.chain import Chain
from paygate_engine.journal import Journal
from paygate_engine.stores import sqlite_schema


def sync_at_checkpoints_only() -> None:
    """SQLite's own default for its log, and many a program's."""
    sqlite_schema._WRITER = tuple(
        (name, 1 if name == "synchronous" else value) for name, value in sqlite_schema._WRITER
    )


def acknowledge_before_the_sync() -> None:
    """Answer, then write."""

    async def eager(self: Journal, chain: Chain, group: Sequence[Any]) -> None:
        self._answer(list(group), [None] * len(group))
        await self._commit(chain, [unit for unit, _ in group], [None] * len(group))

    Journal._write_group = eager  # type: ignore[method-assign]


WEAKNESSES: Final[dict[str, Callable[[], None]]] = {
    each.__name__: each for each in (sync_at_checkpoints_only, acknowledge_before_the_sync)
}


def weakened(weakness: str) -> tuple[str, ...]:
    """What to put before the command line of a Python module."""
    return (sys.executable, __file__, weakness)


if __name__ == "__main__":
    _, weakness, _, _, module, *rest = sys.argv
    WEAKNESSES[weakness]()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
