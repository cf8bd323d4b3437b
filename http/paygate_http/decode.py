"""Reads a JSON body into a Struct: one typed decode, or, on any fault, field by field.

The fast path costs two microseconds. The slow one only runs for requests that will be refused: it
finds every field of the wrong type, and keeps those that do decode, so that what they say can be
judged in the same answer. All fields of a body are therefore optional here; which of them are
required is said by the checks (`Faults.missing`).
"""

import re
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct

from paygate_http.problems import Problem
from paygate_http.validation import Faults, child

BodyT = TypeVar("BodyT", bound=Struct)

# msgspec's own words are shown where they speak of types alone: some repeat the value.
_SPEAKS_OF_TYPES = re.compile(
    r"Expected (`[^`]*`(?: of length | [<>]=? )?[^`]*?(?:, got `[a-z]+`)?)"
)


def decode(body: bytes, kind: type[BodyT], faults: Faults) -> BodyT:
    """Read an object; faults of type go to `faults`, the fields concerned stay unset.

    Raises `Problem` (`malformed_json`) for what is no JSON: NaN, Infinity, invalid UTF-8, a lone
    surrogate, nesting beyond what the decoder takes, anything after the value.
    """
    try:
        # The decoder checks only those strings that it keeps.
        body.decode()
        try:
            return _decoder(kind).decode(body)
        except msgspec.ValidationError:
            # A fault of type ends a typed decode early: is the rest JSON at all?
            whole = msgspec.json.decode(body, type=Raw)
            return _salvage(whole, kind, "", faults) or kind()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed_json", "The body is not valid JSON in UTF-8.") from error


@cache
def _decoder(kind: type[BodyT]) -> "msgspec.json.Decoder[BodyT]":
    return msgspec.json.Decoder(kind)


def _salvage(raw: Raw, kind: type[BodyT], pointer: str, faults: Faults) -> BodyT | None:
    members = _members(raw, pointer, faults)
    if members is None:
        return None
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        member = members.get(field.encode_name)
        if member is not None:
            value = _field(member, field.type, f"{pointer}/{field.encode_name}", faults)
            if value is not None:
                values[field.name] = value
    return kind(**values)


def _field(raw: Raw, kind: Any, pointer: str, faults: Faults) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        for part in _parts(kind):
            if isinstance(part, type) and issubclass(part, Struct):
                return _salvage(raw, part, pointer, faults)
            if get_origin(part) is dict:
                return _entries(raw, get_args(part)[1], pointer, faults)
        _note(error, pointer, faults)
        return None


def _entries(raw: Raw, kind: Any, pointer: str, faults: Faults) -> dict[str, Any] | None:
    members = _members(raw, pointer, faults)
    if members is None:
        return None
    values = {
        name: _field(each, kind, child(pointer, name), faults) for name, each in members.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def _members(raw: Raw, pointer: str, faults: Faults) -> dict[str, Raw] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.ValidationError as error:
        _note(error, pointer, faults)
        return None


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _note(error: msgspec.ValidationError, pointer: str, faults: Faults) -> None:
    text = str(error).partition(" - at `")[0]
    spoken = _SPEAKS_OF_TYPES.fullmatch(text)
    code = "invalid_type" if ", got `" in text else "invalid_value"
    faults.add(
        pointer, code, f"must be {spoken[1]}" if spoken else "is not one of the values taken"
    )
