"""A hundred thousand payments in flight at once, in one gateway process: `make bench-100k`.

Printed: how fast they are accepted, how long an acceptance takes while nothing, little by little
and everything is in the air, what a payment in flight weighs, how late the loop is, how long the
collector of garbage holds everybody up, how long the drain takes, and whether the gateway's word is
that of the sandbox's books. `docs/img/flight.png` shows it over time.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# A script finds what lies beside it, and `pytest` what tests share; each needs the other as well.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from callers import quantile_ms  # noqa: E402  # see above
from flight import Flight, Plan, fly  # noqa: E402  # see above
from flight_picture import draw  # noqa: E402  # see above
from vitals import Vitals  # noqa: E402  # see above

PAYMENTS = 100_000
# An open loop whose payments come one by one, a group of the journal for each step of each: some
# 4 ms of CPU a payment, an eighth of a core. Long enough for a 99th percentile.
RATE = 30.0
PROBE_S = 40.0
# All of it took twenty minutes on two cores of which it had a third.
MINUTES_MAX = 45.0
PICTURE = HERE.parent / "docs" / "img" / "flight.png"
MIB = 1024 * 1024
# Begin and end of each phase in which payments are accepted, their calls and answers included.
PROBED = (
    ("empty", "filling", "before"),
    ("filling", "full", "filling"),
    ("full", "ending", "all live"),
)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else None)
    parser.add_argument("--payments", type=int, default=PAYMENTS, help="in flight at once")
    parser.add_argument("--rate", type=float, default=RATE, help="of the open loops, a second")
    parser.add_argument("--probe", type=float, default=PROBE_S, help="seconds of each open loop")
    parser.add_argument("--minutes", type=float, default=MINUTES_MAX, help="at most, all of it")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes")
    parser.add_argument("--no-prove", action="store_true", help="leave `paygate prove` out")
    return parser.parse_args(words)


def at(seen: list[Vitals]) -> Vitals:
    """The last look of a phase."""
    assert seen, "a phase that nobody looked at"
    return seen[-1]


def show(flight: Flight) -> None:
    """Print the tables."""
    marks = flight.marks
    accepted = len(flight.seconds("filling"))
    filled_s = marks["filled"] - marks["filling"]
    print(f"{accepted} accepted in {filled_s:.0f} s: {accepted / filled_s:.0f} a second")
    print(f"{'accept, ms':<12}{'n':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}{'503':>6}{'us CPU':>8}")
    for phase, end, name in PROBED:
        seconds = flight.seconds(phase)
        refused = sum(each.status == 503 for each in flight.said[phase])
        quantiles = "".join(f"{quantile_ms(seconds, each):>8.1f}" for each in (0.5, 0.99, 0.999))
        cpu_us = 1e6 * flight.cpu_s(phase, end) / len(seconds)
        print(f"{name:<12}{len(seconds):>8}{quantiles}{refused:>6}{cpu_us:>8.0f}")
    print(
        f"{'':<12}{'live':>8}{'RSS MiB':>9}{'loop ms, median and worst':>28}{'oldest message':>16}"
    )
    phases = (("empty", "filling"), ("filling", "full"), ("full", "ending"), ("ending", "end"))
    for begin, end in phases:
        seen = flight.between(begin, end)
        lag = [each.health_ms / 1e3 for each in seen]
        print(
            f"{begin:<12}{at(seen).live:>8}{at(seen).memory / MIB:>9.0f}"
            f"{quantile_ms(lag, 0.5):>18.1f}{1e3 * max(lag):>10.1f}"
            f"{max(each.oldest_ms for each in seen):>16.1f}"
        )
    _show_weight(flight)
    _show_pauses(flight)
    ended = flight.cpu_s("ending", "end")
    live = at(flight.between("full", "ending")).live
    sandbox_s = flight.plan.after_s + flight.plan.within_s
    print(
        f"drained in {marks['drained'] - marks['ending']:.0f} s from the word to end all, of which"
        f" {sandbox_s:.0f} s are the sandbox's;"
        f" {1e6 * ended / live:.0f} us of the gateway's CPU each"
    )
    print(f"reconciled: {len(flight.wrong)} disagreements; prove: {flight.proved or 'left out'}")
    for sentence in flight.wrong[:20]:
        print(f"  {sentence}")


def _show_weight(flight: Flight) -> None:
    begin, full = flight.seen[0], at(flight.between("full", "ending"))
    tenth = next(each for each in flight.seen if each.live >= full.live / 10)
    each = (full.memory - begin.memory) / max(1, full.live)
    later = (full.memory - tenth.memory) / max(1, full.live - tenth.live)
    print(f"bytes for a payment in flight: {each:.0f}; {later:.0f} from a tenth of them on")


def _show_pauses(flight: Flight) -> None:
    marks = flight.marks
    found = [each for each in flight.pauses if marks["filling"] <= each[0] <= marks["drained"]]
    whole_s = marks["drained"] - marks["filling"]
    for generation in range(3):
        seconds = [each[2] for each in found if each[1] == generation]
        if seconds:
            print(
                f"collector, generation {generation}: {len(seconds)} pauses, the longest"
                f" {1e3 * max(seconds):.0f} ms, {100 * sum(seconds) / whole_s:.2f} % of the time"
            )


def main() -> int:
    """Fly, print, draw; 1 where the gateway and the books disagree."""
    given = parsed()
    plan = Plan(
        payments=given.payments, rate=given.rate, probe_s=given.probe, prove=not given.no_prove
    )

    async def run() -> Flight:
        with tempfile.TemporaryDirectory() as folder:
            async with asyncio.timeout(60 * given.minutes):
                return await fly(Path(folder), plan)

    flight = asyncio.run(run())
    show(flight)
    draw(flight, given.picture)
    proved = flight.proved.startswith("exit code 0") or not plan.prove
    return 0 if proved and not flight.wrong else 1


@pytest.mark.slow
async def test_a_small_flight_comes_down_whole_and_is_drawn(tmp_path: Path) -> None:
    """At this size the figures are noise; what must hold is asserted."""
    flight = await fly(tmp_path, Plan(payments=100, rate=20, probe_s=0.5, after_s=0, within_s=1))
    show(flight)
    draw(flight, tmp_path / "flight.png")

    assert flight.wrong == []
    assert flight.proved.startswith("exit code 0")
    assert len(flight.seconds("filling")) == 90
    assert max(each.live for each in flight.seen) >= 100
    assert (tmp_path / "flight.png").stat().st_size < 150 * 1024


if __name__ == "__main__":
    sys.exit(main())
