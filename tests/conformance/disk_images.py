"""What a disk may hold after the power failed: files rebuilt from the steps of a process.

Theory of operation. A write, a new size and a new or lost name are *pending* until they are
forced: data by a sync of the file, names by a sync of the folder that holds them (what a file
system promises by POSIX; most promise more). Once the power is gone, any part of what is pending
may be there, in any order, cut at any sector. Everything that was forced is there.

    disk = Disk("/data")
    disk.apply(step)                              # for each step, in order
    for how, files in disk.images(rng): ...       # name -> bytes, each a disk that can be found

Not modelled: sectors that are torn within themselves, a disk that lies about a sync, and bytes
that rot. No file system here gives a file that was never synced an older file's bytes.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias, assert_never, get_args

from msgspec import Struct
from syscall_log import Linked, Made, Removed, Renamed, Resized, Said, Step, Synced, Wrote

# What a disk writes whole or not at all; 4,096 on newer ones, which tear in fewer places.
SECTOR_BYTES: Final = 512

How: TypeAlias = Literal["none", "all", "half", "late", "torn", "some"]
HOWS: Final[tuple[How, ...]] = get_args(How)
"""What of the pending survives: nothing; all; the older half; the newer half without the older;
all, but the newest write is torn; each sector and each name by chance."""

Files: TypeAlias = dict[str, bytes | bytearray]
"""Contents by name within the folder. Good until the next step: they are not copied for it."""


class _File:
    """What was forced to the disk, and what readers of the running system see."""

    __slots__ = ("durable", "live")

    def __init__(self) -> None:
        self.durable = bytearray()
        self.live = bytearray()


class _Naming(Struct, frozen=True):
    """Names that change together; None: the name is gone."""

    changes: tuple[tuple[str, _File | None], ...]


class _Data(Struct, frozen=True):
    """Bytes at a place, or (`data` None) a new size."""

    file: _File
    offset: int
    data: bytes | None


class _Pending(Struct, frozen=True):
    number: int
    folder: str
    what: _Naming | _Data


class Disk:
    """The files of one folder, which is itself a name in the folder above.

    `exists`: the folder was there, and empty, before the first step.
    """

    def __init__(self, folder: str, *, exists: bool = False) -> None:
        self._folder = folder
        self._steps = 0
        self._names: dict[str, _File] = {folder: _File()} if exists else {}
        self._durable = dict(self._names)
        self._pending: list[_Pending] = []
        # Of what "none" shows: two images of one version are the same.
        self._version = 0
        self._shown = -1

    @property
    def pending(self) -> int:
        """How many writes and names are not forced yet."""
        return len(self._pending)

    def apply(self, step: Step) -> None:
        """Take one step. Steps about names that nobody made are about sockets, and pass."""
        match step:
            case Made(path):
                if path not in self._names:
                    self._name((path, _File()))
            case Linked(path, target):
                self._name((target, self._names[path]))
            case Renamed(path, target):
                self._name((target, self._names[path]), (path, None))
            case Removed(path):
                if path in self._names:
                    self._name((path, None))
            case Wrote(path, offset, data):
                file = self._names[path]
                self._change(path, file, len(file.live) if offset is None else offset, data)
            case Resized(path, size):
                self._change(path, self._names[path], size, None)
            case Synced(path, covers):
                self._force(path, covers)
            case Said():
                pass
            case _:
                assert_never(step)
        self._steps += 1

    def live(self) -> Files:
        """What the running system sees: the disk after an orderly end."""
        return self._files(self._names, lambda file: file.live)

    def image(self, how: How, rng: random.Random) -> Files:
        """A disk as it may be found if the power fails now."""
        pending = self._pending
        half = len(pending) // 2
        match how:
            case "none":
                kept = []
            case "all":
                kept = pending
            case "half":
                kept = pending[:half]
            case "late":
                kept = pending[half:]
            case "torn":
                kept = [*pending[:-1], *_torn(pending[-1:], rng)]
            case "some":
                kept = list(_torn(_some_names(pending, rng), rng))
            case _:
                assert_never(how)
        return self._built(kept)

    def images(self, rng: random.Random) -> Iterator[tuple[How, Files]]:
        """Each way in which the power can fail now, but for those that come to the same disk."""
        for how in HOWS:
            match how:
                case "none":
                    if self._shown == self._version:
                        continue
                    self._shown = self._version
                case "half" | "late":
                    if len(self._pending) < 2:
                        continue
                case "all" | "some":
                    if not self._pending:
                        continue
                case "torn":
                    if not self._pending or not isinstance(self._pending[-1].what, _Data):
                        continue
                case _:
                    assert_never(how)
            yield how, self.image(how, rng)

    def _name(self, *changes: tuple[str, _File | None]) -> None:
        what = _Naming(changes)
        _rename(self._names, what)
        folder = changes[0][0].rpartition("/")[0]
        self._pending.append(_Pending(self._steps, folder, what))

    def _change(self, path: str, file: _File, offset: int, data: bytes | None) -> None:
        what = _Data(file, offset, data)
        _write(file.live, what)
        self._pending.append(_Pending(self._steps, "", what))

    def _force(self, path: str, covers: int) -> None:
        forced = self._names.get(path)
        left: list[_Pending] = []
        for each in self._pending:
            match each.what:
                case _Naming() as naming if each.number < covers and each.folder == path:
                    _rename(self._durable, naming)
                case _Data() as data if each.number < covers and data.file is forced:
                    _write(data.file.durable, data)
                case _:
                    left.append(each)
        if len(left) < len(self._pending):
            self._version += 1
        self._pending = left

    def _built(self, kept: list[_Pending]) -> Files:
        names = dict(self._durable)
        contents: dict[int, bytearray] = {}
        for each in kept:
            match each.what:
                case _Naming() as naming:
                    _rename(names, naming)
                case _Data() as data:
                    file = data.file
                    if id(file) not in contents:
                        contents[id(file)] = bytearray(file.durable)
                    _write(contents[id(file)], data)
        return self._files(names, lambda file: contents.get(id(file), file.durable))

    def _files(self, names: dict[str, _File], content: Callable[[_File], bytearray]) -> Files:
        if self._folder not in names:
            return {}
        inside = self._folder + "/"
        return {
            path.removeprefix(inside): content(file)
            for path, file in names.items()
            if path.startswith(inside)
        }


def _rename(names: dict[str, _File], naming: _Naming) -> None:
    for path, file in naming.changes:
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def _write(content: bytearray, what: _Data) -> None:
    missing = what.offset - len(content)
    if missing > 0:
        content.extend(bytes(missing))
    if what.data is None:
        del content[what.offset :]
    else:
        content[what.offset : what.offset + len(what.data)] = what.data


def _some_names(pending: list[_Pending], rng: random.Random) -> Iterator[_Pending]:
    """Drop names by chance; of one name's changes a later one never comes without the earlier."""
    lost: set[str] = set()
    for each in pending:
        if isinstance(each.what, _Naming):
            paths = {path for path, _ in each.what.changes}
            if paths & lost or rng.random() < 0.5:
                lost |= paths
                continue
        yield each


def _torn(pending: Iterator[_Pending] | list[_Pending], rng: random.Random) -> Iterator[_Pending]:
    """Drop sectors of what was written by chance, and new sizes."""
    for each in pending:
        match each.what:
            case _Naming():
                yield each
            case _Data(file, offset, data):
                if data is None:
                    if rng.random() < 0.5:
                        yield each
                    continue
                end = offset + len(data)
                at = offset
                while at < end:
                    cut = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
                    if rng.random() < 0.5:
                        part = _Data(file, at, data[at - offset : cut - offset])
                        yield _Pending(each.number, each.folder, part)
                    at = cut
