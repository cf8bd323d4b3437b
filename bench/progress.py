"""One line of progress on standard error, for whoever watches a long bench."""

import sys
import time

# A terminal's line is written over; a log gets one now and then.
TERMINAL_S = 0.2
LOG_S = 15.0


class Progress:
    """Writes a line no more often than somebody can read it."""

    def __init__(self) -> None:
        self._again_s = 0.0

    def note(self, text: str) -> None:
        """Say it, unless something was said just now."""
        now_s = time.perf_counter()
        if now_s < self._again_s:
            return
        terminal = sys.stderr.isatty()
        self._again_s = now_s + (TERMINAL_S if terminal else LOG_S)
        sys.stderr.write(f"\r{text:<78}" if terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line to what comes next."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{'':<78}\r")
            sys.stderr.flush()


PROGRESS = Progress()
