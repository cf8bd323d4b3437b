"""When a provider wants to be asked again: the header of its 429 or 503, as part of the outcome."""

from typing import Final, TypeVar

import msgspec

from paygate_actors.outcomes import Declined, Outcome, Prepared, Unknown
from paygate_actors.providers.http_client import Answered, Exchange

_SAYING_WHEN: Final = frozenset({429, 503})
# A day has 86,400 seconds; a longer number is no honest pause, and is not read at all.
_DIGITS_MAX: Final = 5

OutcomeT = TypeVar("OutcomeT", bound=Outcome | Prepared)


def paused(exchange: Exchange | Declined, outcome: OutcomeT) -> OutcomeT:
    """The outcome with the pause that the exchange asks for, in seconds, where it asks for one.

    A date is not read: the provider's clock is not ours. A decline in the place of an exchange,
    because nothing was sent, asks for none.
    """
    if not isinstance(exchange, Answered) or exchange.status not in _SAYING_WHEN:
        return outcome
    text = (exchange.retry_after or "").strip()
    if not isinstance(outcome, Declined | Unknown) or not _is_seconds(text):
        return outcome
    return msgspec.structs.replace(outcome, retry_after_s=float(text))


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
