"""What a provider's pool is asked to do, and what it answers."""

from typing import Final, Literal

from msgspec import Struct

from paygate_actors.card import SealedCard
from paygate_actors.credentials import InitiationReason, Initiator, StepUp
from paygate_actors.events import Verb
from paygate_actors.health import Operation
from paygate_actors.money import Money
from paygate_actors.outcomes import Declined, Outcome, Prepared, Unknown
from paygate_actors.providers.base import ChargeCall, Instrument
from paygate_actors.record import Call

Source = Literal["call", "look_up", "prepare"]

NO_PERMIT: Final = Declined(
    code="not_sent",
    message="The provider's pool is full; the call never left.",
    retryable=True,
    conclusive=False,
)
# The same for a look-up, which proves nothing about the call that it asks about.
NOT_ASKED: Final = Unknown(reason="reset", detail="The provider's pool is full; nobody asked.")


class Charge(Struct, frozen=True, kw_only=True):
    """Everything that a charge or a hold needs. `card` is at hand only while its process lives.

    The last five are `ChargeCall`'s.
    """

    method_kind: str
    merchant: str
    capture: bool
    card: SealedCard | None = None
    token: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder_name: str | None = None
    wallet_id: str | None = None
    description: str | None = None
    return_url: str | None = None
    customer_ip: str | None = None
    initiator: Initiator = "customer"
    reason: InitiationReason | None = None
    store: bool = False
    network_txn_id: str | None = None
    three_d_secure: StepUp = "automatic"

    def call(self, job: "Perform", instrument: Instrument) -> ChargeCall:
        """The charge as an adapter takes it."""
        return ChargeCall(
            key=job.key,
            amount=job.amount,
            instrument=instrument,
            capture=self.capture,
            description=self.description,
            return_url=self.return_url,
            customer_ip=self.customer_ip,
            prepared_id=job.prepared_id,
            initiator=self.initiator,
            reason=self.reason,
            store=self.store,
            network_txn_id=self.network_txn_id,
            three_d_secure=self.three_d_secure,
        )


class Perform(Struct, frozen=True, kw_only=True):
    """Do `verb` at the provider under `key`, and tell the payment. `target`: what it is done to.

    `prepare`: only make the object that the charge will confirm; `prepared_id`: confirm that one.
    """

    payment_id: str
    key: str
    verb: Verb
    amount: Money
    target: str | None = None
    charge: Charge | None = None
    prepare: bool = False
    prepared_id: str | None = None

    @property
    def operation(self) -> Operation:
        """Whose circuit it is about."""
        return "charge" if self.verb == "authorize" else self.verb


class LookUp(Struct, frozen=True, kw_only=True):
    """Ask what became of `key`, and tell the payment (empty: answer the ask).

    `named`: the provider's id of what the call made or is about, which some read with no lag.
    """

    key: str
    payment_id: str = ""
    named: str | None = None

    @property
    def operation(self) -> Operation:
        """Whose circuit it is about."""
        return "find"


class Answered(Struct, frozen=True, kw_only=True):
    """The outcome of a call, or what a look-up found, on its way to the payment.

    `source` `prepare`: of the first of two steps, which alone comes to `Prepared`.
    """

    key: str
    outcome: Outcome | Prepared
    source: Source


class GoOn(Struct, frozen=True, kw_only=True):
    """The node may act again, after it could not be sure that it was not taken for dead."""


def answered(job: Perform | LookUp, outcome: Outcome | Prepared) -> Answered:
    """What a job came to, as its payment hears it."""
    if isinstance(job, LookUp):
        return Answered(key=job.key, outcome=outcome, source="look_up")
    return Answered(key=job.key, outcome=outcome, source="prepare" if job.prepare else "call")


def look_up_of(call: Call, payment_id: str) -> LookUp:
    """The question what became of a call, with all that helps the provider to find it."""
    return LookUp(key=call.key, payment_id=payment_id, named=call.provider_txn_id or call.target)


def unsent(job: Perform | LookUp) -> Outcome:
    """What to say of a job that never left."""
    return NOT_ASKED if isinstance(job, LookUp) else NO_PERMIT
