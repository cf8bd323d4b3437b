"""What a pure check found wrong with one field; the doors make a pointer of the field's name."""

from typing import NamedTuple


class FieldFault(NamedTuple):
    """`field` is the name on the wire; `detail` says what to do and never repeats the value."""

    field: str
    code: str
    detail: str
