"""Collects every fault of a request, so that a caller corrects it once and not ten times."""

from collections.abc import Iterable

from paygate_actors.card_checks import looks_like_card_number
from paygate_actors.faults import FieldFault
from paygate_http.problems import FaultReply, Problem

# More than any honest request can have; a hostile one gets no megabyte of an answer.
FAULTS_MAX = 100


class Faults:
    """The faults found so far: at most one a place (the first), and `FAULTS_MAX` in all."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, FaultReply] = {}

    def add(self, pointer: str, code: str, detail: str) -> None:
        """Note a fault of the body. `detail` must not repeat what was sent."""
        self._note(FaultReply(pointer=pointer, code=code, detail=detail))

    def add_header(self, name: str, pointer: str, code: str, detail: str) -> None:
        """Note a fault of a header; `pointer` is the place in the body that it stands for."""
        self._note(FaultReply(pointer=pointer, code=code, detail=detail, header=name))

    def add_parameter(self, name: str, code: str, detail: str) -> None:
        """Note a fault of a parameter of the query."""
        self._note(FaultReply(pointer=f"/{name}", code=code, detail=detail, parameter=name))

    def add_fields(self, parent: str, faults: Iterable[FieldFault]) -> None:
        """Note what a check of the domain found in the object at `parent`."""
        for fault in faults:
            self.add(f"{parent}/{fault.field}", fault.code, fault.detail)

    def missing(self, pointer: str) -> None:
        """Note that a required field is not there; silent where its type was at fault."""
        self.add(pointer, "required", "is required")

    def only(self, code: str) -> bool:
        """Whether there are faults, and all of this code."""
        return bool(self._found) and all(each.code == code for each in self._found.values())

    def __bool__(self) -> bool:
        return bool(self._found)

    def problem(self) -> Problem:
        """Name them all, in the order in which they were found."""
        found = tuple(self._found.values())
        detail = "One fault was found." if len(found) == 1 else f"{len(found)} faults were found."
        return Problem("validation_failed", detail, faults=found)

    def _note(self, fault: FaultReply) -> None:
        if len(self._found) < FAULTS_MAX:
            self._found.setdefault(fault.pointer, fault)


def child(parent: str, name: str) -> str:
    """Extend a JSON pointer by a name that a caller chose.

    A name that could be a card number is left out: no error ever repeats one.
    """
    if looks_like_card_number(name):
        return parent
    return f"{parent}/{name.replace('~', '~0').replace('/', '~1')}"
