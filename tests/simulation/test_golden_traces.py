"""One seed is one history, of this version, on every Python and every machine."""

from pathlib import Path

import pytest

from paygate_actors.simulation.faults import options_of
from paygate_actors.simulation.sweep import live
from paygate_http.simulated_door import EdgeDoors

GOLDEN = Path(__file__).with_name("golden.txt")


def golden() -> list[tuple[int, str]]:
    """Seeds and the hashes of their traces. The file's first line is the command that writes it."""
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return [(int(seed), digest) for seed, digest in lines]


@pytest.mark.parametrize(("seed", "digest"), golden())
def test_a_seed_has_the_history_that_it_had(seed: int, digest: str):
    """A change of behaviour changes it: look at why, then write the file anew."""
    result = live(options_of(seed), doors=EdgeDoors)

    assert result.breach is None
    assert result.digest == digest
