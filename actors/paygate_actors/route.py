"""Where a payment goes and why, as it is recorded: small, and enough to judge the decision later.

It stands in the payment's first `CallStarted`, so that the decision and the intent that follows
from it are one fact. What other providers a payment may be tried at is decided here too: rules
that change later are for later payments.
"""

from typing import Literal

from msgspec import Struct

RoutedBy = Literal["priority", "weight", "success_rate", "cost", "pin"]

LeftOut = Literal[
    "inactive",  # an operator switched it off
    "no_charges",  # an operator lets it take no new charges
    "currency",  # it does not take the currency
    "amount",  # it cannot represent the amount exactly, or its bounds forbid it
    "method",  # it does not take this kind of payment method
    "cvv",  # it wants a CVV, and the payment has none
    "three_d_secure",  # the payer must prove who he is, and it cannot ask
    "not_configured",  # a rule names it, and there is no such provider
]
"""Why a provider was no candidate."""

Behind = Literal[
    "circuit_open",  # most of its recent calls failed
    "told_to_wait",  # it said when it wants to be asked again
    "full",  # all its permits are out, and as many calls wait for one
]
"""Why a provider is tried after those that do well."""


class Aside(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A provider that was no candidate, or comes after those that do well, and why."""

    provider: str
    why: LeftOut | Behind


class Route(
    Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """A decision about a new payment: `order` are the providers, best first, never empty.

    `rule`: its name; None: none fitted, or the merchant named the provider. `rules`: a digest of
    the rules that were in force. `share_milli`: how many of a thousand payments like this one had
    gone to the first of `order`; with `explored` it was not the one that does best. `bin`: the
    card's first six digits, which rules may ask about. `retry_declines` and `retries_max`: which
    soft declines may be tried at the next provider, and how often.
    """

    order: tuple[str, ...]
    by: RoutedBy
    rule: str | None = None
    rules: str = ""
    share_milli: int = 1_000
    explored: bool = False
    left_out: tuple[Aside, ...] = ()
    behind: tuple[Aside, ...] = ()
    bin: str | None = None
    three_d_secure: bool = False
    retry_declines: tuple[str, ...] = ()
    retries_max: int = 0
