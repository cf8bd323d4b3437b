"""The contract of an adapter: the industry's verbs, outcomes as a closed union, no exceptions.

An adapter turns one call into one HTTP request and the answer into an `Outcome`. It keeps its own
deadline (`Capabilities.deadline_s`), never retries by itself, follows no redirects and bounds what
it reads. It must tell apart "no byte reached a socket" (`Declined(code="not_sent",
retryable=True, conclusive=False)`) from everything later (`Unknown`).

A request leaves only while its node may act, asked when it is about to (`last_look`). `HttpClient`
does that; an adapter with a client of its own asks `may_leave()` after whatever it waits for.
"""

from collections.abc import Mapping
from typing import Final, Literal, Protocol

from msgspec import Struct

from paygate_actors.card import SealedCard
from paygate_actors.credentials import InitiationReason, Initiator, StepUp
from paygate_actors.money import Money
from paygate_actors.outcomes import Authentication, Outcome, Preparation, Unknown

# Signed 64 bits are what the stores hold.
MINOR_MAX: Final = 2**63 - 1

# A notification of the industry carries one event; Adyen's carries some, never near this.
EVENTS_A_BODY_MAX: Final = 100

Operation = Literal["prepare", "charge", "authorize", "capture", "void", "refund"]


class SignatureInvalid(Exception):
    """The webhook was not signed by the provider, or is outside the replay window."""


class BodyInvalid(Exception):
    """The webhook is signed, but its body is not what the provider's documents promise."""


class AnotherAccount(BodyInvalid):
    """The webhook is signed and readable, but speaks of an account that is not this one."""


class KeysUnavailable(Exception):
    """What the signature has to be checked with could not be fetched: it may be there later."""


class Instrument(Struct, frozen=True, kw_only=True):
    """What is charged: a card (number and maybe CVV, sealed), a wallet, or a provider's token.

    Exactly one of the three is set. `kind` is the request's `paymentMethod.type`, or `card` for a
    token of our vault. `provider_token` names what the provider itself keeps (hosted fields).
    """

    kind: str
    card: SealedCard | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None
    wallet_id: str | None = None
    provider_token: str | None = None

    def __repr__(self) -> str:
        # Whoever has the token may charge it.
        return "<instrument>"


class ChargeCall(Struct, frozen=True, kw_only=True):
    """Take the money at once (`capture`) or only hold it. `key` is ours, for life.

    The adapter sends `key` as the idempotency key and also as the provider's reference.
    `prepared_id` is what `prepare` gave for the same call: the charge then only confirms it.

    `initiator`: who started it; with `merchant` the payer is not there, so nobody can confirm it,
    and `reason` says why it comes. `store`: the payer agreed that the credential is kept for later
    payments. `network_txn_id`: the card network's id of the payment that the payer made
    themselves, which a later one without them refers to. `three_d_secure`: `required` where a rule
    or the merchant demands that the payer proves who they are.
    """

    key: str
    amount: Money
    instrument: Instrument
    capture: bool
    description: str | None = None
    return_url: str | None = None
    customer_ip: str | None = None
    prepared_id: str | None = None
    initiator: Initiator = "customer"
    reason: InitiationReason | None = None
    store: bool = False
    network_txn_id: str | None = None
    three_d_secure: StepUp = "automatic"


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
    `network_txn_id` and `authentication` are an approval's, where the event tells them.
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
    network_txn_id: str | None = None
    authentication: Authentication | None = None


class EventPage(Struct, frozen=True, kw_only=True):
    """A bounded page of a provider's own list of events, in the provider's order.

    `next_cursor` asks for the page after it; None: there is none. `unreadable` counts events of
    the page that could not be read, so that nobody takes the page for the whole truth.
    """

    events: tuple[ProviderEvent, ...]
    next_cursor: str | None = None
    unreadable: int = 0


class CurrencyTerms(Struct, frozen=True, kw_only=True):
    """Which amounts of a currency a provider can represent, in our minor units (ISO 4217).

    Nothing is rounded: an amount that is no whole multiple of `multiple_of` is not taken.
    """

    minor_min: int = 1
    minor_max: int = MINOR_MAX
    multiple_of: int = 1

    def take(self, minor: int) -> bool:
        """Tell whether the provider can represent this amount exactly."""
        return self.minor_min <= minor <= self.minor_max and minor % self.multiple_of == 0


class OperationTerms(Struct, frozen=True, kw_only=True):
    """What holds for one operation where it differs from the rest.

    `partial`: less than the whole is taken. `key_window_s`: how long the key is remembered; None:
    the operation takes no key and is never re-sent by itself. `finds`: a look-up by our key shows
    it, `find_lag_s` after it happened at the latest, in ordinary times.
    """

    partial: bool = True
    key_window_s: float | None
    key_length_max: int = 255
    finds: bool = True
    find_lag_s: float = 0.0


class Capabilities(Struct, frozen=True, kw_only=True):
    """What the provider can do, as its own documents say.

    `key_window_s`: how long it remembers an idempotency key: nothing is re-sent after that.
    `key_length_max`: characters of our key that it takes.
    `find_lag_s`: how long a look-up may fail to see what happened.
    `finds`, `find_sees`: whether `find` exists, and one sentence on what it can see and when.
    `ask_first_s`, `ask_max_s`: when the first look-up comes, and how far apart later ones are.
    `asks_per_s`: how many look-ups a second it takes without complaint, beside the payments.
    `void_window_s`: how long a captured charge can be voided, as a hint; 0: never; None: not said.
    `steps`: 2 for a provider whose object is made before it is confirmed (`TwoStepProvider`).
    `feeds`: it lists its events (`FeedingProvider`). `fetch_s`: how often the list is read while
    something waits for an event.
    `returns`: payers come back to the gateway's own door (`ReturningProvider`).
    `fetches_keys`: what verifies its webhooks is fetched first (`KeyFetchingProvider`).
    `webhook_reply`: the whole body of our 200, where it wants a particular one (plain text).
    `takes_no_cvv`: a card without CVV may be charged, so a charge can be re-sent from the vault.
    `provider_tokens`: it charges what it keeps itself, so no card number need pass through us.
    `currencies`: None for all; `currency_terms` for those with rules of their own, and
    `other_terms` for the rest. `operations`: only those that differ from what stands here.
    """

    deadline_s: float
    key_window_s: float
    find_lag_s: float
    ask_first_s: float
    ask_max_s: float
    asks_per_s: float = 50.0
    void_window_s: float | None = None
    partial_capture: bool = True
    partial_refund: bool = True
    currencies: frozenset[str] | None = None
    key_length_max: int = 255
    finds: bool = True
    find_sees: str = ""
    steps: Literal[1, 2] = 1
    feeds: bool = False
    fetch_s: float = 60.0
    fetches_keys: bool = False
    returns: bool = False
    webhook_reply: str = ""
    takes_no_cvv: bool = True
    three_d_secure: bool = True
    provider_tokens: bool = False
    currency_terms: Mapping[str, CurrencyTerms] = {}
    other_terms: CurrencyTerms = CurrencyTerms()
    operations: Mapping[Operation, OperationTerms] = {}

    def terms(self, operation: Operation) -> OperationTerms:
        """What holds for one operation."""
        own = self.operations.get(operation)
        if own is not None:
            return own
        partial = {"capture": self.partial_capture, "refund": self.partial_refund}
        return OperationTerms(
            partial=partial.get(operation, False),
            key_window_s=self.key_window_s,
            key_length_max=self.key_length_max,
            finds=self.finds,
            find_lag_s=self.find_lag_s,
        )

    def takes(self, amount: Money) -> bool:
        """Tell whether the provider is a candidate for this amount: it can represent it exactly."""
        if self.currencies is not None and amount.currency not in self.currencies:
            return False
        return self.currency_terms.get(amount.currency, self.other_terms).take(amount.minor)


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

        `Declined(code="already_settled")` says that only a refund is possible now, and
        `charge_refunded` that it is one of the rest: a part has gone back already.
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

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read a verified webhook: its events, in its order; none where it has none for us.

        At most `EVENTS_A_BODY_MAX`. All of them are stored, or none. Raises `BodyInvalid`, and
        `AnotherAccount` if any of them is of one. Unknown event types are no error.
        """
        ...

    def redacted_config(self) -> dict[str, str]:
        """What an operator may see of the configuration: no secret, not even a part of one."""
        ...

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        ...


class TwoStepProvider(Provider, Protocol):
    """A provider whose object is made first and confirmed then (`Capabilities.steps` is 2).

    Whoever writes the object's id down in between can look at it and cancel it for good whatever
    happens to the second step: nothing has to be concluded from silence.
    """

    async def prepare(self, call: ChargeCall) -> Preparation:
        """Make the object that `charge` confirms; moves no money. The same call makes one.

        A charge whose call has no `prepared_id` takes this step by itself, under a key derived
        from the same one. A `Declined` of this step is never conclusive.
        """
        ...

    async def find(self, key: str, provider_txn_id: str | None = None) -> Outcome:
        """What became of the call with this key.

        `provider_txn_id` is the prepared or charged object's, where it is known: it is read
        itself then, with no lag. `Unknown("not_visible")` that names a `provider_txn_id` says that
        the object is there and unconfirmed.
        """
        ...


class FeedingProvider(Provider, Protocol):
    """A provider that lists its events, so that a missed webhook is only a delay."""

    async def events(self, *, since_us: int, cursor: str | None = None) -> EventPage | Unknown:
        """One page of what happened since then (UTC microseconds), as webhooks would have told."""
        ...


class Returned(Struct, frozen=True, kw_only=True):
    """What a payer brought back, as events, and the merchant's page that they go on to, if any."""

    events: tuple[ProviderEvent, ...] = ()
    url: str | None = None


class ReturningProvider(Provider, Protocol):
    """A provider that must be told what its payer brings back (`Capabilities.returns`)."""

    async def returned(self, query: Mapping[str, str]) -> Returned:
        """Tell the provider what stands in the address that its payer came back with.

        Its events are those that a webhook would bring, under the same ids. Raises
        `SignatureInvalid` where nobody was sent away to come back so; nothing leaves then.
        """
        ...


class KeyFetchingProvider(Provider, Protocol):
    """A provider whose signatures need something of its own that it serves (`fetches_keys`)."""

    async def fetch_keys(self, headers: Mapping[str, str]) -> None:
        """Fetch and keep what `verify` needs for these headers; at once where it is kept already.

        Bounded in time and size. Raises `SignatureInvalid` for headers that can never verify, and
        `KeysUnavailable` where the fetch failed. `verify` looks at what is kept alone.
        """
        ...
