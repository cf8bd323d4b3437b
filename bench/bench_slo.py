"""A steady mixed load with a sick provider, held against what is promised: `make bench-slo`.

Journeys begin at a fixed rate (an open loop); one call in a hundred, one look-up in a hundred and
one webhook in a hundred suffers a fault, each kind of fault that the sandbox has as often as the
others. Printed: the three promises, met or not, and by cause what took longest. Exit code 1 where
one is not met.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import Struct

HERE = Path(__file__).resolve().parent
# A script finds what lies beside it, and `pytest` what tests share; each needs the other as well.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from callers import Lines, quantile_ms  # noqa: E402  # see above
from journeys import Journeys  # noqa: E402  # see above
from ledger_match import disagreements  # noqa: E402  # see above
from process_rig import process_rig  # noqa: E402  # see above
from progress import PROGRESS  # noqa: E402  # see above
from slo_verdict import (  # noqa: E402  # see above
    Promise,
    answered,
    calls_by_transaction,
    causes,
    promises,
)
from vitals import port_of  # noqa: E402  # see above

from paygate_http.sandbox.faults import After, Before, During, OnWebhook  # noqa: E402  # see above

MINUTES = 10.0
# Units come one by one at this rate, and a commit for one costs as much as for thirty: some 4 ms of
# CPU a payment. That is a twentieth of a core: nobody waits for it, also on a shared machine.
RATE = 10.0
SHARE = 0.01
# What is begun is followed for two minutes, then everything is read: that long beside the load.
AFTER_S = 600.0


class Day(Struct, frozen=True, kw_only=True):
    """What was seen: journeys, the sandbox's lines by transaction, sentences, payments."""

    journeys: Journeys
    calls: dict[str, list[dict[str, Any]]]
    wrong: list[str]
    payments: int

    @property
    def promises(self) -> list[Promise]:
        """What is promised, and what was seen."""
        return promises(
            self.journeys.endings, self.calls, payments=self.payments, wrong=len(self.wrong)
        )


def sheet(share: float, seed: int) -> dict[str, Any]:
    """Plans for every fault of the sandbox: `share` of the calls, look-ups and webhooks each."""
    before, during, after = get_args(Before), get_args(During), get_args(After)
    on_calls, on_webhooks = (*before, *during, *after), get_args(OnWebhook)
    on_look_ups = (*before, *after)
    groups: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
        (on_calls, {}),
        (on_look_ups, {"operation": "find"}),
        (on_webhooks, {}),
    )
    return {
        "seed": seed,
        "faults": [
            {"fault": each, "count": 1_000_000, "probability": share / len(group), **more}
            for group, more in groups
            for each in group
        ],
    }


async def live(folder: Path, *, seconds: float, rate: float, share: float, seed: int) -> Day:
    """Let the load run, wait until nothing is open, and read both books."""
    async with process_rig(folder, seed=seed) as rig:
        (await rig.sandbox.ask("POST", "/faults", sheet(share, seed))).made()
        gateway = await rig.serve()
        async with Lines(port_of(gateway)) as lines:
            journeys = Journeys(lines, random.Random(seed))
            await journeys.run(rate=rate, seconds=seconds)
        PROGRESS.note("waiting until nothing is open")
        seen = await gateway.settled()
        found = disagreements(seen, await rig.sandbox.ledger())
        PROGRESS.end()
        return Day(
            journeys=journeys,
            calls=calls_by_transaction(await rig.sandbox.calls()),
            wrong=[*journeys.wrong, *found],
            payments=len(seen.payments),
        )


def show(day: Day) -> None:
    """Print the tables."""
    journeys = day.journeys
    print(", ".join(f"{count} {kind}" for kind, count in journeys.begun.items()) + " begun")
    if journeys.refused:
        print("refused: " + ", ".join(f"{n} with {code}" for code, n in journeys.refused.items()))
    for kind, seconds in journeys.reads.items():
        p50, p99 = (quantile_ms(seconds, each) for each in (0.5, 0.99))
        print(f"{kind}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"{'what the calls suffered; seconds':<40}{'n':>7}{'p50':>9}{'p99':>9}{'longest':>9}")
    for cause in causes(journeys.endings, day.calls):
        print(cause.line)
    for sentence in day.wrong[:20]:
        print(f"wrong: {sentence}")
    for promise in day.promises:
        print(f"{'met' if promise.met else 'NOT MET':<8}{promise.text}: {promise.seen}")


def main() -> int:
    """Run, print; 1 where a promise is not met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of load")
    parser.add_argument("--rate", type=float, default=RATE, help="journeys begun a second")
    parser.add_argument("--faults", type=float, default=SHARE, help="share of calls and webhooks")
    parser.add_argument("--seed", type=int, default=1, help="of the load and of the faults")
    given = parser.parse_args()

    async def run() -> Day:
        seconds = 60 * given.minutes
        with tempfile.TemporaryDirectory() as folder:
            async with asyncio.timeout(seconds + AFTER_S):
                return await live(
                    Path(folder),
                    seconds=seconds,
                    rate=given.rate,
                    share=given.faults,
                    seed=given.seed,
                )

    day = asyncio.run(run())
    show(day)
    return 0 if all(each.met for each in day.promises) else 1


@pytest.mark.slow
async def test_a_short_sick_day_ends_as_the_books_say(tmp_path: Path) -> None:
    """No promise about time at this size: a machine that is busy elsewhere would break it."""
    day = await live(tmp_path, seconds=4, rate=20, share=0.05, seed=3)
    show(day)

    assert day.wrong == []
    assert day.promises[0].met
    assert len(day.journeys.endings) >= 60


def test_an_answer_without_an_outcome_is_none() -> None:
    good = {"answer": 200, "fault": None}

    assert answered([good, {"answer": 402}])
    assert not answered([good, {"answer": None, "fault": "reset_after_effect"}])
    assert not answered([{"answer": 500}])
    assert not answered([{"answer": 200, "fault": "garbage"}])


if __name__ == "__main__":
    sys.exit(main())
