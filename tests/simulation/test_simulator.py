"""The simulator itself: one seed is one history, and its worlds keep every promise."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paygate_actors.payment import PaymentActor
from paygate_actors.simulation.faults import FAULTS, NODE_FAULTS, RARE_FAULTS, Options, options_of
from paygate_actors.simulation.result import Result
from paygate_actors.simulation.sweep import Totals, live, sweep
from paygate_http.__main__ import main
from paygate_http.process import Exit
from paygate_http.simulated_door import EdgeDoors

CORPUS = Path(__file__).with_name("corpus.txt")
# Enough that a bug of one world in thirty is seen on most days, few enough for every test run;
# on the machine that decides, a bug of one world in three hundred. `make sim` lives as many as
# wanted.
ON_CI = os.environ.get("CI", "").lower() in ("1", "true")
FRESH = 1_000 if ON_CI else 50

PRINT_DIGESTS = """
from paygate_actors.simulation.faults import options_of
from paygate_actors.simulation.sweep import live
from paygate_http.simulated_door import EdgeDoors
print(*(live(options_of(seed), doors=EdgeDoors).digest for seed in (1, 20, 243)))
"""


def corpus() -> list[tuple[int, int]]:
    """Seeds, and the number of nodes, of worlds that once broke a promise."""
    lines = CORPUS.read_text().splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("#")]
    return [
        (int(seed), int(nodes or 1)) for seed, _, nodes in (each.partition("x") for each in names)
    ]


def lived(options: Options, *, story_of: str | None = None) -> Result:
    """The world as `paygate simulate` lives it: its clients come through the edge."""
    return live(options, doors=EdgeDoors, story_of=story_of)


def kept(options: Options) -> None:
    breach = lived(options).breach
    assert breach is None, (
        f"paygate simulate --seed {options.seed} --nodes {options.nodes}: {breach}"
    )


def test_one_seed_is_one_history_and_another_is_another():
    first, again, other = lived(options_of(7)), lived(options_of(7)), lived(options_of(8))

    assert first == again
    assert first.digest != other.digest


def test_a_quiet_world_pays_and_keeps_every_promise():
    result = lived(options_of(3, faults=()))

    assert result.breach is None
    assert result.faults == {}
    assert result.lives == 2  # it is restarted once, in order, to see that what rests stays so
    assert result.payments > 5
    assert result.promises > result.payments


def test_a_story_tells_of_a_payment_from_its_acceptance_on():
    result = lived(options_of(3, faults=()), story_of="first")

    assert "accepted" in result.story[0]
    assert any("a request leaves for" in line for line in result.story)


def test_keeping_a_story_changes_no_history():
    assert lived(options_of(9), story_of="first").digest == lived(options_of(9)).digest


def test_each_seed_has_a_random_half_of_the_faults():
    worlds = [set(options_of(seed, nodes=1).faults) for seed in range(200)]

    assert all(len(each - set(RARE_FAULTS)) == len(FAULTS) // 2 for each in worlds)
    assert set().union(*worlds) == {*FAULTS, *RARE_FAULTS}


def test_a_world_of_several_nodes_has_faults_of_theirs_beside_those_of_its_seed():
    pairs = [(options_of(seed, nodes=1), options_of(seed, nodes=3)) for seed in range(50)]

    assert all(set(many.faults) - set(one.faults) <= set(NODE_FAULTS) for one, many in pairs)
    assert all(set(one.faults) <= set(many.faults) for one, many in pairs)
    met = {fault for _, many in pairs for fault in many.faults}
    assert met - set(RARE_FAULTS) == {*FAULTS, *NODE_FAULTS}


def test_the_seed_says_how_many_nodes_there_are():
    drawn = [options_of(seed).nodes for seed in range(200)]

    assert {1, 2, 3} == set(drawn)
    assert drawn.count(1) > len(drawn) // 2


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_quiet_world_of_several_nodes_pays_and_keeps_every_promise(nodes: int):
    result = lived(options_of(3, faults=(), nodes=nodes))

    assert result.breach is None
    assert result.lives == 2 * nodes
    assert result.payments > 5


def test_one_seed_is_one_history_of_several_nodes_too():
    first, again = lived(options_of(5, nodes=3)), lived(options_of(5, nodes=3))

    assert first == again


def test_a_broken_promise_is_told_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(_: PaymentActor) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PaymentActor, "on_loaded", fail)

    code = main(["simulate", "--seeds", "1..50", "--faults", "crash,request_lost"])

    told = capsys.readouterr().out
    assert code == Exit.FAILED
    assert "broken promise: " in told
    assert "repeat with: paygate simulate --seed " in told


def test_a_kept_promise_prints_the_hash_of_its_trace(capsys: pytest.CaptureFixture[str]):
    code = main(["simulate", "--seed", "3", "--faults", "none"])

    assert code == Exit.DRAINED
    assert lived(options_of(3, faults=())).digest in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--seed", "1", "--seeds", "1..2"],
        ["--seeds", "2..1"],
        ["--seeds", "one"],
        ["--seed", "1", "--faults", "gremlins"],
        ["--seed", "1", "--hours", "0"],
        ["--seed", "1", "--nodes", "4"],
        ["--seeds", "1..2", "--trace", "first"],
        ["--seeds", "1..2", "--jobs", "0"],
        ["--seed", "1", "--hashes"],
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: list[str]):
    assert main(["simulate", *flags]) == Exit.MISCONFIGURED


def test_a_world_without_an_edge_keeps_its_promises_too():
    result = live(options_of(11))

    assert result.breach is None
    assert result.payments > 5


def test_what_is_spoilt_and_forged_is_refused_in_a_world_with_an_edge():
    result = lived(options_of(3, faults=("request_spoilt", "webhook_forged"), nodes=1))

    assert result.breach is None
    assert set(result.faults) == {"request_spoilt", "webhook_forged"}


@pytest.mark.slow
def test_a_history_depends_on_no_order_of_hashing():
    def digests(hash_seed: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PRINT_DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            check=True,
            text=True,
            timeout=100,
        )
        return done.stdout

    assert digests(1) == digests(2)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "nodes"), corpus())
def test_a_world_that_once_broke_a_promise_keeps_them_all(seed: int, nodes: int):
    kept(options_of(seed, nodes=nodes))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_fresh_worlds_keep_every_promise(capsys: pytest.CaptureFixture[str]):
    first = random.randrange(10**9)
    worlds = [options_of(first + number) for number in range(FRESH)]
    totals, began_s = Totals(), time.monotonic()  # noqa: TID251 - people wait in real time
    # Where many are lived, starting other processes is worth its time.
    jobs = os.cpu_count() or 1 if ON_CI else 1

    for result in sweep(worlds, doors=EdgeDoors, jobs=jobs):
        seed, breach = result.options.seed, result.breach
        assert breach is None, f"{breach}\nfor corpus.txt: {seed} {breach.promise}"
        totals.add(result)

    seconds = time.monotonic() - began_s  # noqa: TID251 - as above
    faults = sum(totals.faults.values())
    with capsys.disabled():
        print(  # noqa: T201 - the figures of this run
            f"\nsimulated seeds {first}..{first + FRESH - 1}: {FRESH / seconds:.1f} seeds/s,"
            f" {totals.payments} payments, {faults} faults survived"
        )
    # They were worth living in: money moved, much went wrong, and each fault was met.
    assert totals.payments > 10 * FRESH
    assert totals.promises > totals.payments
    assert faults > 30 * FRESH
    assert len(totals.faults) > (len(FAULTS) + len(NODE_FAULTS)) * 3 // 4


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 3])
def test_every_fault_at_once_is_survived(nodes: int):
    kept(options_of(1, faults=(*FAULTS, *NODE_FAULTS, *RARE_FAULTS), nodes=nodes))
