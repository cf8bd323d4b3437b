"""The table of states, cell by cell, against what the contract says."""

from pathlib import Path

import pytest
from payment_cases import IN_STATE

from paygate_actors.states import (
    FACTS,
    FINAL,
    STATUSES,
    TRANSITIONS,
    WAITING,
    IllegalTransition,
    Status,
    after,
    diagram,
    moves,
)

README = Path(__file__).parents[2] / "actors" / "README.md"

# Written by hand from the contract; columns: charge_started, action_required, resumed, held,
# authorized, captured, failed, cancelled. A dash refuses.
EXPECTED = """
pending          processing -               -          -      -          -       failed cancelled
processing       -          requires_action -          review authorized success failed cancelled
requires_action  -          -               processing review authorized success failed cancelled
review           -          -               -          -      -          success failed cancelled
authorized       -          -               -          -      -          success failed cancelled
success          -          -               -          -      -          -       -      cancelled
failed           -          -               -          -      -          -       -      -
cancelled        -          -               -          -      -          -       -      -
"""
COLUMNS = (
    "charge_started",
    "action_required",
    "resumed",
    "held",
    "authorized",
    "captured",
    "failed",
    "cancelled",
)
CELLS = [
    (row.split()[0], fact, target)
    for row in EXPECTED.strip().splitlines()
    for fact, target in zip(COLUMNS, row.split()[1:], strict=True)
]


@pytest.mark.parametrize(("status", "fact", "target"), CELLS)
def test_a_cell_leads_where_the_contract_says_or_refuses(
    status: Status, fact: str, target: str
) -> None:
    if target != "-":
        assert moves(status, fact)  # pyright: ignore[reportArgumentType]  # read from the table above
        assert after(status, fact) == target  # pyright: ignore[reportArgumentType]
        return

    assert not moves(status, fact)  # pyright: ignore[reportArgumentType]
    with pytest.raises(IllegalTransition):
        after(status, fact)  # pyright: ignore[reportArgumentType]


def test_the_expectation_covers_every_state_and_every_fact():
    assert {(status, fact) for status, fact, _ in CELLS} == {
        (status, fact) for status in STATUSES for fact in FACTS
    }
    assert set(TRANSITIONS) == set(STATUSES)


def reachable(start: Status) -> set[Status]:
    found: set[Status] = {start}
    todo: list[Status] = [start]
    while todo:
        for target in TRANSITIONS[todo.pop()].values():
            if target not in found:
                found.add(target)
                todo.append(target)
    return found


def test_every_state_is_reached_from_the_first():
    assert reachable("pending") == set(STATUSES)


@pytest.mark.parametrize("status", STATUSES)
def test_every_state_can_end(status: Status):
    assert reachable(status) & FINAL


def test_only_a_reversal_leaves_a_final_state():
    leaving = {status: TRANSITIONS[status] for status in FINAL if TRANSITIONS[status]}

    assert leaving == {"success": {"cancelled": "cancelled"}}


def test_what_is_waited_for_is_what_no_answer_has_come_for():
    assert {"pending", "processing"} == WAITING


def test_the_diagram_in_the_documentation_is_the_table():
    assert f"```mermaid\n{diagram()}```" in README.read_text()


@pytest.mark.parametrize("status", sorted(IN_STATE))
def test_a_real_payment_reaches_the_state_by_real_decisions(status: str):
    assert IN_STATE[status]().payment.status == status
