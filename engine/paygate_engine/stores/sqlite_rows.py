"""Statements that write many rows at once. Runs on the writer's thread."""

import sqlite3
from collections.abc import Sequence
from itertools import chain

# Rows per statement, greatest first. A statement gives up the interpreter's lock once, however
# many rows it has, and while the loop is busy it is the lock that a group waits for. Beyond 64
# rows the text grows and the cost of a row does not fall.
_SIZES = (64, 32, 16, 8, 4, 2, 1)


class Rows:
    """A statement for many rows at once: `before`, the rows of so many columns, `after`."""

    __slots__ = ("_texts",)

    def __init__(self, before: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._texts = [(size, f"{before} {', '.join([row] * size)}{after}") for size in _SIZES]

    def put(self, connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Run the statement for all rows, in as few steps as there are sizes for."""
        at = 0
        for size, text in self._texts:
            while len(rows) - at >= size:
                parameters = list(chain.from_iterable(rows[at : at + size]))
                connection.execute(text, parameters)
                at += size
