"""What Stripe can do, as its documents say, and how long we wait for it."""

from typing import Final

from msgspec import Struct

from paygate_actors.providers.base import Capabilities, CurrencyTerms, OperationTerms
from paygate_actors.providers.stripe_amounts import CURRENCIES, TERMS

# Stripe forgets a key "after at least 24 hours".
KEY_WINDOW_S: Final = 24 * 3_600
# What Stripe takes as a key; the longest that we derive from one of ours adds `-prepare`.
KEY_LENGTH_MAX: Final = 255 - len("-prepare")

FIND_SEES: Final = (
    "By our key alone the search index shows charges and captures, under a minute late in ordinary"
    " times and up to an hour in an outage, and not for accounts in India; by the intent's id the"
    " intent and its refunds are read at once."
)


class Pace(Struct, frozen=True, kw_only=True):
    """How long to wait for Stripe; the defaults are for the real one.

    `deadline_s`: all requests of one call together; issuers take ten seconds and more at times.
    """

    deadline_s: float = 30.0
    find_lag_s: float = 60.0
    ask_first_s: float = 5.0
    ask_max_s: float = 300.0
    fetch_s: float = 60.0


SANDBOX_PACE: Final = Pace(
    deadline_s=2.0, find_lag_s=2.0, ask_first_s=0.5, ask_max_s=5.0, fetch_s=2.0
)
"""For a sandbox on this machine."""


def capabilities_of(pace: Pace) -> Capabilities:
    """Give the capabilities of an account that keeps this pace."""
    searched = OperationTerms(
        partial=False,
        key_window_s=KEY_WINDOW_S,
        key_length_max=KEY_LENGTH_MAX,
        find_lag_s=pace.find_lag_s,
    )
    unseen = OperationTerms(key_window_s=KEY_WINDOW_S, key_length_max=KEY_LENGTH_MAX, finds=False)
    return Capabilities(
        deadline_s=pace.deadline_s,
        key_window_s=KEY_WINDOW_S,
        key_length_max=KEY_LENGTH_MAX,
        find_lag_s=pace.find_lag_s,
        find_sees=FIND_SEES,
        ask_first_s=pace.ask_first_s,
        ask_max_s=pace.ask_max_s,
        # An intent is cancelled until it is captured, and never after that.
        void_window_s=0.0,
        steps=2,
        feeds=True,
        fetch_s=pace.fetch_s,
        provider_tokens=True,
        currencies=CURRENCIES,
        currency_terms=TERMS,
        other_terms=CurrencyTerms(minor_max=0),
        operations={
            "prepare": searched,
            "charge": searched,
            "authorize": searched,
            "void": OperationTerms(
                partial=False,
                key_window_s=KEY_WINDOW_S,
                key_length_max=KEY_LENGTH_MAX,
                finds=False,
            ),
            "refund": unseen,
        },
    )
