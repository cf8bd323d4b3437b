"""Turns a TOML file and environment variables into settings: typed leaves with their origin.

A setting is one leaf of `Config`; lists and tables of free keys (providers, rates) are leaves too
and replace what a lower layer said. Nothing is raised here: faults are collected, each a sentence
that names the key as the operator wrote it.

In both sources the word `off` stands for None wherever a number may be absent, because TOML has no
null. In the environment lists are JSON, or words between commas; `NAME_FILE` names a file that
holds the value, so that secrets need not stand in the process's environment.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from paygate_actors.config import Config
from paygate_actors.section import Section

PREFIX = "PAYGATE__"
_FILE_SUFFIX = "_FILE"
# A secret is some tens of bytes; more means that the variable names the wrong file.
_SECRET_FILE_CHARACTERS_MAX = 65_536
_AT = re.compile(r" - at `\$(?P<where>.*)`$")


class Setting(Struct, frozen=True, kw_only=True):
    """One leaf: where it belongs, its value, and who said so (a file, a variable or a flag)."""

    path: tuple[str, ...]
    value: Any
    origin: str


class Source(Struct, frozen=True, kw_only=True):
    """What one source says, and what is wrong with it."""

    settings: tuple[Setting, ...] = ()
    faults: tuple[str, ...] = ()


class Leaf(Struct, frozen=True, kw_only=True):
    """A place in `Config` that holds a value; `kind` is its declared type."""

    path: tuple[str, ...]
    kind: Any


def leaves(section: type[Section] = Config, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every leaf below a section, in the order of declaration."""
    for field in fields(section):
        here = (*path, field.name)
        if is_section(field.type):
            yield from leaves(field.type, here)
        else:
            yield Leaf(path=here, kind=field.type)


def is_section(kind: Any) -> bool:
    """Whether a declared type is a table with fixed keys."""
    return isinstance(kind, type) and issubclass(kind, Section)


def from_file(file: Path) -> Source:
    """Read the settings of a TOML file."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        return Source(faults=(f"{file}: cannot be read: {error.strerror}",))
    except UnicodeDecodeError:
        return Source(faults=(f"{file}: is not UTF-8 text",))
    except tomllib.TOMLDecodeError as error:
        return Source(faults=(f"{file}: is not TOML: {error}",))
    except RecursionError:
        return Source(faults=(f"{file}: is nested too deeply",))
    reading = _Reading()
    reading.table(table, Config, (), str(file))
    return reading.result()


def from_environment(environment: Mapping[str, str]) -> Source:
    """Read the settings of all variables that start with `PAYGATE__`."""
    known = {_variable(leaf.path): leaf for leaf in leaves()}
    reading = _Reading()
    for name in sorted(each for each in environment if each.startswith(PREFIX)):
        plain = name.removesuffix(_FILE_SUFFIX)
        if leaf := known.get(name):
            raw = _Raw(leaf=leaf, value=environment[name], origin=name, name=name)
            reading.take(raw)
        elif plain == name or plain not in known:
            reading.faults.append(f"{name}: no such setting{_suggestion(plain, known)}")
        elif plain in environment:
            reading.faults.append(f"{name}: {plain} is set as well; keep one of the two")
        else:
            reading.secret(known[plain], name, environment[name])
    return reading.result()


class _Raw(Struct, frozen=True, kw_only=True):
    """A value before it is converted; `name` is how faults call it."""

    leaf: Leaf
    value: Any
    origin: str
    name: str


class _Reading:
    """What has been read of one source so far."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.faults: list[str] = []

    def result(self) -> Source:
        return Source(settings=tuple(self.settings), faults=tuple(self.faults))

    def table(
        self, table: dict[str, Any], section: type[Section], path: tuple[str, ...], origin: str
    ) -> None:
        kinds = {field.name: field.type for field in fields(section)}
        for key, value in table.items():
            here = (*path, key)
            name = f"{origin}: {'.'.join(here)}"
            kind = kinds.get(key)
            if kind is None:
                self.faults.append(f"{name}: no such key{_suggestion(key, kinds)}")
            elif not is_section(kind):
                leaf = Leaf(path=here, kind=kind)
                self.take(_Raw(leaf=leaf, value=value, origin=origin, name=name))
            elif isinstance(value, dict):
                self.table(cast("dict[str, Any]", value), kind, here, origin)
            else:
                self.faults.append(f"{name}: is a table, written [{'.'.join(here)}]")

    def secret(self, leaf: Leaf, name: str, file: str) -> None:
        """Take the text of a file, without the newline that editors leave at its end."""
        try:
            with Path(file).open(encoding="utf-8") as stream:
                text = stream.read(_SECRET_FILE_CHARACTERS_MAX + 1)
        except OSError as error:
            self.faults.append(f"{name}: {file}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.faults.append(f"{name}: {file}: is not UTF-8 text")
        else:
            if len(text) > _SECRET_FILE_CHARACTERS_MAX:
                most = _SECRET_FILE_CHARACTERS_MAX
                self.faults.append(f"{name}: {file}: holds more than {most} characters")
                return
            self.take(_Raw(leaf=leaf, value=text.rstrip("\r\n"), origin=name, name=name))

    def take(self, raw: _Raw) -> None:
        try:
            value = _convert(raw)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            text = str(error)
            at = _AT.search(text)
            where = at["where"] if at else ""
            self.faults.append(f"{raw.name}{where}: {_AT.sub('', text)}")
        else:
            self.settings.append(Setting(path=raw.leaf.path, value=value, origin=raw.origin))


def _convert(raw: _Raw) -> Any:
    kind, value = raw.leaf.kind, raw.value
    optional = type(None) in get_args(kind)
    if value == "off" and optional and str not in get_args(kind):
        return None
    if raw.origin != raw.name:  # a file: TOML has types of its own, and they must be the right ones
        return msgspec.convert(value, kind)
    if value == "" and optional:
        return None
    if get_origin(kind) is dict or (get_origin(kind) is tuple and value.startswith("[")):
        return msgspec.json.decode(value, type=kind)
    if get_origin(kind) is tuple:
        words = [word.strip() for word in value.split(",") if word.strip()]
        return msgspec.convert(words, kind)
    return msgspec.convert(value, kind, strict=False)


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + "__".join(path).upper()


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
