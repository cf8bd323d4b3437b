"""What may go wrong in the engine, by name.

What may happen in the normal course of business is a reply; these are for what is gone, full,
or broken.
"""


class EngineError(Exception):
    """The root of all errors of the engine."""


class Overloaded(EngineError):
    """An inbox, a queue or the journal is full: nothing was done, try again later."""


class AskTimeout(EngineError):
    """An ask got no answer within its deadline; whether it was handled is not known."""


class NotFound(EngineError):
    """Nothing was ever recorded under this id."""


class Parked(EngineError):
    """The entity failed too often and waits for a person; the text names its id."""


class Unhandled(EngineError):
    """The actor has no handler for this type of message; the text names the type."""


class Conflicted(EngineError):
    """Somebody else kept writing first, or holds a claim; `conflict` says which name."""

    def __init__(self, conflict: object) -> None:
        super().__init__(f"left out of the journal: {conflict}")
        self.conflict = conflict


class StoreFailed(EngineError):
    """The disk or the database failed: what was under way is unknown; stop and recover."""


class StoreDamaged(StoreFailed):
    """The database file itself is damaged; the text names it, and says what to do."""


class Fenced(StoreFailed):
    """The node's epoch is over: others have taken its place, and it must end."""


class StoreFull(EngineError):
    """There is no room; the transaction was rolled back for certain, nothing was done."""


class StoreRefused(EngineError):
    """The store cannot be opened (in use, wrong version, not ours); the text says what to do."""


class Corrupt(EngineError):
    """Bytes in the store are not what was written there; the text names the stream."""
