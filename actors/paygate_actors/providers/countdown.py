"""The deadline of a call that takes several requests, which share it."""

import asyncio
from collections.abc import Callable


def countdown(deadline_s: float) -> Callable[[], float]:
    """Give a function that says how much is left of a deadline, in seconds; call it in a loop."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + deadline_s
    # With nothing left the next request does not leave, which is said as it is.
    return lambda: max(0.0, ends - loop.time())
