"""The contract of an adapter: the industry's verbs, outcomes as a closed union, no exceptions.

An adapter turns one call into one HTTP request and the answer into an `Outcome`. It keeps its own
deadline (`Capabilities.deadline_s`), never retries by itself, follows no redirects and bounds what
it reads. It must tell apart "no byte reached a socket" (`Declined(code="not_sent",
retryable=True, conclusive=False)`) from everything later (`Unknown`).
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from paygate_actors.card import SealedCard
from paygate_actors.money import Money
from paygate_actors.outcomes import Outcome


class SignatureInvalid(Exception):
    """The webhook was not signed by the provider, or is outside the replay window."""


class BodyInvalid(Exception):
    """The webhook is signed, but its body is not what the provider's documents promise."""


class Instrument(Struct, frozen=True, kw_only=True):
    """What is charged: a card (number and maybe CVV, sealed) or a wallet. Exactly one is set.

    `kind` is the request's `paymentMethod.type`, or `card` for a token.
    """

    kind: str
    card: SealedCard | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None
    wallet_id: str | None = None


class ChargeCall(Struct, frozen=True, kw_only=True):
    """Take the money at once (`capture`) or only hold it. `key` is ours, for life.

    The adapter sends `key` as the idempotency key and also as the provider's reference.
    """

    key: str
    amount: Money
    instrument: Instrument
    capture: bool
    description: str | None = None
    return_url: str | None = None
    customer_ip: str | None = None


class FollowUpCall(Struct, frozen=True, kw_only=True):
    """Capture, void or refund of the charge `provider_txn_id`; a void is of the whole."""

    key: str
    provider_txn_id: str
    amount: Money


class ProviderEvent(Struct, frozen=True, kw_only=True):
    """A webhook that was verified and understood.

    `reference` is our key of the call it speaks of, where the provider gave it back. `amount` is
    None where the event does not say. `dispute_won` is set on `dispute.closed` alone.
    `reason` and `retryable` are those of a decline, so that an event that overtakes the
    provider's own answer leads to the same decision.
    `parent_txn_id` is the charge that a refund or dispute belongs to, where the event says so.
    """

    event_id: str
    event_type: str
    provider_txn_id: str
    reference: str | None = None
    parent_txn_id: str | None = None
    amount: Money | None = None
    dispute_won: bool | None = None
    reason: str | None = None
    retryable: bool = False
    at_us: int = 0


class Capabilities(Struct, frozen=True, kw_only=True):
    """What the provider can do, as its own documents say.

    `key_window_s`: how long it remembers an idempotency key: nothing is re-sent after that.
    `find_lag_s`: how long a look-up may fail to see what happened.
    `ask_first_s`, `ask_max_s`: when the first look-up comes, and how far apart later ones are.
    """

    deadline_s: float
    key_window_s: float
    find_lag_s: float
    ask_first_s: float
    ask_max_s: float
    void_window_s: float | None = None
    partial_capture: bool = True
    partial_refund: bool = True
    currencies: frozenset[str] | None = None


class Provider(Protocol):
    """An adapter. The coroutines never raise for what a provider or a network may do."""

    id: str
    name: str
    kind: str
    capabilities: Capabilities

    async def charge(self, call: ChargeCall) -> Outcome:
        """Charge or hold. Re-sent with the same key it must not do it twice."""
        ...

    async def capture(self, call: FollowUpCall) -> Outcome:
        """Capture what was held, in whole or in part; the rest is released."""
        ...

    async def void(self, call: FollowUpCall) -> Outcome:
        """Undo a hold, an unconfirmed charge, or a charge inside the provider's void window.

        `Declined(code="already_settled")` says that only a refund is possible now.
        """
        ...

    async def refund(self, call: FollowUpCall) -> Outcome:
        """Give back a part or the whole of what was captured."""
        ...

    async def find(self, key: str) -> Outcome:
        """What became of the call with this key. `Unknown("not_visible")` proves nothing.

        A charge that was cancelled at the provider is `Declined(code="cancelled")`.
        """
        ...

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check the signature over the raw body, both sides of the replay window.

        Raises `SignatureInvalid`. Header names are lower case.
        """
        ...

    def parse(self, headers: Mapping[str, str], body: bytes) -> ProviderEvent:
        """Read a verified webhook. Raises `BodyInvalid`. Unknown event types are no error."""
        ...

    def redacted_config(self) -> dict[str, str]:
        """What an operator may see of the configuration: no secret, not even a part of one."""
        ...

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        ...
