"""Text that PostgreSQL cannot keep: it has no NUL, and words of strangers may hold one.

One such word from a provider would otherwise end every node that tries to write it, one after the
other. Whatever goes to the server passes `to_server`, whatever comes back `from_server`.
"""

from collections.abc import Sequence
from typing import Any, cast

# Stands before what it was written for: no character at all, so that honest text never has it.
_MARK = "\ufdd0"
_MARK_KEPT, _NUL_KEPT = f"{_MARK}1", f"{_MARK}0"


def to_server(argument: Any) -> Any:
    """An argument, or a column of them, as the server can keep it."""
    if isinstance(argument, str):
        return _kept(argument)
    if isinstance(argument, (tuple, list)):
        column = cast("Sequence[Any]", argument)
        if any(isinstance(each, str) and ("\0" in each or _MARK in each) for each in column):
            return [_kept(each) if isinstance(each, str) else each for each in column]
        return column
    return argument


def from_server(rows: Sequence[Any]) -> Sequence[Any]:
    """Rows as they were written."""
    if any(isinstance(value, str) and _MARK in value for row in rows for value in row):
        return [
            tuple(original(value) if isinstance(value, str) else value for value in row)
            for row in rows
        ]
    return rows


def original(text: str) -> str:
    """A text as it was before `to_server`."""
    return text.replace(_NUL_KEPT, "\0").replace(_MARK_KEPT, _MARK) if _MARK in text else text


def _kept(text: str) -> str:
    if "\0" not in text and _MARK not in text:
        return text
    return text.replace(_MARK, _MARK_KEPT).replace("\0", _NUL_KEPT)
