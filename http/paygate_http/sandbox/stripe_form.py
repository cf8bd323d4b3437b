"""Forms with brackets, as Stripe's API takes them: `card[number]=4242...&expand[]=latest_charge`.

Only shapes are read here; which fields there are is the desk's business.
"""

import re
from typing import Final
from urllib.parse import parse_qsl

Fields = dict[str, "str | Fields"]
"""A decoded form. A list is a table whose names are `0`, `1`..., in the order of the form."""

# The largest call that the API knows has some fifty fields, three deep.
FIELDS_MAX: Final = 200
DEPTH_MAX: Final = 5

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


class FormInvalid(Exception):
    """The body is no form; the text says why and repeats no value."""


def decode_form(body: bytes) -> Fields:
    """Read a form. Raises `FormInvalid`."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), errors="strict",
            max_num_fields=FIELDS_MAX,
        )  # fmt: skip
    except ValueError as error:
        raise FormInvalid("The body is no form of at most 200 fields.") from error
    fields: Fields = {}
    for name, value in pairs:
        _put(fields, _path(name), value)
    return fields


def text(fields: Fields, *path: str) -> str | None:
    """Give the value at the path; None where there is none, or a table."""
    found: str | Fields | None = fields
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def table(fields: Fields, name: str) -> dict[str, str]:
    """Give the plain values of a table; empty where there is none."""
    found = fields.get(name)
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _path(name: str) -> list[str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise FormInvalid("A field's name has brackets that do not match.")
    path = [match[1], *_PART.findall(match[2])]
    if len(path) > DEPTH_MAX:
        raise FormInvalid(f"A field lies more than {DEPTH_MAX} deep.")
    return path


def _put(fields: Fields, path: list[str], value: str) -> None:
    here = fields
    for name in path[:-1]:
        inner = here.setdefault(name or str(len(here)), {})
        if not isinstance(inner, dict):
            raise FormInvalid("A field is both a value and a table.")
        here = inner
    last = path[-1] or str(len(here))
    if last in here:
        raise FormInvalid("A field is given twice.")
    here[last] = value
