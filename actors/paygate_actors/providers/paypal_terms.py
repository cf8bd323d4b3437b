"""What PayPal can do, as its documents say, and how long we wait for it."""

from typing import Final

from msgspec import Struct

from paygate_actors.providers.base import Capabilities, CurrencyTerms, OperationTerms
from paygate_actors.providers.paypal_amounts import CURRENCIES, TERMS

# Orders keep a request id for six hours, payments (captures of holds, voids, refunds) for 45 days.
ORDERS_WINDOW_S: Final = 6 * 3_600
PAYMENTS_WINDOW_S: Final = 45 * 24 * 3_600
# What PayPal takes as a request id; the longest that we derive from one of ours adds `-approved`.
KEY_LENGTH_MAX: Final = 108 - len("-approved")

FIND_SEES: Final = (
    "PayPal looks nothing up by our key: an order is read by its id at once, with its captures,"
    " its hold and its refunds, each of which carries our key."
)


class Pace(Struct, frozen=True, kw_only=True):
    """How long to wait for PayPal; the defaults are for the real one.

    `deadline_s`: all requests of one call together; issuers take ten seconds and more at times.
    """

    deadline_s: float = 30.0
    find_lag_s: float = 0.0
    ask_first_s: float = 5.0
    ask_max_s: float = 300.0
    # PayPal publishes no limit and asks nobody to poll; webhooks tell first.
    asks_per_s: float = 5.0
    fetch_s: float = 60.0


SANDBOX_PACE: Final = Pace(
    deadline_s=2.0, ask_first_s=0.5, ask_max_s=5.0, asks_per_s=50.0, fetch_s=2.0
)
"""For a sandbox on this machine."""


def capabilities_of(pace: Pace) -> Capabilities:
    """Give the capabilities of an account that keeps this pace."""

    def terms(window_s: float, *, partial: bool = False) -> OperationTerms:
        return OperationTerms(
            partial=partial, key_window_s=window_s, key_length_max=KEY_LENGTH_MAX, finds=False
        )

    return Capabilities(
        deadline_s=pace.deadline_s,
        # The shortest of all: what is sent again for longer is said per operation.
        key_window_s=ORDERS_WINDOW_S,
        key_length_max=KEY_LENGTH_MAX,
        find_lag_s=pace.find_lag_s,
        finds=False,
        find_sees=FIND_SEES,
        ask_first_s=pace.ask_first_s,
        ask_max_s=pace.ask_max_s,
        asks_per_s=pace.asks_per_s,
        # A hold is voided until it is captured, and never after that.
        void_window_s=0.0,
        steps=2,
        feeds=True,
        fetch_s=pace.fetch_s,
        fetches_keys=True,
        provider_tokens=True,
        currencies=CURRENCIES,
        currency_terms=TERMS,
        other_terms=CurrencyTerms(minor_max=0),
        operations={
            "prepare": terms(ORDERS_WINDOW_S),
            "charge": terms(ORDERS_WINDOW_S),
            "authorize": terms(ORDERS_WINDOW_S),
            "capture": terms(PAYMENTS_WINDOW_S, partial=True),
            "void": terms(PAYMENTS_WINDOW_S),
            "refund": terms(PAYMENTS_WINDOW_S, partial=True),
        },
    )
