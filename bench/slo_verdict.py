"""What is promised of a day, held against what was seen. Pure.

The provider answered: every call about the operation was answered with what became of it. No
answer are a broken connection, a hang, garbage and a 500; `pending` says that there is none yet.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from callers import quantile_ms
from journeys import Ending
from msgspec import Struct

RIGHT_SHARE_MIN: Final = 0.9999
ANSWERED_P99_S_MAX: Final = 2.0
ALL_P999_S_MAX: Final = 15.0
# These leave the gateway without an outcome, though they may send a status.
NO_OUTCOME: Final = frozenset({"garbage", "pending"})
SERVER_FAULT: Final = 500


class Promise(Struct, frozen=True, kw_only=True):
    """One promise, and what was seen of it."""

    text: str
    seen: str
    met: bool


class Cause(Struct, frozen=True, kw_only=True):
    """The operations whose calls suffered these faults: how long they took, in seconds."""

    faults: str
    seconds: list[float]

    @property
    def line(self) -> str:
        """A line of the table."""
        p50, p99 = (quantile_ms(self.seconds, each) / 1e3 for each in (0.5, 0.99))
        return (
            f"{self.faults:<40}{len(self.seconds):>7}{p50:>9.3f}{p99:>9.3f}"
            f"{max(self.seconds):>9.3f}"
        )


def calls_by_transaction(calls: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The sandbox's lines by the transaction that they are about; look-ups too."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in calls:
        if line["idempotencyKey"] is not None:
            found[line["idempotencyKey"].rpartition("-")[0]].append(line)
    return found


def answered(lines: Sequence[dict[str, Any]]) -> bool:
    """Whether each call got an answer that says what became of it."""
    return all(
        line.get("answer") is not None
        and line["answer"] < SERVER_FAULT
        and line.get("fault") not in NO_OUTCOME
        for line in lines
    )


def promises(
    endings: Sequence[Ending],
    calls: dict[str, list[dict[str, Any]]],
    *,
    payments: int,
    wrong: int,
) -> list[Promise]:
    """The three promises. `wrong`: payments that the books do not agree with, of `payments`."""
    share = 1 - wrong / max(1, payments)
    whole = [each.seconds for each in endings]
    told = [each.seconds for each in endings if answered(calls.get(each.transaction_id, ()))]
    p99_s, p999_s = quantile_ms(told, 0.99) / 1e3, quantile_ms(whole, 0.999) / 1e3
    waiting = sum(not each.over for each in endings)
    return [
        Promise(
            text="at least 99.99 % of the payments end as the provider's books say",
            seen=f"{100 * share:.4f} % of {payments}: {wrong} wrong, {waiting} not waited for",
            met=share >= RIGHT_SHARE_MIN and not waiting,
        ),
        Promise(
            text="p99 to the final state under 2 s where the provider answered",
            seen=f"{p99_s:.3f} s of {len(told)}",
            met=p99_s < ANSWERED_P99_S_MAX,
        ),
        Promise(
            text="p99.9 to the final state under 15 s, of all",
            seen=f"{p999_s:.3f} s of {len(whole)}",
            met=p999_s < ALL_P999_S_MAX,
        ),
    ]


def causes(endings: Sequence[Ending], calls: dict[str, list[dict[str, Any]]]) -> list[Cause]:
    """What operations suffered, the slowest first; webhooks' faults are in no line of calls."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for each in endings:
        lines = calls.get(each.transaction_id, ())
        faults = sorted({line["fault"] for line in lines if line.get("fault") is not None})
        found[", ".join(faults) or "no call was struck"].append(each.seconds)
    named = [Cause(faults=name, seconds=seconds) for name, seconds in found.items()]
    return sorted(named, key=lambda each: -max(each.seconds))
