"""What Adyen can do, as its documents say, and how long we wait for it."""

from typing import Final

from msgspec import Struct

from paygate_actors.providers.adyen_amounts import CURRENCIES, TERMS
from paygate_actors.providers.adyen_reference import KEY_LENGTH_MAX
from paygate_actors.providers.base import Capabilities, CurrencyTerms

# Its documents have said 7 days and say 31 now: the shorter is right for both.
KEY_WINDOW_S: Final = 7 * 24 * 3_600

FIND_SEES: Final = (
    "Nothing: Checkout has no look-up. What became of a charge is told by the same key, sent again"
    " inside of its window, and by webhook; of a capture, void or refund by webhook alone."
)


class Pace(Struct, frozen=True, kw_only=True):
    """How long to wait for Adyen; the defaults are for the real one, whose issuers take seconds.

    `ask_first_s` and `ask_max_s` space the re-sent keys that stand for asking.
    """

    deadline_s: float = 30.0
    ask_first_s: float = 5.0
    ask_max_s: float = 300.0


SANDBOX_PACE: Final = Pace(deadline_s=2.0, ask_first_s=0.5, ask_max_s=5.0)
"""For a sandbox on this machine."""


def capabilities_of(pace: Pace) -> Capabilities:
    """Give the capabilities of an account that keeps this pace."""
    return Capabilities(
        deadline_s=pace.deadline_s,
        key_window_s=KEY_WINDOW_S,
        key_length_max=KEY_LENGTH_MAX,
        find_lag_s=0.0,
        finds=False,
        find_sees=FIND_SEES,
        ask_first_s=pace.ask_first_s,
        ask_max_s=pace.ask_max_s,
        # A cancellation is for what was not captured; a sale is captured at once.
        void_window_s=0.0,
        provider_tokens=True,
        webhook_reply="[accepted]",
        returns=True,
        currencies=CURRENCIES,
        currency_terms=TERMS,
        other_terms=CurrencyTerms(minor_max=0),
    )
