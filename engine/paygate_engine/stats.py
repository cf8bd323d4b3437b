"""What the engine counts: plain integers, read by whoever exports them.

A message costs an addition to a local variable; the rest is counted once a turn or once a life.
"""


class KindStats:
    """Lives of the actors of one class."""

    __slots__ = ("failed", "restarted", "spawned", "stopped")

    def __init__(self) -> None:
        self.spawned = 0
        self.stopped = 0
        self.failed = 0
        self.restarted = 0


class Stats:
    """Counters of one actor system.

    `handled` messages in `turns` turns of the run queue that took `busy_s` seconds in all;
    `injected` messages came from other threads; `tasks_failed` tasks ended in an exception.
    """

    __slots__ = ("busy_s", "handled", "injected", "kinds", "tasks_failed", "turns")

    def __init__(self) -> None:
        self.handled = 0
        self.turns = 0
        self.busy_s = 0.0
        self.injected = 0
        self.tasks_failed = 0
        self.kinds: dict[type, KindStats] = {}

    def of(self, kind: type) -> KindStats:
        """The counters of a class of actors."""
        counters = self.kinds.get(kind)
        if counters is None:
            counters = self.kinds[kind] = KindStats()
        return counters
