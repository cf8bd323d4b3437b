"""Whether the write-ahead log holds commits that SQLite no longer sees, because it is damaged.

Theory of operation. SQLite reads its log up to the first frame whose checksum does not fit, and
takes what is behind it for the torn end of a commit that was never finished. Where that frame was
damaged later, every commit from there on is passed over in silence. The two can be told apart:
each commit is synced before the next one is written, so only the last one can be torn. Two whole
commits behind the end are the proof of damage. What cannot be told: damage to the very last
commit looks like a torn one.

A log whose header is damaged is passed over as a whole. A torn header looks the same, and is
harmless: it is written anew only when everything is in the database already. So there the pages
are compared.

The formats are those of "WAL-mode File Format" in SQLite's documentation. To be asked while
nobody else writes to the database, and before a connection that may write has opened it: the
last such one to close takes the log over and removes it, and with it what could still be saved.
Nor may this process have any other connection to it: the files are opened and closed here, which
gives up all POSIX locks that the process has on them.
"""

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from urllib.parse import quote

from paygate_engine.stores.folder import is_served

_HEADER: Final = struct.Struct(">IIIIIIII")
_FRAME: Final = struct.Struct(">IIIIII")
_MAGIC: Final = 0x377F0682  # the last bit says that checksums are over big-endian words
# In the shared memory's header: how many frames are good.
_FRAMES_GOOD: Final = struct.Struct("=I")
_FRAMES_GOOD_AT: Final = 16
# Behind a torn commit there is none that is whole.
_COMMITS_PROVE: Final = 2

Sums = tuple[int, int]


class _Frame(NamedTuple):
    number: int
    page: int
    commits: bool
    salts: Sums
    sums: Sums
    covered: bytes  # what its checksum is over, on top of that of the frame before
    content: bytes


def log_of(path: Path) -> Path:
    """The write-ahead log of the database at `path`."""
    return path.with_name(f"{path.name}-wal")


def lost_frames(path: Path) -> str | None:
    """Say what is lost of the log of the database at `path`; None where nothing is.

    Raises `sqlite3.Error` for a database that cannot be read.
    """
    log = log_of(path)
    if not log.exists() or log.stat().st_size <= _HEADER.size:
        return None
    good = _frames_good(path)
    with log.open("rb") as file:
        raw = file.read(_HEADER.size)
        magic, _, page_size, _, *rest = _HEADER.unpack(raw)
        if magic & ~1 != _MAGIC or _sums(raw[:24], (0, 0), big=bool(magic & 1)) != tuple(rest[2:]):
            return _behind_bad_header(path, file)
        salts = (rest[0], rest[1])
        frames = (each for each in _frames(file, page_size, good) if each.salts == salts)
        if _whole_commits(frames, big=bool(magic & 1)):
            return f"frame {good + 1} is not what was written, and whole commits come behind it"
    return None


def lost_unserved(path: Path) -> str | None:
    """`lost_frames` for a reader, who has no lock; None where a server has it.

    A server looked itself before it opened the log, and what it writes now would look like damage.
    Raises `sqlite3.Error` and `OSError`.
    """
    if is_served(path.parent):
        return None
    lost = lost_frames(path)
    # Asked again: what was seen of a log that a server began to write meanwhile proves nothing.
    return None if is_served(path.parent) else lost


def _frames_good(path: Path) -> int:
    """How many frames of the log SQLite reads."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        # The first look at the database reads the log, where nobody has done so before.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with path.with_name(f"{path.name}-shm").open("rb") as memory:
            memory.seek(_FRAMES_GOOD_AT)
            return int(_FRAMES_GOOD.unpack(memory.read(_FRAMES_GOOD.size))[0])


def _frames(file: BinaryIO, page_size: int, first: int) -> Iterator[_Frame]:
    """The frames from the one behind `first` on, whole ones only."""
    file.seek(_HEADER.size + first * (_FRAME.size + page_size))
    number = first
    while len(raw := file.read(_FRAME.size + page_size)) == _FRAME.size + page_size:
        number += 1
        page, pages, salt_1, salt_2, sum_1, sum_2 = _FRAME.unpack_from(raw)
        content = raw[_FRAME.size :]
        yield _Frame(
            number,
            page,
            pages > 0,
            (salt_1, salt_2),
            (sum_1, sum_2),
            raw[:8] + content,
            content,
        )


def _whole_commits(frames: Iterator[_Frame], *, big: bool) -> bool:
    """Whether several commits lie there, each frame bound to the one before by its checksum."""
    before: _Frame | None = None
    commits = 0
    for frame in frames:
        bound = (
            before is not None
            and frame.number == before.number + 1
            and _sums(frame.covered, before.sums, big=big) == frame.sums
        )
        commits = (commits if bound else 0) + frame.commits
        if bound and commits >= _COMMITS_PROVE:
            return True
        before = frame
    return False


def _behind_bad_header(path: Path, log: BinaryIO) -> str | None:
    """Compare what the log committed with what the database holds."""
    with path.open("rb") as database:
        size = int.from_bytes(database.read(18)[16:18], "big")
        page_size = 65_536 if size == 1 else size
        if page_size & (page_size - 1) or page_size < 512:  # noqa: PLR2004  # SQLite's smallest
            return None  # the database's own header is bad: that is found, and said, elsewhere
        committed: dict[int, bytes] = {}
        written: dict[int, bytes] = {}
        salts: Sums | None = None
        for frame in _frames(log, page_size, 0):
            salts = salts or frame.salts
            if frame.salts != salts:
                break
            written[frame.page] = frame.content
            if frame.commits:
                committed.update(written)
                written.clear()
        for page, content in committed.items():
            database.seek((page - 1) * page_size, os.SEEK_SET)
            if database.read(page_size) != content:
                return f"its header is not what was written, and page {page} is newer in it"
    return None


def _sums(data: bytes, seed: Sums, *, big: bool) -> Sums:
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    first, second = seed
    for place in range(0, len(words), 2):
        first = (first + words[place] + second) & 0xFFFFFFFF
        second = (second + words[place + 1] + first) & 0xFFFFFFFF
    return first, second
