"""What became of a call to a provider: a closed union, not a boolean.

A time-out, a reset, a 5xx or garbage is `Unknown`, never a decline. `Declined` with
`conclusive=False` says that *this* request did nothing (it never left, or was refused before it
was looked at); where an earlier request went out under the same key, that proves nothing.
"""

from typing import Literal

from msgspec import Struct

from paygate_actors.money import Money

UnknownReason = Literal[
    "timeout",  # the deadline passed after bytes had left
    "reset",  # the connection broke after bytes had left
    "server_error",  # a 5xx
    "garbage",  # an answer that says nothing intelligible
    "not_visible",  # a look-up found nothing, which may mean "not yet"
    "key_known",  # the key was used with other parameters: an earlier request did arrive
    "in_progress",  # the provider still works on an earlier request with this key
    "restarted",  # the process died while the call was open
]

Authentication = Literal[
    "challenge",  # the payer confirmed it
    "frictionless",  # the issuer was satisfied without asking him
    "attempted",  # the issuer takes no part, and the network vouches for the attempt
    "none",  # nobody was asked, or it came to nothing, and it was charged all the same
]
"""How the payer proved who they are, where the provider says so."""


class Approved(Struct, frozen=True, kw_only=True, tag=True):
    """It was done. `amount` is what the provider says it was done for; `captured` for charges.

    `network_txn_id`: the card network's id of the payment, which later ones that the merchant
    initiates refer to. `authentication`: how the payer proved who they are, as the provider says;
    None: it does not say that he did.
    """

    provider_txn_id: str
    amount: Money
    captured: bool = False
    network_txn_id: str | None = None
    authentication: Authentication | None = None


class Declined(Struct, frozen=True, kw_only=True, tag=True):
    """It was not done. `code` is ours (normalised), `decline_code` the provider's own.

    `retry_after_s`: in how many seconds the provider wants to be asked again, where it says so.
    """

    code: str
    message: str = ""
    decline_code: str | None = None
    retryable: bool = False
    conclusive: bool = True
    provider_txn_id: str | None = None
    retry_after_s: float | None = None


class ActionRequired(Struct, frozen=True, kw_only=True, tag=True):
    """The payer must confirm at `url` before `expires_at_us` (UTC microseconds)."""

    provider_txn_id: str
    url: str
    expires_at_us: int


class Pending(Struct, frozen=True, kw_only=True, tag=True):
    """The provider took it on and will say later, by webhook or when asked."""

    provider_txn_id: str | None = None
    expected_by_us: int | None = None


class Unknown(Struct, frozen=True, kw_only=True, tag=True):
    """Nobody knows. Money may have moved.

    `provider_txn_id`: the provider's object for the call, where that much is known. With
    `not_visible` it is there and unconfirmed: it can still be confirmed, or cancelled for good.
    `retry_after_s`: as in `Declined`.
    """

    reason: UnknownReason
    detail: str = ""
    provider_txn_id: str | None = None
    retry_after_s: float | None = None


class Prepared(Struct, frozen=True, kw_only=True, tag=True):
    """The provider has an object for the call and nothing has moved: confirm or cancel it."""

    provider_txn_id: str


Outcome = Approved | Declined | ActionRequired | Pending | Unknown

Preparation = Prepared | Declined | Unknown
"""What the first of two steps may come to. Neither of the others says that money moved."""
