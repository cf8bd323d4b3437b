"""What a case can come to, and what a case is."""

from collections.abc import Awaitable, Callable
from typing import Generic, Literal, TypeVar

from msgspec import Struct

Stage = TypeVar("Stage")

Word = Literal["passed", "failed", "not applicable", "skipped"]


class CaseFailed(Exception):
    """The promise was broken; the text says what was seen."""


class NotApplicable(Exception):
    """The provider says that it has no such thing; the text says what it says."""


class Skipped(Exception):
    """It cannot be tried at this end; the text says what is missing."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of one case. `reason` is empty where it passed."""

    name: str
    sentence: str
    word: Word
    reason: str = ""


class Case(Struct, Generic[Stage], frozen=True, kw_only=True):
    """One promise. `sentence` says it; `check` returns where it is kept.

    `alone`: it plans faults at the sandbox, where every call of the account may run into them.
    """

    name: str
    sentence: str
    check: Callable[[Stage], Awaitable[None]]
    alone: bool = False


class Chapter(Generic[Stage]):
    """Cases of one subject, in the order in which they are told.

    `prefix` begins the name of each, so that a whole chapter can be asked for.
    """

    def __init__(self, title: str, prefix: str) -> None:
        self.title = title
        self.prefix = prefix
        self.cases: list[Case[Stage]] = []

    def case(
        self, sentence: str, *, alone: bool = False
    ) -> Callable[[Callable[[Stage], Awaitable[None]]], Callable[[Stage], Awaitable[None]]]:
        """Take a function as a case; its name, with dashes, is the case's."""

        def take(check: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
            name = f"{self.prefix}-{check.__name__}".replace("_", "-")
            self.cases.append(Case(name=name, sentence=sentence, check=check, alone=alone))
            return check

        return take


def expect(kept: bool, seen: str) -> None:  # noqa: FBT001 - it reads as an assertion does
    """Go on where a promise was kept. Raises `CaseFailed` with what was seen instead."""
    if not kept:
        raise CaseFailed(seen)
