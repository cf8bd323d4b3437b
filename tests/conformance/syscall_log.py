r"""What a process did to its files and said to the world, in order, out of an strace log.

    prefix = traced(log)                       # put before the command that is watched
    steps = read_steps(log, folder)            # once it has ended

A log says nothing of what is written through a memory map: SQLite's `-shm` is all that is mapped
here, and it holds nothing that has to survive. System calls that the reader does not know and
that could change a file are an error, so that nothing is missed in silence.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

# Longer than anything that is written or sent at once: a page, a group's last frames, a reply.
_TEXT_BYTES_MAX: Final = 4 * 1024 * 1024

# More than the last words of all threads.
_TAIL_BYTES: Final = 65_536

# Everything that changes a file, a name or what is durable, and everything that is said.
_WATCHED: Final = (
    "open,openat,creat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,unlink,unlinkat,rename,"
    "renameat,renameat2,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,"
    "copy_file_range,sendfile,fsync,fdatasync,sync,syncfs,sync_file_range,msync,sendto,sendmsg"
)

_LINE: Final = re.compile(r"(\d+) +(.*)")
_RESUMED: Final = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_UNFINISHED: Final = " <unfinished ...>"
_CALL: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<[^>]*>)?(.*)")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR: Final = re.compile(r"(\d+|AT_FDCWD)<([^>]*)>")


class Made(Struct, frozen=True):
    """A file or a folder was made, unless its name was there already."""

    path: str


class Wrote(Struct, frozen=True):
    """Bytes were written; `offset` None: at the end of the file."""

    path: str
    offset: int | None
    data: bytes


class Resized(Struct, frozen=True):
    """A file was cut or lengthened to this many bytes."""

    path: str
    size: int


class Linked(Struct, frozen=True):
    """A file got another name beside the one that it has."""

    path: str
    target: str


class Renamed(Struct, frozen=True):
    """A file got another name instead of the one that it had."""

    path: str
    target: str


class Removed(Struct, frozen=True):
    """A name was taken away: of a file, or of a socket that no step tells of."""

    path: str


class Synced(Struct, frozen=True):
    """A file or a folder was forced to the disk: what was done in the first `covers` steps.

    Later steps happened while the sync ran, and nobody promised anything of them.
    """

    path: str
    covers: int


class Said(Struct, frozen=True):
    """Bytes began to leave the process through a socket."""

    data: bytes


Step: TypeAlias = Made | Wrote | Resized | Linked | Renamed | Removed | Synced | Said


class Unreadable(Exception):
    """The log tells of something that the reader does not know."""


def traced(log: Path, *injected: str) -> tuple[str, ...]:
    """What runs a command so that `log` is written; `injected` are strace's `inject=` texts.

    The tracer is the grandchild (`-D`), so that signals and exit codes are the command's own.
    """
    options = ("-D", "-f", "-q", "-y", "-xx", "-s", str(_TEXT_BYTES_MAX), "--seccomp-bpf")
    faults = (text for each in injected for text in ("-e", f"inject={each}"))
    return ("strace", *options, "-e", f"trace={_WATCHED}", *faults, "-o", str(log))


def is_whole(log: Path, process_id: int) -> bool:
    """Whether the tracer has written the end of that process: it lives a little longer."""
    return re.search(rf"^{process_id} +\+\+\+ ", _tail(log), re.MULTILINE) is not None


def are_stopped(log: Path, process_id: int) -> bool:
    """Whether the tracer saw every thread of a process stop on a signal: none is inside a call."""
    stopped = set(re.findall(r"^(\d+) +--- stopped by ", _tail(log), re.MULTILINE))
    return stopped >= {task.name for task in Path(f"/proc/{process_id}/task").iterdir()}


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read().decode("ascii")


def read_steps(log: Path, folder: Path, *, before: int = 0) -> list[Step]:
    """Every step that concerns the folder and what is in it, and everything that was said.

    `before`: how many steps of earlier processes these come after.
    """
    with log.open(encoding="ascii") as lines:
        return steps_of(lines, str(folder), before=before)


def steps_of(lines: Iterable[str], folder: str, *, before: int = 0) -> list[Step]:
    """The same, of the log's lines. Raises `Unreadable`.

    What a call writes counts from its end on, what it says from its beginning on, and a sync
    makes durable at its end what was written before its beginning: the worst case each time.
    """
    reader = _Reader(folder, before)
    for line in lines:
        reader.read(line.rstrip("\n"))
    return reader.steps


class _Reader:
    def __init__(self, folder: str, before: int) -> None:
        self.steps: list[Step] = []
        self._before = before
        self._folder = folder
        # Of each thread: the first part of its call, and how many steps there were by then.
        self._begun: dict[str, tuple[str, int]] = {}

    def read(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise Unreadable(line[:200])
        thread, text = match.groups()
        if text.startswith(("+++", "---")):
            self._begun.pop(thread, None)
            return
        if text.endswith(_UNFINISHED):
            begun = text.removesuffix(_UNFINISHED)
            self._begun[thread] = (begun, self._before + len(self.steps))
            self._say(begun)
            return
        covers = self._before + len(self.steps)
        resumed = _RESUMED.fullmatch(text)
        if resumed is not None:
            begun, covers = self._begun.pop(thread)
            text = begun + resumed[2]
        else:
            self._say(text)
        call = _CALL.fullmatch(text)
        if call is None:
            # The end of a process cuts its calls off; they have no result, and change nothing.
            if text.rstrip().endswith("= ?"):
                return
            raise Unreadable(text[:200])
        name, arguments, result, rest = call.groups()
        if int(result) >= 0 and "INJECTED" not in rest:
            self.steps += self._effects(name, arguments, int(result), covers)

    def _say(self, text: str) -> None:
        if text.startswith(("sendto(", "sendmsg(")):
            data = b"".join(_unhex(each[1]) for each in _TEXT.finditer(text))
            if len(data) > 1:  # one byte wakes a loop up, and leaves the process nowhere
                self.steps.append(Said(data))

    def _effects(  # noqa: C901, PLR0912  # one case for each call of the system
        self, name: str, arguments: str, result: int, covers: int
    ) -> Iterator[Step]:
        if name in ("sendto", "sendmsg"):
            return
        paths = [path for path in self._paths(name, arguments) if self._is_ours(path)]
        if not paths:
            return
        path = paths[0]
        match name:
            case "open" | "openat":
                if "O_TRUNC" in arguments:
                    raise Unreadable(f"{path} was opened to be emptied")
                if "O_CREAT" in arguments:
                    yield Made(path)
            case "mkdir" | "mkdirat":
                yield Made(path)
            case "write" | "pwrite64":
                data = _unhex(_TEXT.findall(arguments)[-1])[:result]
                if len(data) < result:
                    raise Unreadable(f"{result} bytes were written to {path}, the log has fewer")
                offset = int(arguments.rpartition(",")[2]) if name == "pwrite64" else None
                yield Wrote(path, offset, data)
            case "truncate" | "ftruncate":
                yield Resized(path, int(arguments.rpartition(",")[2]))
            case "fsync" | "fdatasync":
                yield Synced(path, covers)
            case "link" | "linkat":
                yield Linked(path, paths[1])
            case "rename" | "renameat" | "renameat2":
                yield Renamed(path, paths[1])
            case "unlink" | "unlinkat":
                yield Removed(path)
            case _:
                raise Unreadable(f"{name}({arguments[:200]}")

    def _paths(self, name: str, arguments: str) -> Iterator[str]:
        """The paths that the call names: those of its descriptors where it works on one."""
        if name.startswith(("open", "creat", "mk", "rmdir", "link", "symlink", "unlink", "rename")):
            for each in _TEXT.findall(arguments):
                yield _unhex(each).decode()
            return
        if name == "truncate":
            yield _unhex(_TEXT.findall(arguments)[0]).decode()
            return
        for _, path in _DESCRIPTOR.findall(arguments):
            yield _unhex(path).decode() if path.startswith("\\x") else path

    def _is_ours(self, path: str) -> bool:
        folder = self._folder
        return path == folder or path == folder.rpartition("/")[0] or path.startswith(folder + "/")


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
