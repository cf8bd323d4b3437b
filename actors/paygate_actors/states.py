"""The machine of a payment: state x fact -> state, as one table. Imports nothing of ours.

A blank cell refuses: the fact does not move a payment that is in that state. Guards (is there
enough left to refund, is another operation open) are no business of the table; they live where
decisions are made. The picture in `actors/README.md` is generated from it by `make diagram`.
"""

from typing import Final, Literal, get_args

Status = Literal[
    "pending",
    "processing",
    "requires_action",
    "review",
    "authorized",
    "success",
    "failed",
    "cancelled",
]

Fact = Literal[
    "charge_started",  # the intent is written, the provider is called
    "action_required",  # the payer must confirm
    "resumed",  # the payer confirmed, the provider is still working
    "held",  # funds are held and a person must decide
    "authorized",  # funds are held for a later capture
    "captured",  # the money is taken
    "failed",  # definitely not charged
    "cancelled",  # a void, or the non-charge, is confirmed
]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
FACTS: Final[tuple[Fact, ...]] = get_args(Fact)

TRANSITIONS: Final[dict[Status, dict[Fact, Status]]] = {
    "pending": {
        "charge_started": "processing",
        "failed": "failed",
        "cancelled": "cancelled",
    },
    "processing": {
        "action_required": "requires_action",
        "held": "review",
        "authorized": "authorized",
        "captured": "success",
        "failed": "failed",
        "cancelled": "cancelled",
    },
    "requires_action": {
        "resumed": "processing",
        "held": "review",
        "authorized": "authorized",
        "captured": "success",
        "failed": "failed",
        "cancelled": "cancelled",
    },
    "review": {"captured": "success", "failed": "failed", "cancelled": "cancelled"},
    "authorized": {"captured": "success", "failed": "failed", "cancelled": "cancelled"},
    "success": {"cancelled": "cancelled"},
    "failed": {},
    "cancelled": {},
}

FINAL: Final[frozenset[Status]] = frozenset({"success", "failed", "cancelled"})
"""Where a payment's first transaction carries the same word. Only `success` can still move."""

WAITING: Final[frozenset[Status]] = frozenset({"pending", "processing"})
"""What `Prefer: wait` waits to be over."""


class IllegalTransition(Exception):
    """A recorded event asks for a move that the table does not know: a bug or a foreign row."""


def moves(status: Status, fact: Fact) -> bool:
    """Whether the fact moves a payment in this state."""
    return fact in TRANSITIONS[status]


def after(status: Status, fact: Fact) -> Status:
    """The state after the fact. Raises `IllegalTransition` for a blank cell."""
    try:
        return TRANSITIONS[status][fact]
    except KeyError:
        raise IllegalTransition(f"{fact} does not move a payment that is {status}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for status, row in TRANSITIONS.items():
        targets: dict[Status, list[str]] = {}
        for fact, target in row.items():
            targets.setdefault(target, []).append(fact)
        lines += [
            f"    {status} --> {target}: {' / '.join(facts)}" for target, facts in targets.items()
        ]
    lines += [f"    {status} --> [*]" for status in STATUSES if status in FINAL]
    return "\n".join(lines) + "\n"
