"""How much CPU something takes, whatever else the machine and the collector are doing meanwhile."""

import time
from collections.abc import Callable

# The collector may look through a whole test run's objects in one of them, hardly in each.
TIMES = 3


def least_cpu_s(work: Callable[[], object]) -> float:
    """The least CPU time, in seconds, that `work` took of the process in a few goes."""
    goes: list[float] = []
    for _ in range(TIMES):
        began_s = time.process_time()
        work()
        goes.append(time.process_time() - began_s)
    return min(goes)
