"""Draws a flight: payments in flight, how long an acceptance takes, memory; all over time."""
# pyright: reportUnknownMemberType=false
# Of matplotlib's own types, those of keyword arguments are not known.

from collections.abc import Callable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from callers import Said, quantile_ms
from flight import Flight
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MIB: Final = 1024 * 1024
# A window for percentiles: long enough for a few hundred answers.
WINDOW_S: Final = 5.0
# A phase's name stands behind its beginning; a short one's before it, where there is room.
_PHASES: Final = (
    ("filling", "filling", "left"),
    ("full", "all live", "right"),
    ("ending", "drain", "left"),
)


def draw(flight: Flight, file: Path) -> None:
    """Write the picture as PNG, and make its folder."""
    # No window system is needed for a file.
    mpl.use("Agg")
    figure = Figure(figsize=(8, 7), layout="constrained")
    live, latency, memory = (figure.add_subplot(3, 1, place) for place in (1, 2, 3))
    began_s = flight.seen[0].at_s
    times = [each.at_s - began_s for each in flight.seen]
    live.plot(times, [each.live for each in flight.seen], color="tab:blue")
    live.set_ylabel("payments in flight")
    _draw_latency(latency, flight, began_s)
    memory.plot(times, [each.memory / MIB for each in flight.seen], color="tab:green")
    memory.set_ylabel("memory (RSS), MiB")
    memory.set_xlabel("seconds")
    for axes in (live, latency, memory):
        axes.grid(visible=True, alpha=0.3)
        axes.set_xlim(0, times[-1])
        for mark, name, side in _PHASES:
            at_s = flight.marks[mark] - began_s
            axes.axvline(at_s, color="grey", linewidth=0.8)
            if axes is live:
                axes.text(at_s, 0, f" {name} ", size=8, ha=side, va="bottom")
    live.set_ylim(bottom=0)
    memory.set_ylim(bottom=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)


def _draw_latency(axes: Axes, flight: Flight, began_s: float) -> None:
    said = [each for phase in flight.said.values() for each in phase if each.status == 201]
    windows = _windows(said)
    middle = [at_s + WINDOW_S / 2 - began_s for at_s in windows]
    for share, colour in ((0.5, "tab:blue"), (0.99, "tab:orange"), (0.999, "tab:red")):
        values = [quantile_ms(seconds, share) for seconds in windows.values()]
        axes.plot(middle, values, ".-", color=colour, label=f"p{100 * share:g}", markersize=3)
    times = [each.at_s - began_s for each in flight.seen]
    lag = [each.health_ms for each in flight.seen]
    axes.plot(times, lag, color="grey", linewidth=0.6, label="/healthz")
    axes.set_yscale("log")
    axes.set_ylabel("accept, ms")
    axes.legend(loc="upper right", ncols=4, fontsize=8)


def _windows(said: list[Said]) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for each in sorted(said, key=_when):
        found.setdefault(each.at_s // WINDOW_S * WINDOW_S, []).append(each.seconds)
    return found


_when: Callable[[Said], float] = lambda each: each.at_s  # noqa: E731  # a key for sorting
