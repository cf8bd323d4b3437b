"""What happened, as a hash of everything, and as the story of each payment."""

import hashlib
import traceback
from collections.abc import Callable

from msgspec import Struct

# Lines kept of one world; a story is read by a person, the hash covers all of them anyway.
LINES_MAX = 200_000


class Breach(Struct, frozen=True, kw_only=True):
    """A promise that was broken, how, and by which payment (empty: by none in particular)."""

    promise: str
    detail: str
    subject: str = ""


class Violation(Exception):
    """A promise was broken."""

    def __init__(self, promise: str, detail: str, *, subject: str = "") -> None:
        super().__init__(f"{promise}: {detail}")
        self.breach = Breach(promise=promise, detail=detail, subject=subject)


class Trace:
    """Hashes every delivery, commit, call and answer; keeps the lines that a story is made of."""

    def __init__(self, now_s: Callable[[], float], *, keep: bool) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self.count = 0
        self._now_s = now_s
        self._keep = keep
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, what: str, *, about: str = "", detail: bytes = b"") -> None:
        """Something happened; `about` names the payment, `detail` only goes into the hash."""
        now_s = self._now_s()
        self.count += 1
        self._hash.update(f"{now_s:.6f} {about} {what}\n".encode())
        if detail:
            self._hash.update(detail)
        if self._keep and len(self.lines) < LINES_MAX:
            self.lines.append((now_s, about, what))

    def delivered(self, key: str, kind: str) -> None:
        """An actor was given a message: hashed, no part of a story."""
        self.count += 1
        self._hash.update(f"{self._now_s():.6f} {key}<{kind}\n".encode())

    @property
    def digest(self) -> str:
        """The hash so far, in hexadecimal."""
        return self._hash.hexdigest()

    def story(self, payment_id: str) -> list[str]:
        """What happened to one payment, and to the whole world meanwhile, a line each."""
        suffix = payment_id.partition("_")[2]
        mine = [
            bool(suffix) and (suffix in about or payment_id in what)
            for _, about, what in self.lines
        ]
        if not any(mine):
            mine = [True] * len(self.lines)
        first = mine.index(True)
        last = len(mine) - 1 - mine[::-1].index(True)
        return [
            f"{now_s:14.3f} s  {what}"
            for place, (now_s, about, what) in enumerate(self.lines)
            if mine[place] or (not about and first <= place <= last)
        ]


def where(error: BaseException) -> str:
    """The error, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return repr(error) + "".join(f" < {each.name}:{each.lineno}" for each in reversed(frames))
