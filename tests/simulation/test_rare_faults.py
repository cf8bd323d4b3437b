"""Faults that some worlds have beside their half of the others, with dice of their own."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from paygate_actors.simulation.faults import RARE_FAULTS, Fault, Options, options_of
from paygate_actors.simulation.result import Result
from paygate_actors.simulation.sweep import live
from paygate_http.simulated_door import EdgeDoors


def world(seed: int, faults: Sequence[Fault], *, nodes: int = 1) -> Options:
    """A world in which these can happen, and often do."""
    options = options_of(seed, faults=tuple(faults), nodes=nodes)
    return replace(options, intensity=0.2, calm_s=120.0, quiet_hours=1)


def lived(options: Options) -> Result:
    return live(options, doors=EdgeDoors, story_of="no payment, but all of it")


@pytest.mark.parametrize("fault", RARE_FAULTS)
def test_a_rare_fault_can_happen_in_about_a_tenth_of_the_worlds(fault: Fault):
    count = sum(fault in options_of(seed, nodes=1).faults for seed in range(1_000))

    assert 70 < count < 130


def test_a_world_where_a_rare_fault_could_happen_and_does_not_is_as_it_would_be_without():
    """What it draws moves no other's dice."""
    never = replace(world(3, ()), intensity=0.0)

    assert lived(replace(never, faults=RARE_FAULTS)).digest == lived(never).digest


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_gateway_goes_on_by_itself_when_there_is_room_after_minutes(nodes: int):
    result = lived(world(3, ("without_room",), nodes=nodes))

    assert result.breach is None
    assert result.faults == {"without_room": 1}
    assert result.lives == 2 * nodes  # the restart in order at the end, and none besides


def test_a_webhook_that_finds_no_room_is_told_to_come_again_until_there_is_some():
    """So is everybody else: `overloaded`, and nothing done."""
    result = lived(world(3, ("without_room",)))

    full = next(number for number, line in enumerate(result.story) if "disk is full for" in line)
    refused = [number for number, line in enumerate(result.story) if ": overloaded" in line]
    assert refused and min(refused) >= full
    assert any("webhook" in result.story[number] for number in refused)
    assert any("webhook" in line and "acknowledged" in line for line in result.story[refused[-1] :])


def test_a_hold_that_its_provider_captures_by_itself_is_booked_and_put_before_a_person():
    result = lived(world(3, ("provider_capture",)))

    assert result.breach is None
    assert result.faults["provider_capture"] > 0
    assert any("captures" in line and "by itself" in line for line in result.story)
    assert result.flagged > 0
