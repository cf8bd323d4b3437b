"""Runs `paygate` as it is, and writes down each pause of the collector of garbage.

`python gc_witness.py FILE PYTHON -m paygate_http serve ...`: a prefix to the command. Each line of
the file is `[when, generation, seconds]`, by the clock of `time.perf_counter`, which all processes
of a machine share on Linux.
"""

import gc
import runpy
import sys
import time
from pathlib import Path

import msgspec


def watch(file: Path) -> None:
    """Write a line for each collection from now on."""
    sink = file.open("ab", buffering=0)
    began_s = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal began_s
        now_s = time.perf_counter()
        if phase == "start":
            began_s = now_s
        else:
            line = (round(began_s, 6), info["generation"], round(now_s - began_s, 6))
            sink.write(msgspec.json.encode(line) + b"\n")

    gc.callbacks.append(note)


def pauses(file: Path) -> list[tuple[float, int, float]]:
    """What was written down, in its order."""
    return [
        msgspec.json.decode(line, type=tuple[float, int, float])
        for line in file.read_bytes().splitlines()
    ]


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    # Behind the file stand the interpreter, `-m` and the module.
    sys.argv = sys.argv[4:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
