"""What the engine raises, said as refusals: the border between the actors and the doors."""

from collections.abc import Awaitable
from typing import Final, TypeVar

import structlog
from pykka import ActorDeadError

from paygate_actors.messages import Refusal
from paygate_engine.errors import (
    AskTimeout,
    Conflicted,
    Corrupt,
    NotFound,
    Overloaded,
    Parked,
    StoreFailed,
    StoreFull,
)

OUTCOME_UNKNOWN: Final = Refusal(
    code="outcome_unknown",
    detail="Whether this was done is not known. Ask again with the same key.",
    retry_after_s=1,
)
QUARANTINED: Final = Refusal(
    code="payment_quarantined",
    detail="This payment's record is damaged, or it kept failing: nothing more is done to it until"
    " a person has looked at it.",
    # A person's time: who asks again sooner hears the same.
    retry_after_s=600,
)

# How long a command is waited for: it is recorded within milliseconds, behind the groups before it.
# Longer means that the disk or the database hangs. Whoever asked is then told so while he still
# listens; what became of it is found by asking again with the same key.
RECORDED_S: Final = 5.0

T = TypeVar("T")

_log = structlog.get_logger("paygate.front")


async def guarded(work: Awaitable[T]) -> T | Refusal:
    """The answer, or the refusal that says why there is none."""
    try:
        return await work
    except (Overloaded, StoreFull) as error:
        full = isinstance(error, StoreFull)
        return Refusal(
            code="overloaded",
            detail="There is no room on the disk; nothing was done."
            if full
            else "Too much is waiting; nothing was done.",
            retry_after_s=5 if full else 1,
        )
    except NotFound:
        return Refusal(code="payment_not_found", detail="No such payment.")
    except Conflicted:
        return Refusal(
            code="operation_in_progress",
            detail="Somebody else is changing this payment.",
            retry_after_s=1,
        )
    except (Parked, Corrupt):
        return QUARANTINED
    except (StoreFailed, AskTimeout, ActorDeadError) as error:
        _log.error("outcome_unknown", error=type(error).__name__)
        return OUTCOME_UNKNOWN
